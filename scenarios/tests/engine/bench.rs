//! A process of the room with nothing but a disk, a clock and tasks: what an engine under test needs.
//!
//! Not a node's environment: it has no network, states its facts to a list, and is driven from outside of the process.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use node::{
    env::{
        BoxFuture, Clock, Connection, Delivery, Disk, Env, Facts, File, Instant, IoBytes, IoStats, Listener, Net, Open,
        Rng, Spawn, Stat, Task,
    },
    fact::Fact,
};
use parking_lot::Mutex;

/// What an engine stated, in order.
pub type Stated = Arc<Mutex<Vec<Fact>>>;

/// A new incarnation of `process`, which runs until it is ended from outside.
pub async fn start(process: &sim::Process) -> sim::Handle {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    process.start(move |handle| {
        let tell = tell.lock().take();
        async move {
            if let Some(tell) = tell {
                let _ = tell.send(handle);
            }
            std::future::pending::<()>().await;
        }
    });
    told.await.expect("the main of the process sends first of all")
}

/// The environment of an incarnation.
pub fn env(handle: &sim::Handle, stated: &Stated, points: failpoints::Points) -> Env {
    Env {
        clock: Arc::new(Room(handle.clone())),
        disk: Arc::new(RoomDisk(handle.disk())),
        net: Arc::new(Nothing),
        spawn: Arc::new(Room(handle.clone())),
        rng: Arc::new(Nothing),
        io_stats: Arc::new(Nothing),
        facts: Arc::new(List(stated.clone())),
        points,
    }
}

struct Room(sim::Handle);

impl Clock for Room {
    fn now(&self) -> Instant {
        Instant(self.0.clock().now_ns())
    }
    fn wall_ns(&self) -> u64 {
        0
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.0.clock().sleep(duration))
    }
}

impl Spawn for Room {
    fn spawn(&self, _: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let task = self.0.spawn_boxed(future);
        Task::new(move || task.abort())
    }
    fn exit(&self, cause: &str) {
        self.0.exit(sim::Exit::Failed(cause.into()));
    }
}

struct List(Stated);

impl Facts for List {
    fn state(&self, fact: Fact) {
        self.0.lock().push(fact);
    }
}

struct Nothing;

impl Net for Nothing {
    fn listen<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
    fn connect<'a>(&'a self, _: &'a str, _: Delivery) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

impl Rng for Nothing {
    fn next_u64(&self) -> u64 {
        0
    }
}

impl IoStats for Nothing {
    fn task_io_bytes(&self) -> io::Result<IoBytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct RoomDisk(sim::disk::Disk);

impl Disk for RoomDisk {
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        let how = match how {
            Open::Read => sim::disk::Open::Read,
            Open::Write => sim::disk::Open::Write,
            Open::Create => sim::disk::Open::Create,
            Open::CreateNew => sim::disk::Open::CreateNew,
            Open::Truncate => sim::disk::Open::Truncate,
        };
        Box::pin(async move { Ok(Arc::new(RoomFile(self.0.open(path, how).await?)) as Arc<dyn File>) })
    }
    fn create_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.create_dir(path))
    }
    fn list<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(self.0.list(path))
    }
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.rename(from, to))
    }
    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.remove(path))
    }
    fn remove_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.remove_dir(path))
    }
    fn stat<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Option<Stat>>> {
        Box::pin(async move {
            Ok(self.0.stat(path).await?.map(|stat| match stat {
                sim::disk::Stat::File(len) => Stat::File(len),
                sim::disk::Stat::Dir => Stat::Dir,
            }))
        })
    }
    fn sync_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.sync_dir(path))
    }
}

struct RoomFile(sim::disk::File);

impl File for RoomFile {
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(self.0.read_at(offset, len))
    }
    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.0.write_at(offset, data))
    }
    fn append(&self, data: Bytes) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(self.0.append(data))
    }
    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.0.truncate(len))
    }
    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(self.0.len())
    }
    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.0.sync())
    }
}
