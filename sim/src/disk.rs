//! The simulated disk of one process; it outlives the process.
//!
//! Bytes are pending until their file is synced, names until their directory is. A crash keeps everything synced and a seeded legal
//! choice of what was pending (`crash.rs`). Faults lie beside the bytes, never in them, so that healing is exact (`fault.rs`). Calls
//! take a seeded latency of simulated time; a latency of nothing sets no timer.
//!
//! A write is in the page cache when its call returns, and survives a kill, as with a real kernel; a crash is the machine's.
//!
//! Not modelled: hard links, permissions, direct I/O, renames of directories.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use crate::{
    event::{DiskEvent, DiskOp, Event},
    latency::Latency,
    process::{Life, ProcessId},
    room::Core,
    seed::{Seed, Stream},
};

mod control;
mod handle;
mod names;
mod pieces;

mod crash;
mod fault;
mod file;

use crash::Chooser;
use fault::{Faults, Hit, Patches};
use file::Content;
use names::{Names, Node, Standing};

pub use control::{DiskControl, FaultGuard};
pub use crash::CrashKeep;
pub use fault::{Fault, FaultRule};
pub use file::SECTOR_BYTES;
pub use handle::File;

/// How a disk is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskConfig {
    /// Of opening, listing, renaming and the like.
    pub names: Latency,
    /// Of reads.
    pub read: Latency,
    /// Of writes and truncations.
    pub write: Latency,
    /// Of syncs of files and directories.
    pub sync: Latency,
    /// Writes that would hold more than this fail with ENOSPC.
    pub capacity_bytes: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        DiskConfig {
            names: Latency::NONE,
            read: Latency::NONE,
            write: Latency::NONE,
            sync: Latency::NONE,
            capacity_bytes: u64::MAX,
        }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// It exists; for reading.
    Read,
    /// It exists; for reading and writing.
    Write,
    /// Created empty if missing.
    Create,
    /// Created; an error if there is one.
    CreateNew,
    /// Created, or emptied.
    Truncate,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stat {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Dir,
}

/// A file, whatever its name.
pub(crate) struct Inode {
    number: u64,
    content: Mutex<Content>,
    patches: Mutex<Patches>,
    used_bytes: Arc<AtomicU64>,
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.content.get_mut().len(), Ordering::Relaxed);
    }
}

/// A disk, which outlives the incarnations of its process.
pub(crate) struct DiskCell {
    process: ProcessId,
    config: RwLock<DiskConfig>,
    names: Mutex<Names>,
    draws: Mutex<Draws>,
    faults: Faults,
    /// Rules ever injected: while there was none, no call looks for faults.
    faulty: AtomicU64,
    /// Numbers every change, over all files and names: the order in which a prefix is cut.
    sequence: AtomicU64,
    next_inode: AtomicU64,
    used_bytes: Arc<AtomicU64>,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

struct Draws {
    latency: Stream,
    crash_seed: Seed,
    crashes: u64,
}

impl DiskCell {
    pub(crate) fn new(process: ProcessId, seed: Seed, config: DiskConfig) -> Arc<Self> {
        Arc::new(DiskCell {
            process,
            config: RwLock::new(config),
            names: Mutex::default(),
            draws: Mutex::new(Draws {
                latency: seed.split("latency").stream(),
                crash_seed: seed.split("crash"),
                crashes: 0,
            }),
            faults: Faults::new(seed.split("fault")),
            faulty: AtomicU64::new(0),
            sequence: AtomicU64::new(1),
            next_inode: AtomicU64::new(1),
            used_bytes: Arc::default(),
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
        })
    }

