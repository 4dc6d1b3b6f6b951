//! The newest writes, in memory: one ordered map a family, and the range deletes.
//!
//! Entries are ordered by user key, then newest first, so that a reader at a sequence number finds the version it may see
//! as the first one not above that number. A memtable only grows; a full one becomes immutable and is written out.
//!
//! One lock guards all of it, and is never held across a wait: the only writer takes it for one group of changes.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::engine::{
    batch::{Family, Op},
    tombstone::{RangeDelete, Tombstones},
};

/// One version of one key as every source yields it; `value` is `None` for a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) sequence: u64,
    pub(crate) value: Option<Bytes>,
    /// Whether the value only says where in a blob file it lies.
    pub(crate) is_blob: bool,
}

/// The first bytes of a key, padded with zeroes: they decide nearly every comparison without a look at the key itself,
/// which lies elsewhere in memory. Two words hold the version keys of short user keys whole, and keep a node of the map
/// below the kibibyte from which on memory is slow to be had.
type Head = [u64; 2];
const HEAD_BYTES: usize = size_of::<Head>();

#[inline]
fn head(key: &[u8]) -> Head {
    let mut bytes = [0; HEAD_BYTES];
    let len = key.len().min(HEAD_BYTES);
    bytes[..len].copy_from_slice(&key[..len]);
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    [number(0), number(8)]
}

struct Slot {
    head: Head,
    key: Bytes,
    sequence: u64,
}

impl Slot {
    fn new(key: Bytes, sequence: u64) -> Slot {
        Slot { head: head(&key), key, sequence }
    }
}

/// A position, of a stored slot or of a search that borrows its key.
trait Position {
    fn position(&self) -> (&Head, &[u8], u64);
}

impl Position for Slot {
    #[inline]
    fn position(&self) -> (&Head, &[u8], u64) {
        (&self.head, &self.key, self.sequence)
    }
}

struct Seek<'a>(Head, &'a [u8], u64);

impl<'a> Seek<'a> {
    fn new(key: &'a [u8], sequence: u64) -> Seek<'a> {
        Seek(head(key), key, sequence)
    }
}

impl Position for Seek<'_> {
    #[inline]
    fn position(&self) -> (&Head, &[u8], u64) {
        (&self.0, self.1, self.2)
    }
}

#[inline]
fn compare(left: (&Head, &[u8], u64), right: (&Head, &[u8], u64)) -> Ordering {
    let ([a, b], [x, y]) = (left.0, right.0);
    (a, b).cmp(&(x, y)).then_with(|| compare_rest(left.1, right.1)).then(right.2.cmp(&left.2))
}

/// Compares keys whose heads are equal.
#[inline]
fn compare_rest(left: &[u8], right: &[u8]) -> Ordering {
    if left.len().max(right.len()) <= HEAD_BYTES { left.len().cmp(&right.len()) } else { left.cmp(right) }
}

macro_rules! ordered_by_position {
    ($type:ty) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }
        impl Eq for $type {}
        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $type {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                compare(self.position(), other.position())
            }
        }
    };
}

