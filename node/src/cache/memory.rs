//! The data of all cached regions: versions of user keys, sorted as the engine sorts them.
//!
//! Each version carries the stamp of the write that brought it: the engine's number of that write, set before anybody can
//! see it. A reader that looks as of an engine snapshot sees exactly the versions stamped up to it, so that cache and
//! engine show one state at every moment, although they are written one after the other.
//!
//! Not here: which ranges are cached; a range that is not holds nothing.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;

use crate::{engine::record::Record, key};

/// The engine's number of a write; `u64::MAX` as long as it has none.
pub type Stamp = Arc<AtomicU64>;

/// A stamp without a number yet.
pub fn unstamped() -> Stamp {
    Arc::new(AtomicU64::new(u64::MAX))
}

/// A stamp with a number.
pub fn stamped(sequence: u64) -> Stamp {
    Arc::new(AtomicU64::new(sequence))
}

/// What a version costs beside its bytes.
const OVERHEAD_BYTES: usize = 64;

/// One version of a user key.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its key in the engine.
    pub key: Bytes,
    /// Its record.
    pub record: Bytes,
    /// The value, when the record points into the family `default`.
    pub large: Option<Bytes>,
}

impl Version {
    fn bytes(&self) -> usize {
        self.key.len() + self.record.len() + self.large.as_ref().map_or(0, Bytes::len) + OVERHEAD_BYTES
    }

    /// The value; none for a tombstone or what cannot be read.
    pub fn value(&self) -> Option<Bytes> {
        match Record::decode(&self.record)? {
            Record::Value(value) => Some(value),
            Record::Indirect => self.large.clone(),
            Record::Tombstone => None,
        }
    }
}

struct Entry {
    version: Version,
    stamp: Stamp,
}

/// All versions.
#[derive(Default)]
pub struct Memory {
    versions: BTreeMap<Bytes, Entry>,
    bytes: usize,
}

/// What one step of a walk through a range did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Versions dropped.
    pub dropped: u64,
    /// Where the next step begins; none at the end.
    pub next: Option<Bytes>,
}