    /// What a crash of the machine does. No incarnation runs.
    pub(crate) fn crash(&self, keep: CrashKeep) {
        let stream = {
            let mut draws = self.draws.lock();
            draws.crashes += 1;
            draws.crash_seed.split(draws.crashes).stream()
        };
        let mut names = self.names.lock();
        let mut pending: Vec<u64> = names.pending().collect();
        let before = names.files();
        for inode in &before {
            pending.extend(inode.content.lock().pending());
        }
        pending.sort_unstable();
        let mut chooser = Chooser::new(keep, stream, &pending);
        names.crash(&mut chooser);
        for inode in names.files() {
            let mut content = inode.content.lock();
            let len_before = content.len();
            content.crash(&mut chooser);
            self.used_bytes.fetch_add(content.len(), Ordering::Relaxed);
            self.used_bytes.fetch_sub(len_before, Ordering::Relaxed);
        }
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    fn latency_ns(&self, op: DiskOp) -> u64 {
        let latency = {
            let config = self.config.read();
            match op {
                DiskOp::Read => config.read,
                DiskOp::Write | DiskOp::Append | DiskOp::Truncate => config.write,
                DiskOp::Sync | DiskOp::SyncDir => config.sync,
                _ => config.names,
            }
        };
        if latency.is_none() { 0 } else { latency.draw(&mut self.draws.lock().latency) }
    }

    /// Accounts for a file that grows or shrinks; ENOSPC if it may not grow.
    fn reserve(&self, len_before: u64, len_after: u64) -> Result<(), Errno> {
        let used = self.used_bytes.load(Ordering::Relaxed);
        if len_after > len_before && used + (len_after - len_before) > self.config.read().capacity_bytes {
            return Err(Errno(libc::ENOSPC));
        }
        self.used_bytes.store(used + len_after - len_before, Ordering::Relaxed);
        Ok(())
    }
}

/// An error number on its way to becoming an `io::Error`.
#[derive(Clone, Copy)]
struct Errno(i32);

/// A call under way: its fate, and the event that it will be.
struct Call {
    hit: Hit,
    event: DiskEvent,
}

/// The disk as its process sees it. Paths are relative, parted by `/`, without `.` or `..`; the root is the empty path.
///
/// Errors carry the operating system's numbers: ENOENT, EEXIST, ENOTEMPTY, ENOTDIR, EISDIR, EINVAL, EBADF, ENOSPC, EIO.
/// Calls of a dead incarnation never complete and change nothing.
#[derive(Clone)]
pub struct Disk {
    pub(crate) core: Arc<Core>,
    pub(crate) cell: Arc<DiskCell>,
    pub(crate) life: Arc<Life>,
}

impl Disk {
    /// Opens a file.
    pub async fn open(&self, path: &str, how: Open) -> io::Result<File> {
        let path: Arc<str> = path.into();
        let op = if matches!(how, Open::Read | Open::Write) { DiskOp::Open } else { DiskOp::Create };
        let mut call = self.begin(op, &path, None, 0, 0).await;
        let result = self.refuse(&call).and_then(|()| self.open_now(&path, how));
        if let Ok(inode) = &result {
            call.event.inode = inode.number;
        }
        let result = self.finish(call, result)?;
        Ok(File { disk: self.clone(), inode: result, path, writable: how != Open::Read, standing: Arc::default() })
    }

    fn open_now(&self, path: &Arc<str>, how: Open) -> Result<Arc<Inode>, Errno> {
        check_path(path)?;
        let mut names = self.cell.names.lock();
        match (names.get(path), how) {
            (Some(Node::Dir), _) => Err(Errno(libc::EISDIR)),
            (Some(Node::File(_)), Open::CreateNew) => Err(Errno(libc::EEXIST)),
            (Some(Node::File(inode)), Open::Truncate) => {
                let mut content = inode.content.lock();
                self.cell.reserve(content.len(), 0)?;
                content.truncate(self.cell.next_sequence(), 0);
                drop(content);
                inode.patches.lock().clear();
                Ok(inode)
            }
            (Some(Node::File(inode)), _) => Ok(inode),
            (None, Open::Read | Open::Write) => Err(Errno(libc::ENOENT)),
            (None, _) => {
                check_parent(&names, path)?;
                let inode = Arc::new(Inode {
                    number: self.cell.next_inode.fetch_add(1, Ordering::Relaxed),
                    content: Mutex::default(),
                    patches: Mutex::default(),
                    used_bytes: self.cell.used_bytes.clone(),
                });
                names.create(self.cell.next_sequence(), path.clone(), Node::File(inode.clone()));
                Ok(inode)
            }
        }
    }

