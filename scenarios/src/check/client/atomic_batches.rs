//! A batch is seen whole or not at all by a scan of the region that holds its keys.
//!
//! Each part of a scan's answer is one moment of one region. When it shows a version that a batch wrote, every other key
//! of that batch inside the part's range shows this version or a newer one. A key that shows nothing is fine if the batch
//! deleted it, or if a newer deletion may have taken effect.
//!
//! Source: isolation of single-region batches.

use bytes::Bytes;

use super::super::{
    Check, Entry, Judged, Known, Violation,
    known::ledger::{Fate, Version},
};
use crate::{
    event::{Body, ClientEvent, Event, Hall, Outcome, Part},
    verdict::Class,
};

/// The check's row.
pub const ATOMIC_BATCHES: Entry = Entry {
    name: "atomic-batches",
    family: "client",
    class: Class::Safety,
    property: "a scan within a region sees every batch whole or not at all",
    source: "isolation of single-region batches",
    hears: &[Hall::Client],
    make: || Box::new(AtomicBatches { seen: 0, deletions: Deletions::default() }),
};

struct AtomicBatches {
    seen: u64,
    deletions: Deletions,
}

/// Timestamps of deletions by key.
type Deletions = std::collections::BTreeMap<Bytes, Vec<u64>>;

impl AtomicBatches {
    fn may_be_deleted(&self, key: &[u8], after: u64, known: &Known) -> bool {
        let stamps = self.deletions.get(key).map_or(&[][..], |stamps| stamps);
        let possible = |stamp: &u64| known.ledger().version(*stamp).is_some_and(|version| version.fate != Fate::Never);
        stamps.iter().any(|stamp| *stamp > after && possible(stamp))
    }

    fn judge(&mut self, part: &Part, batch: &Version, timestamp: u64, known: &Known) -> Judged {
        self.seen += 1;
        let inside = |key: &[u8]| key >= &part.start[..] && (part.end.is_empty() || key < &part.end[..]);
        for edit in batch.edits.iter().filter(|edit| inside(&edit.key)) {
            let there = part.seen.binary_search_by(|seen| seen.key.cmp(&edit.key)).ok();
            let found = there.map(|at| part.seen[at].timestamp);
            let fine = match found {
                Some(found) => found >= timestamp,
                None => edit.value.is_none() || self.may_be_deleted(&edit.key, timestamp, known),
            };
            if !fine {
                let key = String::from_utf8_lossy(&edit.key);
                let detail = format!(
                    "a scan of region {} sees the batch at {timestamp}, and `{key}` of that batch at {}",
                    part.region,
                    found.unwrap_or(0)
                );
                return Err(Violation::new("batch-torn", detail));
            }
        }
        Ok(())
    }
}

impl Check for AtomicBatches {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Client(ClientEvent::Stamped { timestamp, .. }) => {
                let Some(version) = known.ledger().version(*timestamp) else { return Ok(()) };
                for edit in version.edits.iter().filter(|edit| edit.value.is_none()) {
                    self.deletions.entry(edit.key.clone()).or_default().push(*timestamp);
                }
                Ok(())
            }
            Body::Client(ClientEvent::Returned { outcome: Outcome::Scanned { parts }, .. }) => {
                for part in parts.iter() {
                    for seen in &part.seen {
                        let Some(version) = known.ledger().version(seen.timestamp) else { continue };
                        if version.edits.len() > 1 {
                            self.judge(part, version, seen.timestamp, known)?;
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.seen
    }
}
