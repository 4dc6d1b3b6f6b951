//! The raft log: all regions of a store in one append stream of segments, apart from the engine.
//!
//! A [`LogBatch`] reaches the stream whole or not at all. Terms and places of all entries are in memory, and so are the
//! newest entries; older ones are read back from the segments. Compacted and cleared logs leave dead bytes behind, which
//! [`RaftLog::collect`] removes a segment at a time, oldest first, moving small remains to the end.
//!
//! The first failed write or sync stops the log for good: what a failed sync left behind is unknown, and asking again
//! would only hide that.
//!
//! Not here: what the entries mean, and being atomic with the engine. Recovery of a store has to cope with a crash
//! between the two.

mod collect;
pub mod fact;
mod layout;
mod memory;
mod migrate;
mod record;
mod recover;
mod segment;
pub mod site;

#[cfg(test)]
pub(crate) mod room;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;
use raft::eraftpb::Entry;

use crate::{
    env::{Env, Open, read_exact_at},
    fact::{Mark, Marks, Text},
    region::{PeerId, RegionId},
};
use fact::Fact;
pub use layout::Layout;
use memory::{Memory, Place, Segment, size};
pub use migrate::{check, export, take_over};
pub use record::{HardState, LogBatch, mark};
use record::{Op, take_entry};
use segment::{FRAME, Frame, HEADER};

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which directory it lies in.
    pub layout: Layout,
    /// A segment that has reached this many bytes takes no more frames.
    pub segment_bytes: u64,
    /// Entries in memory, per store; those not yet on disk are kept beyond it.
    pub cache_bytes: usize,
    /// A segment whose living entries are at most this many bytes may be emptied by moving them.
    pub rewrite_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { layout: Layout::New, segment_bytes: 32 << 20, cache_bytes: 32 << 20, rewrite_bytes: 4 << 20 }
    }
}

/// Why the raft log refuses.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed.
    #[error("raft log: cannot {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: String,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// A file does not hold what was written, in a way that no crash explains.
    #[error("raft log: {path} is corrupt at {offset}: {detail}")]
    Corrupt {
        /// The file.
        path: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        detail: &'static str,
    },
    /// A region's log read back has a hole.
    #[error("raft log: region {region} has no entry before index {index}")]
    Gap {
        /// The region.
        region: RegionId,
        /// The entry behind the hole.
        index: u64,
    },
    /// A log lies where this release does not look for it. Nothing in the directory was changed.
    #[error("raft log: `{path}` is of raft-log version {layout}, which release {release} does not read")]
    Refused {
        /// Its directory.
        path: String,
        /// The version of its layout.
        layout: u64,
        /// The release that does not read it.
        release: &'static str,
    },
    /// Both layouts hold a log, and nothing says which one counts.
    #[error("raft log: both `{old}` and `{new}` hold a log")]
    TwoLogs {
        /// The old layout's directory.
        old: String,
        /// The new layout's.
        new: String,
    },
    /// The log has stopped after an earlier failure.
    #[error("raft log: stopped: {0}")]
    Stopped(Arc<Error>),
    /// A write was abandoned half way, so that what the file holds is unknown.
    #[error("raft log: an earlier write to {path} was abandoned half way")]
    Abandoned {
        /// The segment.
        path: String,
    },
    /// Entries were asked for that the log does not have.
    #[error("raft log: region {region} has no entries {low}..{high}")]
    Missing {
        /// The region.
        region: RegionId,
        /// The first one asked for.
        low: u64,
        /// The one behind the last.
        high: u64,
    },
}

impl Error {
    fn io(action: &'static str, path: &str, source: io::Error) -> Error {
        Error::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// One region's log as read back at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The peer that wrote it.
    pub peer: PeerId,
    /// Its hard state; all zero when none was written.
    pub hard_state: HardState,
    /// The position behind which the log goes on, and its term if that is known.
    pub truncated: (u64, Option<u64>),
    /// The index of the first entry, or of the next one when there is none.
    pub first_index: u64,
    /// The index of the last entry, or the truncated one when there is none.
    pub last_index: u64,
    /// The entries.
    pub entries: Vec<Mark>,
}

/// Entries of a range, as far as memory has them.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetch {
    /// The entries, cut where the byte limit says; at least one for a range that is not empty.
    Ready(Vec<Entry>),
    /// They have to be read: ask [`RaftLog::fetch`].
    Cold,
    /// The first one was compacted away.
    Compacted,
    /// The last one is behind the end of the log, or the region has no log.
    Missing,
}

