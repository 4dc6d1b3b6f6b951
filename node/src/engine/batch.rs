//! Column families, and batches of changes that are written whole or not at all.
//!
//! A batch is kept as shared byte strings, so that it reaches the memtable without copies; it is encoded once, for the
//! write-ahead log. Each change has its own sequence number, so that order within a batch counts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::{BufMut, Bytes};

use crate::engine::varint;

/// A column family: keys of different families never meet, writes to several families are atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Large values, under version keys.
    Default = 0,
    /// Versions of user keys.
    Write = 1,
    /// Locks of transactions.
    Lock = 2,
    /// What belongs to the store itself.
    Raft = 3,
}

impl Family {
    /// All families, in the order of their ids.
    pub const ALL: [Family; 4] = [Family::Default, Family::Write, Family::Lock, Family::Raft];
    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    /// The name that facts and file formats use.
    pub fn name(self) -> &'static str {
        match self {
            Family::Default => "default",
            Family::Write => "write",
            Family::Lock => "lock",
            Family::Raft => "raft",
        }
    }

    /// Whether its keys are version keys.
    pub(crate) fn is_versioned(self) -> bool {
        matches!(self, Family::Default | Family::Write)
    }

    pub(crate) fn from_id(id: u8) -> Option<Family> {
        Family::ALL.get(usize::from(id)).copied()
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put(Family, Bytes, Bytes),
    Delete(Family, Bytes),
    DeleteRange(Family, Bytes, Bytes),
}

/// Changes that are written whole or not at all. Later changes win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    ops: Vec<Op>,
    bytes: usize,
    stamp: Option<Arc<AtomicU64>>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets a key.
    pub fn put(&mut self, family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put(family, key, value));
    }

    /// Removes a key.
    pub fn delete(&mut self, family: Family, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.ops.push(Op::Delete(family, key));
    }

    /// Removes every key from `start` up to and without `end`; an empty `end` means to the end of the family.
    pub fn delete_range(&mut self, family: Family, start: impl Into<Bytes>, end: impl Into<Bytes>) {
        let (start, end) = (start.into(), end.into());
        if end.is_empty() || start < end {
            self.bytes += start.len() + end.len();
            self.ops.push(Op::DeleteRange(family, start, end));
        }
    }

    /// Has the sequence number of its last change stored in `stamp`, before any reader sees the batch.
    pub fn stamp(&mut self, stamp: Arc<AtomicU64>) {
        self.stamp = Some(stamp);
    }

    pub(crate) fn stamp_with(&self, sequence: u64) {
        if let Some(stamp) = &self.stamp {
            stamp.store(sequence, SeqCst);
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the changes of another batch behind its own.
    pub fn append(&mut self, mut other: WriteBatch) {
        self.bytes += other.bytes;
        self.ops.append(&mut other.ops);
    }

    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.ops
    }

    /// The payload of a record of the write-ahead log: the sequence number of the first change, then the changes.
    pub(crate) fn encode(&self, sequence: u64, out: &mut Vec<u8>) {
        out.reserve(self.bytes + self.ops.len() * 8 + 16);
        out.put_u64_le(sequence);
        varint::put(out, self.ops.len() as u64);
        for op in &self.ops {
            let (kind, family, key, value) = match op {
                Op::Delete(family, key) => (0, *family, key, None),
                Op::Put(family, key, value) => (1, *family, key, Some(value)),
                Op::DeleteRange(family, start, end) => (2, *family, start, Some(end)),
            };
            out.put_u8(kind << 4 | family as u8);
            varint::put_bytes(out, key);
            if let Some(value) = value {
                varint::put_bytes(out, value);
            }
        }
    }

    /// Reads what `encode` wrote; `None` when it is something else.
    pub(crate) fn decode(mut from: Bytes) -> Option<(u64, WriteBatch)> {
        let sequence = u64::from_le_bytes(from.get(..8)?.try_into().ok()?);
        let _ = from.split_to(8);
        let count = varint::take(&mut from)?;
        let mut batch = WriteBatch::new();
        for _ in 0..count {
            let tag = *from.first()?;
            let _ = from.split_to(1);
            let family = Family::from_id(tag & 0xf)?;
            let key = varint::take_bytes(&mut from)?;
            match tag >> 4 {
                0 => batch.delete(family, key),
                1 => batch.put(family, key, varint::take_bytes(&mut from)?),
                2 => batch.delete_range(family, key, varint::take_bytes(&mut from)?),
                _ => return None,
            }
        }
        from.is_empty().then_some((sequence, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_decodes_to_itself_and_not_when_cut() {
        let mut batch = WriteBatch::new();
        batch.put(Family::Raft, &b"a"[..], vec![3; 300]);
        batch.delete(Family::Lock, &b""[..]);
        batch.delete_range(Family::Write, &b"b"[..], &b""[..]);
        batch.delete_range(Family::Write, &b"b"[..], &b"b"[..]);
        assert_eq!((batch.len(), batch.bytes()), (3, 302));
        let mut out = Vec::new();
        batch.encode(77, &mut out);
        let encoded = Bytes::from(out);
        let (sequence, decoded) = WriteBatch::decode(encoded.clone()).expect("it was just encoded");
        assert_eq!((sequence, &decoded.ops), (77, &batch.ops));
        for len in 0..encoded.len() {
            assert!(WriteBatch::decode(encoded.slice(..len)).is_none(), "cut to {len}");
        }
    }
}
