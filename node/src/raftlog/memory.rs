//! What the raft log knows without reading: terms and places of all entries, the newest entries themselves.
//!
//! Changes become visible here when they are staged, before they are on disk, because raft-rs asks its storage for
//! entries as soon as they are handed out to be written. What has no place on disk yet is always cached; the rest is
//! cached as far as the budget reaches, the oldest written goes first.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use raft::eraftpb::Entry;

use super::{
    record::{ENTRY, HardState, Op, Span},
    segment::FRAME,
};
use crate::{
    env::File,
    fact::Text,
    region::{PeerId, RegionId},
};

/// Where an entry's bytes lie, and their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) sum: u32,
}

/// One entry: its index follows from its position.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) term: u64,
    pub(super) place: Option<Place>,
    pub(super) cached: Option<Arc<Entry>>,
}

/// Position behind which a log goes on; term 0 with an index other than 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) index: u64,
    pub(super) term: u64,
}

/// One region's log.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) peer: PeerId,
    pub(super) hard: HardState,
    /// The segment of the newest record of the hard state; none before the first one is written.
    pub(super) hard_at: Option<u64>,
    pub(super) base: Base,
    pub(super) base_at: Option<u64>,
    pub(super) slots: VecDeque<Slot>,
}

impl Log {
    pub(super) fn new(peer: PeerId) -> Log {
        Log { peer, ..Log::default() }
    }

    pub(super) fn first(&self) -> u64 {
        self.base.index + 1
    }

    pub(super) fn last(&self) -> u64 {
        self.base.index + self.slots.len() as u64
    }

    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first())?).ok()?)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let first = self.first();
        self.slots.get_mut(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return (index == 0 || self.base.term != 0).then_some(self.base.term);
        }
        self.slot(index).map(|slot| slot.term)
    }
}

/// One file of the stream.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) path: Text,
    pub(super) file: Arc<dyn File>,
}

/// All logs of a store.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) logs: BTreeMap<RegionId, Log>,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// For each staged batch that is not written, the oldest segment that the disk's view of the changed logs needs.
    pins: BTreeMap<u64, u64>,
    next_pin: u64,
    cache: Cache,
}

#[derive(Default)]
struct Cache {
    budget: usize,
    bytes: usize,
    entries: usize,
    /// Written entries in the order of their writing; some may be gone or replaced.
    order: VecDeque<(RegionId, u64, u64)>,
}

impl Cache {
    fn add(&mut self, entry: &Entry) {
        self.bytes += size(entry);
        self.entries += 1;
    }

    fn forget(&mut self, slot: &Slot) {
        if let Some(entry) = &slot.cached {
            self.bytes -= size(entry);
            self.entries -= 1;
        }
    }
}

/// What an entry counts for in budgets.
pub(super) fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + ENTRY
}

impl Memory {
    pub(super) fn new(budget: usize) -> Memory {
        Memory { cache: Cache { budget, ..Cache::default() }, ..Memory::default() }
    }

