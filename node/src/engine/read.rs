//! Reads: one key, the first key of a range, a walk through a range.
//!
//! What is in memory is answered without waiting; a wait is a disk read.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;

use crate::engine::{batch::Family, cursor::Merge, error::Error, filter, range, state::Sources};

/// The value of a key as a reader at `sequence` sees it.
pub(crate) async fn get(sources: &Sources, sequence: u64, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
    // From newest to oldest: the first source that has the key decides, unless a newer range delete covers it.
    let mut deleted = 0;
    for memtable in sources.memtables() {
        if let Some(ranges) = memtable.tombstones(family) {
            deleted = deleted.max(ranges.covering(key, sequence));
        }
        if let Some((written, value)) = memtable.get(family, key, sequence) {
            return Ok(value.filter(|_| written > deleted));
        }
        if deleted > 0 {
            return Ok(None);
        }
    }
    for table in sources.version.tables_of(family, key) {
        deleted = deleted.max(table.tombstones.covering(key, sequence));
        if table.may_contain(key, filter::hash(key))
            && let Some(entry) = table.get(key).await?
        {
            return if entry.sequence > deleted { sources.version.value_of(entry).await } else { Ok(None) };
        }
        if deleted > 0 {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The first key in `[start, end)` that has a value.
pub(crate) async fn first(
    sources: &Sources,
    sequence: u64,
    family: Family,
    start: &[u8],
    end: &[u8],
) -> Result<Option<(Bytes, Bytes)>, Error> {
    let runs = sources.version.runs(family, start, end);
    if runs.is_empty() {
        return Ok(first_in_memory(sources, sequence, family, start, end));
    }
    let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
    let mut merge = Merge::new(start, end, sequence);
    merge.resolve_with(&sources.version);
    for memtable in sources.memtables() {
        merge.add_memtable(memtable, family);
    }
    for run in runs {
        merge.add_run(run, true);
    }
    merge.next_live().await
}

fn first_in_memory(
    sources: &Sources,
    sequence: u64,
    family: Family,
    start: &[u8],
    end: &[u8],
) -> Option<(Bytes, Bytes)> {
    let mut behind: Option<Bytes> = None;
    loop {
        let from = behind.as_ref().map_or(Bound::Included(start), |key| Bound::Excluded(&key[..]));
        let mut best: Option<(Bytes, u64, Option<Bytes>)> = None;
        for memtable in sources.memtables().filter(|memtable| memtable.has(family)) {
            memtable.scan(family, from, end, sequence, |key, written, value| {
                // Newer memtables come first, so that an equal key of an older one does not replace theirs.
                if best.as_ref().is_none_or(|(found, ..)| key < found) {
                    best = Some((key.clone(), written, value.clone()));
                }
                false
            });
        }
        let (key, written, value) = best?;
        let live = value.filter(|_| {
            !sources.memtables().any(|memtable| {
                memtable.tombstones(family).is_some_and(|ranges| ranges.covering(&key, sequence) > written)
            })
        });
        if let Some(value) = live {
            return Some((key, value));
        }
        behind = Some(key);
    }
}

/// Walks through the keys of a range that have values.
pub struct Iter {
    merge: Merge,
    empty: bool,
}

impl Iter {
    pub(crate) fn new(sources: &Sources, sequence: u64, family: Family, start: Bytes, end: Bytes) -> Iter {
        let empty = !range::ends_after(&end, &start);
        let runs = if empty { Vec::new() } else { sources.version.runs(family, &start, &end) };
        let mut merge = Merge::new(start, end, sequence);
        merge.resolve_with(&sources.version);
        for memtable in sources.memtables() {
            merge.add_memtable(memtable, family);
        }
        for run in runs {
            merge.add_run(run, true);
        }
        Iter { merge, empty }
    }

    /// The next key and its value, in key order; `None` at the end. An error ends the walk and is given again.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        if self.empty { Ok(None) } else { self.merge.next_live().await }
    }
}

/// A consistent view of all families at one moment. Pins the memtables and files that it needs until it is dropped.
#[derive(Clone)]
pub struct Snapshot {
    sources: Arc<Sources>,
    sequence: u64,
}

impl Snapshot {
    pub(crate) fn new(sources: Arc<Sources>, sequence: u64) -> Snapshot {
        Snapshot { sources, sequence }
    }

    /// The value of a key.
    pub async fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Error> {
        get(&self.sources, self.sequence, family, key).await
    }

    /// The first key in `[start, end)` that has a value; an empty `end` is the end of the family.
    pub async fn first(&self, family: Family, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, Error> {
        first(&self.sources, self.sequence, family, start, end).await
    }

    /// Walks through `[start, end)`; an empty `end` is the end of the family.
    pub fn iter(&self, family: Family, start: Bytes, end: Bytes) -> Iter {
        Iter::new(&self.sources, self.sequence, family, start, end)
    }

    /// The number of the last change that it sees.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}
