//! What all parts of one engine share: the current sources of reads, the failure latch, file numbers, wake-ups.
//!
//! A reader takes the current [`Sources`] and a sequence number, in this order, and then needs no lock: memtables only
//! grow, tables never change, and both live as long as somebody refers to them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::{
    engine::{
        Options, batch::Family, cache::Cache, compaction::Asked, error::Error, fact::Fact, files::Garbage,
        format::Formats, manifest::Manifest, memtable::MemTable, version::Version, write::Queue,
    },
    env::Env,
};

/// The timestamp below which versions of a user key may be collected.
pub type SafePoint = Arc<dyn Fn(&[u8]) -> u64 + Send + Sync>;

/// Everything that reads look at, newest first.
pub(crate) struct Sources {
    pub(crate) memtable: Arc<MemTable>,
    /// Full memtables that wait to be written out, newest first.
    pub(crate) immutable: Vec<Arc<MemTable>>,
    pub(crate) version: Arc<Version>,
}

impl Sources {
    /// The memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<MemTable>> {
        std::iter::once(&self.memtable).chain(&self.immutable)
    }
}

/// One open engine.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) dir: String,
    pub(crate) options: Options,
    pub(crate) formats: Formats,
    pub(crate) queue: Queue,
    pub(crate) manifest: tokio::sync::Mutex<Manifest>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) garbage: Arc<Garbage>,
    pub(crate) safe_point: RwLock<Option<SafePoint>>,
    /// Wakes whoever waits for a flush, a compaction, a failure, or the end.
    pub(crate) progress: Notify,
    /// How many tasks run.
    pub(crate) running: AtomicUsize,
    /// Compactions that were asked for; `None` once there is nobody to do them.
    pub(crate) asked: Mutex<Option<VecDeque<Asked>>>,
    compacting: Mutex<Option<Family>>,
    sources: RwLock<Arc<Sources>>,
    visible: AtomicU64,
    next_number: AtomicU64,
    stopping: AtomicBool,
    failed: Mutex<Option<Error>>,
    /// Told once the engine has failed.
    failing: Notify,
}

/// What recovery found, from which an engine starts.
pub(crate) struct Start {
    pub(crate) manifest: Manifest,
    pub(crate) formats: Formats,
    pub(crate) sources: Sources,
    pub(crate) cache: Arc<Cache>,
    pub(crate) garbage: Arc<Garbage>,
    pub(crate) sequence: u64,
    pub(crate) next_number: u64,
}

impl Shared {
    pub(crate) fn new(env: Env, dir: String, options: Options, start: Start) -> Shared {
        Shared {
            env,
            dir,
            options,
            formats: start.formats,
            queue: Queue::default(),
            manifest: tokio::sync::Mutex::new(start.manifest),
            cache: start.cache,
            garbage: start.garbage,
            safe_point: RwLock::new(None),
            progress: Notify::new(),
            running: AtomicUsize::new(0),
            asked: Mutex::new(Some(VecDeque::new())),
            compacting: Mutex::new(None),
            sources: RwLock::new(Arc::new(start.sources)),
            visible: AtomicU64::new(start.sequence),
            next_number: AtomicU64::new(start.next_number),
            stopping: AtomicBool::new(false),
            failed: Mutex::new(None),
            failing: Notify::new(),
        }
    }

    /// What a read looks at, and the number up to which it sees writes.
    #[inline]
    pub(crate) fn view(&self) -> (Arc<Sources>, u64) {
        // In this order: a newer number with older sources sees a little less, older with newer would miss what
        // compaction has already dropped.
        let sources = self.sources.read().clone();
        (sources, self.visible())
    }

    /// The newest sequence number that reads see.
    #[inline]
    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(SeqCst)
    }

    /// Lets reads see everything up to a number.
    pub(crate) fn publish(&self, sequence: u64) {
        self.visible.store(sequence, SeqCst);
    }

    pub(crate) fn sources(&self) -> Arc<Sources> {
        self.sources.read().clone()
    }

    /// Replaces the sources of reads by a function of the current ones.
    pub(crate) fn install(&self, change: impl FnOnce(&Sources) -> Sources) {
        {
            let mut sources = self.sources.write();
            *sources = Arc::new(change(&sources));
        }
        self.progress.notify_waiters();
    }

    /// A file number that was never used.
    pub(crate) fn new_number(&self) -> u64 {
        self.next_number.fetch_add(1, SeqCst)
    }

    /// The number that the next file gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.load(SeqCst)
    }

    /// The family in which a compaction runs.
    pub(crate) fn compacting(&self) -> Option<Family> {
        *self.compacting.lock()
    }

    pub(crate) fn set_compacting(&self, family: Option<Family>) {
        *self.compacting.lock() = family;
    }

    /// Why the engine takes no writes, if it does not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.failure().or_else(|| self.is_stopping().then_some(Error::Stopped))
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failed.lock().clone()
    }

    /// Until there is a failure.
    pub(crate) async fn until_failed(&self) -> Error {
        loop {
            let mut wake = std::pin::pin!(self.failing.notified());
            wake.as_mut().enable();
            if let Some(error) = self.failure() {
                return error;
            }
            wake.await;
        }
    }

    /// Keeps the first failure: from here on the engine takes no writes.
    pub(crate) fn fail(&self, error: &Error) {
        if matches!(error, Error::Stopped) {
            return;
        }
        {
            let mut failed = self.failed.lock();
            if failed.is_some() {
                return;
            }
            *failed = Some(error.clone());
        }
        self.env.state(Fact::Stopped { cause: error.to_string().into() });
        self.failing.notify_waiters();
        self.wake_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Asks all tasks to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.progress.notify_waiters();
        self.queue.wake.notify_one();
        self.garbage.wake.notify_one();
    }

    /// Waits until `done`, looking again after each step of progress.
    pub(crate) async fn wait_until(&self, mut done: impl FnMut(&Shared) -> bool) {
        loop {
            let mut wake = std::pin::pin!(self.progress.notified());
            wake.as_mut().enable();
            if done(self) {
                return;
            }
            wake.await;
        }
    }
}

/// States what is corrupt or not known, and passes the error on.
pub(crate) fn note(env: &Env, error: Error) -> Error {
    match &error {
        Error::Corruption { path, detail } => {
            env.state(Fact::Corruption { path: path.clone().into(), detail: detail.clone().into() });
        }
        Error::UnknownFormat { path, what } => {
            env.state(Fact::FormatUnknown { path: path.clone().into(), what: what.clone().into() });
        }
        _ => {}
    }
    error
}
