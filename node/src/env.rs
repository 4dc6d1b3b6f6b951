//! All that a node may touch: clock, disk, network, tasks, randomness, I/O statistics, facts and failpoints.
//!
//! A node receives one [`Env`] and reaches the outside through nothing else, so the same source runs on real files and
//! sockets (`env/real`) and inside a simulated machine room. The parts are objects rather than type parameters: a boxed
//! dynamic call costs about ten nanoseconds, a generic node costs every reader.
//!
//! Not here: what a node does with these parts, and how a room provides them.

pub mod contract;
#[cfg(test)]
pub(crate) mod memory;
pub mod real;

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use failpoints::Points;

use crate::fact::Fact;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything that one incarnation of one process may touch. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// This process's clock.
    pub clock: Arc<dyn Clock>,
    /// The directory tree that belongs to this process; it outlives the process.
    pub disk: Arc<dyn Disk>,
    /// Connections to other processes.
    pub net: Arc<dyn Net>,
    /// Tasks of this process.
    pub spawn: Arc<dyn Spawn>,
    /// This process's random numbers.
    pub rng: Arc<dyn Rng>,
    /// The operating system's account of this task's disk traffic.
    pub io_stats: Arc<dyn IoStats>,
    /// Where the node states facts about itself.
    pub facts: Arc<dyn Facts>,
    /// Failpoints and historic defects of this process.
    pub points: Points,
}

impl Env {
    /// States a fact. Whoever listens may act on it before this returns.
    #[inline]
    pub fn state(&self, fact: impl Into<Fact>) {
        self.facts.state(fact.into());
    }

    /// The monotonic time now, by this process's own clock.
    #[inline]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Sleeps by this process's own clock.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }

    /// Spawns a task of this process. A panic in it ends the process.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Task {
        self.spawn.spawn(name, Box::pin(future))
    }

    /// Waits for `future`, at most for `limit` of this process's own time; `None` when the limit came first.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T> + Send) -> Option<T> {
        let sleep = self.clock.sleep(limit);
        let future = std::pin::pin!(future);
        match futures::future::select(future, sleep).await {
            futures::future::Either::Left((value, _)) => Some(value),
            futures::future::Either::Right(_) => None,
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

/// A point on one process's monotonic clock, in nanoseconds since an origin that only this process knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Instant(pub u64);

impl Instant {
    /// Nanoseconds since the clock's origin.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this point, zero when `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + u64::try_from(duration.as_nanos()).expect("durations inside a node are far below 500 years"))
    }
}

/// One process's clock. Monotonic time never steps; wall time may, both ways.
pub trait Clock: Send + Sync {
    /// Monotonic time; drifts against other processes, never goes back.
    fn now(&self) -> Instant;
    /// Wall time in nanoseconds since the Unix epoch; may step.
    fn wall_ns(&self) -> u64;
    /// Completes once `duration` has passed on this process's monotonic clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file for reading; `NotFound` otherwise.
    Read,
    /// An existing file for reading and writing; `NotFound` otherwise.
    Write,
    /// For reading and writing, created empty if missing.
    Create,
    /// For reading and writing, created; `AlreadyExists` if there is one.
    CreateNew,
    /// For reading and writing, created or emptied.
    Truncate,
}

/// A process's directory tree. Paths are relative, parted by `/`, without `.` or `..`; the root is the empty path.
///
/// Written bytes are durable after [`File::sync`]; a name that was created, renamed or removed is durable after
/// [`Disk::sync_dir`] of its directory. Errors keep the operating system's kinds: `NotFound`, `AlreadyExists`,
/// `StorageFull`, `DirectoryNotEmpty`, and an uncategorised error for EIO.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>>;
    /// Creates a directory whose parent exists. An existing one is not an error.
    fn create_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// The names in a directory, sorted.
    fn list<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>>;
    /// Renames a file, replacing the target if there is one.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Removes a file.
    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Removes an empty directory.
    fn remove_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Whether a file or directory of this name exists, and a file's length.
    fn stat<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Option<Stat>>>;
    /// Makes the names in a directory durable.
    fn sync_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// What [`Disk::stat`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Dir,
}

