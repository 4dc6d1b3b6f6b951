//! A snapshot of the cache reads what a snapshot of the engine of the same moment reads, however long it lives.
//!
//! Stores compare some of the scans that they serve from the cache with the same scan of the engine. What is written,
//! split, evicted or collected while the scan is under way must not show.
//!
//! Source: tikv#17282.

use node::{cache::fact, fact::Fact};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const CACHE_SNAPSHOT_READS_ENGINE: Entry = Entry {
    name: "cache-snapshot-reads-engine",
    family: "cache",
    class: Class::Safety,
    property: "a snapshot of the cache reads what a snapshot of the engine of the same moment reads",
    source: "tikv#17282",
    hears: &[Hall::Cache],
    make: || Box::new(SnapshotReadsEngine { judged: 0 }),
};

struct SnapshotReadsEngine {
    judged: u64,
}

impl Check for SnapshotReadsEngine {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        let Body::Node(Fact::Cache(fact::Fact::ScanCompared {
            region,
            version,
            cached,
            cached_keys,
            engine,
            engine_keys,
        })) = &event.body
        else {
            return Ok(());
        };
        self.judged += 1;
        let Some(rule) = super::difference((*cached, *cached_keys), (*engine, *engine_keys)) else { return Ok(()) };
        let detail = format!(
            "a scan of region {region} at version {version} finds {cached_keys} keys in the cache with digest {:016x}, and \
             {engine_keys} in the engine with {:016x}",
            cached.0, engine.0
        );
        Err(Violation::new(rule, detail))
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