impl Memory {
    /// Takes a version in; one that is there already stays.
    pub fn insert(&mut self, version: Version, stamp: Stamp) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.versions.entry(version.key.clone()) {
            self.bytes += version.bytes();
            vacant.insert(Entry { version, stamp });
        }
    }

    /// Bytes of everything.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first version in `[start, end)` as of `sequence`.
    pub fn first(&self, start: &[u8], end: &[u8], sequence: u64) -> Option<Version> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        let mut versions = self.versions.range::<[u8], _>(range);
        versions.find(|(_, entry)| entry.stamp.load(SeqCst) <= sequence).map(|(_, entry)| entry.version.clone())
    }

    /// At most `limit` versions of `[from, end)` as of `sequence`, and where to go on.
    pub fn walk(&self, from: &[u8], end: &[u8], sequence: u64, limit: usize) -> (Vec<Version>, Option<Bytes>) {
        let mut found = Vec::with_capacity(limit);
        if from >= end {
            return (found, None);
        }
        for (key, entry) in self.versions.range::<[u8], _>((Bound::Included(from), Bound::Excluded(end))) {
            if found.len() == limit {
                return (found, Some(key.clone()));
            }
            if entry.stamp.load(SeqCst) <= sequence {
                found.push(entry.version.clone());
            }
        }
        (found, None)
    }

    /// Drops what no reader above `until` needs from about `limit` versions of `[from, end)`, always whole user keys.
    ///
    /// Of the versions up to `until` that are visible as of `sequence` the newest one is kept, unless it is a deletion.
    pub fn collect(&mut self, from: &[u8], end: &[u8], until: u64, sequence: u64, limit: usize) -> Step {
        let mut step = Step::default();
        if from >= end {
            return step;
        }
        let (mut user_key, mut met, mut seen, mut gone) = (None, false, 0, Vec::new());
        for (key, entry) in self.versions.range::<[u8], _>((Bound::Included(from), Bound::Excluded(end))) {
            let Some((user, timestamp)) = key::parse_version(key) else { continue };
            if user_key.as_ref() != Some(&user) {
                if seen >= limit {
                    step.next = Some(key.clone());
                    break;
                }
                (user_key, met) = (Some(user), false);
            }
            seen += 1;
            if timestamp > until || entry.stamp.load(SeqCst) > sequence {
                continue;
            }
            if std::mem::replace(&mut met, true) || Record::is_tombstone(&entry.version.record) {
                gone.push(key.clone());
            }
        }
        step.dropped = gone.len() as u64;
        gone.iter().for_each(|key| self.remove(key));
        step
    }

    /// Drops about `limit` versions of `[from, end)`.
    pub fn delete(&mut self, from: &[u8], end: &[u8], limit: usize) -> Step {
        if from >= end {
            return Step::default();
        }
        let range = (Bound::Included(from), Bound::Excluded(end));
        let keys: Vec<Bytes> =
            self.versions.range::<[u8], _>(range).take(limit + 1).map(|(key, _)| key.clone()).collect();
        let next = keys.get(limit).cloned();
        keys.iter().take(limit).for_each(|key| self.remove(key));
        Step { dropped: keys.len().min(limit) as u64, next }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.versions.remove(key) {
            self.bytes -= entry.version.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(versions: &[(&'static str, u64, Option<&'static str>, u64)]) -> Memory {
        let mut memory = Memory::default();
        for &(key, timestamp, value, sequence) in versions {
            let record = Record::of(value.map(|value| Bytes::from_static(value.as_bytes())).as_ref()).encode();
            let key = key::version_key(key.as_bytes(), timestamp);
            memory.insert(Version { key, record, large: None }, stamped(sequence));
        }
        memory
    }

    fn seen(memory: &Memory, sequence: u64) -> Vec<(String, u64)> {
        let (start, end) = (key::range_start(b""), key::range_end(b""));
        let (mut all, mut from) = (Vec::new(), Some(start));
        while let Some(begin) = from {
            let (versions, next) = memory.walk(&begin, &end, sequence, 2);
            all.extend(versions.iter().filter_map(|version| key::parse_version(&version.key)));
            from = next;
        }
        all.into_iter().map(|(key, timestamp)| (String::from_utf8_lossy(&key).into_owned(), timestamp)).collect()
    }

    #[test]
    fn a_reader_sees_what_was_written_up_to_its_moment() {
        let memory = memory(&[("a", 3, Some("x"), 10), ("a", 5, Some("y"), 12), ("b", 4, Some("z"), u64::MAX)]);
        assert_eq!(seen(&memory, 9), []);
        assert_eq!(seen(&memory, 11), [("a".to_owned(), 3)]);
        assert_eq!(seen(&memory, 50), [("a".to_owned(), 5), ("a".to_owned(), 3)]);
        let newest = memory.first(&key::data_key(b"a"), &key::versions_end(b"a"), 11).expect("there is one");
        assert_eq!(newest.value().as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn collection_keeps_the_newest_value_and_what_is_above() {
        let all = [
            ("a", 9, Some("v"), 1),
            ("a", 6, Some("v"), 1),
            ("a", 4, Some("v"), 1),
            ("b", 5, None, 1),
            ("b", 3, Some("v"), 1),
            ("c", 6, Some("v"), 99),
            ("c", 2, Some("v"), 1),
        ];
        for limit in [1, 100] {
            let mut memory = memory(&all);
            let (mut from, end, mut dropped) = (Some(key::range_start(b"")), key::range_end(b""), 0);
            while let Some(begin) = from {
                let step = memory.collect(&begin, &end, 6, 50, limit);
                (from, dropped) = (step.next, dropped + step.dropped);
            }
            let left = [("a", 9), ("a", 6), ("c", 6), ("c", 2)].map(|(key, timestamp)| (key.to_owned(), timestamp));
            assert_eq!((seen(&memory, 100), dropped), (left.to_vec(), 3), "the newest of `c` is not visible yet");
        }
    }

    #[test]
    fn what_is_deleted_costs_nothing() {
        let mut memory = memory(&[("a", 3, Some("x"), 1), ("b", 3, Some("x"), 1), ("c", 3, Some("x"), 1)]);
        let (start, end) = (key::range_start(b"a"), key::range_end(b"c"));
        let step = memory.delete(&start, &end, 1);
        assert_eq!((step.dropped, step.next.is_some()), (1, true));
        assert_eq!(memory.delete(&step.next.expect("one is left"), &end, 1), Step { dropped: 1, next: None });
        assert_eq!(seen(&memory, 5), [("c".to_owned(), 3)]);
        memory.delete(&key::range_start(b""), &key::range_end(b""), 10);
        assert_eq!(memory.bytes(), 0);
    }
}
