//! Writes a table, from entries that come in key order.
//!
//! Bytes are handed to the file in pieces of 64 KiB; the file is synced at the end. Its name is made durable by the caller,
//! who knows which other names go with it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{BufMut, Bytes};

use super::{
    Handle, LZ4, PLAIN, TAG_BLOBS, TAG_END, TAG_ENTRIES, TAG_FILTER, TAG_INDEX, TAG_RANGES, TAG_START, checksum,
    put_footer, put_property,
};
use crate::{
    engine::{
        blob::Index,
        block::{BlockBuilder, Stored},
        error::{Doing, Error},
        filter, range,
        tombstone::RangeDelete,
        varint,
    },
    env::{Disk, File, Open},
};

const PIECE_BYTES: usize = 64 << 10;
const BITS_PER_KEY: usize = 10;

/// How blocks are cut and stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) block_bytes: usize,
    pub(crate) compress: bool,
}

impl Default for Style {
    fn default() -> Style {
        Style { block_bytes: 4 << 10, compress: true }
    }
}

/// Writes one table.
pub(crate) struct TableBuilder {
    file: Arc<dyn File>,
    path: String,
    salt: u64,
    style: Style,
    /// Bytes that were handed to the file.
    written: u64,
    pending: Vec<u8>,
    /// Checksum of all bytes so far.
    sum: u32,
    block: BlockBuilder,
    index: Vec<u8>,
    hashes: Vec<u64>,
    prefix: Vec<u8>,
    entries: u64,
    first: Option<Bytes>,
    last: Vec<u8>,
    ranges: Vec<RangeDelete>,
    /// Bytes of blob files that entries refer to, by file.
    blobs: BTreeMap<u64, u64>,
}

/// What was written.
pub(crate) struct Built {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) sum: u32,
}

impl TableBuilder {
    /// Creates the file, or empties what is there.
    pub(crate) async fn create(disk: &dyn Disk, path: &str, style: Style) -> Result<TableBuilder, Error> {
        let file = disk.open(path, Open::Truncate).await.doing("creating", path)?;
        Ok(TableBuilder {
            file,
            path: path.to_owned(),
            salt: xxhash_rust::xxh3::xxh3_64(path.as_bytes()),
            style,
            written: 0,
            pending: Vec::new(),
            sum: 0,
            block: BlockBuilder::default(),
            index: Vec::new(),
            hashes: Vec::new(),
            prefix: Vec::new(),
            entries: 0,
            first: None,
            last: Vec::new(),
            ranges: Vec::new(),
            blobs: BTreeMap::new(),
        })
    }

    /// Adds an entry behind all others whose value lies in a blob file.
    pub(crate) async fn add_blob(&mut self, key: Bytes, sequence: u64, index: Index) -> Result<(), Error> {
        *self.blobs.entry(index.file).or_default() += index.len;
        self.add(key, sequence, Stored::Blob(&index.encode())).await
    }

    /// Adds an entry behind all others, and writes what is ready to be.
    pub(crate) async fn add(&mut self, key: Bytes, sequence: u64, stored: Stored<'_>) -> Result<(), Error> {
        self.push(&key, sequence, stored);
        if self.is_full() { self.write().await } else { Ok(()) }
    }

    /// Adds an entry behind all others; whoever pushes writes once it is full.
    pub(crate) fn push(&mut self, key: &Bytes, sequence: u64, stored: Stored<'_>) {
        debug_assert!(self.first.is_none() || self.last[..] < key[..], "entries come in key order");
        self.block.add(key, sequence, stored);
        self.hashes.push(filter::hash(key));
        if let Some(prefix) = range::version_prefix(key)
            && self.prefix != prefix
        {
            self.hashes.push(filter::hash(prefix));
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
        }
        self.entries += 1;
        self.first.get_or_insert_with(|| key.clone());
        self.last.clear();
        self.last.extend_from_slice(key);
        if self.block.len() >= self.style.block_bytes {
            self.cut();
        }
    }

