//! Promises about the region cache: its states, its epochs, its content, and that what is to be loaded is loaded.

mod content_equals_engine;
mod epoch_current;
mod legal_transitions;
mod pending_regions_load;
mod snapshot_reads_engine;

pub use content_equals_engine::CACHE_CONTENT_EQUALS_ENGINE;
pub use epoch_current::CACHE_EPOCH_CURRENT;
pub use legal_transitions::LEGAL_CACHE_TRANSITIONS;
pub use pending_regions_load::PENDING_REGIONS_LOAD;
pub use snapshot_reads_engine::CACHE_SNAPSHOT_READS_ENGINE;
