//! Sorted tables: immutable files of entries in key order, with a filter, range deletes and an index.
//!
//! Layout: data blocks, range deletes, filter, index, properties, footer. Every block is followed by one byte that says how
//! it is stored and by a checksum, which also covers the table's salt and the block's offset, so that a block of another
//! place or another file is not taken for this one. Properties carry numeric tags; a tag that is not known is an error.
//!
//! In memory a table keeps its index, filter and range deletes; data blocks come through the cache.

mod build;
mod external;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use bytes::{BufMut, Bytes};

pub(crate) use build::{Style, TableBuilder};
pub use external::{Reader, Summary, Writer};

use crate::{
    engine::{
        block::{Block, BlockCursor, Malformed},
        cache::{Cache, Slots},
        error::{Error, read, retried},
        files::Garbage,
        filter,
        memtable::Entry,
        range,
        state::note,
        tombstone::{RangeDelete, Tombstones},
        varint,
    },
    env::{Env, File, Open},
};

const MAGIC: u64 = 0x5245_454e_5441_424c;
const FORMAT: u32 = 1;
/// Properties' offset and length, salt, format, checksum, magic.
const FOOTER: usize = 8 + 4 + 8 + 4 + 4 + 8;
/// What follows a block: how it is stored, and its checksum.
const TRAILER: usize = 1 + 4;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

const TAG_ENTRIES: u64 = 1;
const TAG_START: u64 = 2;
const TAG_END: u64 = 3;
const TAG_INDEX: u64 = 4;
const TAG_FILTER: u64 = 5;
const TAG_RANGES: u64 = 6;
const TAG_BLOBS: u64 = 7;

/// Where a block lies, without its trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Handle {
    offset: u64,
    len: u32,
}

impl Handle {
    fn encode(self) -> Bytes {
        let mut out = Vec::new();
        varint::put(&mut out, self.offset);
        varint::put(&mut out, u64::from(self.len));
        out.into()
    }

    fn decode(from: &mut Bytes) -> Option<Handle> {
        Some(Handle { offset: varint::take(from)?, len: u32::try_from(varint::take(from)?).ok()? })
    }
}

fn checksum(salt: u64, offset: u64, stored: &[u8]) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&salt.to_le_bytes());
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), stored)
}

struct IndexEntry {
    last: Bytes,
    handle: Handle,
}

/// An open table.
pub(crate) struct Table {
    env: Env,
    path: String,
    file: Arc<dyn File>,
    /// Its number, which is also its name; 0 outside the engine.
    pub(crate) number: u64,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Entries, deletes included, range deletes not.
    pub(crate) entries: u64,
    /// Every key and range delete lies in `[start, end)`; an empty end is the end of the family.
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    /// Range deletes.
    pub(crate) tombstones: Arc<Tombstones>,
    /// For tables that were ingested: the sequence number of all their entries.
    pub(crate) sequence: Option<u64>,
    /// Blob files that entries refer to, and how many bytes of each.
    pub(crate) blobs: Vec<(u64, u64)>,
    salt: u64,
    index: Vec<IndexEntry>,
    filter: Bytes,
    slots: Arc<Slots>,
    cache: Arc<Cache>,
    garbage: Arc<Garbage>,
    obsolete: AtomicBool,
}

impl Drop for Table {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() {
            self.garbage.add(std::mem::take(&mut self.path));
        }
    }
}

/// Which file to open as a table, and what it shares with others.
pub(crate) struct Opening<'a> {
    pub(crate) env: &'a Env,
    pub(crate) path: String,
    pub(crate) number: u64,
    pub(crate) sequence: Option<u64>,
    pub(crate) cache: &'a Arc<Cache>,
    pub(crate) garbage: &'a Arc<Garbage>,
}

impl Table {
    /// Opens a table; corruption is stated as a fact.
    pub(crate) async fn open(opening: Opening<'_>) -> Result<Table, Error> {
        let env = opening.env.clone();
        Table::open_quietly(opening).await.map_err(|error| note(&env, error))
    }

