//! The table of all checks. Lists, documentation and the dispatcher are made from it; its order is the order in which an
//! event is heard, so the check that names a defect best comes first.

use super::{Entry, liveness, process};

/// All checks.
pub static TABLE: &[Entry] =
    &[process::NO_PANIC, process::NO_CRASH_LOOP, process::ERRORS_MATCH_FAULTS, liveness::CONVERGES];