/// An open file. Removing or renaming its name does not disturb it.
#[expect(clippy::len_without_is_empty, reason = "a length that has to be awaited is no collection's")]
pub trait File: Send + Sync {
    /// Reads up to `len` bytes at `offset`; fewer only at the end of the file or on a short read.
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>>;
    /// Writes all of `data` at `offset`.
    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>>;
    /// Writes all of `data` at the end and returns the offset at which it begins.
    fn append(&self, data: Bytes) -> BoxFuture<'_, io::Result<u64>>;
    /// Cuts or zero-extends the file.
    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>>;
    /// The file's length in bytes.
    fn len(&self) -> BoxFuture<'_, io::Result<u64>>;
    /// Makes the bytes and the length durable.
    fn sync(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// Reads exactly `len` bytes, asking again after short reads; `UnexpectedEof` when the file ends before.
pub async fn read_exact_at(file: &dyn File, offset: u64, len: usize) -> io::Result<Bytes> {
    let first = file.read_at(offset, len).await?;
    if first.len() == len {
        return Ok(first);
    }
    let mut all = Vec::with_capacity(len);
    all.extend_from_slice(&first);
    while all.len() < len {
        let more = file.read_at(offset + all.len() as u64, len - all.len()).await?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(&more);
    }
    Ok(all.into())
}

/// What a connection promises for its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In order and once, until the connection breaks.
    Ordered,
    /// Each frame may be lost, doubled or overtaken. For raft messages, which survive that.
    Lossy,
}

/// Connections to other processes, by address.
pub trait Net: Send + Sync {
    /// Listens at this process's own address.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
    /// Connects to whoever listens at `address`; `ConnectionRefused` when nobody does.
    fn connect<'a>(&'a self, address: &'a str, delivery: Delivery) -> BoxFuture<'a, io::Result<Connection>>;
}

/// Accepts connections at one address.
pub trait Listener: Send {
    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;
}

/// Both halves of a connection. Dropping both closes it.
pub struct Connection {
    /// Towards the other side.
    pub sender: Box<dyn FrameSender>,
    /// From the other side.
    pub receiver: Box<dyn FrameReceiver>,
}

/// Sends frames. A sent frame may still be lost with the connection.
pub trait FrameSender: Send + Sync {
    /// Queues a frame; an error once the connection is known to be broken.
    fn send(&self, frame: Bytes) -> io::Result<()>;
    /// Bytes queued and not yet on their way.
    fn queued_bytes(&self) -> usize;
    /// Waits until the queue is short enough to go on.
    fn ready(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// Receives frames.
pub trait FrameReceiver: Send {
    /// The next frame; `UnexpectedEof` when the other side closed, `ConnectionReset` when the connection broke. What is
    /// pending wakes the last context that asked.
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>>;
}

impl dyn FrameReceiver + '_ {
    /// The next frame; `UnexpectedEof` when the other side closed, `ConnectionReset` when the connection broke. Going away
    /// from it loses nothing.
    pub fn recv(&mut self) -> impl Future<Output = io::Result<Bytes>> + Send + Unpin + '_ {
        std::future::poll_fn(|context| self.poll_recv(context))
    }
}

/// Starts tasks of this process.
pub trait Spawn: Send + Sync {
    /// Runs `future` until it ends, is aborted, or the process ends. A panic in it ends the process.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> Task;
    /// Ends this process for a stated cause, as `exit(1)` would; nothing of it runs afterwards.
    fn exit(&self, cause: &str);
}

/// A running task. Dropping this lets it run on.
pub struct Task(Box<dyn FnOnce() + Send + Sync>);

impl Task {
    /// A task that `abort` stops.
    pub fn new(abort: impl FnOnce() + Send + Sync + 'static) -> Task {
        Task(Box::new(abort))
    }

    /// Stops the task at its next wait.
    pub fn abort(self) {
        (self.0)();
    }
}

/// Random numbers of this process, from a stream that belongs to it alone.
pub trait Rng: Send + Sync {
    /// The next 64 bits.
    fn next_u64(&self) -> u64;
}

impl dyn Rng {
    /// A number below `bound`; zero when `bound` is zero.
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// The operating system's account of one task's disk traffic.
pub trait IoStats: Send + Sync {
    /// Bytes read and written so far by the current task. May fail: the account is a file that can be missing.
    fn task_io_bytes(&self) -> io::Result<IoBytes>;
}

/// Bytes read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoBytes {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// Where a node states facts about itself.
pub trait Facts: Send + Sync {
    /// States a fact. Whoever listens may act on it before this returns.
    fn state(&self, fact: Fact);
}
