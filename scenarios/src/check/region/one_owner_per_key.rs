//! On one store no key belongs to two peers, and no crash changes that.
//!
//! Judged on what is read back at start, where a crash between two writes that belong together would show, and on what
//! the peers of a running store say whenever its maps have settled.
//!
//! Source: tikv#7002.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use node::{
    fact::Fact,
    region::{Region, RegionId},
    store::fact::region,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const ONE_OWNER_PER_KEY: Entry = Entry {
    name: "one-owner-per-key",
    family: "region",
    class: Class::Safety,
    property: "on one store no key belongs to two peers, across crashes",
    source: "tikv#7002",
    hears: &[Hall::Region],
    make: || Box::new(OneOwnerPerKey::default()),
};

#[derive(Default)]
struct OneOwnerPerKey {
    stores: BTreeMap<NodeId, Store>,
    judged: u64,
}

#[derive(Default)]
struct Store {
    incarnation: u32,
    recovered: Vec<Arc<Region>>,
    here: BTreeSet<RegionId>,
    ranges: BTreeMap<RegionId, Arc<Region>>,
    touched: BTreeSet<RegionId>,
}

impl Check for OneOwnerPerKey {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Node(Fact::Region(fact)) = &event.body else { return Ok(()) };
        let store = self.stores.entry(event.node).or_default();
        if store.incarnation != event.incarnation {
            *store = Store { incarnation: event.incarnation, ..Store::default() };
        }
        let name = known.name(event.node);
        match fact {
            region::Fact::StateRecovered { region, state, .. }
                if state.as_str() != "tombstone" && region.is_initialized() =>
            {
                self.judged += 1;
                let twice = store.recovered.iter().find(|other| other.id != region.id && other.overlaps(region));
                if let Some(other) = twice {
                    let detail =
                        format!("{name} comes back with regions {} and {}, which overlap", other.id, region.id);
                    return Err(Violation::new("overlap-after-restart", detail));
                }
                store.recovered.push(region.clone());
            }
            region::Fact::Changed { region, .. } if region.is_initialized() => {
                store.ranges.insert(region.id, region.clone());
                store.touched.insert(region.id);
            }
            region::Fact::RegionInserted { region, .. } => {
                store.here.insert(*region);
            }
            region::Fact::RegionRemoved { region, .. } => {
                store.here.remove(region);
                if !store.touched.contains(region) {
                    store.ranges.remove(region);
                }
            }
            region::Fact::MapsSettled { .. } => {
                let here = &store.here;
                store.ranges.retain(|id, _| here.contains(id));
                for id in std::mem::take(&mut store.touched) {
                    let Some(region) = store.ranges.get(&id) else { continue };
                    self.judged += 1;
                    let twice = store.ranges.values().find(|other| other.id != id && other.overlaps(region));
                    if let Some(other) = twice {
                        let detail = format!("{name} holds regions {} and {id}, which overlap", other.id);
                        return Err(Violation::new("overlap", detail));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
