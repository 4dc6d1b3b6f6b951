//! Blocks of sorted entries: keys are stored as what differs from the key before, and whole at restart points.
//!
//! Layout: entries, then the restart points' offsets (four bytes each), then their number (four bytes). An entry is: bytes
//! shared with the key before, bytes not shared, sequence number and kind, length of the value unless it is a delete, key,
//! value. A value is a value, or says where in a blob file it lies.

use bytes::{BufMut, Bytes};

use crate::engine::{memtable::Entry, varint};

const RESTART_EVERY: usize = 16;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Delete,
    Value(&'a [u8]),
    /// Where in a blob file the value lies.
    Blob(&'a [u8]),
}

const DELETE: u64 = 0;
const VALUE: u64 = 1;
const BLOB: u64 = 2;

/// Collects entries in key order.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    data: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last: Vec<u8>,
}

impl BlockBuilder {
    /// Adds an entry whose key is larger than the one before.
    pub(crate) fn add(&mut self, key: &[u8], sequence: u64, stored: Stored<'_>) {
        let shared = if self.entries.is_multiple_of(RESTART_EVERY) {
            self.restarts.push(self.data.len() as u32);
            0
        } else {
            self.last.iter().zip(key).take_while(|(left, right)| left == right).count()
        };
        varint::put(&mut self.data, shared as u64);
        varint::put(&mut self.data, (key.len() - shared) as u64);
        let (kind, value) = match stored {
            Stored::Delete => (DELETE, &[][..]),
            Stored::Value(value) => (VALUE, value),
            Stored::Blob(index) => (BLOB, index),
        };
        varint::put(&mut self.data, sequence << 2 | kind);
        if kind != DELETE {
            varint::put(&mut self.data, value.len() as u64);
        }
        self.data.put_slice(&key[shared..]);
        self.data.put_slice(value);
        self.last.clear();
        self.last.extend_from_slice(key);
        self.entries += 1;
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.data.len() + self.restarts.len() * 4 + 4
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The block; the builder is empty again.
    pub(crate) fn finish(&mut self) -> Bytes {
        // The next block will be about as large.
        let next = Vec::with_capacity(self.data.len() + self.data.len() / 4);
        let mut data = std::mem::replace(&mut self.data, next);
        for restart in &self.restarts {
            data.put_u32_le(*restart);
        }
        data.put_u32_le(self.restarts.len() as u32);
        self.restarts.clear();
        self.last.clear();
        self.entries = 0;
        data.into()
    }
}

/// The bytes of a block are not a block, although their checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A block in memory.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    data: Bytes,
    entries_end: usize,
    restarts: usize,
}

impl Block {
    pub(crate) fn new(data: Bytes) -> Result<Block, Malformed> {
        let tail = data.len().checked_sub(4).ok_or(Malformed)?;
        let restarts = u32::from_le_bytes(data[tail..].try_into().expect("four bytes")) as usize;
        let entries_end = tail.checked_sub(restarts.checked_mul(4).ok_or(Malformed)?).ok_or(Malformed)?;
        Ok(Block { data, entries_end, restarts })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    fn restart(&self, index: usize) -> usize {
        let at = self.entries_end + index * 4;
        u32::from_le_bytes(self.data[at..at + 4].try_into().expect("four bytes")) as usize
    }
}

/// Walks through a block.
pub(crate) struct BlockCursor {
    block: Block,
    at: usize,
    key: Vec<u8>,
    sequence: u64,
    value: Option<(usize, usize)>,
    is_blob: bool,
}

impl BlockCursor {
    /// Before the first entry.
    pub(crate) fn new(block: Block) -> BlockCursor {
        BlockCursor { block, at: 0, key: Vec::new(), sequence: 0, value: None, is_blob: false }
    }

    /// The first entry at or behind `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<Option<Entry>, Malformed> {
        let (mut low, mut high) = (0, self.block.restarts);
        // The last restart point whose key is below `key`.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            self.at = self.block.restart(middle);
            self.key.clear();
            if !self.step()? {
                return Err(Malformed);
            }
            if self.key[..] < *key { low = middle } else { high = middle }
        }
        self.at = if self.block.restarts == 0 { 0 } else { self.block.restart(low) };
        self.key.clear();
        while self.step()? {
            if self.key[..] >= *key {
                return Ok(Some(self.entry()));
            }
        }
        Ok(None)
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Malformed> {
        Ok(self.step()?.then(|| self.entry()))
    }

    fn entry(&self) -> Entry {
        Entry {
            key: Bytes::copy_from_slice(&self.key),
            sequence: self.sequence,
            value: self.value.map(|(start, end)| self.block.data.slice(start..end)),
            is_blob: self.is_blob,
        }
    }

    fn step(&mut self) -> Result<bool, Malformed> {
        let data = &self.block.data[..self.block.entries_end];
        if self.at >= data.len() {
            return Ok(false);
        }
        let mut at = self.at;
        let mut number = || varint::get(data, &mut at).ok_or(Malformed);
        let shared = number()? as usize;
        let unshared = number()? as usize;
        let tail = number()?;
        let kind = tail & 3;
        if kind > BLOB {
            return Err(Malformed);
        }
        let len = if kind == DELETE { None } else { Some(number()? as usize) };
        let key_end = at.checked_add(unshared).ok_or(Malformed)?;
        let value_end = key_end.checked_add(len.unwrap_or(0)).ok_or(Malformed)?;
        if shared > self.key.len() || value_end > data.len() {
            return Err(Malformed);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(&data[at..key_end]);
        self.sequence = tail >> 2;
        self.is_blob = kind == BLOB;
        self.value = len.map(|_| (key_end, value_end));
        self.at = value_end;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_its_entries_and_finds_each() {
        let keys: Vec<String> = (0..100).map(|number| format!("key{:05}", number * 2)).collect();
        let mut builder = BlockBuilder::default();
        for (sequence, key) in keys.iter().enumerate() {
            let stored = match sequence % 3 {
                0 => Stored::Delete,
                1 => Stored::Value(key.as_bytes()),
                _ => Stored::Blob(key.as_bytes()),
            };
            builder.add(key.as_bytes(), sequence as u64, stored);
        }
        let block = Block::new(builder.finish()).expect("well formed");
        assert!(builder.is_empty());
        let mut cursor = BlockCursor::new(block.clone());
        for (sequence, key) in keys.iter().enumerate() {
            let entry = cursor.next().expect("well formed").expect("as many entries as were added");
            assert_eq!((&entry.key[..], entry.sequence), (key.as_bytes(), sequence as u64));
            assert_eq!((entry.value.is_none(), entry.is_blob), (sequence % 3 == 0, sequence % 3 == 2));
            let found = BlockCursor::new(block.clone()).seek(key.as_bytes()).expect("well formed");
            assert_eq!(found, Some(entry));
        }
        assert_eq!(cursor.next(), Ok(None));
        let between = BlockCursor::new(block.clone()).seek(b"key00003").expect("well formed");
        assert_eq!(between.map(|entry| entry.key), Some(Bytes::from_static(b"key00004")));
        assert_eq!(BlockCursor::new(block).seek(b"z"), Ok(None));
        assert_eq!(Block::new(Bytes::from_static(&[1, 0, 0, 9])).err(), Some(Malformed));
    }
}
