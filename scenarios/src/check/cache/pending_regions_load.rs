//! A region that is to be loaded begins to load when its store applies something to it.
//!
//! Apply looks at the cache before it applies entries of a region, and begins the load there. Entries that it had taken
//! before the region became pending may still be written; those of the third write after that cannot have been among
//! them. Nothing may be pending at rest either.
//!
//! Source: tikv#17403, tikv#17561.

use std::collections::BTreeMap;

use node::{cache::fact, fact::Fact, region::RegionId, store::fact::apply};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const PENDING_REGIONS_LOAD: Entry = Entry {
    name: "pending-regions-load",
    family: "cache",
    class: Class::Liveness,
    property: "a region that is pending in the cache begins to load when entries of it are applied",
    source: "tikv#17403, tikv#17561",
    hears: &[Hall::Cache, Hall::Persisted, Hall::Process, Hall::Plan],
    make: || Box::new(PendingRegionsLoad::default()),
};

/// Writes of a region's applied state while it is pending that are one too many.
const WRITES_MAX: u64 = 3;

#[derive(Default)]
struct PendingRegionsLoad {
    pending: BTreeMap<(NodeId, RegionId), Pending>,
    loaded: u64,
}

struct Pending {
    writes: u64,
    cause: String,
    /// Apply has begun its load; the background may be slow.
    scheduled: bool,
}

impl Check for PendingRegionsLoad {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Room(RoomEvent::ProcessStarted { .. } | RoomEvent::ProcessExited { .. }) => {
                self.pending.retain(|(node, _), _| *node != event.node);
            }
            Body::Room(RoomEvent::AtRest {}) => {
                if let Some(((node, region), Pending { cause, .. })) = self.pending.first_key_value() {
                    let detail = format!("region {region} of process {node} is still to be loaded ({cause})");
                    return Err(Violation::new("pending-at-rest", detail).at(cause));
                }
            }
            Body::Node(Fact::Cache(fact::Fact::Transition { region, to, cause, .. })) => {
                let key = (event.node, *region);
                if to.as_str() == "pending" {
                    self.pending.insert(key, Pending { writes: 0, cause: cause.as_str().to_owned(), scheduled: false });
                } else if self.pending.remove(&key).is_some() {
                    self.loaded += 1;
                }
            }
            Body::Node(Fact::Cache(fact::Fact::LoadScheduled { region, .. })) => {
                if let Some(pending) = self.pending.get_mut(&(event.node, *region)) {
                    pending.scheduled = true;
                }
            }
            Body::Node(Fact::Apply(apply::Fact::Persisted { region, .. })) => {
                if let Some(Pending { writes, cause, scheduled: false }) = self.pending.get_mut(&(event.node, *region))
                {
                    *writes += 1;
                    if *writes >= WRITES_MAX {
                        let detail = format!(
                            "region {region} is pending ({cause}), and {writes} times its entries were applied without a load"
                        );
                        return Err(Violation::new("never-loads", detail).at(cause));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.loaded
    }
}
