//! Checksummed records in an append-only file: the write-ahead log's segments and the manifest are such files.
//!
//! A record's header carries, besides length and checksum, how much of the file was known to be synced when the record
//! was written. After a crash the unsynced tail may hold anything, even whole records behind a torn one. So the reader
//! stops at the first bad record and looks whether any good record behind it vouches for those bytes: if one does, synced
//! bytes have changed, which is corruption; if none does, it is the torn tail of a crash, and is cut off.
//!
//! The checksum covers the file's id and the record's offset, so that a stray record of another place is not taken for one.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use crate::{
    engine::error::{Doing, Error},
    env::File,
};

const MAGIC: u32 = 0x5243_a11e;
/// Magic, checksum, length, synced.
const HEADER: usize = 4 + 4 + 4 + 8;

fn checksum(id: u64, offset: u64, rest: &[u8]) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&id.to_le_bytes());
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), rest)
}

/// Appends records to one file.
pub(crate) struct LogWriter {
    file: Arc<dyn File>,
    path: String,
    id: u64,
    offset: u64,
    synced: u64,
    pending: Vec<u8>,
}

impl LogWriter {
    /// A writer of an empty file. `id` tells this file from others of its kind.
    pub(crate) fn new(file: Arc<dyn File>, path: String, id: u64) -> LogWriter {
        LogWriter { file, path, id, offset: 0, synced: 0, pending: Vec::new() }
    }

    /// Adds a record to what the next `write` writes.
    pub(crate) fn add(&mut self, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.pending.len();
        self.pending.put_bytes(0, HEADER);
        payload(&mut self.pending);
        let len = u32::try_from(self.pending.len() - start - HEADER).expect("a record is far below 4 GiB");
        let offset = self.offset + start as u64;
        let record = &mut self.pending[start..];
        record[..4].copy_from_slice(&MAGIC.to_le_bytes());
        record[8..12].copy_from_slice(&len.to_le_bytes());
        record[12..20].copy_from_slice(&self.synced.to_le_bytes());
        let sum = checksum(self.id, offset, &record[8..]);
        record[4..8].copy_from_slice(&sum.to_le_bytes());
    }

    /// Hands all added records to the file. After an error the file is in an unknown state and must not be written again.
    pub(crate) async fn write(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // The buffer is kept: it is wanted again at once.
        let data = Bytes::copy_from_slice(&self.pending);
        self.pending.clear();
        let len = data.len() as u64;
        self.file.write_at(self.offset, data).await.doing("appending to", &self.path)?;
        self.offset += len;
        Ok(())
    }

    /// Makes everything written durable. A failed sync must not be tried again: the bytes may be gone.
    pub(crate) async fn sync(&mut self) -> Result<(), Error> {
        if self.synced < self.offset {
            self.file.sync().await.doing("syncing", &self.path)?;
            self.synced = self.offset;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> u64 {
        self.offset
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// What a log file holds.
pub(crate) struct Records {
    /// The payloads, in order.
    pub(crate) records: Vec<Bytes>,
    /// Where the good records end. What follows is a torn tail.
    pub(crate) end: u64,
}

/// Reads the bytes of a log file; `Corruption` when synced bytes are not what was written.
pub(crate) fn read_records(path: &str, id: u64, bytes: &Bytes) -> Result<Records, Error> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some((payload, _)) = record_at(id, bytes, at) {
        at += HEADER + payload.len();
        records.push(payload);
    }
    let magic = MAGIC.to_le_bytes();
    let mut probe = at;
    while let Some(step) = bytes.get(probe..).and_then(|rest| rest.windows(4).position(|window| window == magic)) {
        probe += step;
        if record_at(id, bytes, probe).is_some_and(|(_, synced)| synced > at as u64) {
            let detail = format!("the record at offset {at} is bad, and the one at {probe} says that it was synced");
            return Err(Error::corrupt(path, detail));
        }
        probe += 1;
    }
    Ok(Records { records, end: at as u64 })
}

/// The record at an offset, and how much of the file was synced before it.
fn record_at(id: u64, bytes: &Bytes, at: usize) -> Option<(Bytes, u64)> {
    let header = bytes.get(at..at + HEADER)?;
    let number = |range: std::ops::Range<usize>| u32::from_le_bytes(header[range].try_into().expect("four bytes"));
    if number(0..4) != MAGIC {
        return None;
    }
    let end = at + HEADER + usize::try_from(number(8..12)).ok()?;
    let covered = bytes.get(at + 8..end)?;
    if checksum(id, at as u64, covered) != number(4..8) {
        return None;
    }
    let synced = u64::from_le_bytes(header[12..20].try_into().expect("eight bytes"));
    Some((bytes.slice(at + HEADER..end), synced))
}