ordered_by_position!(Slot);
ordered_by_position!(dyn Position + '_);

impl<'a> Borrow<dyn Position + 'a> for Slot {
    fn borrow(&self) -> &(dyn Position + 'a) {
        self
    }
}

/// What every entry costs besides its bytes.
const OVERHEAD: usize = 120;

#[derive(Default)]
struct Part {
    map: BTreeMap<Slot, Option<Bytes>>,
    /// The range deletes; none in the common case.
    ranges: Option<Arc<Tombstones>>,
}

/// The newest writes of all families.
pub(crate) struct MemTable {
    parts: RwLock<[Part; Family::COUNT]>,
    bytes: AtomicUsize,
    sequence_max: AtomicU64,
    /// The segments of the write-ahead log that hold its writes, in order; never empty.
    pub(crate) segments: Vec<u64>,
}

impl MemTable {
    /// An empty memtable whose writes are logged in `segments`.
    pub(crate) fn new(segments: Vec<u64>) -> MemTable {
        MemTable { parts: RwLock::default(), bytes: AtomicUsize::new(0), sequence_max: AtomicU64::new(0), segments }
    }

    /// Takes changes in; the first gets the number `sequence`. Only one writer at a time.
    pub(crate) fn apply(&self, sequence: u64, ops: Vec<Op>) {
        let mut bytes = 0;
        let mut next = sequence;
        let mut parts = self.parts.write();
        for op in ops {
            match op {
                Op::Put(family, key, value) => {
                    bytes += key.len() + value.len() + OVERHEAD;
                    parts[family as usize].map.insert(Slot::new(key, next), Some(value));
                }
                Op::Delete(family, key) => {
                    bytes += key.len() + OVERHEAD;
                    parts[family as usize].map.insert(Slot::new(key, next), None);
                }
                Op::DeleteRange(family, start, end) => {
                    bytes += start.len() + end.len() + OVERHEAD;
                    let ranges = parts[family as usize].ranges.get_or_insert_default();
                    *ranges = Arc::new(ranges.with(RangeDelete { start, end, sequence: next }));
                }
            }
            next += 1;
        }
        self.bytes.fetch_add(bytes, Relaxed);
        self.sequence_max.store(next.saturating_sub(1), std::sync::atomic::Ordering::Release);
    }

    /// Roughly how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether nothing was ever written to it.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// The largest sequence number in it.
    pub(crate) fn sequence_max(&self) -> u64 {
        self.sequence_max.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The range deletes of a family; `None` when there are none.
    #[inline]
    pub(crate) fn tombstones(&self, family: Family) -> Option<Arc<Tombstones>> {
        self.parts.read()[family as usize].ranges.clone()
    }

    /// Whether a family holds anything at all.
    pub(crate) fn has(&self, family: Family) -> bool {
        let part = &self.parts.read()[family as usize];
        part.ranges.is_some() || !part.map.is_empty()
    }

    /// The version of `key` that a reader at `sequence` sees: its number and value, `None` for a delete.
    #[inline]
    pub(crate) fn get(&self, family: Family, key: &[u8], sequence: u64) -> Option<(u64, Option<Bytes>)> {
        let seek = Seek::new(key, sequence);
        let parts = self.parts.read();
        let from: Bound<&dyn Position> = Bound::Included(&seek);
        let (slot, value) = parts[family as usize].map.range::<dyn Position, _>((from, Bound::Unbounded)).next()?;
        (slot.key == key).then(|| (slot.sequence, value.clone()))
    }

    /// Visits what a reader at `sequence` sees from `start` on, one version a key, until `visit` says stop; whether it
    /// did. Nothing may be written meanwhile, so `visit` must neither wait nor write.
    pub(crate) fn scan(
        &self,
        family: Family,
        start: Bound<&[u8]>,
        end: &[u8],
        sequence: u64,
        mut visit: impl FnMut(&Bytes, u64, &Option<Bytes>) -> bool,
    ) -> bool {
        let seek = match start {
            Bound::Included(key) => Some(Seek::new(key, u64::MAX)),
            Bound::Excluded(key) => Some(Seek::new(key, 0)),
            Bound::Unbounded => None,
        };
        let from: Bound<&dyn Position> = match &seek {
            Some(seek) if matches!(start, Bound::Included(_)) => Bound::Included(seek),
            Some(seek) => Bound::Excluded(seek),
            None => Bound::Unbounded,
        };
        let parts = self.parts.read();
        let mut seen: Option<&Bytes> = None;
        for (slot, value) in parts[family as usize].map.range::<dyn Position, _>((from, Bound::Unbounded)) {
            if !end.is_empty() && slot.key[..] >= *end {
                return false;
            }
            if slot.sequence <= sequence && seen != Some(&slot.key) {
                if !visit(&slot.key, slot.sequence, value) {
                    return true;
                }
                seen = Some(&slot.key);
            }
        }
        false
    }

    /// Whether any key or range delete of a family meets `[start, end)`; an empty `end` is the end of the family.
    pub(crate) fn overlaps(&self, family: Family, start: &[u8], end: &[u8]) -> bool {
        let found = self.scan(family, Bound::Included(start), end, u64::MAX, |_, _, _| false);
        found || self.tombstones(family).is_some_and(|ranges| ranges.overlaps(start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static [u8], value: &'static [u8]) -> Op {
        Op::Put(Family::Write, key.into(), value.into())
    }

    proptest::proptest! {
        /// Short keys, long keys with a common beginning, and zeroes at the end, which padding could be mistaken for.
        #[test]
        fn slots_are_ordered_by_key_and_then_newest_first(
            drawn in proptest::collection::vec(("[\\x00a]{0,3}", 0..2_usize, "[\\x00b]{0,3}", 0..3_u64), 2..20),
        ) {
            let mut plain: Vec<_> = drawn
                .iter()
                .map(|(first, long, last, sequence)| (format!("{first}{}{last}", "-".repeat(14 * long)), *sequence))
                .collect();
            let mut slots: Vec<_> = plain.iter().map(|(key, number)| Slot::new(key.clone().into(), *number)).collect();
            slots.sort();
            plain.sort_by(|(key, number), (other, than)| key.cmp(other).then(than.cmp(number)));
            let slots: Vec<_> = slots.iter().map(|slot| (slot.key.to_vec(), slot.sequence)).collect();
            let plain: Vec<_> = plain.into_iter().map(|(key, number)| (key.into_bytes(), number)).collect();
            proptest::prop_assert_eq!(slots, plain);
        }
    }

    #[test]
    fn a_reader_sees_the_newest_version_not_above_its_number() {
        let table = MemTable::new(vec![1]);
        table.apply(1, vec![put(b"a", b"1"), put(b"b", b"2"), Op::Delete(Family::Write, b"a"[..].into())]);
        assert_eq!(table.get(Family::Write, b"a", 0), None);
        assert_eq!(table.get(Family::Write, b"a", 2), Some((1, Some(b"1"[..].into()))));
        assert_eq!(table.get(Family::Write, b"a", 9), Some((3, None)));
        assert_eq!(table.get(Family::Lock, b"a", 9), None);
        let mut seen = Vec::new();
        table.scan(Family::Write, Bound::Excluded(b""), b"c", 2, |key, sequence, _| {
            seen.push((key.clone(), sequence));
            true
        });
        assert_eq!(seen, [(Bytes::from_static(b"a"), 1), (Bytes::from_static(b"b"), 2)]);
        assert!(table.overlaps(Family::Write, b"aa", b"ba") && !table.overlaps(Family::Write, b"c", b"d"));
    }
}
