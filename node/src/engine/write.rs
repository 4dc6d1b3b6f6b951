//! The one writer: group commit, memtable rotation, write stalls, ingestion.
//!
//! Callers leave requests in a queue and wait for the answer; a caller that goes away leaves nothing half done. A task
//! takes all waiting requests as one group: one append to the write-ahead log, at most one sync, then the memtable.
//! A group becomes visible whole, after it is as durable as its members asked.
//!
//! A caller that stays to the end of its write may take the writer from the [`Desk`] when nobody waits, and spares
//! itself the way through the task. Whoever goes away with the writer has ended the engine: half a write is never followed.

use std::{collections::VecDeque, sync::Arc};

use failpoints::point;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::{
    engine::{
        batch::WriteBatch,
        error::{Doing, Error},
        files,
        ingest::Arrival,
        log::LogWriter,
        memtable::MemTable,
        site,
        state::{Shared, Sources},
    },
    env::Open,
};

/// What callers ask of the task.
pub(crate) enum Request {
    Write {
        batch: WriteBatch,
        sync: bool,
    },
    /// Makes the memtable immutable.
    Rotate,
    Ingest(Vec<Arrival>),
}

/// A request, and where its answer goes.
pub(crate) struct Asked {
    request: Request,
    reply: oneshot::Sender<Result<(), Error>>,
}

/// Requests that wait for the task.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<(VecDeque<Asked>, bool)>,
    pub(crate) wake: Notify,
}

impl Queue {
    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, shared: &Shared, request: Request) -> Result<(), Error> {
        if let Some(refusal) = shared.refusal() {
            return Err(refusal);
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.1 {
                return Err(shared.refusal().unwrap_or(Error::Stopped));
            }
            waiting.0.push_back(Asked { request, reply });
        }
        self.wake.notify_one();
        answer.await.unwrap_or_else(|_| Err(shared.refusal().unwrap_or(Error::Stopped)))
    }

    fn is_empty(&self) -> bool {
        self.waiting.lock().0.is_empty()
    }

    fn take(&self) -> VecDeque<Asked> {
        std::mem::take(&mut self.waiting.lock().0)
    }

    /// Refuses everything that waits and everything that comes.
    fn close(&self) -> VecDeque<Asked> {
        let mut waiting = self.waiting.lock();
        waiting.1 = true;
        std::mem::take(&mut waiting.0)
    }
}

/// Where the writer lies while nobody writes. Empty for good once a write was left half done.
#[derive(Clone)]
pub(crate) struct Desk(Arc<tokio::sync::Mutex<Option<Writer>>>);

impl Desk {
    pub(crate) fn new(writer: Writer) -> Desk {
        Desk(Arc::new(tokio::sync::Mutex::new(Some(writer))))
    }

    /// Writes a batch at once if nobody else writes or waits to, and gives it back otherwise. The future must be polled to
    /// its end.
    pub(crate) async fn write(
        &self,
        shared: &Shared,
        batch: WriteBatch,
        sync: bool,
    ) -> Result<Result<(), Error>, WriteBatch> {
        let Ok(mut lying) = self.0.try_lock() else { return Err(batch) };
        if !shared.queue.is_empty() || shared.refusal().is_some() {
            return Err(batch);
        }
        let Some(mut writer) = lying.take() else { return Err(batch) };
        let done = writer.commit([batch], sync).await;
        *lying = Some(writer);
        Ok(done)
    }

    /// Serves the queue until the engine stops or fails.
    pub(crate) async fn serve(self, shared: Arc<Shared>) {
        while shared.failure().is_none() {
            let mut asked = shared.queue.take();
            if asked.is_empty() && !shared.is_stopping() {
                shared.queue.wake.notified().await;
                continue;
            }
            let mut lying = self.0.lock().await;
            let Some(mut writer) = lying.take() else { break };
            let last = asked.is_empty();
            if last {
                if let Err(error) = writer.log.sync().await {
                    shared.fail(&error);
                }
            } else {
                writer.work_off(&mut asked).await;
            }
            *lying = Some(writer);
            if last {
                break;
            }
        }
        let refusal = shared.refusal().unwrap_or(Error::Stopped);
        for Asked { reply, .. } in shared.queue.close() {
            let _ = reply.send(Err(refusal.clone()));
        }
    }
}

/// What the writer knows.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: LogWriter,
    sequence: u64,
}

