//! Walks through several sources at once, in key order.
//!
//! Every source yields at most one entry a key; of entries with equal keys the one with the largest sequence number counts.
//! Memtables are read a few entries at a time, tables block by block.

use std::{collections::VecDeque, ops::Bound, sync::Arc};

use bytes::Bytes;

use crate::engine::{
    batch::Family,
    error::Error,
    memtable::{Entry, MemTable},
    range,
    table::{Table, TableCursor},
    tombstone::Tombstones,
    version::Version,
};

/// Entries of one memtable.
struct MemCursor {
    memtable: Arc<MemTable>,
    family: Family,
    sequence: u64,
    end: Bytes,
    ahead: VecDeque<Entry>,
    /// Behind which key the next entries lie; `None` once all were read.
    from: Option<Bound<Bytes>>,
    want: usize,
}

impl MemCursor {
    fn next(&mut self) -> Option<Entry> {
        if self.ahead.is_empty()
            && let Some(from) = self.from.take()
        {
            let (ahead, want) = (&mut self.ahead, self.want);
            let start = from.as_ref().map(|key| &key[..]);
            self.memtable.scan(self.family, start, &self.end, self.sequence, |key, sequence, value| {
                ahead.push_back(Entry { key: key.clone(), sequence, value: value.clone(), is_blob: false });
                ahead.len() < want
            });
            if ahead.len() == want {
                self.from = ahead.back().map(|last| Bound::Excluded(last.key.clone()));
            }
            self.want = (self.want * 4).min(64);
        }
        self.ahead.pop_front()
    }
}

/// Entries of tables with ascending ranges.
struct RunCursor {
    tables: VecDeque<Arc<Table>>,
    open: Option<TableCursor>,
    start: Bytes,
    end: Bytes,
    keep: bool,
}

impl RunCursor {
    /// The next entry if it lies in the block at hand, as most do: then nothing is waited for.
    fn next_at_hand(&mut self) -> Result<Option<Entry>, Error> {
        let Some(cursor) = &mut self.open else { return Ok(None) };
        let found = cursor.next_at_hand()?;
        if found.as_ref().is_some_and(|entry| !range::ends_after(&self.end, &entry.key)) {
            self.tables.clear();
            self.open = None;
            return Ok(None);
        }
        Ok(found)
    }

    async fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let found = match &mut self.open {
                Some(cursor) => cursor.next().await?,
                None => match self.tables.pop_front() {
                    None => return Ok(None),
                    Some(table) => {
                        let seek = table.start < self.start;
                        let mut cursor = TableCursor::new(table, self.keep);
                        let first = if seek { cursor.seek(&self.start).await? } else { cursor.next().await? };
                        self.open = Some(cursor);
                        first
                    }
                },
            };
            match found {
                Some(entry) if range::ends_after(&self.end, &entry.key) => return Ok(Some(entry)),
                Some(_) => {
                    self.tables.clear();
                    self.open = None;
                    return Ok(None);
                }
                None => self.open = None,
            }
        }
    }
}

enum Source {
    Mem(MemCursor),
    Run(Box<RunCursor>),
}

struct Head {
    source: Source,
    entry: Option<Entry>,
}

impl Head {
    async fn advance(&mut self) -> Result<Option<Entry>, Error> {
        let next = match &mut self.source {
            Source::Mem(cursor) => cursor.next(),
            Source::Run(cursor) => match cursor.next_at_hand()? {
                None => cursor.next().await?,
                found => found,
            },
        };
        Ok(std::mem::replace(&mut self.entry, next))
    }
}

/// Entries of all sources, one a key, deletes included.
pub(crate) struct Merge {
    heads: Vec<Head>,
    /// How many heads have their first entry.
    primed: usize,
    tombstones: Vec<Arc<Tombstones>>,
    start: Bytes,
    end: Bytes,
    sequence: u64,
    /// Where values lie that entries only refer to.
    version: Option<Arc<Version>>,
    /// An error ends the walk: what was lost with it must not be skipped in silence.
    failed: Option<Error>,
}

