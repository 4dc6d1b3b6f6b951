//! What nodes log, on standard error, with the simulated time and the name of whoever speaks.
//!
//! It changes no trace: the subscriber is made before the run, on another thread, so that nothing it draws or hashes is
//! drawn from the run's own streams; and it belongs to the run's thread only, so that runs do not hear each other.
//!
//! Not here: facts. Those are the trace's, and a recorded trace shows them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tracing::{Dispatch, dispatcher, subscriber::DefaultGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

use crate::room::Room;

/// A log that nobody writes to yet.
pub(super) struct Log {
    dispatch: Dispatch,
    clock: Arc<OnceLock<Room>>,
}

impl Log {
    /// A log of what passes this filter: a level, or `tracing`'s filter language.
    pub(super) fn new(filter: &str) -> Result<Self, String> {
        let filter = EnvFilter::try_new(filter).map_err(|error| format!("`{filter}` is no log filter: {error}"))?;
        let clock = Arc::new(OnceLock::new());
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(RoomTime(clock.clone()))
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .finish();
        Ok(Self { dispatch: Dispatch::new(subscriber), clock })
    }

    /// Hears this thread, on which the room lives, until what is returned is dropped.
    pub(super) fn listen(self, room: &Room) -> DefaultGuard {
        assert!(self.clock.set(room.clone()).is_ok(), "a log hears one run");
        dispatcher::set_default(&self.dispatch)
    }
}

/// True time of the room, in seconds.
struct RoomTime(Arc<OnceLock<Room>>);

impl FormatTime for RoomTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let true_ns = self.0.get().map_or(0, Room::true_ns);
        write!(writer, "{}.{:09}", true_ns / 1_000_000_000, true_ns % 1_000_000_000)
    }
}