/// The log of all regions of a store. Cheap to clone.
#[derive(Clone)]
pub struct RaftLog {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    dir: String,
    options: Options,
    memory: Mutex<Memory>,
    writer: tokio::sync::Mutex<Writer>,
}

/// Where the next frame goes.
struct Writer {
    /// None before the first segment.
    active: Option<Segment>,
    number: u64,
    end: u64,
    synced: u64,
    sequence: u64,
    /// Set while the file is being written, and left set by whoever gives up in between.
    busy: bool,
    stopped: Option<Arc<Error>>,
}

impl RaftLog {
    /// Opens the log in the layout's directory inside `dir`, creating it if missing, and reads back what it holds.
    pub async fn open(
        env: Env,
        dir: &str,
        options: Options,
    ) -> Result<(RaftLog, BTreeMap<RegionId, Recovered>), Error> {
        let path = options.layout.path(dir);
        env.disk.create_dir(&path).await.map_err(|error| Error::io("create", &path, error))?;
        env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
        let replayed = recover::replay(&env, &path, &options).await?;
        env.disk.sync_dir(&path).await.map_err(|error| Error::io("sync", &path, error))?;
        let mut regions = BTreeMap::new();
        for ((region, log), marks) in replayed.memory.logs.iter().zip(replayed.marks.into_values()) {
            let recovered = Recovered {
                peer: log.peer,
                hard_state: log.hard,
                truncated: (log.base.index, log.term(log.base.index)),
                first_index: log.first(),
                last_index: log.last(),
                entries: marks,
            };
            regions.insert(*region, recovered);
        }
        let active = replayed.end.and_then(|_| replayed.memory.segments.values().next_back().cloned());
        let end = replayed.end.unwrap_or(0);
        let writer = Writer {
            number: replayed.next_segment - 1,
            end,
            synced: end,
            sequence: replayed.sequence,
            busy: false,
            stopped: None,
            active,
        };
        env.state(Fact::Opened { regions: regions.len() as u64, records: replayed.records, torn: replayed.torn });
        if let Some(active) = &writer.active {
            env.state(Fact::Synced { file: active.path.clone(), end });
        }
        for (region, found) in &regions {
            let HardState { term, vote, commit } = found.hard_state;
            env.state(Fact::Recovered {
                region: *region,
                peer: found.peer,
                first: found.first_index,
                marks: Marks(found.entries.as_slice().into()),
                term,
                vote,
                commit,
            });
        }
        let inner = Inner {
            env,
            dir: path,
            options,
            memory: Mutex::new(replayed.memory),
            writer: tokio::sync::Mutex::new(writer),
        };
        Ok((RaftLog { inner: Arc::new(inner) }, regions))
    }

    /// Makes a batch's changes visible to readers before it is written. Batches of one region must be written in the
    /// order in which they were staged, and each has to be: until then the disk's view of their logs is kept. Staging
    /// twice has no effect.
    pub fn stage(&self, batch: &mut LogBatch) {
        if batch.staged.is_none() && !batch.is_empty() {
            batch.staged = Some(self.inner.memory.lock().stage(&mut batch.ops));
        }
    }

    /// Appends the batch, staging it if that was not done, and syncs if told to. After an error nothing is written any
    /// more: every further call answers [`Error::Stopped`].
    pub async fn write(&self, mut batch: LogBatch, sync: bool) -> Result<(), Error> {
        let mut writer = self.inner.writer.lock().await;
        self.stage(&mut batch);
        self.inner.guarded(&mut writer, Some(&batch), sync).await
    }

    /// Syncs what was written.
    pub async fn sync(&self) -> Result<(), Error> {
        let mut writer = self.inner.writer.lock().await;
        self.inner.guarded(&mut writer, None, true).await
    }

