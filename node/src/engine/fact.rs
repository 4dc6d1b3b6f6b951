//! What the storage engine states.

use crate::fact::Text;

crate::facts! { room "engine" wraps Engine;
    /// The engine is open: tables found, write-ahead log records replayed.
    Opened "engine-opened" { tables: u64, replayed: u64 }
    /// A memtable became a table.
    Flushed "engine-flushed" { family: Text, table: u64, entries: u64 }
    /// Tables of a level were merged into the next one.
    Compacted "engine-compacted" { family: Text, level: u64, inputs: u64, outputs: u64, dropped: u64 }
    /// Tables made elsewhere were taken in.
    Ingested "engine-ingested" { family: Text, tables: u64 }
    /// A file that nothing refers to any more is about to be removed.
    Removing "engine-removing" { path: Text }
    /// A blob file was finished, with a header of this version, by this release.
    BlobWritten "blob-file-written" { path: Text, header: u64, release: Text, entries: u64, bytes: u64 }
    /// A blob file was opened.
    BlobOpened "blob-file-opened" { path: Text, header: u64 }
    /// So many records under this tag were written to the manifest: 12 notes a blob file's end, the others a new one.
    EditWritten "manifest-edit-written" { path: Text, tag: u64, release: Text, files: u64 }
    /// So much of a blob file is dead that what is alive is about to be written again elsewhere.
    BlobCollecting "blob-gc" { path: Text, alive: u64, bytes: u64 }
    /// Bytes on disk are not what was written.
    Corruption "engine-corruption" { path: Text, detail: Text }
    /// A file that was opened holds something that this release does not know.
    FormatUnknown "engine-format-unknown" { path: Text, what: Text }
    /// A disk operation failed and the engine stops taking writes.
    Stopped "engine-stopped" { cause: Text }
}