/// A group takes no further batch once it holds so many bytes.
const GROUP_BYTES_MAX: usize = 1 << 20;

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, log: LogWriter, sequence: u64) -> Writer {
        Writer { shared, log, sequence }
    }

    async fn work_off(&mut self, asked: &mut VecDeque<Asked>) {
        while let Some(Asked { request, reply }) = asked.pop_front() {
            match request {
                Request::Write { batch, sync } => self.group(batch, sync, reply, asked).await,
                Request::Rotate => drop(reply.send(self.rotate_unless_empty().await)),
                Request::Ingest(files) => drop(reply.send(self.ingest(files).await)),
            }
        }
    }

    /// Writes a batch together with the batches that wait right behind it.
    async fn group(
        &mut self,
        batch: WriteBatch,
        mut sync: bool,
        reply: oneshot::Sender<Result<(), Error>>,
        asked: &mut VecDeque<Asked>,
    ) {
        let mut bytes = batch.bytes();
        let mut batches = vec![batch];
        let mut replies = vec![reply];
        while bytes < GROUP_BYTES_MAX {
            match asked.pop_front() {
                Some(Asked { request: Request::Write { batch, sync: also }, reply }) => {
                    bytes += batch.bytes();
                    sync |= also;
                    batches.push(batch);
                    replies.push(reply);
                }
                Some(other) => {
                    asked.push_front(other);
                    break;
                }
                None => break,
            }
        }
        let result = self.commit(batches, sync).await;
        for reply in replies {
            let _ = reply.send(result.clone());
        }
    }

    async fn commit(
        &mut self,
        batches: impl AsRef<[WriteBatch]> + IntoIterator<Item = WriteBatch>,
        sync: bool,
    ) -> Result<(), Error> {
        self.make_room().await?;
        let done = self.log_group(batches.as_ref(), sync).await;
        self.kept(done)?;
        let memtable = self.shared.sources().memtable.clone();
        let mut next = self.sequence + 1;
        for batch in batches {
            let count = batch.len() as u64;
            batch.stamp_with(next + count - 1);
            memtable.apply(next, batch.into_ops());
            next += count;
        }
        self.sequence = next - 1;
        self.shared.publish(self.sequence);
        Ok(())
    }

    async fn log_group(&mut self, batches: &[WriteBatch], sync: bool) -> Result<(), Error> {
        let mut next = self.sequence + 1;
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            self.log.add(|out| batch.encode(next, out));
            next += batch.len() as u64;
        }
        self.log.write().await?;
        site::fails(point!(self.shared.env.points, site::AFTER_WAL_APPEND).await, "appending to", self.log.path())?;
        if sync {
            self.log.sync().await?;
        }
        Ok(())
    }

    /// Latches a failure.
    fn kept<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.shared.fail(error))
    }

    /// Waits while too much waits to be written out or merged, and replaces a full memtable.
    async fn make_room(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        if let Some(failure) = shared.failure() {
            return Err(failure);
        }
        let options = &shared.options;
        if shared.sources().memtable.bytes() < options.memtable_bytes {
            return Ok(());
        }
        shared
            .wait_until(|shared| {
                let sources = shared.sources();
                let room = sources.immutable.len() < options.immutable_max
                    && sources.version.level_zero_files_max() < options.level_zero_stall;
                room || shared.refusal().is_some()
            })
            .await;
        // A stopping engine still finishes what was asked: its last memtable may grow past its size.
        if shared.is_stopping() {
            return shared.failure().map_or(Ok(()), Err);
        }
        self.rotate_unless_empty().await
    }

    /// Makes the memtable immutable and begins a new one with a new segment of the log.
    async fn rotate_unless_empty(&mut self) -> Result<(), Error> {
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        if self.shared.sources().memtable.is_empty() {
            return Ok(());
        }
        let done = self.rotate().await;
        self.kept(done)
    }

    async fn rotate(&mut self) -> Result<(), Error> {
        // Only the last segment may have a torn tail: the old one is whole before the new one exists.
        self.log.sync().await?;
        let number = self.shared.new_number();
        self.log = create_segment(&self.shared.env, &self.shared.dir, number).await?;
        self.shared.install(|sources| {
            let mut immutable = vec![sources.memtable.clone()];
            immutable.extend(sources.immutable.iter().cloned());
            Sources { memtable: Arc::new(MemTable::new(vec![number])), immutable, version: sources.version.clone() }
        });
        Ok(())
    }

    /// Takes external tables in: newer than every write before, older than every write after.
    async fn ingest(&mut self, files: Vec<Arrival>) -> Result<(), Error> {
        let shared = self.shared.clone();
        let overlaps = |sources: &Sources| {
            files
                .iter()
                .any(|file| sources.memtables().any(|table| table.overlaps(file.family, &file.start, &file.end)))
        };
        if overlaps(&shared.sources()) {
            // What is newer must not lie beneath what is older.
            self.rotate_unless_empty().await?;
            shared.wait_until(|shared| !overlaps(&shared.sources()) || shared.refusal().is_some()).await;
        }
        if let Some(refusal) = shared.refusal() {
            return Err(refusal);
        }
        let synced = self.log.sync().await;
        self.kept(synced)?;
        let sequence = self.sequence + 1;
        let done = crate::engine::ingest::take_in(&shared, files, sequence).await;
        self.kept(done)?;
        self.sequence = sequence;
        Ok(())
    }
}

/// Creates a segment of the write-ahead log whose name is durable.
pub(crate) async fn create_segment(env: &crate::env::Env, dir: &str, number: u64) -> Result<LogWriter, Error> {
    let path = files::segment(dir, number);
    let file = env.disk.open(&path, Open::CreateNew).await.doing("creating", &path)?;
    env.disk.sync_dir(dir).await.doing("syncing", dir)?;
    Ok(LogWriter::new(file, path, number))
}