    /// The term of an entry, or of the position right before the first one.
    pub fn term(&self, region: RegionId, index: u64) -> Option<u64> {
        self.inner.memory.lock().logs.get(&region)?.term(index)
    }

    /// The index of the first entry, or of the next one when there is none; `None` when the region has no log.
    pub fn first_index(&self, region: RegionId) -> Option<u64> {
        Some(self.inner.memory.lock().logs.get(&region)?.first())
    }

    /// The index of the last entry, or the one before the next when there is none; `None` when the region has no log.
    pub fn last_index(&self, region: RegionId) -> Option<u64> {
        Some(self.inner.memory.lock().logs.get(&region)?.last())
    }

    /// The newest hard state.
    pub fn hard_state(&self, region: RegionId) -> Option<HardState> {
        Some(self.inner.memory.lock().logs.get(&region)?.hard)
    }

    /// Data bytes of the entries that memory holds.
    pub fn cached_bytes(&self) -> usize {
        self.inner.memory.lock().cached_bytes()
    }

    /// Bytes of the segments on disk, whether alive or not.
    pub async fn disk_bytes(&self) -> Result<u64, Error> {
        let segments: Vec<Segment> = self.inner.memory.lock().segments.values().cloned().collect();
        let mut total = 0;
        for segment in segments {
            total += segment.file.len().await.map_err(|error| Error::io("measure", segment.path.as_str(), error))?;
        }
        Ok(total)
    }

