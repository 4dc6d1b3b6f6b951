//! Promises of a process: it does not panic, it does not crash for ever, and it fails only for a cause.

mod errors_match_faults;
mod no_crash_loop;
mod no_panic;

pub use errors_match_faults::ERRORS_MATCH_FAULTS;
pub use no_crash_loop::NO_CRASH_LOOP;
pub use no_panic::NO_PANIC;
