//! One seed, one fresh thread, one madsim runtime, one run.
//!
//! However a run ends, it ends as a value: the body's result, a panic, a dead end or a spent time limit. Before the runtime is
//! dropped every task of every node is, because madsim itself frees no live task.
//!
//! A thread of its own per run, because thread-local state (`RandomState`, `thread_rng`) would carry from one run to the next.
//!
//! Not in here: several runs at once; nothing stops the caller from having several threads.

use std::{future::Future, sync::Arc, thread, time::Duration};

use madsim::{Config, runtime::Runtime};

use crate::{
    disk::DiskConfig,
    entropy,
    event::Observer,
    panics::{self, Panic},
    process::ProcessId,
    room::{Core, Room},
    seed::Seed,
    trace::Trace,
};

/// A run to be.
pub struct World {
    seed: Seed,
    time_limit: Duration,
    observers: Vec<Arc<dyn Observer>>,
    recording: bool,
    disk_config: DiskConfig,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End<T> {
    /// The body returned.
    Finished(T),
    /// Something panicked outside of every process's own tasks: the body, an observer, a task of the room.
    Panicked {
        /// The panic's message.
        message: Arc<str>,
        /// `file:line:column`.
        location: Arc<str>,
        /// Whose it was, where that is known.
        process: Option<ProcessId>,
    },
    /// Every task waits, and nothing will ever happen.
    DeadEnd,
    /// The simulated time limit was spent.
    TimeLimit,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome<T> {
    /// How it ended.
    pub end: End<T>,
    /// Its trace.
    pub trace: Trace,
    /// How much simulated time it took.
    pub simulated: Duration,
    /// Tasks that were not dropped; 0, or memory leaks.
    pub leaked_tasks: usize,
}

impl World {
    /// A run of this seed: an hour of simulated time, nothing recorded, disks without latency.
    pub fn new(seed: Seed) -> Self {
        World {
            seed,
            time_limit: Duration::from_secs(3600),
            observers: Vec::new(),
            recording: false,
            disk_config: DiskConfig::default(),
        }
    }

    /// Ends the run when so much simulated time has passed.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Adds an observer; they are told in the order of adding.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Keeps every step, not only the last thirty.
    #[must_use]
    pub fn record(mut self) -> Self {
        self.recording = true;
        self
    }

    /// How the disks of this world are, until told otherwise one by one.
    #[must_use]
    pub fn disks(mut self, config: DiskConfig) -> Self {
        self.disk_config = config;
        self
    }

    /// Runs `body` to its end, whatever that is.
    pub fn run<F, Fut, T>(self, body: F) -> Outcome<T>
    where
        F: FnOnce(Room) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        entropy::install();
        #[expect(clippy::disallowed_methods, reason = "this is the one thread that a run has")]
        let thread = thread::Builder::new()
            .name(format!("world-{}", self.seed))
            .stack_size(8 << 20)
            .spawn(move || self.run_here(body))
            .expect("the host grants a thread");
        thread.join().expect("a world catches every panic of its run")
    }

    fn run_here<F, Fut, T>(self, body: F) -> Outcome<T>
    where
        F: FnOnce(Room) -> Fut + 'static,
        Fut: Future<Output = T> + 'static,
    {
        panics::enter_world();
        let mut runtime = Runtime::with_seed_and_config(self.seed.split("executor").value(), Config::default());
        runtime.set_time_limit(self.time_limit);
        let World { seed, observers, recording, disk_config, .. } = self;
        let core = runtime.block_on(async move { Core::new(seed, observers, recording, disk_config) });
        let room = Room { core: core.clone() };
        let body_core = core.clone();
        let ended = panics::catch(|| {
            runtime.block_on(async move {
                let mut body = Box::pin(async move { body(room).await });
                let result = std::future::poll_fn(|context| {
                    use std::task::Poll;
                    match panics::catch(|| body.as_mut().poll(context)) {
                        Ok(Poll::Pending) => Poll::Pending,
                        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
                        Err(panic) => Poll::Ready(Err(panic)),
                    }
                })
                .await;
                body_core.end();
                result
            })
        });
        let end = match ended {
            Ok(Ok(value)) => End::Finished(value),
            Ok(Err(panic)) => End::from_panic(panic),
            Err(panic) => {
                // The executor gave up with tasks alive. Its queue still works: one more round drops them.
                let core = core.clone();
                let cleaned = panics::catch(|| runtime.block_on(async move { core.end() }));
                cleaned.map_or_else(End::from_panic, |()| End::from_panic(panic))
            }
        };
        let simulated = Duration::from_nanos(core.agenda.now_ns());
        let leaked_tasks = runtime.handle().metrics().num_tasks();
        Outcome { end, trace: core.trace(), simulated, leaked_tasks }
    }
}

impl<T> End<T> {
    fn from_panic(Panic { message, location }: Panic) -> Self {
        // madsim says both by panicking; these texts are of the version that Cargo.lock pins, and tests hold them.
        if message.starts_with("no events, all tasks will block forever") {
            End::DeadEnd
        } else if message.starts_with("time limit exceeded") {
            End::TimeLimit
        } else {
            End::Panicked { message, location, process: None }
        }
    }
}
