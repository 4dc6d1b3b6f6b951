//! Writes values out to blob files, while a flush or a compaction writes the tables that refer to them.
//!
//! Bytes are handed to a file in pieces; it is synced at the end. Its name is made durable by whoever makes the tables'
//! names durable, before the manifest hears of any of them.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use failpoints::point;

use super::{BlobFile, BlobMeta, FOOTER_MAGIC, HEAD, Index, PLAIN, checksum, put_header};
use crate::{
    engine::{
        batch::Family,
        error::{Doing, Error},
        fact::Fact,
        files, site,
        state::Shared,
        varint,
    },
    env::{File, Open},
};

const PIECE_BYTES: usize = 64 << 10;

/// One blob file that is being written.
struct Builder {
    file: Arc<dyn File>,
    path: String,
    meta: BlobMeta,
    written: u64,
    pending: Vec<u8>,
}

impl Builder {
    async fn create(shared: &Shared) -> Result<Builder, Error> {
        let number = shared.new_number();
        let path = files::blob(&shared.dir, number);
        let file = shared.env.disk.open(&path, Open::Truncate).await.doing("creating", &path)?;
        let mut pending = Vec::new();
        put_header(&mut pending, shared.formats.header, 0);
        Ok(Builder { file, path, meta: BlobMeta { number, ..BlobMeta::default() }, written: 0, pending })
    }

    fn bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    async fn put(&mut self, key: &Bytes, value: &[u8]) -> Result<Index, Error> {
        let (offset, start) = (self.bytes(), self.pending.len());
        self.pending.put_bytes(0, HEAD);
        varint::put_bytes(&mut self.pending, key);
        self.pending.put_slice(value);
        let record = &mut self.pending[start..];
        let len = record.len();
        let body = u32::try_from(len - HEAD).expect("a value is far below 4 GiB");
        record[4..8].copy_from_slice(&body.to_le_bytes());
        record[8] = PLAIN;
        let sum = checksum(self.meta.number, offset, &record[4..]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        if self.meta.entries == 0 {
            self.meta.smallest = key.clone();
        }
        self.meta.largest = key.clone();
        self.meta.entries += 1;
        if self.pending.len() >= PIECE_BYTES {
            self.write().await?;
        }
        Ok(Index { file: self.meta.number, offset, len: len as u64 })
    }

    async fn write(&mut self) -> Result<(), Error> {
        let data = Bytes::from(std::mem::take(&mut self.pending));
        let len = data.len() as u64;
        self.file.write_at(self.written, data).await.doing("writing", &self.path)?;
        self.written += len;
        Ok(())
    }

    async fn finish(mut self, shared: &Shared) -> Result<Arc<BlobFile>, Error> {
        let end = self.bytes();
        let start = self.pending.len();
        self.pending.put_u64_le(self.meta.entries);
        self.pending.put_u64_le(end);
        let sum = checksum(self.meta.number, end, &self.pending[start..]);
        self.pending.put_u32_le(sum);
        self.pending.put_u64_le(FOOTER_MAGIC);
        self.write().await?;
        site::fails(point!(shared.env.points, site::BEFORE_BLOB_SYNC).await, "syncing", &self.path)?;
        self.file.sync().await.doing("syncing", &self.path)?;
        self.meta.bytes = self.written;
        shared.env.state(Fact::BlobWritten {
            path: self.path.into(),
            header: u64::from(shared.formats.header),
            release: shared.formats.release.name.into(),
            entries: self.meta.entries,
            bytes: self.meta.bytes,
        });
        let opened = BlobFile::open(&shared.env, &shared.dir, self.meta, &shared.formats, &shared.garbage).await;
        opened.map(Arc::new)
    }
}

/// Takes the values of one family that are too large for its tables.
pub(crate) struct Values<'a> {
    shared: &'a Shared,
    family: Family,
    open: Option<Builder>,
    done: Vec<Arc<BlobFile>>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(shared: &'a Shared, family: Family) -> Values<'a> {
        Values { shared, family, open: None, done: Vec::new() }
    }

    /// Whether a value of so many bytes goes to a blob file.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.family == Family::Default && bytes >= self.shared.options.blob_bytes_min
    }

    /// Writes a value, and says where it lies.
    pub(crate) async fn put(&mut self, key: &Bytes, value: &[u8]) -> Result<Index, Error> {
        if self.open.as_ref().is_some_and(|open| open.bytes() >= self.shared.options.blob_file_bytes) {
            self.end().await?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Builder::create(self.shared).await?),
        };
        open.put(key, value).await
    }

    async fn end(&mut self) -> Result<(), Error> {
        if let Some(open) = self.open.take() {
            self.done.push(open.finish(self.shared).await?);
        }
        Ok(())
    }

    /// Finishes the last file. All of them are whole and durable but for their names.
    pub(crate) async fn finish(&mut self) -> Result<Vec<Arc<BlobFile>>, Error> {
        self.end().await?;
        Ok(std::mem::take(&mut self.done))
    }

    /// Gives up what was finished: nobody knows of it.
    pub(crate) fn abandon(&self) {
        self.done.iter().for_each(|file| file.retire());
    }
}
