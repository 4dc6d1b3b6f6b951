//! Batches and their records: what one frame of the log holds.
//!
//! Fixed little-endian fields rather than protobuf, because a record's entries are read back one by one from where they
//! lie in the file, without the frame around them; each entry's bytes have a checksum that is kept in memory.

use bytes::{Buf, BufMut, Bytes};
use raft::eraftpb::{Entry, EntryType};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    fact::Mark,
    region::{PeerId, RegionId},
};

/// What a peer must not forget: term, vote, and how far it knows to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The current term.
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    pub vote: PeerId,
    /// The highest index known to be committed.
    pub commit: u64,
}

/// One change of one region's log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// Entries, which replace what was at and behind the first one.
    Append(Vec<Entry>),
    /// Entries that were written before, moved here; they replace nothing.
    Move(Vec<Entry>),
    /// The hard state.
    HardState(HardState),
    /// Entries up to and including the index go; term 0 means that it is not known.
    Compact { index: u64, term: u64 },
    /// Where the log begins, written again; entries stay.
    Base { index: u64, term: u64 },
    /// The log is empty and goes on behind this position, as after a snapshot.
    Start { index: u64, term: u64 },
    /// Everything of the region goes.
    Clear,
}

/// Changes of any number of regions that reach the log together or not at all.
#[derive(Debug, Default)]
pub struct LogBatch {
    pub(super) ops: Vec<(RegionId, PeerId, Op)>,
    /// Set once the changes are visible in memory; names the segments that must outlive the batch.
    pub(super) staged: Option<u64>,
}

impl LogBatch {
    /// A batch without changes.
    pub fn new() -> LogBatch {
        LogBatch::default()
    }

    /// Appends entries with consecutive indexes; they replace what was at and behind the first one.
    pub fn append(&mut self, region: RegionId, peer: PeerId, entries: Vec<Entry>) {
        if !entries.is_empty() {
            self.push(region, peer, Op::Append(entries));
        }
    }

    /// Sets the hard state.
    pub fn hard_state(&mut self, region: RegionId, peer: PeerId, term: u64, vote: PeerId, commit: u64) {
        self.push(region, peer, Op::HardState(HardState { term, vote, commit }));
    }

    /// Drops entries up to and including `upto`, whose term stays known.
    pub fn compact(&mut self, region: RegionId, peer: PeerId, upto: u64) {
        self.push(region, peer, Op::Compact { index: upto, term: 0 });
    }

    /// Empties the log and lets it go on behind (`index`, `term`): a new region's first position, or a snapshot's.
    pub fn start(&mut self, region: RegionId, peer: PeerId, index: u64, term: u64) {
        self.push(region, peer, Op::Start { index, term });
    }

    /// Drops everything of the region, the hard state too.
    pub fn clear(&mut self, region: RegionId, peer: PeerId) {
        self.push(region, peer, Op::Clear);
    }

    /// Adds another batch's changes behind these; neither may have been staged.
    pub fn extend(&mut self, other: LogBatch) {
        debug_assert!(self.staged.is_none() && other.staged.is_none(), "staged batches are written as they are");
        self.ops.extend(other.ops);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The data bytes of the entries in it.
    pub fn bytes(&self) -> usize {
        let bytes = |op: &Op| match op {
            Op::Append(entries) | Op::Move(entries) => size(entries),
            _ => 24,
        };
        self.ops.iter().map(|(_, _, op)| bytes(op)).sum()
    }

    fn push(&mut self, region: RegionId, peer: PeerId, op: Op) {
        debug_assert!(self.staged.is_none(), "a staged batch is written as it is");
        self.ops.push((region, peer, op));
    }
}

/// One entry as checks see it: the digest covers kind, data and context.
pub fn mark(entry: &Entry) -> Mark {
    // All but few entries have no context: then nothing is put together first.
    let context = if entry.context.is_empty() { 0 } else { xxh3_64(&entry.context) };
    let seed = context ^ u64::from(kind(entry));
    Mark { index: entry.index, term: entry.term, digest: xxh3_64_with_seed(&entry.data, seed) }
}

fn kind(entry: &Entry) -> u8 {
    match entry.entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    }
}

/// Bytes of an entry before its context and data.
pub(super) const ENTRY: usize = 25;

/// An entry's bytes inside a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: usize,
    pub(super) len: u32,
    pub(super) sum: u32,
}

