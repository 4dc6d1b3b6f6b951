//! Whether somebody asked this process to stop: Ctrl-C, or the signal with which schedulers end a job.
//!
//! Asked once, a campaign puts down what it knows and ends; asked again, it ends at once. Commands that do not listen end
//! at once, too.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::exit;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Listens from now on.
pub fn listen() -> std::io::Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag that the first has set.
        flag::register_conditional_shutdown(signal, i32::from(exit::INTERRUPTED), asked.clone())?;
        flag::register(signal, asked.clone())?;
    }
    Ok(())
}

/// Whether it was asked to stop.
pub fn happened() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}
