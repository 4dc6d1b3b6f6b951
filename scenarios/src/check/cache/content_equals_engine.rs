//! What the cache holds of a region is what the engine holds of it at the same moment.
//!
//! Stores compare the two before a region begins to serve, and from time to time afterwards; each states both digests.
//! The engine's own content is judged by `content-equals-reference`.
//!
//! Source: tikv#17645; TiKV's cross check of the in-memory engine.

use node::{cache::fact, fact::Fact};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const CACHE_CONTENT_EQUALS_ENGINE: Entry = Entry {
    name: "cache-content-equals-engine",
    family: "cache",
    class: Class::Safety,
    property: "what the cache holds of a region is what the engine holds of it at the same moment",
    source: "tikv#17645; TiKV's cross check of the in-memory engine",
    hears: &[Hall::Cache],
    make: || Box::new(ContentEqualsEngine { judged: 0 }),
};

struct ContentEqualsEngine {
    judged: u64,
}

impl Check for ContentEqualsEngine {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        let Body::Node(Fact::Cache(fact::Fact::CrossChecked {
            region,
            version,
            cached,
            cached_keys,
            engine,
            engine_keys,
            why,
        })) = &event.body
        else {
            return Ok(());
        };
        self.judged += 1;
        let Some(rule) = super::difference((*cached, *cached_keys), (*engine, *engine_keys)) else { return Ok(()) };
        let detail = format!(
            "the cache holds {cached_keys} keys of region {region} at version {version} with digest {:016x} ({why}), the \
             engine {engine_keys} with {:016x}",
            cached.0, engine.0
        );
        Err(Violation::new(rule, detail).at(why.as_str()))
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
