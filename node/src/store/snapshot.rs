//! The snapshot manager: which snapshot files there are, who uses them, and who may remove them.
//!
//! Whoever makes, sends, receives or applies a snapshot holds a [`Registration`] for as long. Files of a registered
//! snapshot are not removed by others, and a snapshot whose removal has begun is not registered. A snapshot is complete
//! once its meta file is there, which is written last and removed first; both are made durable in that order.
//!
//! Beside the registry the manager knows which received snapshots the *durable* state of a peer wants applied: until
//! that has changed on disk a restart will need the files, whatever memory says.
//!
//! Not here: what is in the files ([`build`], [`apply`]), how they travel ([`send`], [`receive`]), when idle ones go
//! ([`collect`]).

pub mod apply;
pub mod build;
pub mod collect;
pub mod content;
pub mod file;
mod pace;
pub mod receive;
pub mod send;
pub mod site;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::fact::snapshot::Fact;
use crate::{
    engine,
    env::{Env, Instant, Open, Stat, read_exact_at},
    fact::Text,
    region::RegionId,
};
pub use file::{FAMILIES, Files, Key, Meta, Side};

/// Failed attempts to build one snapshot after which a store stops asking until it is wanted anew.
pub const ATTEMPTS_MAX: u64 = 5;

/// Sizes, times and limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory.
    pub dir: String,
    /// The oldest idle generated snapshots go when all snapshots together are larger.
    pub size_limit_bytes: u64,
    /// An idle generated snapshot of this age goes.
    pub age_limit: Duration,
    /// How often idle snapshots are looked over.
    pub gc_tick: Duration,
    /// Disk bytes a second that building may cause; 0 for no limit.
    pub build_rate: u64,
    /// Bytes a second that all sending together may cause; 0 for no limit.
    pub send_rate: u64,
    /// Snapshots sent at a time.
    pub sends_max: usize,
    /// Snapshots received at a time.
    pub receives_max: usize,
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// How long one side waits for the other.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dir: "snap".to_owned(),
            size_limit_bytes: 1 << 30,
            age_limit: Duration::from_secs(4 * 3600),
            gc_tick: Duration::from_secs(60),
            build_rate: 100 << 20,
            send_rate: 100 << 20,
            sends_max: 32,
            receives_max: 32,
            chunk_bytes: 64 << 10,
            patience: Duration::from_secs(10),
        }
    }
}

/// What went wrong with a snapshot.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A disk operation failed.
    #[error("snapshot: {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: String,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// The engine refused.
    #[error("snapshot: {0}")]
    Engine(#[from] engine::Error),
    /// A file that has to be there is not.
    #[error("snapshot: {path} has vanished")]
    Vanished {
        /// The file.
        path: String,
    },
    /// A file is not what was written.
    #[error("snapshot: {path} is corrupt: {detail}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody else is building this snapshot, or died while building it.
    #[error("snapshot: {path} exists: it is being built")]
    BuildLocked {
        /// The lock.
        path: String,
    },
    /// The snapshot's files are being removed.
    #[error("snapshot: {key} is being removed")]
    BeingRemoved {
        /// The snapshot.
        key: Key,
    },
    /// Nobody wants it any more.
    #[error("snapshot: cancelled")]
    Cancelled,
    /// The other side, or the way to it, failed.
    #[error("snapshot: transfer: {0}")]
    Transfer(String),
    /// There are too many transfers under way.
    #[error("snapshot: too many transfers")]
    Busy,
    /// The placement of a failpoint said so.
    #[error("snapshot: failpoint: {0}")]
    Point(String),
}

impl Error {
    fn io(doing: &'static str, path: &str, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::NotFound {
            return Error::Vanished { path: path.to_owned() };
        }
        Error::Io { doing, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// Fails with the argument of a failpoint that fired.
pub(super) fn fails(fired: Option<failpoints::Arg>) -> Result<(), Error> {
    fired.map_or(Ok(()), |arg| Err(Error::Point(arg.as_str().to_owned())))
}

/// What a snapshot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// Its files are being made.
    Generating,
    /// It is being sent.
    Sending,
    /// It is being received.
    Receiving,
    /// It is being applied.
    Applying,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Use::Generating => "generating",
            Use::Sending => "sending",
            Use::Receiving => "receiving",
            Use::Applying => "applying",
        }
    }
}

/// The manager of one store's snapshots. Cheap to clone.
#[derive(Clone)]
pub struct Manager {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    registered: BTreeMap<Key, Vec<Use>>,
    removing: BTreeSet<Key>,
    /// Snapshots on disk: their bytes, and since when this process knows them.
    known: BTreeMap<(Side, Key), Known>,
    /// What the durable state of a region wants applied.
    durable: BTreeMap<RegionId, Key>,
    sends: usize,
    receives: usize,
    /// When the next byte may be sent.
    send_clock: Instant,
}

#[derive(Clone, Copy)]
struct Known {
    bytes: u64,
    complete: bool,
    since: Instant,
}

/// Keeps a snapshot's files while it lives.
pub struct Registration {
    manager: Manager,
    key: Key,
    purpose: Use,
}