impl Merge {
    /// A walk through `[start, end)` as of `sequence`.
    pub(crate) fn new(start: Bytes, end: Bytes, sequence: u64) -> Merge {
        let (heads, tombstones) = (Vec::new(), Vec::new());
        Merge { heads, primed: 0, tombstones, start, end, sequence, version: None, failed: None }
    }

    /// Says in which version to look for values that lie in blob files.
    pub(crate) fn resolve_with(&mut self, version: &Arc<Version>) {
        if !version.blobs.is_empty() {
            self.version = Some(version.clone());
        }
    }

    /// Adds a memtable.
    pub(crate) fn add_memtable(&mut self, memtable: &Arc<MemTable>, family: Family) {
        if !memtable.has(family) {
            return;
        }
        self.tombstones.extend(memtable.tombstones(family));
        let source = Source::Mem(MemCursor {
            memtable: memtable.clone(),
            family,
            sequence: self.sequence,
            end: self.end.clone(),
            ahead: VecDeque::new(),
            from: Some(Bound::Included(self.start.clone())),
            want: 2,
        });
        self.heads.push(Head { source, entry: None });
    }

    /// Adds tables with ascending ranges.
    pub(crate) fn add_run(&mut self, tables: Vec<Arc<Table>>, keep: bool) {
        self.tombstones.extend(tables.iter().map(|table| &table.tombstones).filter(|all| !all.is_empty()).cloned());
        let (start, end) = (self.start.clone(), self.end.clone());
        let run = RunCursor { tables: tables.into(), open: None, start, end, keep };
        self.heads.push(Head { source: Source::Run(Box::new(run)), entry: None });
    }

    /// The range deletes of all sources.
    pub(crate) fn tombstones(&self) -> &[Arc<Tombstones>] {
        &self.tombstones
    }

    /// Whether a range delete removes an entry.
    pub(crate) fn is_covered(&self, entry: &Entry) -> bool {
        self.tombstones.iter().any(|ranges| ranges.covering(&entry.key, self.sequence) > entry.sequence)
    }

    /// The newest entry of the next key. After an error it gives that error again.
    pub(crate) async fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.advance().await;
        self.failed = next.as_ref().err().cloned();
        next
    }

    async fn advance(&mut self) -> Result<Option<Entry>, Error> {
        while self.primed < self.heads.len() {
            self.heads[self.primed].advance().await?;
            self.primed += 1;
        }
        let mut newest: Option<usize> = None;
        for (index, head) in self.heads.iter().enumerate() {
            let Some(entry) = &head.entry else { continue };
            let better = match newest.and_then(|best| self.heads[best].entry.as_ref()) {
                None => true,
                Some(best) => (&entry.key, best.sequence) < (&best.key, entry.sequence),
            };
            if better {
                newest = Some(index);
            }
        }
        let Some(newest) = newest else { return Ok(None) };
        for index in 0..self.heads.len() {
            let key = |head: usize| self.heads[head].entry.as_ref().map(|entry| &entry.key);
            if index != newest && key(index) == key(newest) {
                self.heads[index].advance().await?;
            }
        }
        self.heads[newest].advance().await
    }

    /// The next key that has a value.
    pub(crate) async fn next_live(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        while let Some(entry) = self.next_entry().await? {
            if self.is_covered(&entry) {
                continue;
            }
            if entry.is_blob {
                let key = entry.key.clone();
                if let Some(value) = self.resolve(entry).await? {
                    return Ok(Some((key, value)));
                }
            } else if let Some(value) = entry.value {
                return Ok(Some((entry.key, value)));
            }
        }
        Ok(None)
    }

    async fn resolve(&mut self, entry: Entry) -> Result<Option<Bytes>, Error> {
        let version = self.version.clone().unwrap_or_default();
        let value = version.value_of(entry).await;
        self.failed = value.as_ref().err().cloned();
        value
    }
}
