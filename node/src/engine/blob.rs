//! Blob files: large values, apart from the tables whose entries say where they lie.
//!
//! A file begins with a header of one of three versions, as Titan's do: magic and version (8 bytes), with flags (12), with
//! the size of its blocks (20; 0 without). Records follow, each with a checksum over the file's number and the record's
//! place, its length, how it is stored, key and value; then a footer. Which versions are written and read is the
//! release's business ([`format`](super::format)).
//!
//! A blob file never changes. It lives as long as a table of the current version or a pinned snapshot refers to it; how much
//! of it is alive follows from the tables, which know how many bytes of which file they refer to. [`collect`] chooses the
//! files that are mostly dead, and compactions move what is alive in them.

mod build;
pub(crate) mod collect;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use bytes::{Buf, BufMut, Bytes};

pub(crate) use build::Values;

use crate::{
    engine::{
        error::{Error, read, retried},
        fact::Fact,
        files::{self, Garbage},
        format::Formats,
        state::note,
        varint,
    },
    env::{Env, File, Open},
};

/// The first four bytes of every version's header.
const MAGIC: u32 = 0x2be0_a614;
const FOOTER_MAGIC: u64 = 0x5245_454e_424c_4f42;
/// Entries, where the records end, checksum, magic.
const FOOTER: usize = 8 + 8 + 4 + 8;
/// Checksum, length of what follows the head, how it is stored.
const HEAD: usize = 4 + 4 + 1;
const PLAIN: u8 = 0;
/// How much is read at once when a whole file is looked through.
const PIECE_BYTES: u64 = 256 << 10;

/// The length of a header.
fn header_len(version: u8) -> u64 {
    match version {
        1 => 8,
        2 => 12,
        _ => 20,
    }
}

fn put_header(out: &mut Vec<u8>, version: u8, block_size: u64) {
    out.put_u32_le(MAGIC);
    out.put_u32_le(u32::from(version));
    if version >= 2 {
        out.put_u32_le(0);
    }
    if version >= 3 {
        out.put_u64_le(block_size);
    }
}

fn checksum(number: u64, offset: u64, rest: &[u8]) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), rest)
}

/// Where a value lies: file, offset of its record, length of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) file: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Index {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = Vec::with_capacity(16);
        varint::put(&mut out, self.file);
        varint::put(&mut out, self.offset);
        varint::put(&mut out, self.len);
        out.into()
    }

    pub(crate) fn decode(mut from: Bytes) -> Option<Index> {
        let index =
            Index { file: varint::take(&mut from)?, offset: varint::take(&mut from)?, len: varint::take(&mut from)? };
        from.is_empty().then_some(index)
    }
}

/// A blob file as the manifest knows it. Its oldest notes have number and bytes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlobMeta {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) block_size: u64,
    pub(crate) smallest: Bytes,
    pub(crate) largest: Bytes,
}

/// An open blob file.
pub(crate) struct BlobFile {
    env: Env,
    path: String,
    file: Arc<dyn File>,
    pub(crate) meta: BlobMeta,
    /// Where its first record begins, and where the last one ends.
    records: (u64, u64),
    entries: u64,
    garbage: Arc<Garbage>,
    obsolete: AtomicBool,
}

impl Drop for BlobFile {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() {
            self.garbage.add(std::mem::take(&mut self.path));
        }
    }
}

impl BlobFile {
    /// Opens a file that the manifest knows. What it cannot read it leaves as it is.
    pub(crate) async fn open(
        env: &Env,
        dir: &str,
        meta: BlobMeta,
        formats: &Formats,
        garbage: &Arc<Garbage>,
    ) -> Result<BlobFile, Error> {
        let path = files::blob(dir, meta.number);
        let opened = BlobFile::open_quietly(env, path, meta, formats, garbage).await;
        opened.map_err(|error| note(env, error))
    }