    /// Creates a directory whose parent exists. An existing directory is not an error.
    pub async fn create_dir(&self, path: &str) -> io::Result<()> {
        let path: Arc<str> = path.into();
        let call = self.begin(DiskOp::CreateDir, &path, None, 0, 0).await;
        let result = self.refuse(&call).and_then(|()| {
            if path.is_empty() {
                return Ok(());
            }
            check_path(&path)?;
            let mut names = self.cell.names.lock();
            match names.get(&path) {
                Some(Node::Dir) => Ok(()),
                Some(Node::File(_)) => Err(Errno(libc::EEXIST)),
                None => {
                    check_parent(&names, &path)?;
                    names.create(self.cell.next_sequence(), path.clone(), Node::Dir);
                    Ok(())
                }
            }
        });
        self.finish(call, result)
    }

    /// The names in a directory, sorted.
    pub async fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let path: Arc<str> = path.into();
        let mut call = self.begin(DiskOp::List, &path, None, 0, 0).await;
        let result = self.refuse(&call).and_then(|()| {
            let names = self.cell.names.lock();
            match names.get(&path) {
                Some(Node::Dir) => Ok(names.list(&path)),
                Some(Node::File(_)) => Err(Errno(libc::ENOTDIR)),
                None => Err(Errno(libc::ENOENT)),
            }
        });
        call.event.done = result.as_ref().map_or(0, |names| names.len() as u64);
        self.finish(call, result)
    }