    /// The segment that is written to.
    pub(super) fn active(&self) -> u64 {
        self.segments.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Makes a batch's changes visible; returns the batch's pin. Fills in what only memory knows: compacted terms.
    pub(super) fn stage(&mut self, ops: &mut [(RegionId, PeerId, Op)]) -> u64 {
        let active = self.active();
        let mut oldest = active;
        let mut drops = |cache: &mut Cache, slots: &mut dyn Iterator<Item = Slot>| {
            for slot in slots {
                cache.forget(&slot);
                oldest = oldest.min(slot.place.map_or(active, |place| place.segment));
            }
        };
        let mut replaced = active;
        for (region, peer, op) in ops {
            let log = self.logs.entry(*region).or_insert_with(|| Log::new(*peer));
            replaced = replaced.min(log.hard_at.unwrap_or(active)).min(log.base_at.unwrap_or(active));
            if log.peer != *peer {
                drops(&mut self.cache, &mut log.slots.drain(..));
                *log = Log::new(*peer);
            }
            match op {
                Op::Append(entries) => {
                    let Some(first) = entries.first().map(|entry| entry.index) else { continue };
                    if first > log.last() + 1 || first <= log.base.index {
                        drops(&mut self.cache, &mut log.slots.drain(..));
                        log.base = Base { index: first - 1, term: 0 };
                        log.base_at = None;
                    }
                    let keep = (first - log.first()) as usize;
                    drops(&mut self.cache, &mut log.slots.drain(keep..));
                    for entry in entries {
                        self.cache.add(entry);
                        let cached = Some(Arc::new(entry.clone()));
                        log.slots.push_back(Slot { term: entry.term, place: None, cached });
                    }
                }
                Op::HardState(hard) => {
                    log.hard = *hard;
                    log.hard_at = None;
                }
                Op::Compact { index, term } => {
                    *term = log.term(*index).unwrap_or(0);
                    if *index > log.base.index {
                        let count = ((*index - log.base.index) as usize).min(log.slots.len());
                        drops(&mut self.cache, &mut log.slots.drain(..count));
                        log.base = Base { index: *index, term: *term };
                        log.base_at = None;
                    } else {
                        *index = log.base.index;
                        *term = log.base.term;
                    }
                }
                Op::Start { index, term } => {
                    drops(&mut self.cache, &mut log.slots.drain(..));
                    log.base = Base { index: *index, term: *term };
                    log.base_at = None;
                }
                Op::Clear => {
                    drops(&mut self.cache, &mut log.slots.drain(..));
                    self.logs.remove(region);
                }
                Op::Base { .. } | Op::Move(_) => {}
            }
        }
        let pin = self.next_pin;
        self.next_pin += 1;
        self.pins.insert(pin, oldest.min(replaced));
        pin
    }

    /// Notes where a written batch lies, and lets go of what it pinned.
    pub(super) fn place(&mut self, pin: Option<u64>, ops: &[(RegionId, PeerId, Op)], spans: &[Span], at: (u64, u64)) {
        let (segment, frame) = at;
        let mut spans = spans.iter();
        for (region, peer, op) in ops {
            let log = self.logs.get_mut(region).filter(|log| log.peer == *peer);
            match op {
                Op::Append(entries) | Op::Move(entries) => {
                    let spans = spans.by_ref().take(entries.len());
                    let Some(log) = log else {
                        spans.for_each(drop);
                        continue;
                    };
                    for (entry, span) in entries.iter().zip(spans) {
                        let Some(slot) = log.slot_mut(entry.index).filter(|slot| slot.term == entry.term) else {
                            continue;
                        };
                        let offset = frame + (FRAME + span.offset) as u64;
                        let fresh =
                            slot.place.replace(Place { segment, offset, len: span.len, sum: span.sum }).is_none();
                        if fresh && slot.cached.is_some() {
                            self.cache.order.push_back((*region, entry.index, entry.term));
                        }
                    }
                }
                Op::HardState(hard) => {
                    if let Some(log) = log.filter(|log| log.hard == *hard) {
                        log.hard_at = Some(segment);
                    }
                }
                Op::Compact { index, term } | Op::Start { index, term } | Op::Base { index, term } => {
                    if let Some(log) = log.filter(|log| log.base == Base { index: *index, term: *term }) {
                        log.base_at = Some(segment);
                    }
                }
                Op::Clear => {}
            }
        }
        if let Some(pin) = pin {
            self.pins.remove(&pin);
        }
        self.evict();
    }

    /// Keeps an entry that was read back, if the budget allows.
    pub(super) fn warm(&mut self, region: RegionId, entry: Arc<Entry>) {
        let Some(slot) = self.logs.get_mut(&region).and_then(|log| log.slot_mut(entry.index)) else { return };
        if slot.cached.is_none() && slot.term == entry.term {
            self.cache.add(&entry);
            self.cache.order.push_back((region, entry.index, entry.term));
            slot.cached = Some(entry);
            self.evict();
        }
    }

    /// Whether a staged and unwritten batch needs the segment.
    pub(super) fn pinned(&self, segment: u64) -> bool {
        self.pins.values().any(|oldest| *oldest <= segment)
    }

    fn evict(&mut self) {
        while self.cache.bytes > self.cache.budget
            && let Some((region, index, term)) = self.cache.order.pop_front()
        {
            let slot = self.logs.get_mut(&region).and_then(|log| log.slot_mut(index));
            if let Some(slot) = slot.filter(|slot| slot.term == term && slot.place.is_some()) {
                self.cache.forget(slot);
                slot.cached = None;
            }
        }
        if self.cache.order.len() > 2 * self.cache.entries + 1024 {
            let logs = &self.logs;
            self.cache.order.retain(|(region, index, term)| {
                let slot = logs.get(region).and_then(|log| log.slot(*index));
                slot.is_some_and(|slot| slot.term == *term && slot.cached.is_some())
            });
        }
    }

    /// Bytes of cached entries.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cache.bytes
    }
}
