//! A small room for tests of this crate: a disk that loses what was not synced, loopback connections, real time.
//!
//! Not the simulated machine room: no seeds, no faults but the few that a test asks for by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use failpoints::Points;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    env::{
        BoxFuture, Clock, Connection, Delivery, Disk, Env, Facts, File, FrameReceiver, FrameSender, Instant, IoBytes,
        IoStats, Listener, Net, Open, Rng, Spawn, Stat, Task,
    },
    fact::Fact,
};

/// Runs a test's future on a runtime of its own.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test)
}

/// What a test looks at and turns.
#[derive(Clone, Default)]
pub(crate) struct Room {
    pub(crate) disk: Arc<MemDisk>,
    pub(crate) facts: Arc<Heard>,
    pub(crate) stats_fail: Arc<AtomicBool>,
    listeners: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Connection>>>>,
}

impl Room {
    pub(crate) fn env(&self) -> Env {
        self.env_with(Points::none())
    }

    /// The room after a crash of everything in it. Tasks of before go on in the old room, where nobody looks.
    pub(crate) fn crashed(&self) -> Room {
        let disk = MemDisk { dirs: Mutex::new(self.disk.dirs.lock().clone()), ..MemDisk::default() };
        for (name, file) in &*self.disk.durable.lock() {
            let bytes = file.lock().synced.clone();
            let data = Arc::new(Mutex::new(Data { synced: bytes.clone(), bytes }));
            disk.names.lock().insert(name.clone(), data.clone());
            disk.durable.lock().insert(name.clone(), data);
        }
        Room { disk: Arc::new(disk), ..Room::default() }
    }

    pub(crate) fn env_with(&self, points: Points) -> Env {
        Env {
            clock: Arc::new(Ticks(tokio::time::Instant::now())),
            disk: self.disk.clone(),
            net: Arc::new(Loopback(self.listeners.clone())),
            spawn: Arc::new(Tasks),
            rng: Arc::new(Count(AtomicU64::new(1))),
            io_stats: Arc::new(Stats(self.stats_fail.clone())),
            facts: self.facts.clone(),
            points,
        }
    }
}

/// Remembers every fact.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Fact>>);

impl Heard {
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.lock().iter().filter(|fact| fact.name() == name).count()
    }
}

impl Facts for Heard {
    fn state(&self, fact: Fact) {
        self.0.lock().push(fact);
    }
}

#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

/// Names and bytes, each with what a crash keeps.
#[derive(Default)]
pub(crate) struct MemDisk {
    names: Mutex<BTreeMap<String, Arc<Mutex<Data>>>>,
    durable: Mutex<BTreeMap<String, Arc<Mutex<Data>>>>,
    dirs: Mutex<BTreeSet<String>>,
    pub(crate) fail_sync: Arc<AtomicBool>,
}

impl MemDisk {
    /// Forgets what was not synced, but keeps so many of the bytes appended since at each file.
    pub(crate) fn crash(&self, keep: usize) {
        let durable = self.durable.lock().clone();
        for file in durable.values() {
            let mut data = file.lock();
            let len = data.synced.len();
            let mut bytes = data.synced.clone();
            if data.bytes.len() > len && data.bytes[..len] == bytes[..] {
                let end = (len + keep).min(data.bytes.len());
                bytes.extend_from_slice(&data.bytes[len..end]);
            }
            *data = Data { synced: bytes.clone(), bytes };
        }
        *self.names.lock() = durable;
    }

    /// Flips a bit, also in what was synced.
    pub(crate) fn damage(&self, path: &str, at: usize) {
        let file = self.names.lock()[path].clone();
        let mut data = file.lock();
        data.bytes[at] ^= 1;
        data.synced[at] ^= 1;
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.names.lock().keys().cloned().collect()
    }

    pub(crate) fn len(&self, path: &str) -> usize {
        self.names.lock()[path].lock().bytes.len()
    }

    pub(crate) fn erase(&self, path: &str) {
        self.names.lock().remove(path);
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    // One turn for others at each operation: that is where races live.
    Box::pin(async move {
        tokio::task::yield_now().await;
        value
    })
}

struct MemFile {
    data: Arc<Mutex<Data>>,
    fail_sync: Arc<AtomicBool>,
}

impl Disk for MemDisk {
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        let mut names = self.names.lock();
        let data = match (names.get(path), how) {
            (None, Open::Read | Open::Write) => return ready(Err(io::ErrorKind::NotFound.into())),
            (Some(_), Open::CreateNew) => return ready(Err(io::ErrorKind::AlreadyExists.into())),
            (Some(data), Open::Truncate) => {
                data.lock().bytes.clear();
                data.clone()
            }
            (Some(data), _) => data.clone(),
            (None, _) => names.entry(path.to_owned()).or_default().clone(),
        };
        let file: Arc<dyn File> = Arc::new(MemFile { data, fail_sync: self.fail_sync.clone() });
        ready(Ok(file))
    }

