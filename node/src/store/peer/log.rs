//! One peer's raft log as raft-rs reads it: terms of all entries, and the entries that may be asked for at once.
//!
//! raft-rs asks synchronously, and the raft loop does no I/O. So everything not yet applied lies in memory, the rest may
//! have been evicted: a leader that needs it for a slow follower is told "temporarily unavailable", the entries are
//! fetched, and it asks again. Snapshots come the same way.
//!
//! Not here: writing. The log writer does that, later; what was handed to it is readable here already.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use raft::{
    GetEntriesContext, RaftState, Storage,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
};

/// Entries behind the applied one that stay in memory for followers that are a little slow.
const KEPT_ENTRIES: usize = 256;

/// Entries that raft-rs asked for and that are not in memory.
#[derive(Debug)]
pub struct Cold {
    /// The first.
    pub low: u64,
    /// Behind the last.
    pub high: u64,
    /// At most so many bytes.
    pub bytes_max: u64,
    /// What raft-rs wants to hear once they are here.
    pub context: GetEntriesContext,
}

/// A follower needs a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// At least up to here.
    pub index: u64,
    /// For whom.
    pub to: u64,
}

/// The log of one peer in memory.
#[derive(Debug)]
pub struct Log {
    hard: HardState,
    conf: ConfState,
    truncated: (u64, u64),
    last: u64,
    /// Where each term begins, in order; the first run may begin before the first entry.
    runs: Vec<(u64, u64)>,
    /// The newest entries, up to the last one.
    cache: VecDeque<Entry>,
    fetched: RefCell<VecDeque<Vec<Entry>>>,
    cold: RefCell<Vec<Cold>>,
    snapshot: RefCell<Option<Snapshot>>,
    wanted: Cell<Option<Wanted>>,
}

impl Log {
    /// A log that begins behind `truncated`, an index and its term.
    pub fn new(hard: HardState, conf: ConfState, truncated: (u64, u64)) -> Log {
        Log {
            hard,
            conf,
            truncated,
            last: truncated.0,
            runs: Vec::new(),
            cache: VecDeque::new(),
            fetched: RefCell::default(),
            cold: RefCell::default(),
            snapshot: RefCell::default(),
            wanted: Cell::new(None),
        }
    }

    /// The last entry's index.
    pub fn last_index(&self) -> u64 {
        self.last
    }

    /// The last entry's term.
    pub fn last_term(&self) -> u64 {
        self.runs.last().map_or(self.truncated.1, |run| run.1)
    }

    /// The index and term behind which the log begins.
    pub fn truncated(&self) -> (u64, u64) {
        self.truncated
    }

