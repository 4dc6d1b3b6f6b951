//! The storage engine: column families over one write-ahead log, as a log-structured merge tree.
//!
//! A write goes through [`write`] into the write-ahead log ([`log`]) and the [`memtable`]; a full memtable is written out
//! ([`flush`]) as a sorted [`table`]; tables are merged into deeper levels ([`compaction`]); the [`manifest`] records which
//! tables there are. Reads ([`read`]) look at memtables and tables, newest first, without locks; a [`Snapshot`] pins both.
//! All of it touches the disk only through [`Env`], in four tasks of the process.
//!
//! After a failed write or sync the engine takes no more writes: what reached the disk is then unknown, and only recovery
//! ([`recover`]) finds out. Failed reads are tried again a few times and change nothing.
//!
//! Large values lie in [`blob`] files, to which tables refer. Which of their formats are written and read is the release's
//! business ([`format`]); what a release cannot read it refuses before it has changed anything.
//!
//! Not here: what keys mean, except that versions of user keys are collected below a safe point ([`record`]).

mod batch;
mod blob;
mod block;
mod cache;
mod compaction;
mod cursor;
mod error;
pub mod fact;
mod files;
mod filter;
mod flush;
mod format;
mod ingest;
mod log;
mod manifest;
mod memtable;
mod range;
mod read;
pub mod record;
mod recover;
pub mod site;
mod state;
pub mod table;
mod tombstone;
mod varint;
mod version;
mod write;

use std::sync::{Arc, atomic::Ordering::SeqCst};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use batch::{Family, WriteBatch};
pub use error::Error;
pub use read::{Iter, Snapshot};
pub use state::SafePoint;

use crate::{env::Env, release::Release};
use compaction::{Asked, Compactor};
use recover::Recovered;
use state::Shared;
use write::{Desk, Request, Writer};

/// Sizes and limits of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// A memtable of so many bytes is written out.
    pub memtable_bytes: usize,
    /// Writes wait while so many full memtables wait to be written out.
    pub immutable_max: usize,
    /// Level 0 is merged once it holds so many tables.
    pub level_zero_files: usize,
    /// Writes wait while level 0 of a family holds so many tables.
    pub level_zero_stall: usize,
    /// Level 1 is merged once it holds more than so many bytes.
    pub level_base_bytes: u64,
    /// Each level may hold so many times the bytes of the one above.
    pub level_ratio: u64,
    /// A compaction cuts its outputs at so many bytes.
    pub table_bytes: u64,
    /// A block of a table is cut at so many bytes.
    pub block_bytes: usize,
    /// From which level on blocks are compressed when it saves an eighth. What lies above is soon written again.
    pub compress_from: usize,
    /// How many bytes of blocks are kept in memory.
    pub cache_bytes: usize,
    /// Values of the family `default` from so many bytes on go to blob files.
    pub blob_bytes_min: usize,
    /// A blob file takes no more values once it has so many bytes.
    pub blob_file_bytes: u64,
    /// A blob file is collected once so many of a million of its bytes are dead.
    pub blob_dead_per_million: u64,
    /// The release whose formats are written and read.
    pub release: &'static Release,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            memtable_bytes: 3 << 19,
            immutable_max: 3,
            level_zero_files: 4,
            level_zero_stall: 16,
            level_base_bytes: 4 << 20,
            level_ratio: 8,
            table_bytes: 1 << 20,
            block_bytes: 4 << 10,
            compress_from: 2,
            cache_bytes: 4 << 20,
            blob_bytes_min: 32 << 10,
            blob_file_bytes: 64 << 20,
            blob_dead_per_million: 500_000,
            release: Release::newest(),
        }
    }
}

impl Options {
    /// How the tables of a level are written.
    fn style(&self, level: usize) -> table::Style {
        table::Style { block_bytes: self.block_bytes, compress: level >= self.compress_from }
    }
}

/// An open engine. Cheap to clone; its tasks end when it is stopped, or with the last clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    desk: Desk,
    _last: Arc<StopOnDrop>,
}

struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Engine {
    /// Opens the engine in `dir`, which is created if it is missing, and recovers what it holds.
    pub async fn open(env: Env, dir: &str, options: Options) -> Result<Engine, Error> {
        let Recovered { start, log } = recover::open(&env, dir, &options).await?;
        let sequence = start.sequence;
        let shared = Arc::new(Shared::new(env, dir.to_owned(), options, start));
        let desk = Desk::new(Writer::new(shared.clone(), log, sequence));
        let engine = Engine { shared: shared.clone(), desk: desk.clone(), _last: Arc::new(StopOnDrop(shared.clone())) };
        engine.spawn("engine-write", desk.serve(shared.clone()));
        engine.spawn("engine-flush", flush::run(shared.clone()));
        engine.spawn("engine-compact", Compactor::new(shared.clone()).run());
        engine.spawn("engine-remove", files::run(shared));
        Ok(engine)
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shared = self.shared.clone();
        shared.running.fetch_add(1, SeqCst);
        let task = async move {
            task.await;
            shared.running.fetch_sub(1, SeqCst);
            shared.progress.notify_waiters();
        };
        let _ = self.shared.env.spawn(name, task);
    }

    /// Writes a batch whole or not at all, over all families. With `sync` it is durable on return; without, it is visible,
    /// and a crash loses it only together with everything after it. After an error it is unknown whether it was written.
    pub async fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), Error> {
        if batch.is_empty() && !sync {
            return Ok(());
        }
        self.shared.queue.ask(&self.shared, Request::Write { batch, sync }).await
    }

    /// Writes like [`Engine::write`], in the caller's own task when nobody else is writing. The caller promises to wait for
    /// the end: if the future is dropped in the middle, the engine takes no further write.
    pub async fn write_to_the_end(&self, batch: WriteBatch, sync: bool) -> Result<(), Error> {
        match self.desk.write(&self.shared, batch, sync).await {
            Ok(done) => done,
            Err(batch) => self.write(batch, sync).await,
        }
    }

    /// Makes all earlier writes durable.
    pub async fn sync(&self) -> Result<(), Error> {
        self.write(WriteBatch::new(), true).await
    }

    /// The value of a key.
    pub async fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let (sources, sequence) = self.shared.view();
        read::get(&sources, sequence, family, key).await
    }

    /// The first key in `[start, end)` that has a value; an empty `end` is the end of the family.
    ///
    /// The newest version of a user key is `first(Family::Write, &data_key(key), &versions_end(key))`: such a search looks
    /// only at tables whose filters know the user key.
    pub async fn first(&self, family: Family, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, Error> {
        let (sources, sequence) = self.shared.view();
        read::first(&sources, sequence, family, start, end).await
    }

    /// A consistent view of all families as of now.
    pub fn snapshot(&self) -> Snapshot {
        let (sources, sequence) = self.shared.view();
        Snapshot::new(sources, sequence)
    }

    /// Moves external tables into the engine, all or none, newer than every write before. Durable on return.
    ///
    /// Each file was finished by [`table::Writer`] on the same disk. Until this has succeeded the files must stay; after
    /// an error or a crash they are either all at their place, and not ingested, or will be ingested when the engine opens.
    pub async fn ingest(&self, files: Vec<(Family, String)>) -> Result<(), Error> {
        let arrivals = ingest::examine(&self.shared.env, files).await?;
        self.shared.queue.ask(&self.shared, Request::Ingest(arrivals)).await
    }

    /// Writes everything that is in memory out as tables.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.queue.ask(&self.shared, Request::Rotate).await?;
        let newest = self.shared.sources().immutable.first().and_then(|memtable| memtable.segments.last().copied());
        let Some(newest) = newest else { return Ok(()) };
        let flushed = |shared: &Shared| !shared.sources().immutable.iter().any(|table| table.segments[0] <= newest);
        self.shared.wait_until(|shared| flushed(shared) || shared.refusal().is_some()).await;
        if flushed(&self.shared) { Ok(()) } else { Err(self.shared.refusal().unwrap_or(Error::Stopped)) }
    }

    /// Writes out what is in memory, then merges every table that meets `[start, end)` into one level. What was
    /// overwritten or deleted, and versions below the safe point, are gone afterwards.
    pub async fn compact(&self, family: Family, start: Bytes, end: Bytes) -> Result<(), Error> {
        self.flush().await?;
        let (reply, answer) = oneshot::channel();
        match &mut *self.shared.asked.lock() {
            Some(asked) => asked.push_back(Asked { family, start, end, reply }),
            None => return Err(self.shared.refusal().unwrap_or(Error::Stopped)),
        }
        self.shared.progress.notify_waiters();
        answer.await.unwrap_or_else(|_| Err(self.shared.refusal().unwrap_or(Error::Stopped)))
    }

    /// About how many bytes its data takes: tables, and what waits to become one.
    pub fn total_bytes(&self) -> u64 {
        let sources = self.shared.sources();
        let waiting: usize = sources.memtables().map(|memtable| memtable.bytes()).sum();
        sources.version.bytes() + waiting as u64
    }

    /// Sets the function that says, for a user key, below which timestamp its versions may be collected.
    ///
    /// At or below it the newest version is kept, unless it is a deletion; older ones are dropped by compactions.
    pub fn set_safe_point(&self, safe_point: SafePoint) {
        *self.shared.safe_point.write() = Some(safe_point);
    }

    /// Why the engine takes no writes any more: the first failed write or sync, or corruption that a task met.
    pub fn failed(&self) -> Option<Error> {
        self.shared.failure()
    }

    /// Until the engine has failed; answers why.
    pub async fn until_failed(&self) -> Error {
        self.shared.until_failed().await
    }

    /// Ends the engine's tasks and makes what was written durable. Requests that come later are refused.
    pub async fn stop(&self) -> Result<(), Error> {
        self.shared.stop();
        self.shared.wait_until(|shared| shared.running.load(SeqCst) == 0).await;
        self.shared.failure().map_or(Ok(()), Err)
    }
}