    fn create_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.dirs.lock().insert(path.to_owned());
        ready(Ok(()))
    }

    fn list<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        let names = self.names.lock();
        let inside = names.keys().filter(|name| parent(name) == path);
        ready(Ok(inside.map(|name| name.rsplit('/').next().expect("a name").to_owned()).collect()))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let mut names = self.names.lock();
        let Some(data) = names.remove(from) else { return ready(Err(io::ErrorKind::NotFound.into())) };
        names.insert(to.to_owned(), data);
        ready(Ok(()))
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let removed = self.names.lock().remove(path);
        ready(removed.map(drop).ok_or(io::ErrorKind::NotFound.into()))
    }

    fn remove_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.dirs.lock().remove(path);
        ready(Ok(()))
    }

    fn stat<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Option<Stat>>> {
        let file = self.names.lock().get(path).map(|data| Stat::File(data.lock().bytes.len() as u64));
        let dir = self.dirs.lock().contains(path).then_some(Stat::Dir);
        ready(Ok(file.or(dir)))
    }

    fn sync_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let names = self.names.lock();
        let mut durable = self.durable.lock();
        durable.retain(|name, _| parent(name) != path);
        let inside = names.iter().filter(|(name, _)| parent(name) == path);
        durable.extend(inside.map(|(name, data)| (name.clone(), data.clone())));
        ready(Ok(()))
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        let data = self.data.lock();
        let start = (offset as usize).min(data.bytes.len());
        let end = (start + len).min(data.bytes.len());
        ready(Ok(Bytes::copy_from_slice(&data.bytes[start..end])))
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        let mut data = self.data.lock();
        let end = offset as usize + bytes.len();
        if data.bytes.len() < end {
            data.bytes.resize(end, 0);
        }
        data.bytes[offset as usize..end].copy_from_slice(&bytes);
        ready(Ok(()))
    }

    fn append(&self, bytes: Bytes) -> BoxFuture<'_, io::Result<u64>> {
        let mut data = self.data.lock();
        let at = data.bytes.len() as u64;
        data.bytes.extend_from_slice(&bytes);
        ready(Ok(at))
    }

    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        self.data.lock().bytes.resize(len as usize, 0);
        ready(Ok(()))
    }

    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        ready(Ok(self.data.lock().bytes.len() as u64))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        if self.fail_sync.load(SeqCst) {
            return ready(Err(io::Error::other("the disk is broken")));
        }
        let mut data = self.data.lock();
        data.synced = data.bytes.clone();
        ready(Ok(()))
    }
}

struct Ticks(tokio::time::Instant);

#[expect(clippy::disallowed_methods, reason = "the room of these tests has real time")]
impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant(tokio::time::Instant::now().duration_since(self.0).as_nanos() as u64)
    }

    fn wall_ns(&self) -> u64 {
        self.now().nanos()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

struct Tasks;

#[expect(clippy::disallowed_methods, reason = "the room of these tests is a tokio runtime")]
impl Spawn for Tasks {
    fn spawn(&self, _: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let handle = tokio::spawn(future);
        Task::new(move || handle.abort())
    }

    fn exit(&self, cause: &str) {
        panic!("the process ends: {cause}");
    }
}

struct Count(AtomicU64);

impl Rng for Count {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, SeqCst)
    }
}

struct Stats(Arc<AtomicBool>);

impl IoStats for Stats {
    fn task_io_bytes(&self) -> io::Result<IoBytes> {
        if self.0.load(SeqCst) { Err(io::ErrorKind::NotFound.into()) } else { Ok(IoBytes::default()) }
    }
}

type Listeners = Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Connection>>>>;

struct Loopback(Listeners);

struct Accept(mpsc::UnboundedReceiver<Connection>);

struct Half(mpsc::UnboundedSender<Bytes>);

struct OtherHalf(mpsc::UnboundedReceiver<Bytes>);

fn pair() -> (Connection, Connection) {
    let (there, from_here) = mpsc::unbounded_channel();
    let (here, from_there) = mpsc::unbounded_channel();
    let one = Connection { sender: Box::new(Half(there)), receiver: Box::new(OtherHalf(from_there)) };
    let other = Connection { sender: Box::new(Half(here)), receiver: Box::new(OtherHalf(from_here)) };
    (one, other)
}

impl Net for Loopback {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().insert(address.to_owned(), sender);
        let listener: Box<dyn Listener> = Box::new(Accept(receiver));
        ready(Ok(listener))
    }

    fn connect<'a>(&'a self, address: &'a str, _: Delivery) -> BoxFuture<'a, io::Result<Connection>> {
        let (mine, theirs) = pair();
        let listeners = self.0.lock();
        let sent = listeners.get(address).is_some_and(|listener| listener.send(theirs).is_ok());
        ready(if sent { Ok(mine) } else { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async { self.0.recv().await.ok_or(io::ErrorKind::ConnectionAborted.into()) })
    }
}

impl FrameSender for Half {
    fn send(&self, frame: Bytes) -> io::Result<()> {
        self.0.send(frame).map_err(|_| io::ErrorKind::ConnectionReset.into())
    }

    fn queued_bytes(&self) -> usize {
        0
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        ready(Ok(()))
    }
}

impl FrameReceiver for OtherHalf {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.0.poll_recv(context).map(|frame| frame.ok_or(io::ErrorKind::UnexpectedEof.into()))
    }
}
