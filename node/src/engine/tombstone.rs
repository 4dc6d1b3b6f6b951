//! Range deletes of one memtable or table, cut into pieces that do not overlap.
//!
//! A piece keeps every sequence number at which it was deleted, newest first, so that a reader at any number finds the
//! newest delete it may see with one binary search. Range deletes are rare and few, so a new one rebuilds the pieces.

use bytes::Bytes;

use crate::engine::range;

/// Removes every key in `[start, end)` written before `sequence`; an empty `end` is the end of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeDelete {
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    pub(crate) sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    start: Bytes,
    end: Bytes,
    /// Newest first.
    sequences: Vec<u64>,
}

/// Range deletes, searchable by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones {
    pieces: Vec<Piece>,
}

impl Tombstones {
    /// Those of a list in any order.
    pub(crate) fn new(list: &[RangeDelete]) -> Tombstones {
        let mut cuts: Vec<&Bytes> = list.iter().flat_map(|delete| [&delete.start, &delete.end]).collect();
        cuts.retain(|cut| !cut.is_empty());
        cuts.sort_unstable();
        cuts.dedup();
        let empty = Bytes::new();
        let starts = list.iter().any(|delete| delete.start.is_empty()).then_some(&empty);
        let bounds: Vec<&Bytes> = starts.into_iter().chain(cuts).chain([&empty]).collect();
        let mut pieces = Vec::new();
        for pair in bounds.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            let covers = |delete: &&RangeDelete| delete.start <= *start && range::ends_after(&delete.end, start);
            let mut sequences: Vec<u64> = list.iter().filter(covers).map(|delete| delete.sequence).collect();
            if !sequences.is_empty() {
                sequences.sort_unstable_by(|left, right| right.cmp(left));
                sequences.dedup();
                pieces.push(Piece { start: start.clone(), end: end.clone(), sequences });
            }
        }
        Tombstones { pieces }
    }

    /// These and one more.
    pub(crate) fn with(&self, delete: RangeDelete) -> Tombstones {
        let mut list: Vec<RangeDelete> = self.list().collect();
        list.push(delete);
        Tombstones::new(&list)
    }

    /// All of them, as pieces, by start.
    pub(crate) fn list(&self) -> impl Iterator<Item = RangeDelete> + '_ {
        self.pieces.iter().flat_map(|piece| {
            piece.sequences.iter().map(|&sequence| RangeDelete {
                start: piece.start.clone(),
                end: piece.end.clone(),
                sequence,
            })
        })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The newest delete of `key` that a reader at `sequence` sees, 0 for none.
    pub(crate) fn covering(&self, key: &[u8], sequence: u64) -> u64 {
        let at = self.pieces.partition_point(|piece| piece.start[..] <= *key);
        let Some(piece) = at.checked_sub(1).map(|at| &self.pieces[at]) else { return 0 };
        if !range::ends_after(&piece.end, key) {
            return 0;
        }
        piece.sequences.iter().copied().find(|&deleted| deleted <= sequence).unwrap_or(0)
    }

    /// Whether any of them meets `[start, end)`.
    pub(crate) fn overlaps(&self, start: &[u8], end: &[u8]) -> bool {
        self.pieces.iter().any(|piece| range::overlap(&piece.start, &piece.end, start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_answer_as_the_list_does() {
        let delete = |start: &'static [u8], end: &'static [u8], sequence| RangeDelete {
            start: start.into(),
            end: end.into(),
            sequence,
        };
        let list = [delete(b"b", b"f", 3), delete(b"d", b"", 5), delete(b"", b"c", 7), delete(b"c", b"d", 9)];
        let all = list.iter().fold(Tombstones::default(), |all, one| all.with(one.clone()));
        assert_eq!(all, Tombstones::new(&list));
        for key in [&b""[..], b"a", b"b", b"bb", b"c", b"d", b"e", b"f", b"z"] {
            for sequence in 0..11 {
                let plain = list
                    .iter()
                    .filter(|one| one.sequence <= sequence && one.start[..] <= *key && range::ends_after(&one.end, key))
                    .map(|one| one.sequence)
                    .max();
                assert_eq!(all.covering(key, sequence), plain.unwrap_or(0), "{key:?} at {sequence}");
            }
        }
        assert!(all.overlaps(b"x", b"y") && !Tombstones::new(&list[..1]).overlaps(b"f", b"g"));
    }
}