    /// The term of an entry that is still known.
    pub fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.truncated.0 {
            return Some(self.truncated.1);
        }
        if index < self.truncated.0 || index > self.last {
            return None;
        }
        let at = self.runs.partition_point(|run| run.0 <= index);
        Some(self.runs[at.checked_sub(1).expect("a run begins at or before every entry")].1)
    }

    /// States the term of the entry behind the last one, without the entry: for recovery.
    pub fn push_term(&mut self, term: u64) {
        self.last += 1;
        if self.runs.last().is_none_or(|run| run.1 != term) {
            self.runs.push((self.last, term));
        }
    }

    /// Puts recovered entries into memory, which have to end with the last one.
    pub fn load(&mut self, entries: Vec<Entry>) {
        debug_assert!(entries.last().is_none_or(|entry| entry.index == self.last));
        self.cache = entries.into();
    }

    /// Appends entries, which replace what was at and behind the first one.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.truncated.0 && first.index <= self.last + 1, "appends leave no gap");
        if first.index <= self.last {
            while self.cache.back().is_some_and(|entry| entry.index >= first.index) {
                self.cache.pop_back();
            }
            while self.runs.last().is_some_and(|run| run.0 >= first.index) {
                self.runs.pop();
            }
            self.last = first.index - 1;
            self.fetched.borrow_mut().clear();
        }
        if self.cache.back().is_some_and(|entry| entry.index + 1 != first.index) {
            self.cache.clear();
        }
        for entry in entries {
            self.push_term(entry.term);
            self.cache.push_back(entry.clone());
        }
    }

    /// Starts anew behind a snapshot.
    pub fn restart(&mut self, index: u64, term: u64, conf: ConfState) {
        *self = Log::new(self.hard.clone(), conf, (index, term));
    }

    /// Drops entries up to and including `index`.
    pub fn compact(&mut self, index: u64, term: u64) {
        if index <= self.truncated.0 {
            return;
        }
        let at = self.runs.partition_point(|run| run.0 <= index + 1);
        self.runs.drain(..at.saturating_sub(1));
        self.truncated = (index, term);
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            self.cache.pop_front();
        }
        if self.last <= index {
            self.last = index;
            self.runs.clear();
        }
    }

    /// Lets entries up to `applied` go, but for a few, or all of them when the region sleeps.
    pub fn evict(&mut self, applied: u64, all: bool) {
        let keep = if all { 0 } else { KEPT_ENTRIES };
        if !all && self.cache.len() < 2 * keep {
            return;
        }
        while self.cache.len() > keep && self.cache.front().is_some_and(|entry| entry.index <= applied) {
            self.cache.pop_front();
        }
        if all {
            self.cache.shrink_to_fit();
            self.fetched.borrow_mut().clear();
        }
    }

    /// What raft-rs asked for since the last call and was not in memory.
    pub fn take_cold(&self) -> Vec<Cold> {
        std::mem::take(&mut self.cold.borrow_mut())
    }

    /// Entries that were fetched; they serve one question.
    pub fn fetched(&self, entries: Vec<Entry>) {
        let current = entries.iter().all(|entry| self.term_of(entry.index) == Some(entry.term));
        if current && !entries.is_empty() {
            let mut fetched = self.fetched.borrow_mut();
            fetched.push_back(entries);
            if fetched.len() > 8 {
                fetched.pop_front();
            }
        }
    }

    /// The snapshot that raft-rs asked for since the last call and did not get.
    pub fn take_wanted(&self) -> Option<Wanted> {
        self.wanted.take()
    }

    /// Offers a snapshot to the next who needs one; `None` takes the offer back.
    pub fn offer(&mut self, snapshot: Option<Snapshot>) {
        *self.snapshot.get_mut() = snapshot;
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.hard.clone(), conf_state: self.conf.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(raft::Error::Store(raft::StorageError::Compacted));
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let cached = self.cache.front().filter(|entry| entry.index <= low);
        if let Some(front) = cached {
            let from = (low - front.index) as usize;
            let mut bytes = 0;
            let mut out = Vec::with_capacity((high - low).min(1024) as usize);
            for entry in self.cache.range(from..(high - front.index) as usize) {
                bytes += (entry.data.len() + entry.context.len() + 16) as u64;
                if bytes > max && !out.is_empty() {
                    break;
                }
                out.push(entry.clone());
            }
            return Ok(out);
        }
        let mut fetched = self.fetched.borrow_mut();
        if let Some(at) = fetched.iter().position(|entries| entries[0].index == low) {
            let mut entries = fetched.remove(at).expect("the position was just found");
            entries.truncate((high - low) as usize);
            return Ok(entries);
        }
        if !context.can_async() {
            // Entries behind the applied one never leave memory, so this is a broken promise of this file.
            return Err(raft::Error::Store(raft::StorageError::Unavailable));
        }
        self.cold.borrow_mut().push(Cold { low, high, bytes_max: max, context });
        Err(raft::Error::Store(raft::StorageError::LogTemporarilyUnavailable))
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(index) {
            Some(term) => Ok(term),
            None if index < self.truncated.0 => Err(raft::Error::Store(raft::StorageError::Compacted)),
            None => Err(raft::Error::Store(raft::StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // Its files go once they are sent, so an offer serves once; and a peer that it does not name cannot use it.
        if let Some(snapshot) = self.snapshot.take() {
            let metadata = snapshot.get_metadata();
            let conf = metadata.get_conf_state();
            let named = [&conf.voters, &conf.learners, &conf.voters_outgoing].iter().any(|ids| ids.contains(&to));
            if named && metadata.index >= request_index.max(self.truncated.0) {
                return Ok(snapshot);
            }
        }
        self.wanted.set(Some(Wanted { index: request_index, to }));
        Err(raft::Error::Store(raft::StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(from: u64, terms: &[u64]) -> Vec<Entry> {
        let entry = |(at, &term): (usize, &u64)| Entry { index: from + at as u64, term, ..Entry::default() };
        terms.iter().enumerate().map(entry).collect()
    }

    fn terms(log: &Log) -> Vec<Option<u64>> {
        (4..=12).map(|index| log.term_of(index)).collect()
    }

    #[test]
    fn terms_follow_appends_conflicts_and_compaction() {
        let mut log = Log::new(HardState::default(), ConfState::default(), (5, 5));
        log.append(&entries(6, &[5, 5, 6, 6]));
        assert_eq!(terms(&log), [None, Some(5), Some(5), Some(5), Some(6), Some(6), None, None, None]);
        log.append(&entries(8, &[7]));
        assert_eq!(terms(&log), [None, Some(5), Some(5), Some(5), Some(7), None, None, None, None]);
        log.compact(7, 5);
        assert_eq!(terms(&log), [None, None, None, Some(5), Some(7), None, None, None, None]);
        assert_eq!((log.first_index().unwrap(), log.last_index(), log.last_term()), (8, 8, 7));
        log.compact(8, 7);
        log.append(&entries(9, &[7, 8]));
        assert_eq!(terms(&log), [None, None, None, None, Some(7), Some(7), Some(8), None, None]);
    }

    #[test]
    fn evicted_entries_are_cold_until_fetched() {
        let mut log = Log::new(HardState::default(), ConfState::default(), (5, 5));
        log.append(&entries(6, &[5, 5, 5]));
        log.evict(7, true);
        let ask = |log: &Log| log.entries(6, 8, None, GetEntriesContext::empty(true));
        assert!(ask(&log).is_err());
        let cold = log.take_cold();
        assert_eq!((cold.len(), cold[0].low, cold[0].high), (1, 6, 8));
        log.fetched(entries(6, &[5, 5]));
        assert_eq!(ask(&log).unwrap().len(), 2);
        assert_eq!(log.entries(8, 9, None, GetEntriesContext::empty(false)).unwrap().len(), 1);
    }
}
