//! Where the engine can misbehave.

use std::{io, sync::Arc};

use crate::engine::error::Error;

failpoints::sites! {
    /// The sites of the storage engine.
    pub mod table in "engine" {
        /// Before a memtable is written out; `return` fails the flush as a failed write would, and the engine stops.
        BEFORE_FLUSH: Async = "engine-before-flush";
        /// Before an edit is appended to the manifest; `return` fails it as a failed write would, and the engine stops.
        BEFORE_MANIFEST: Async = "engine-before-manifest";
        /// After an append to the write-ahead log, before its sync; `return` fails it as a failed write would.
        AFTER_WAL_APPEND: Async = "engine-after-wal-append";
        /// Before a compaction reads its inputs; `return` skips this compaction.
        BEFORE_COMPACTION: Async = "engine-before-compaction";
        /// After a compaction has written its outputs, before the manifest knows them.
        AFTER_COMPACTION_OUTPUT: Async = "engine-after-compaction-output";
        /// Before a blob file is finished and synced; `return` fails it as a failed write would, and the engine stops.
        BEFORE_BLOB_SYNC: Async = "engine-before-blob-sync";
        /// Before a blob file is looked through to be collected; `return` puts that off.
        BEFORE_BLOB_GC: Async = "engine-before-blob-gc";
        /// Before external tables are taken in; `return` fails the ingestion as a failed write would.
        BEFORE_INGEST: Async = "engine-before-ingest";
        /// Between the manifest edit of an ingestion and the renames that carry it out.
        BEFORE_INGEST_RENAME: Async = "engine-before-ingest-rename";
        /// Before a file that nothing refers to is removed; `return` leaves it to the next start.
        BEFORE_REMOVE: Async = "engine-before-remove";
    }
}

pub use table::*;

/// A `return` at a site, as the failure of the operation that stands there.
pub(crate) fn fails(fired: Option<failpoints::Arg>, doing: &'static str, path: &str) -> Result<(), Error> {
    match fired {
        None => Ok(()),
        Some(_) => {
            Err(Error::Io { doing, path: path.to_owned(), source: Arc::new(io::Error::other("a failpoint said so")) })
        }
    }
}
