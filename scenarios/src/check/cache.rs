//! Promises about the region cache: its states, its epochs, its content, and that what is to be loaded is loaded.

use node::fact::Digest;

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

/// Which rule two readings of one content break, each a digest and how many keys it covers.
fn difference(cached: (Digest, u64), engine: (Digest, u64)) -> Option<&'static str> {
    match (cached == engine, cached.1 < engine.1) {
        (true, _) => None,
        (false, true) => Some("keys-missing"),
        (false, false) => Some("content-differs"),
    }
}
