//! Formats on disk: what is written can be read after a rollback, and what was written is read.

mod opened_is_readable;
mod written_is_readable;

pub use opened_is_readable::OPENED_IS_READABLE;
pub use written_is_readable::WRITTEN_IS_READABLE;