    async fn open_quietly(
        Opening { env, path, number, sequence, cache, garbage }: Opening<'_>,
    ) -> Result<Table, Error> {
        let file = retried(env, &path, || env.disk.open(&path, Open::Read)).await?;
        let bytes = retried(env, &path, || file.len()).await?;
        let corrupt = |detail: &str| Error::corrupt(&path, detail);
        let footer_at = bytes.checked_sub(FOOTER as u64).ok_or_else(|| corrupt("it is too short for a table"))?;
        let footer = read(env, &path, &*file, footer_at, FOOTER).await?;
        let quad = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().expect("eight bytes"));
        let word = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().expect("four bytes"));
        if quad(28) != MAGIC {
            return Err(corrupt("it does not end as a table does"));
        }
        if checksum(0, footer_at, &footer[..24]) != word(24) {
            return Err(corrupt("the footer's checksum is wrong"));
        }
        if word(20) != FORMAT {
            return Err(Error::UnknownFormat { path, what: format!("a table of format {}", word(20)) });
        }
        let salt = quad(12);
        let block = async |handle: Handle| read_block(env, &path, &*file, salt, handle).await;
        let mut from = block(Handle { offset: quad(0), len: word(8) }).await?;
        let (mut entries, mut start, mut end) = (0, Bytes::new(), Bytes::new());
        let (mut index_at, mut filter_at, mut ranges_at) = (None, None, None);
        let mut blobs = Vec::new();
        let malformed = || Error::corrupt(&path, "properties, index or range deletes are malformed");
        while !from.is_empty() {
            let tag = varint::take(&mut from).ok_or_else(malformed)?;
            let mut value = varint::take_bytes(&mut from).ok_or_else(malformed)?;
            match tag {
                TAG_ENTRIES => entries = varint::take(&mut value).ok_or_else(malformed)?,
                TAG_START => start = value,
                TAG_END => end = value,
                TAG_INDEX => index_at = Handle::decode(&mut value),
                TAG_FILTER => filter_at = Handle::decode(&mut value),
                TAG_RANGES => ranges_at = Handle::decode(&mut value),
                TAG_BLOBS => {
                    while !value.is_empty() {
                        let file = varint::take(&mut value).ok_or_else(malformed)?;
                        blobs.push((file, varint::take(&mut value).ok_or_else(malformed)?));
                    }
                }
                _ => {
                    let what = format!("property {tag} in a table of format {FORMAT}");
                    return Err(Error::UnknownFormat { path, what });
                }
            }
        }
        let mut from = block(index_at.ok_or_else(malformed)?).await?;
        let mut index = Vec::new();
        while !from.is_empty() {
            let last = varint::take_bytes(&mut from).ok_or_else(malformed)?;
            index.push(IndexEntry { last, handle: Handle::decode(&mut from).ok_or_else(malformed)? });
        }
        let filter = block(filter_at.ok_or_else(malformed)?).await?;
        let mut list = Vec::new();
        if let Some(handle) = ranges_at {
            let mut from = block(handle).await?;
            while !from.is_empty() {
                let start = varint::take_bytes(&mut from).ok_or_else(malformed)?;
                let end = varint::take_bytes(&mut from).ok_or_else(malformed)?;
                list.push(RangeDelete { start, end, sequence: varint::take(&mut from).ok_or_else(malformed)? });
            }
        }
        Ok(Table {
            env: env.clone(),
            path,
            file,
            number,
            bytes,
            entries,
            start,
            end,
            tombstones: Arc::new(Tombstones::new(&list)),
            sequence,
            blobs,
            salt,
            slots: Slots::new(index.len()),
            index,
            filter,
            cache: cache.clone(),
            garbage: garbage.clone(),
            obsolete: AtomicBool::new(false),
        })
    }

    /// The file goes away with the last reference to this table.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, SeqCst);
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the table has keys or range deletes in `[start, end)`, as far as its bounds tell.
    pub(crate) fn overlaps(&self, start: &[u8], end: &[u8]) -> bool {
        range::overlap(&self.start, &self.end, start, end)
    }

    /// Whether an entry for `key` may be there. Says nothing about range deletes.
    pub(crate) fn may_contain(&self, key: &[u8], hash: u64) -> bool {
        key >= &self.start[..] && range::ends_after(&self.end, key) && filter::may_contain(&self.filter, hash)
    }

    /// Whether versions whose prefix has this hash may be there. Says nothing about range deletes.
    pub(crate) fn may_contain_versions(&self, hash: u64) -> bool {
        filter::may_contain(&self.filter, hash)
    }

    fn block_of(&self, key: &[u8]) -> usize {
        self.index.partition_point(|entry| entry.last[..] < *key)
    }

    async fn block(&self, index: usize, keep: bool) -> Result<Block, Error> {
        if let Some(block) = self.slots.get(index) {
            return Ok(block);
        }
        let handle = self.index[index].handle;
        let data = read_block(&self.env, &self.path, &*self.file, self.salt, handle)
            .await
            .map_err(|error| note(&self.env, error))?;
        let block = Block::new(data).map_err(|malformed| self.malformed(malformed))?;
        if keep {
            self.cache.keep(&self.slots, index, &block);
        }
        Ok(block)
    }

    fn malformed(&self, _: Malformed) -> Error {
        note(&self.env, Error::corrupt(&self.path, "a block is malformed although its checksum is right"))
    }

    fn numbered(&self, mut entry: Entry) -> Entry {
        entry.sequence = self.sequence.unwrap_or(entry.sequence);
        entry
    }

    /// The entry of `key`.
    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Entry>, Error> {
        let index = self.block_of(key);
        if index == self.index.len() {
            return Ok(None);
        }
        let mut cursor = BlockCursor::new(self.block(index, true).await?);
        let found = cursor.seek(key).map_err(|malformed| self.malformed(malformed))?;
        Ok(found.filter(|entry| entry.key == key).map(|entry| self.numbered(entry)))
    }
}