    /// Entries `low..high` from memory, at most `max_bytes` of them but at least one.
    pub fn entries(&self, region: RegionId, low: u64, high: u64, max_bytes: u64) -> Fetch {
        let memory = self.inner.memory.lock();
        let Some(log) = memory.logs.get(&region) else { return Fetch::Missing };
        if low < log.first() {
            return Fetch::Compacted;
        }
        if high > log.last() + 1 {
            return Fetch::Missing;
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in low..high {
            let Some(entry) = log.slot(index).and_then(|slot| slot.cached.as_ref()) else { return Fetch::Cold };
            bytes += size(entry) as u64;
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push((**entry).clone());
        }
        Fetch::Ready(entries)
    }

    /// Entries `low..high`, read back where memory does not have them; at most `max_bytes` but at least one.
    pub async fn fetch(&self, region: RegionId, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, Error> {
        let mut found = Vec::new();
        {
            let memory = self.inner.memory.lock();
            let missing = Error::Missing { region, low, high };
            let log = memory.logs.get(&region).ok_or(missing.clone())?;
            let mut bytes = 0;
            for index in low..high {
                let slot = log.slot(index).ok_or(missing.clone())?;
                bytes += match (&slot.cached, slot.place) {
                    (Some(entry), _) => size(entry) as u64,
                    (None, place) => u64::from(place.expect("an entry is in memory or has a place").len),
                };
                if bytes > max_bytes && !found.is_empty() {
                    break;
                }
                found.push(match (&slot.cached, slot.place) {
                    (Some(entry), _) => Found::Here((**entry).clone()),
                    (None, place) => {
                        let place = place.expect("an entry is in memory or has a place");
                        let segment = memory.segments.get(&place.segment).expect("a segment with living entries stays");
                        Found::There(place, segment.clone())
                    }
                });
            }
        }
        collect::read(found).await
    }

    /// Removes segments that hold nothing alive, oldest first, moving small remains to the end. Returns how many went.
    pub async fn collect(&self) -> Result<u64, Error> {
        collect::collect(&self.inner).await
    }
}

/// An entry in memory, or where to read it.
enum Found {
    Here(Entry),
    There(Place, Segment),
}

impl Inner {
    /// Runs one write with the log stopped by its failure, and by being abandoned.
    async fn guarded(&self, writer: &mut Writer, batch: Option<&LogBatch>, sync: bool) -> Result<(), Error> {
        if let Some(cause) = &writer.stopped {
            return Err(Error::Stopped(cause.clone()));
        }
        if writer.busy {
            let path = writer.active.as_ref().map_or(&*self.dir, |segment| segment.path.as_str()).to_owned();
            writer.stopped = Some(Arc::new(Error::Abandoned { path: path.clone() }));
            return Err(Error::Abandoned { path });
        }
        writer.busy = true;
        let mut result = Ok(());
        if let Some(batch) = batch.filter(|batch| !batch.is_empty()) {
            result = self.append(writer, batch).await;
        }
        if sync && result.is_ok() {
            result = self.sync(writer).await;
        }
        writer.busy = false;
        if let Err(error) = &result {
            writer.stopped = Some(Arc::new(error.clone()));
        }
        result
    }

    async fn append(&self, writer: &mut Writer, batch: &LogBatch) -> Result<(), Error> {
        if writer.active.is_none() || writer.end >= self.options.segment_bytes {
            self.rotate(writer).await?;
        }
        let Segment { path, file } = writer.active.clone().expect("rotation leaves a segment");
        let (body, spans) = record::encode(FRAME, &batch.ops);
        let frame =
            Frame { segment: writer.number, offset: writer.end, sequence: writer.sequence, durable: writer.synced };
        let bytes = frame.seal(body);
        let len = bytes.len() as u64;
        let at = file.append(bytes).await.map_err(|error| Error::io("append to", path.as_str(), error))?;
        if at != writer.end {
            let detail = "the file does not end where the log left it";
            return Err(Error::Corrupt { path: path.as_str().to_owned(), offset: at, detail });
        }
        writer.end += len;
        writer.sequence += 1;
        self.memory.lock().place(batch.staged, &batch.ops, &spans, (frame.segment, frame.offset));
        self.tell(batch, &path, writer.end);
        Ok(())
    }

    fn tell(&self, batch: &LogBatch, file: &Text, end: u64) {
        for (region, peer, op) in &batch.ops {
            let (region, peer) = (*region, *peer);
            let file = file.clone();
            self.env.state(match op {
                Op::Append(entries) => {
                    Fact::Appended { region, peer, marks: Marks(entries.iter().map(mark).collect()), file, end }
                }
                Op::HardState(HardState { term, vote, commit }) => {
                    Fact::HardStateWritten { region, peer, term: *term, vote: *vote, commit: *commit, file, end }
                }
                Op::Compact { index, .. } => Fact::Compacted { region, peer, index: index + 1 },
                Op::Start { index, term } => Fact::Restarted { region, peer, index: *index, term: *term, file, end },
                Op::Clear => Fact::Cleared { region, peer },
                Op::Move(_) | Op::Base { .. } => continue,
            });
        }
    }

    async fn sync(&self, writer: &mut Writer) -> Result<(), Error> {
        let Some(Segment { path, file }) = writer.active.clone() else { return Ok(()) };
        if writer.synced == writer.end {
            return Ok(());
        }
        file.sync().await.map_err(|error| Error::io("sync", path.as_str(), error))?;
        writer.synced = writer.end;
        self.env.state(Fact::Synced { file: path, end: writer.end });
        Ok(())
    }

    /// Begins a segment. What came before is synced first, so that only the last segment can have a torn end.
    async fn rotate(&self, writer: &mut Writer) -> Result<(), Error> {
        self.sync(writer).await?;
        let number = writer.number + 1;
        let path = layout::join(&self.dir, &segment::name(number));
        let made = self.env.disk.open(&path, Open::Truncate).await;
        let file = made.map_err(|error| Error::io("create", &path, error))?;
        let header = segment::header(number, writer.sequence);
        file.append(header).await.map_err(|error| Error::io("append to", &path, error))?;
        file.sync().await.map_err(|error| Error::io("sync", &path, error))?;
        self.env.disk.sync_dir(&self.dir).await.map_err(|error| Error::io("sync", &self.dir, error))?;
        let segment = Segment { path: Text::from(path), file };
        self.memory.lock().segments.insert(number, segment.clone());
        writer.active = Some(segment);
        writer.number = number;
        writer.end = HEADER as u64;
        writer.synced = HEADER as u64;
        Ok(())
    }
}
