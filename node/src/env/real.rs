//! All that a node may touch, for real: tokio's clock and tasks, files of one directory, TCP.
//!
//! This is the only room of the node that names a runtime, the file system or the operating system. A panic in any task
//! ends the process with status 101, as it would in the simulated machine room.

mod disk;
mod facts;
mod metrics;
mod net;
mod proc;
mod scrape;

use std::{
    io,
    panic::AssertUnwindSafe,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use failpoints::Points;
use futures::FutureExt;
use parking_lot::Mutex;
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng as _, SeedableRng},
};

pub use facts::FactFile;
pub use metrics::Metrics;
pub use net::FRAME_BYTES_MAX;

use super::{BoxFuture, Clock, Disk, Env, Facts, Instant, Rng, Spawn, Task};
use crate::fact::Fact;

/// The environment of a real process whose files lie under `root`. Call it inside a tokio runtime.
///
/// Facts go to `facts`, or nowhere.
pub fn env(root: &Path, facts: Option<FactFile>) -> io::Result<Env> {
    Ok(Env {
        clock: Arc::new(RealClock { origin: now() }),
        disk: disk(root)?,
        net: Arc::new(net::RealNet),
        spawn: Arc::new(RealSpawn),
        rng: Arc::new(RealRng(Mutex::new(Xoshiro256PlusPlus::from_seed(proc::random_bytes()?)))),
        io_stats: Arc::new(proc::ProcIo),
        facts: match facts {
            Some(file) => Arc::new(file),
            None => Arc::new(NoFacts),
        },
        points: Points::none(),
    })
}

/// Counts the facts of `env` from now on, and answers Prometheus at `address`.
pub async fn meter(env: Env, address: &str) -> io::Result<Env> {
    let metrics = Arc::new(Metrics::new());
    scrape::serve(Arc::clone(&metrics), address).await?;
    Ok(Env { facts: Arc::new(metrics::Counted { metrics, to: env.facts }), ..env })
}

/// The real directory `root` as a disk.
pub fn disk(root: &Path) -> io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(disk::RealDisk::new(root)?))
}

struct RealClock {
    origin: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the real clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

impl Clock for RealClock {
    fn now(&self) -> Instant {
        let passed = now().saturating_duration_since(self.origin);
        Instant(u64::try_from(passed.as_nanos()).expect("a process runs far less than 500 years"))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real clock")]
    fn wall_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

struct RealSpawn;

impl Spawn for RealSpawn {
    #[expect(clippy::disallowed_methods, reason = "this is the real runtime")]
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let guarded = async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                // The panic's hook has printed what happened.
                tracing::error!(task = name, "a task panicked: the process ends");
                std::process::exit(101);
            }
        };
        let handle = tokio::spawn(guarded).abort_handle();
        Task::new(move || handle.abort())
    }

    fn exit(&self, cause: &str) {
        tracing::error!(cause, "the process ends");
        std::process::exit(1);
    }
}

struct RealRng(Mutex<Xoshiro256PlusPlus>);

impl Rng for RealRng {
    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }
}

struct NoFacts;

impl Facts for NoFacts {
    fn state(&self, _: Fact) {}
}
