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
    /// Bytes on disk are not what was written.
    Corruption "engine-corruption" { path: Text, detail: Text }
    /// A disk operation failed and the engine stops taking writes.
    Stopped "engine-stopped" { cause: Text }
}