/// Walks through a table.
pub(crate) struct TableCursor {
    table: Arc<Table>,
    /// Whether blocks are kept in the cache: not for those who read everything once.
    keep: bool,
    next_block: usize,
    cursor: Option<BlockCursor>,
}

impl TableCursor {
    /// Before the first entry.
    pub(crate) fn new(table: Arc<Table>, keep: bool) -> TableCursor {
        TableCursor { table, keep, next_block: 0, cursor: None }
    }

    /// The first entry at or behind `key`.
    pub(crate) async fn seek(&mut self, key: &[u8]) -> Result<Option<Entry>, Error> {
        self.next_block = self.table.block_of(key);
        self.cursor = None;
        if let Some(mut cursor) = self.open_next().await? {
            let found = cursor.seek(key).map_err(|malformed| self.table.malformed(malformed))?;
            self.cursor = Some(cursor);
            if let Some(entry) = found {
                return Ok(Some(self.table.numbered(entry)));
            }
        }
        self.next().await
    }

    /// The next entry if it lies in the block at hand.
    pub(crate) fn next_at_hand(&mut self) -> Result<Option<Entry>, Error> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let entry = cursor.next().map_err(|malformed| self.table.malformed(malformed))?;
        Ok(entry.map(|entry| self.table.numbered(entry)))
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(cursor) = &mut self.cursor
                && let Some(entry) = cursor.next().map_err(|malformed| self.table.malformed(malformed))?
            {
                return Ok(Some(self.table.numbered(entry)));
            }
            self.cursor = self.open_next().await?;
            if self.cursor.is_none() {
                return Ok(None);
            }
        }
    }

    async fn open_next(&mut self) -> Result<Option<BlockCursor>, Error> {
        if self.next_block == self.table.index.len() {
            return Ok(None);
        }
        let block = self.table.block(self.next_block, self.keep).await?;
        self.next_block += 1;
        Ok(Some(BlockCursor::new(block)))
    }
}

/// Reads a block and checks it. A checksum that is wrong is looked at twice: the first read may have been bad, not the disk.
async fn read_block(env: &Env, path: &str, file: &dyn File, salt: u64, handle: Handle) -> Result<Bytes, Error> {
    let len = handle.len as usize;
    let mut tries = 2;
    let stored = loop {
        let stored = read(env, path, file, handle.offset, len + TRAILER).await?;
        let expected = u32::from_le_bytes(stored[len + 1..].try_into().expect("four bytes"));
        if checksum(salt, handle.offset, &stored[..=len]) == expected {
            break stored;
        }
        tries -= 1;
        if tries == 0 {
            return Err(Error::corrupt(path, format!("the block at offset {} has a wrong checksum", handle.offset)));
        }
    };
    match stored[len] {
        PLAIN => Ok(stored.slice(..len)),
        LZ4 => lz4_flex::decompress_size_prepended(&stored[..len])
            .map(Bytes::from)
            .map_err(|error| Error::corrupt(path, format!("the block at offset {}: {error}", handle.offset))),
        other => Err(Error::UnknownFormat { path: path.to_owned(), what: format!("a block stored as {other}") }),
    }
}

/// Adds a tagged property.
fn put_property(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    varint::put(out, tag);
    varint::put_bytes(out, value);
}

fn put_footer(out: &mut Vec<u8>, properties: Handle, salt: u64, at: u64) {
    let start = out.len();
    out.put_u64_le(properties.offset);
    out.put_u32_le(properties.len);
    out.put_u64_le(salt);
    out.put_u32_le(FORMAT);
    let sum = checksum(0, at, &out[start..]);
    out.put_u32_le(sum);
    out.put_u64_le(MAGIC);
}
