//! Reads the segments back at start.
//!
//! A broken end is cut off only where a crash can have left one: in the last segment, with nothing behind it that says
//! it had been synced. Everything else that does not parse is corruption and refuses to open.
//!
//! The last segment is written anew before anyone relies on it. What is read back may be in memory only, and to sync it is
//! not enough: a sync that failed in the life before has made the system forget that it is not on the disk.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use raft::eraftpb::Entry;

use super::{
    Error, Options,
    layout::join,
    memory::{Base, Log, Memory, Place, Segment, Slot},
    record::{self, HardState, Op, Record},
    segment::{self, FRAME, Frame, HEADER},
};
use crate::{
    env::{Env, File, Open, read_exact_at},
    fact::{Mark, Text},
    region::{PeerId, RegionId},
};

/// The writer's position after recovery, and what was found.
pub(super) struct Replayed {
    pub(super) memory: Memory,
    pub(super) marks: BTreeMap<RegionId, Vec<Mark>>,
    /// The end of the active segment; `None` when there is no segment to go on with.
    pub(super) end: Option<u64>,
    pub(super) next_segment: u64,
    pub(super) sequence: u64,
    pub(super) records: u64,
    pub(super) torn: u64,
}

#[derive(Default)]
struct Replay {
    peer: PeerId,
    hard: HardState,
    hard_at: Option<u64>,
    base: Option<Base>,
    base_at: Option<u64>,
    slots: BTreeMap<u64, (Place, Arc<Entry>)>,
}

/// Reads all segments of `dir`.
pub(super) async fn replay(env: &Env, dir: &str, options: &Options) -> Result<Replayed, Error> {
    let at_dir = |error| Error::io("list", dir, error);
    let names = env.disk.list(dir).await.map_err(at_dir)?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let mut memory = Memory::new(options.cache_bytes);
    let mut logs: BTreeMap<RegionId, Replay> = BTreeMap::new();
    let mut end = None;
    let (mut sequence, mut records, mut torn) = (1, 0, 0);
    let mut first = true;
    for (position, number) in numbers.iter().copied().enumerate() {
        let path = join(dir, &segment::name(number));
        let last = position + 1 == numbers.len();
        let corrupt = |offset, detail| Error::Corrupt { path: path.clone(), offset, detail };
        if position > 0 && numbers[position - 1] + 1 != number {
            return Err(corrupt(0, "the segment before it is missing"));
        }
        let file = env.disk.open(&path, Open::Write).await.map_err(|error| Error::io("open", &path, error))?;
        let len = file.len().await.map_err(|error| Error::io("measure", &path, error))?;
        let bytes = read(&*file, len).await.map_err(|error| Error::io("read", &path, error))?;
        let Some(stated) = segment::parse_header(&bytes, number) else {
            // A segment takes frames only once its header is synced, so a last one without a header holds nothing.
            if !last || segment::contradicts_torn_end(&bytes, number, 0) {
                return Err(corrupt(0, "the segment's header is broken"));
            }
            env.state(super::fact::Fact::Removing { path: Text::from(path.clone()) });
            env.disk.remove(&path).await.map_err(|error| Error::io("remove", &path, error))?;
            torn += len;
            // The number is used again: a gap would look like a lost segment.
            return finish(memory, logs, end, number, (sequence, records, torn));
        };
        if !first && stated != sequence {
            return Err(corrupt(0, "the segment does not go on where the one before it ends"));
        }
        first = false;
        sequence = stated;
        let mut at = HEADER;
        while at < bytes.len() {
            let parsed = Frame::parse(&bytes, number, at).filter(|(frame, _)| frame.sequence == sequence);
            let Some((_, body)) = parsed else {
                if !last {
                    return Err(corrupt(at as u64, "a frame is broken and later segments follow"));
                }
                if segment::contradicts_torn_end(&bytes, number, at) {
                    return Err(corrupt(at as u64, "a frame that had been synced is broken"));
                }
                torn += (bytes.len() - at) as u64;
                break;
            };
            let found = record::decode(&body).ok_or_else(|| corrupt(at as u64, "a record does not parse"))?;
            for record in found {
                records += 1;
                apply(&mut logs, record, number, at as u64);
            }
            at += FRAME + body.len();
            sequence += 1;
        }
        let file = if last { write_anew(env, dir, &path, bytes.slice(..at)).await? } else { file };
        end = Some(at as u64);
        memory.segments.insert(number, Segment { path: Text::from(path), file });
    }
    let next = numbers.last().map_or(1, |number| number + 1);
    finish(memory, logs, end, next, (sequence, records, torn))
}

