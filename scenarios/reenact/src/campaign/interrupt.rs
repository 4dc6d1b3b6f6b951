//! Whether somebody asked this process to stop: Ctrl-C, or the signal with which schedulers end a job.
//!
//! Asked once, a command puts down what it knows and ends; asked again, it ends at once. Commands that do not listen end
//! at once, too.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::exit;

/// Two signals that come together are one: `timeout` sends one to the process, and one to its group.
const TOGETHER: Duration = Duration::from_secs(1);

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from now on.
pub fn listen() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        let mut first = None;
        for _ in signals.forever() {
            if first.get_or_insert_with(Instant::now).elapsed() > TOGETHER {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
            ASKED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Whether it was asked to stop.
pub fn happened() -> bool {
    ASKED.load(Ordering::Relaxed)
}