impl Registration {
    /// The snapshot.
    pub fn key(&self) -> Key {
        self.key
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        {
            let mut state = self.manager.inner.state.lock();
            if let Some(uses) = state.registered.get_mut(&self.key) {
                if let Some(at) = uses.iter().position(|one| *one == self.purpose) {
                    uses.remove(at);
                }
                if uses.is_empty() {
                    state.registered.remove(&self.key);
                }
            }
        }
        let Key { region, term, index } = self.key;
        let purpose = self.purpose.name().into();
        self.manager.inner.env.state(Fact::Deregistered { region, term, index, purpose });
    }
}

/// A snapshot on disk, as the collector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Made here or received.
    pub side: Side,
    /// Which.
    pub key: Key,
    /// Whether all files are there.
    pub complete: bool,
    /// Bytes of its files.
    pub bytes: u64,
    /// How long this process has known it.
    pub age: Duration,
    /// Whether somebody uses it.
    pub registered: bool,
}

impl Manager {
    /// Opens the directory, creating it if missing. Files that nobody finished, and clones that the engine has not
    /// taken in, are removed: so the engine has to be open before.
    pub async fn open(env: Env, options: Options) -> Result<Manager, Error> {
        let dir = options.dir.clone();
        env.disk.create_dir(&dir).await.map_err(|error| Error::io("create", &dir, error))?;
        let parent = dir.rsplit_once('/').map_or("", |(parent, _)| parent);
        env.disk.sync_dir(parent).await.map_err(|error| Error::io("sync", parent, error))?;
        let manager = Manager { inner: Arc::new(Inner { env, options, state: Mutex::default() }) };
        let names = manager.names().await?;
        for name in names.iter().filter(|name| name.ends_with(".tmp") || name.ends_with(".clone")) {
            let stem = name.strip_suffix(".tmp").or(name.strip_suffix(".clone")).unwrap_or(name);
            let key = file::parse(stem).map_or(Key { region: 0, term: 0, index: 0 }, |(_, key)| key);
            manager.remove_file(key, &format!("{dir}/{name}"), "leftover").await?;
        }
        manager.sync_dir().await?;
        manager.list().await?;
        Ok(manager)
    }

    /// The options it was opened with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The paths of a snapshot.
    pub fn files(&self, side: Side, key: Key) -> Files {
        Files::new(&self.inner.options.dir, side, key)
    }

    /// Keeps a snapshot's files from being removed. Refused while they are being removed.
    pub fn register(&self, key: Key, purpose: Use) -> Result<Registration, Error> {
        {
            let mut state = self.inner.state.lock();
            if state.removing.contains(&key) {
                return Err(Error::BeingRemoved { key });
            }
            state.registered.entry(key).or_default().push(purpose);
        }
        let Key { region, term, index } = key;
        self.inner.env.state(Fact::Registered { region, term, index, purpose: purpose.name().into() });
        Ok(Registration { manager: self.clone(), key, purpose })
    }

    /// What a snapshot is being used for.
    pub fn uses(&self, key: Key) -> Vec<Use> {
        self.inner.state.lock().registered.get(&key).cloned().unwrap_or_default()
    }

    /// Notes which received snapshot the durable state of a region wants applied. The store says so *before* it writes the
    /// state Applying, at recovery, and (with none) after it has made a tombstone durable.
    pub fn set_durable_applying(&self, region: RegionId, key: Option<Key>) {
        let mut state = self.inner.state.lock();
        match key {
            Some(key) => state.durable.insert(region, key),
            None => state.durable.remove(&region),
        };
    }

    /// The received snapshot that the durable state of a region wants applied.
    pub fn durable_applying(&self, region: RegionId) -> Option<Key> {
        self.inner.state.lock().durable.get(&region).copied()
    }