    /// Renames a file, replacing the target if that is a file.
    pub async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to): (Arc<str>, Arc<str>) = (from.into(), to.into());
        let mut call = self.begin(DiskOp::Rename, &from, Some(&to), 0, 0).await;
        let result = self.refuse(&call).and_then(|()| {
            check_path(&to)?;
            let mut names = self.cell.names.lock();
            let Some(Node::File(inode)) = names.get(&from) else {
                return Err(Errno(if names.is_dir(&from) { libc::EISDIR } else { libc::ENOENT }));
            };
            if names.is_dir(&to) {
                return Err(Errno(libc::EISDIR));
            }
            check_parent(&names, &to)?;
            if from != to {
                names.rename(self.cell.next_sequence(), &from, to.clone());
            }
            Ok(inode.number)
        });
        call.event.inode = result.unwrap_or(0);
        self.finish(call, result.map(drop))
    }

    /// Removes a file. One that is open can still be read and written.
    pub async fn remove(&self, path: &str) -> io::Result<()> {
        self.remove_as(path, false).await
    }

    /// Removes an empty directory.
    pub async fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.remove_as(path, true).await
    }

    async fn remove_as(&self, path: &str, dir: bool) -> io::Result<()> {
        let path: Arc<str> = path.into();
        let mut call = self.begin(DiskOp::Remove, &path, None, 0, 0).await;
        let result = self.refuse(&call).and_then(|()| {
            check_path(&path)?;
            let mut names = self.cell.names.lock();
            let inode = match (names.get(&path), dir) {
                (None, _) => return Err(Errno(libc::ENOENT)),
                (Some(Node::Dir), false) => return Err(Errno(libc::EISDIR)),
                (Some(Node::File(_)), true) => return Err(Errno(libc::ENOTDIR)),
                (Some(Node::Dir), true) if !names.is_empty_dir(&path) => return Err(Errno(libc::ENOTEMPTY)),
                (Some(Node::Dir), true) => 0,
                (Some(Node::File(inode)), false) => inode.number,
            };
            names.remove(self.cell.next_sequence(), &path);
            Ok(inode)
        });
        call.event.inode = result.unwrap_or(0);
        self.finish(call, result.map(drop))
    }

    /// What a name stands for, if there is one.
    pub async fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        let path: Arc<str> = path.into();
        let call = self.begin(DiskOp::Metadata, &path, None, 0, 0).await;
        let result = self.refuse(&call).map(|()| match self.cell.names.lock().get(&path) {
            Some(Node::Dir) => Some(Stat::Dir),
            Some(Node::File(inode)) => Some(Stat::File(inode.content.lock().len())),
            None => None,
        });
        self.finish(call, result)
    }

    /// Makes the names in a directory durable.
    pub async fn sync_dir(&self, path: &str) -> io::Result<()> {
        let path: Arc<str> = path.into();
        let mut call = self.begin(DiskOp::SyncDir, &path, None, 0, 0).await;
        let result = self.refuse(&call).and_then(|()| {
            let mut names = self.cell.names.lock();
            if !names.is_dir(&path) {
                return Err(Errno(if names.is_visible(&path) { libc::ENOTDIR } else { libc::ENOENT }));
            }
            if matches!(call.hit.fault, Some((_, Fault::FalseSync))) {
                call.event.faulted = true;
            } else {
                names.sync_dir(&path);
            }
            Ok(())
        });
        self.finish(call, result)
    }

    /// Bytes that all incarnations of this process have read and written so far.
    pub fn io_bytes(&self) -> (u64, u64) {
        (self.cell.read_bytes.load(Ordering::Relaxed), self.cell.written_bytes.load(Ordering::Relaxed))
    }

    /// Waits for as long as the call takes. Of a dead incarnation it never returns.
    async fn begin(&self, op: DiskOp, path: &Arc<str>, target: Option<&Arc<str>>, offset: u64, len: u64) -> Call {
        if !self.life.is_alive() {
            std::future::pending::<()>().await;
        }
        let hit = match self.cell.faulty.load(Ordering::Relaxed) {
            0 => Hit::default(),
            _ => self.cell.faults.hit(op, [path, target.unwrap_or(path)]),
        };
        let wait_ns = self.cell.latency_ns(op) + hit.stall_ns;
        if wait_ns > 0 {
            self.core.agenda.nap(wait_ns).await;
            if !self.life.is_alive() {
                std::future::pending::<()>().await;
            }
        }
        let event = DiskEvent {
            op,
            path: path.clone(),
            target: target.cloned(),
            inode: 0,
            offset,
            len,
            done: 0,
            digest: 0,
            errno: 0,
            faulted: hit.stall_ns > 0,
            durable_len: 0,
            visible: false,
            durable: false,
        };
        Call { hit, event }
    }

    /// The error that a fault has in store.
    fn refuse(&self, call: &Call) -> Result<(), Errno> {
        match call.hit.fault {
            Some((_, Fault::Error(errno))) => Err(Errno(errno)),
            _ => Ok(()),
        }
    }

    /// Witnesses a call that is about a name, and gives its result.
    fn finish<T>(&self, mut call: Call, result: Result<T, Errno>) -> io::Result<T> {
        let Standing { visible, durable } = self.cell.names.lock().standing(&call.event.path);
        (call.event.visible, call.event.durable) = (visible, durable);
        self.witness(call, result)
    }

    /// Witnesses a call and gives its result.
    fn witness<T>(&self, mut call: Call, result: Result<T, Errno>) -> io::Result<T> {
        if let Err(Errno(errno)) = result {
            call.event.errno = errno;
            call.event.faulted |= matches!(call.hit.fault, Some((_, Fault::Error(_))));
        }
        self.core.step(self.life.process, self.life.incarnation, Event::Disk(call.event));
        result.map_err(|Errno(errno)| io::Error::from_raw_os_error(errno))
    }
}

fn check_path(path: &str) -> Result<(), Errno> {
    if names::is_valid(path) { Ok(()) } else { Err(Errno(libc::EINVAL)) }
}

fn check_parent(names: &Names, path: &str) -> Result<(), Errno> {
    match names.get(names::parent(path)) {
        Some(Node::Dir) => Ok(()),
        Some(Node::File(_)) => Err(Errno(libc::ENOTDIR)),
        None => Err(Errno(libc::ENOENT)),
    }
}