    /// Whether a piece of the file waits to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= PIECE_BYTES
    }

    /// Adds a range delete, in any order.
    pub(crate) fn add_range(&mut self, delete: RangeDelete) {
        self.ranges.push(delete);
    }

    /// The last key that was added.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.first.as_ref().map(|_| &self.last[..])
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Roughly the bytes of the file so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + (self.pending.len() + self.block.len()) as u64
    }

    fn cut(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let data = self.block.finish();
        let handle = self.put_block(&data);
        varint::put_bytes(&mut self.index, &self.last);
        self.index.put_slice(&handle.encode());
    }

    fn put_block(&mut self, data: &[u8]) -> Handle {
        let offset = self.written + self.pending.len() as u64;
        let start = self.pending.len();
        let packed = if self.style.compress { Some(lz4_flex::compress_prepend_size(data)) } else { None };
        match packed {
            Some(packed) if packed.len() < data.len() - data.len() / 8 => {
                self.pending.put_slice(&packed);
                self.pending.put_u8(LZ4);
            }
            _ => {
                self.pending.put_slice(data);
                self.pending.put_u8(PLAIN);
            }
        }
        let len = self.pending.len() - start - 1;
        let sum = checksum(self.salt, offset, &self.pending[start..]);
        self.pending.put_u32_le(sum);
        Handle { offset, len: u32::try_from(len).expect("a block is far below 4 GiB") }
    }

    /// Hands what waits to the file.
    pub(crate) async fn write(&mut self) -> Result<(), Error> {
        let data = Bytes::from(std::mem::take(&mut self.pending));
        self.sum = crc32c::crc32c_append(self.sum, &data);
        let len = data.len() as u64;
        self.file.write_at(self.written, data).await.doing("writing", &self.path)?;
        self.written += len;
        Ok(())
    }

    /// Writes what is left, and syncs the file.
    pub(crate) async fn finish(mut self) -> Result<Built, Error> {
        self.cut();
        let mut properties = Vec::new();
        let mut number = Vec::new();
        varint::put(&mut number, self.entries);
        put_property(&mut properties, TAG_ENTRIES, &number);
        if !self.ranges.is_empty() {
            let mut data = Vec::new();
            for range in &self.ranges {
                varint::put_bytes(&mut data, &range.start);
                varint::put_bytes(&mut data, &range.end);
                varint::put(&mut data, range.sequence);
            }
            let handle = self.put_block(&data);
            put_property(&mut properties, TAG_RANGES, &handle.encode());
        }
        if !self.blobs.is_empty() {
            let mut data = Vec::new();
            for (&file, &bytes) in &self.blobs {
                varint::put(&mut data, file);
                varint::put(&mut data, bytes);
            }
            put_property(&mut properties, TAG_BLOBS, &data);
        }
        let mut start = self.first.clone();
        let mut end = self.first.is_some().then(|| range::end_behind(&self.last));
        for delete in &self.ranges {
            start = Some(start.map_or(delete.start.clone(), |start| start.min(delete.start.clone())));
            end = Some(end.map_or(delete.end.clone(), |end| range::later_end(end, delete.end.clone())));
        }
        put_property(&mut properties, TAG_START, &start.unwrap_or_default());
        put_property(&mut properties, TAG_END, &end.unwrap_or_default());
        let filter = filter::build(&self.hashes, BITS_PER_KEY);
        let handle = self.put_block(&filter);
        put_property(&mut properties, TAG_FILTER, &handle.encode());
        let index = Bytes::from(std::mem::take(&mut self.index));
        let handle = self.put_block(&index);
        put_property(&mut properties, TAG_INDEX, &handle.encode());
        let handle = self.put_block(&properties);
        let footer_at = self.written + self.pending.len() as u64;
        put_footer(&mut self.pending, handle, self.salt, footer_at);
        self.write().await?;
        self.file.sync().await.doing("syncing", &self.path)?;
        Ok(Built { entries: self.entries, bytes: self.written, sum: self.sum })
    }
}