/// Writes records one behind the other, behind `room` bytes of zeroes for a header, and remembers where the entries lie
/// behind those, in order.
pub(super) fn encode(room: usize, ops: &[(RegionId, PeerId, Op)]) -> (Vec<u8>, Vec<Span>) {
    let entries = |op: &Op| match op {
        Op::Append(entries) | Op::Move(entries) => (21 + size(entries), entries.len()),
        _ => (41, 0),
    };
    let (bytes, count) =
        ops.iter().map(|(_, _, op)| entries(op)).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let (mut out, mut spans) = (Vec::with_capacity(room + bytes), Vec::with_capacity(count));
    out.resize(room, 0);
    for (region, peer, op) in ops {
        let (tag, numbers, entries): (u8, &[u64], &[Entry]) = match op {
            Op::Append(entries) => (1, &[], entries),
            Op::HardState(hard) => (2, &[hard.term, hard.vote, hard.commit], &[]),
            Op::Compact { index, term } => (3, &[*index, *term], &[]),
            Op::Clear => (4, &[], &[]),
            Op::Start { index, term } => (5, &[*index, *term], &[]),
            Op::Move(entries) => (6, &[], entries),
            Op::Base { index, term } => (7, &[*index, *term], &[]),
        };
        out.put_u8(tag);
        out.put_u64_le(*region);
        out.put_u64_le(*peer);
        numbers.iter().for_each(|number| out.put_u64_le(*number));
        if matches!(op, Op::Append(_) | Op::Move(_)) {
            out.put_u32_le(entries.len() as u32);
        }
        for entry in entries {
            let start = out.len();
            put_entry(&mut out, entry);
            let bytes = &out[start..];
            spans.push(Span { offset: start - room, len: bytes.len() as u32, sum: crc32c::crc32c(bytes) });
        }
    }
    (out, spans)
}

/// Bytes that entries take inside a body.
fn size(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.data.len() + entry.context.len() + ENTRY).sum()
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_u8(kind(entry));
    out.put_u64_le(entry.term);
    out.put_u64_le(entry.index);
    out.put_u32_le(entry.context.len() as u32);
    out.put_u32_le(entry.data.len() as u32);
    out.put_slice(&entry.context);
    out.put_slice(&entry.data);
}

/// Reads an entry off the front of `bytes`; `None` when it is not one.
pub(super) fn take_entry(bytes: &mut Bytes) -> Option<Entry> {
    if bytes.len() < ENTRY {
        return None;
    }
    let entry_type = match bytes.get_u8() {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    };
    let mut entry = Entry { entry_type, ..Entry::default() };
    entry.term = bytes.get_u64_le();
    entry.index = bytes.get_u64_le();
    let context = bytes.get_u32_le() as usize;
    let data = bytes.get_u32_le() as usize;
    if bytes.len() < context.checked_add(data)? {
        return None;
    }
    // Copies, so that an entry in memory does not hold the whole segment that it was read with.
    entry.context = Bytes::copy_from_slice(&bytes.split_to(context));
    entry.data = Bytes::copy_from_slice(&bytes.split_to(data));
    Some(entry)
}

/// A record read back, with where its entries lie in the body.
pub(super) struct Record {
    pub(super) region: RegionId,
    pub(super) peer: PeerId,
    pub(super) op: Op,
    pub(super) spans: Vec<Span>,
}

/// Reads a body's records; `None` when it does not parse.
pub(super) fn decode(body: &Bytes) -> Option<Vec<Record>> {
    let mut rest = body.clone();
    let mut records = Vec::new();
    while rest.has_remaining() {
        if rest.len() < 17 {
            return None;
        }
        let tag = rest.get_u8();
        let region = rest.get_u64_le();
        let peer = rest.get_u64_le();
        let mut number = || (rest.len() >= 8).then(|| rest.get_u64_le());
        let mut spans = Vec::new();
        let op = match tag {
            2 => Op::HardState(HardState { term: number()?, vote: number()?, commit: number()? }),
            3 => Op::Compact { index: number()?, term: number()? },
            4 => Op::Clear,
            5 => Op::Start { index: number()?, term: number()? },
            7 => Op::Base { index: number()?, term: number()? },
            1 | 6 => {
                if rest.len() < 4 {
                    return None;
                }
                let count = rest.get_u32_le();
                let mut entries = Vec::new();
                for _ in 0..count {
                    let before = rest.clone();
                    let entry = take_entry(&mut rest)?;
                    let len = before.len() - rest.len();
                    spans.push(Span {
                        offset: body.len() - before.len(),
                        len: len as u32,
                        sum: crc32c::crc32c(&before[..len]),
                    });
                    entries.push(entry);
                }
                if tag == 1 { Op::Append(entries) } else { Op::Move(entries) }
            }
            _ => return None,
        };
        records.push(Record { region, peer, op, spans });
    }
    Some(records)
}