    /// Whether all files of a snapshot are there.
    pub async fn exists(&self, side: Side, key: Key) -> Result<bool, Error> {
        for path in self.files(side, key).all() {
            let found = self.inner.env.disk.stat(&path).await.map_err(|error| Error::io("look for", &path, error))?;
            if !matches!(found, Some(Stat::File(_))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A complete snapshot's meta file.
    pub async fn meta(&self, files: &Files) -> Result<Meta, Error> {
        let path = files.meta();
        Meta::decode_file(&self.read(&path).await?, &path)
    }

    /// How many snapshots are sent or received now.
    pub fn transfers(&self) -> u64 {
        let state = self.inner.state.lock();
        (state.sends + state.receives) as u64
    }

    /// Bytes of all complete snapshots.
    pub fn total_bytes(&self) -> u64 {
        self.inner.state.lock().known.values().map(|known| known.bytes).sum()
    }

    /// All snapshots on disk, the oldest first.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut files: BTreeMap<(Side, Key), usize> = BTreeMap::new();
        for name in self.names().await? {
            if let Some(found) = file::parse(&name) {
                *files.entry(found).or_default() += 1;
            }
        }
        let mut listed = Vec::new();
        for ((side, key), count) in files {
            // Asked in this order: what was unfinished when its name was read and has been finished since is known by now.
            let (registered, known) = {
                let state = self.inner.state.lock();
                (state.registered.contains_key(&key), state.known.get(&(side, key)).copied())
            };
            let known = match known {
                Some(known) => known,
                None => {
                    let complete = count == FAMILIES.len() + 1;
                    let bytes = self.measure(side, key).await?;
                    let known = Known { bytes, complete, since: self.inner.env.now() };
                    self.inner.state.lock().known.entry((side, key)).or_insert(known);
                    known
                }
            };
            let age = self.inner.env.now().since(known.since);
            let complete = known.complete;
            listed.push((known.since, Listed { side, key, complete, bytes: known.bytes, age, registered }));
        }
        listed.sort_by_key(|(since, listed)| (*since, listed.side, listed.key));
        Ok(listed.into_iter().map(|(_, listed)| listed).collect())
    }

    /// The snapshots that nobody uses, the oldest first.
    pub async fn list_idle(&self) -> Result<Vec<Listed>, Error> {
        Ok(self.list().await?.into_iter().filter(|listed| !listed.registered).collect())
    }

    /// Removes a snapshot's files; answers whether it did. Refused while the snapshot is registered; with `check_entry`,
    /// by whom holds a registration of its own: while it is registered more than once.
    pub async fn delete(&self, side: Side, key: Key, check_entry: bool, reason: &'static str) -> Result<bool, Error> {
        {
            let mut state = self.inner.state.lock();
            let registered = state.registered.get(&key).map_or(0, Vec::len);
            if registered > usize::from(check_entry) || !state.removing.insert(key) {
                return Ok(false);
            }
        }
        let mut result = Ok(());
        for path in self.files(side, key).all() {
            result = result.and(self.remove_file(key, &path, reason).await);
        }
        result = result.and(self.sync_dir().await);
        let mut state = self.inner.state.lock();
        state.removing.remove(&key);
        state.known.remove(&(side, key));
        drop(state);
        result.map(|()| true)
    }

    /// Notes that a snapshot is complete.
    fn completed(&self, side: Side, key: Key, bytes: u64) {
        let known = Known { bytes, complete: true, since: self.inner.env.now() };
        self.inner.state.lock().known.insert((side, key), known);
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        let dir = &self.inner.options.dir;
        self.inner.env.disk.list(dir).await.map_err(|error| Error::io("list", dir, error))
    }

    async fn measure(&self, side: Side, key: Key) -> Result<u64, Error> {
        let mut bytes = 0;
        for path in self.files(side, key).all() {
            let found = self.inner.env.disk.stat(&path).await.map_err(|error| Error::io("measure", &path, error))?;
            bytes += if let Some(Stat::File(len)) = found { len } else { 0 };
        }
        Ok(bytes)
    }

    async fn read(&self, path: &str) -> Result<Bytes, Error> {
        let failed = |error| Error::io("read", path, error);
        let file = self.inner.env.disk.open(path, Open::Read).await.map_err(failed)?;
        let len = file.len().await.map_err(failed)?;
        read_exact_at(&*file, 0, usize::try_from(len).expect("files fit in memory")).await.map_err(failed)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.inner.env.disk.rename(from, to).await.map_err(|error| Error::io("rename", from, error))
    }

    /// Removes a file, which may be missing.
    async fn remove_file(&self, key: Key, path: &str, reason: &'static str) -> Result<(), Error> {
        let found = self.inner.env.disk.stat(path).await.map_err(|error| Error::io("look for", path, error))?;
        if found.is_none() {
            return Ok(());
        }
        let Key { region, term, index } = key;
        let path_text = Text::from(path.to_owned());
        self.inner.env.state(Fact::RemovingFile { region, term, index, path: path_text, reason: reason.into() });
        match self.inner.env.disk.remove(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|error| Error::io("remove", path, error)),
        }
    }

    /// Removes what an unfinished snapshot left, its lock last.
    async fn discard(&self, files: &Files) -> Result<(), Error> {
        for family in FAMILIES {
            let path = files.table(family);
            self.remove_file(files.key, &file::temporary(&path), "failed").await?;
            self.remove_file(files.key, &path, "failed").await?;
        }
        self.remove_file(files.key, &file::temporary(&files.meta()), "failed").await
    }

    /// Writes the meta file and makes the snapshot complete: everything before is durable, then the name is.
    async fn commit(&self, files: &Files, meta: &Meta, lock: &dyn crate::env::File) -> Result<(), Error> {
        let path = files.meta();
        let temporary = file::temporary(&path);
        self.sync_dir().await?;
        let content = meta.encode_file();
        let bytes = meta.bytes() + content.len() as u64;
        lock.append(content).await.map_err(|error| Error::io("write", &temporary, error))?;
        lock.sync().await.map_err(|error| Error::io("sync", &temporary, error))?;
        self.rename(&temporary, &path).await?;
        self.sync_dir().await?;
        self.completed(files.side, files.key, bytes);
        Ok(())
    }

    async fn sync_dir(&self) -> Result<(), Error> {
        let dir = &self.inner.options.dir;
        self.inner.env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))
    }
}
