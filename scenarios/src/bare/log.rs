//! A raft log in memory: what a peer of the bare loop keeps, without locks and without copies of values.
//!
//! Not here: snapshots. A log is cut only where nobody needs it any more.

use std::collections::VecDeque;

use raft::{
    Error, GetEntriesContext, RaftState, Result, Storage, StorageError,
    prelude::{ConfState, Entry, HardState, Snapshot},
    util::limit_size,
};

/// The log of one peer, and its hard state.
pub struct Log {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    conf_state: ConfState,
    entries: VecDeque<Entry>,
    /// Index and term of the entry before the first.
    before: (u64, u64),
}

impl Log {
    /// An empty log of a group with these voters.
    pub fn new(voters: Vec<u64>) -> Self {
        let conf_state = ConfState::from((voters, Vec::new()));
        Log { hard_state: HardState::default(), conf_state, entries: VecDeque::new(), before: (0, 0) }
    }

    /// Appends entries; those that stood at their indexes and behind are gone.
    pub fn append(&mut self, entries: Vec<Entry>) {
        if let Some(first) = entries.first() {
            let kept = first.index.checked_sub(self.first()).expect("raft-rs never overwrites what is applied");
            self.entries.truncate(kept as usize);
        }
        self.entries.extend(entries);
    }

    /// Cuts the log before `index`, but keeps `kept` entries.
    pub fn cut(&mut self, index: u64, kept: usize) {
        while self.entries.len() > kept
            && let Some(entry) = self.entries.pop_front_if(|entry| entry.index < index)
        {
            self.before = (entry.index, entry.term);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn first(&self) -> u64 {
        self.before.0 + 1
    }

    fn position(&self, index: u64) -> Result<usize> {
        index.checked_sub(self.first()).map(|position| position as usize).ok_or(Error::Store(StorageError::Compacted))
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let (from, to) = (self.position(low)?, self.position(high)?);
        let mut entries: Vec<Entry> = self.entries.range(from..to).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        let entry = self.entries.get(self.position(index)?);
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.before.0 + self.entries.len() as u64)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    #[test]
    fn appends_over_and_cuts_below() {
        let mut log = Log::new(vec![1]);
        log.append((1..=9).map(|index| entry(index, 1)).collect());
        log.append(vec![entry(8, 2)]);
        assert_eq!((log.last_index(), log.term(8), log.term(7)), (Ok(8), Ok(2), Ok(1)));
        log.cut(7, 3);
        assert_eq!((log.first_index(), log.len(), log.term(5)), (Ok(6), 3, Ok(1)));
        log.cut(7, 0);
        assert_eq!((log.first_index(), log.term(6)), (Ok(7), Ok(1)));
        assert_eq!(log.term(5), Err(Error::Store(StorageError::Compacted)));
        let read = log.entries(7, 9, None, GetEntriesContext::empty(false)).expect("they are there");
        assert_eq!(read, [entry(7, 1), entry(8, 2)]);
    }
}