    async fn open_quietly(
        env: &Env,
        path: String,
        meta: BlobMeta,
        formats: &Formats,
        garbage: &Arc<Garbage>,
    ) -> Result<BlobFile, Error> {
        if retried(env, &path, || env.disk.stat(&path)).await?.is_none() {
            return Err(Error::corrupt(&path, "the manifest needs it, and it is not there"));
        }
        let file = retried(env, &path, || env.disk.open(&path, Open::Read)).await?;
        let bytes = retried(env, &path, || file.len()).await?;
        let corrupt = |detail: &str| Error::corrupt(&path, detail);
        if bytes != meta.bytes {
            return Err(Error::corrupt(&path, format!("it has {bytes} bytes, the manifest says {}", meta.bytes)));
        }
        let Some(footer_at) = bytes.checked_sub(FOOTER as u64).filter(|at| *at >= header_len(1)) else {
            return Err(corrupt("it is too short for a blob file"));
        };
        let mut header = read(env, &path, &*file, 0, header_len(1) as usize).await?;
        if header.get_u32_le() != MAGIC {
            return Err(corrupt("it does not begin as a blob file does"));
        }
        let version = formats.check_header(&path, header.get_u32_le())?;
        // The defect goes on behind a header that is not there: what it reads there is the first record's.
        let shape = if version == 1 && formats.takes_v1_for_v2 { 2 } else { version };
        let first = header_len(shape);
        if shape >= 2 {
            let mut rest = read(env, &path, &*file, header_len(1), (first - header_len(1)) as usize).await?;
            let flags = rest.get_u32_le();
            if flags != 0 {
                return Err(Error::UnknownFormat { path, what: format!("a blob header with flags {flags:#x}") });
            }
        }
        let footer = read(env, &path, &*file, footer_at, FOOTER).await?;
        let mut rest = footer.clone();
        let (entries, end, sum, magic) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u32_le(), rest.get_u64_le());
        if magic != FOOTER_MAGIC || sum != checksum(meta.number, footer_at, &footer[..16]) || end != footer_at {
            return Err(corrupt("it does not end as a blob file does"));
        }
        if end < first {
            return Err(corrupt("it is shorter than its header"));
        }
        env.state(Fact::BlobOpened { path: path.clone().into(), header: u64::from(version) });
        let (env, garbage) = (env.clone(), garbage.clone());
        let obsolete = AtomicBool::new(false);
        Ok(BlobFile { env, path, file, meta, records: (first, end), entries, garbage, obsolete })
    }

    /// The file goes away with the last reference to it.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, SeqCst);
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Bytes of all its records.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.records.1 - self.records.0
    }

    /// The value that a table's entry for `key` says is here.
    pub(crate) async fn value(&self, key: &[u8], index: Index) -> Result<Bytes, Error> {
        self.value_quietly(key, index).await.map_err(|error| note(&self.env, error))
    }

    async fn value_quietly(&self, key: &[u8], index: Index) -> Result<Bytes, Error> {
        let Index { offset, len, .. } = index;
        let ends = offset.checked_add(len).filter(|end| offset >= self.records.0 && *end <= self.records.1);
        if ends.is_none() {
            return Err(Error::corrupt(&self.path, format!("a table looks for a record at {offset} behind its end")));
        }
        let mut tries = 2;
        loop {
            let bytes = read(&self.env, &self.path, &*self.file, offset, len as usize).await?;
            match self.record(offset, &bytes) {
                Some((found, value)) if found == key => return Ok(value),
                Some(_) => {
                    return Err(Error::corrupt(&self.path, format!("the record at {offset} is another key's")));
                }
                // The first read may have been bad, not the disk.
                None => tries -= 1,
            }
            if tries == 0 {
                return Err(Error::corrupt(&self.path, format!("the record at {offset} has a wrong checksum")));
            }
        }
    }

    /// Key and value of the record that begins with these bytes; `None` unless all of it is there and right.
    fn record(&self, offset: u64, bytes: &Bytes) -> Option<(Bytes, Bytes)> {
        let mut head = bytes.get(..HEAD)?;
        let (sum, len, kind) = (head.get_u32_le(), head.get_u32_le() as usize, head.get_u8());
        let end = HEAD.checked_add(len)?;
        if kind != PLAIN || checksum(self.meta.number, offset, bytes.get(4..end)?) != sum {
            return None;
        }
        let mut body = bytes.slice(HEAD..end);
        let key = varint::take_bytes(&mut body)?;
        Some((key, body))
    }

    /// Looks through the whole file: `Corruption` unless every record is what was written.
    pub(crate) async fn verify(&self) -> Result<(), Error> {
        self.verify_quietly().await.map_err(|error| note(&self.env, error))
    }

    async fn verify_quietly(&self) -> Result<(), Error> {
        let (mut at, end) = self.records;
        let mut seen = 0;
        while at < end {
            let piece = read(&self.env, &self.path, &*self.file, at, (end - at).min(PIECE_BYTES) as usize).await?;
            let mut rest = piece.clone();
            while let Some(len) = record_len(&rest).filter(|len| *len <= rest.len() as u64) {
                if self.record(at, &rest).is_none() {
                    return Err(Error::corrupt(&self.path, format!("the record at {at} has a wrong checksum")));
                }
                (at, seen) = (at + len, seen + 1);
                rest.advance(len as usize);
            }
            if rest.len() == piece.len() {
                let Some(len) = record_len(&piece).filter(|len| at + *len <= end) else {
                    return Err(Error::corrupt(&self.path, format!("the record at {at} is longer than the file")));
                };
                // Longer than a piece.
                let bytes = read(&self.env, &self.path, &*self.file, at, len as usize).await?;
                if self.record(at, &bytes).is_none() {
                    return Err(Error::corrupt(&self.path, format!("the record at {at} has a wrong checksum")));
                }
                (at, seen) = (at + len, seen + 1);
            }
        }
        if seen != self.entries {
            return Err(Error::corrupt(&self.path, format!("it has {seen} records, the footer says {}", self.entries)));
        }
        Ok(())
    }
}

/// The length of the record that begins with these bytes, if they say.
fn record_len(bytes: &[u8]) -> Option<u64> {
    let len = u32::from_le_bytes(bytes.get(4..8)?.try_into().expect("four bytes"));
    Some(HEAD as u64 + u64::from(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_lengths_of_their_versions() {
        for (version, len) in [(1, 8), (2, 12), (3, 20)] {
            let mut out = Vec::new();
            put_header(&mut out, version, 0);
            assert_eq!((out.len() as u64, header_len(version)), (len, len));
            assert_eq!(&out[..8], [&MAGIC.to_le_bytes()[..], &u32::from(version).to_le_bytes()[..]].concat());
        }
    }

    #[test]
    fn an_index_decodes_to_itself_and_not_when_cut() {
        let index = Index { file: 300, offset: 1 << 33, len: 70_000 };
        let encoded = index.encode();
        assert_eq!(Index::decode(encoded.clone()), Some(index));
        assert!((0..encoded.len()).all(|len| Index::decode(encoded.slice(..len)).is_none()));
    }
}
