//! Promises about snapshots and their files.

mod durable_applying_has_files;
mod file_in_use_exists;
mod log_terms_agree_with_snapshot;
mod name;
mod nothing_left_at_rest;
mod snapshot_equals_state;

pub use durable_applying_has_files::DURABLE_APPLYING_HAS_FILES;
pub use file_in_use_exists::FILE_IN_USE_EXISTS;
pub use log_terms_agree_with_snapshot::LOG_TERMS_AGREE_WITH_SNAPSHOT;
pub use nothing_left_at_rest::NOTHING_LEFT_AT_REST;
pub use snapshot_equals_state::SNAPSHOT_EQUALS_STATE;
