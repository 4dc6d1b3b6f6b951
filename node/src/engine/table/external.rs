//! Tables made and read outside an engine: snapshots of regions travel as such files, and are ingested.

use std::sync::Arc;

use bytes::Bytes;

use super::{Opening, Table, TableBuilder, TableCursor, build::Style};
use crate::{
    engine::{
        block::Stored,
        cache::Cache,
        error::{Error, read_all},
        files::Garbage,
        state::note,
    },
    env::{Disk, Env},
};

/// Writes an external table.
pub struct Writer(TableBuilder);

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many entries.
    pub entries: u64,
    /// The file's length.
    pub bytes: u64,
    /// The crc32c of the whole file.
    pub checksum: u32,
}

impl Writer {
    /// Creates the file, or empties what is there.
    pub async fn create(disk: &dyn Disk, path: &str) -> Result<Writer, Error> {
        Ok(Writer(TableBuilder::create(disk, path, Style::default()).await?))
    }

    /// Adds an entry. Keys come in ascending order, each once.
    pub async fn add(&mut self, key: Bytes, value: &[u8]) -> Result<(), Error> {
        self.0.add(key, 0, Stored::Value(value)).await
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.0.entries()
    }

    /// Roughly the bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Writes what is left, and syncs the file. Making its name durable is up to the caller.
    pub async fn finish(self) -> Result<Summary, Error> {
        let built = self.0.finish().await?;
        Ok(Summary { entries: built.entries, bytes: built.bytes, checksum: built.sum })
    }
}

/// Reads an external table.
pub struct Reader {
    env: Env,
    table: Arc<Table>,
}

impl Reader {
    /// Opens a file that [`Writer`] finished.
    pub async fn open(env: &Env, path: &str) -> Result<Reader, Error> {
        let (cache, garbage) = (Arc::new(Cache::new(0)), Arc::new(Garbage::default()));
        let opening =
            Opening { env, path: path.to_owned(), number: 0, sequence: None, cache: &cache, garbage: &garbage };
        Ok(Reader { env: env.clone(), table: Arc::new(Table::open(opening).await?) })
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.table.entries
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.table.bytes
    }

    /// All entries in key order.
    pub fn iter(&self) -> Entries {
        Entries(TableCursor::new(self.table.clone(), false))
    }

    /// Reads the whole file: `Corruption` unless it is what `summary` says.
    pub async fn verify(&self, summary: &Summary) -> Result<(), Error> {
        let path = self.table.path();
        let bytes = read_all(&self.env, path, &*self.table.file).await?;
        let found = crc32c::crc32c(&bytes);
        if bytes.len() as u64 != summary.bytes || found != summary.checksum || self.table.entries != summary.entries {
            let detail = format!(
                "{} entries in {} bytes with checksum {found:08x}, expected {} in {} with {:08x}",
                self.table.entries,
                bytes.len(),
                summary.entries,
                summary.bytes,
                summary.checksum
            );
            return Err(note(&self.env, Error::corrupt(path, detail)));
        }
        Ok(())
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

/// The entries of an external table.
pub struct Entries(TableCursor);

impl Entries {
    /// The next entry.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        while let Some(entry) = self.0.next().await? {
            if let Some(value) = entry.value {
                return Ok(Some((entry.key, value)));
            }
        }
        Ok(None)
    }
}