/// Puts a file of these bytes, all of them durable, in the place of the one at `path`.
async fn write_anew(env: &Env, dir: &str, path: &str, bytes: Bytes) -> Result<Arc<dyn File>, Error> {
    let new = join(dir, "log.new");
    let file = env.disk.open(&new, Open::Truncate).await.map_err(|error| Error::io("create", &new, error))?;
    file.append(bytes).await.map_err(|error| Error::io("append to", &new, error))?;
    file.sync().await.map_err(|error| Error::io("sync", &new, error))?;
    env.disk.rename(&new, path).await.map_err(|error| Error::io("rename", &new, error))?;
    env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
    env.disk.open(path, Open::Write).await.map_err(|error| Error::io("open", path, error))
}

async fn read(file: &dyn File, len: u64) -> std::io::Result<Bytes> {
    read_exact_at(file, 0, usize::try_from(len).expect("a segment fits in memory")).await
}

fn apply(logs: &mut BTreeMap<RegionId, Replay>, record: Record, segment: u64, frame: u64) {
    let Record { region, peer, op, spans } = record;
    let log = logs.entry(region).or_insert_with(|| Replay { peer, ..Replay::default() });
    if log.peer != peer {
        *log = Replay { peer, ..Replay::default() };
    }
    let replaces = matches!(op, Op::Append(_));
    match op {
        Op::Append(entries) | Op::Move(entries) => {
            let Some(first) = entries.first().map(|entry| entry.index) else { return };
            if replaces {
                // A gap before the first one is filled by entries that moved to a later segment, or a later record drops
                // what lies behind it; at the end there must be none.
                if log.base.is_some_and(|base| first <= base.index) {
                    log.slots.clear();
                    log.base = Some(Base { index: first - 1, term: 0 });
                    log.base_at = None;
                }
                log.slots.split_off(&first);
            }
            for (entry, span) in entries.into_iter().zip(spans) {
                let offset = frame + (FRAME + span.offset) as u64;
                let place = Place { segment, offset, len: span.len, sum: span.sum };
                log.slots.insert(entry.index, (place, Arc::new(entry)));
            }
        }
        Op::HardState(hard) => {
            log.hard = hard;
            log.hard_at = Some(segment);
        }
        Op::Compact { index, term } => {
            log.slots = log.slots.split_off(&(index + 1));
            log.base = Some(Base { index, term });
            log.base_at = Some(segment);
        }
        Op::Start { index, term } => {
            log.slots.clear();
            log.base = Some(Base { index, term });
            log.base_at = Some(segment);
        }
        Op::Base { index, term } => {
            log.base = Some(Base { index, term });
            log.base_at = Some(segment);
        }
        Op::Clear => {
            logs.remove(&region);
        }
    }
}

fn finish(
    mut memory: Memory,
    logs: BTreeMap<RegionId, Replay>,
    end: Option<u64>,
    next_segment: u64,
    (sequence, records, torn): (u64, u64, u64),
) -> Result<Replayed, Error> {
    let mut all_marks = BTreeMap::new();
    for (region, replay) in logs {
        let first = replay.slots.first_key_value().map(|(index, _)| *index);
        let base = replay.base.unwrap_or_else(|| Base { index: first.map_or(0, |first| first - 1), term: 0 });
        let expected = base.index + 1..;
        if let Some((index, _)) = expected.zip(replay.slots.keys()).find(|(expected, index)| expected != *index) {
            return Err(Error::Gap { region, index });
        }
        let mut log = Log { hard: replay.hard, hard_at: replay.hard_at, base, ..Log::new(replay.peer) };
        log.base_at = replay.base_at;
        let mut marks = Vec::with_capacity(replay.slots.len());
        let mut entries = Vec::with_capacity(replay.slots.len());
        for (place, entry) in replay.slots.into_values() {
            log.slots.push_back(Slot { term: entry.term, place: Some(place), cached: None });
            marks.push(record::mark(&entry));
            entries.push(entry);
        }
        memory.logs.insert(region, log);
        all_marks.insert(region, marks);
        entries.into_iter().for_each(|entry| memory.warm(region, entry));
    }
    Ok(Replayed { memory, marks: all_marks, end, next_segment, sequence, records, torn })
}
