//! The two maps of a store agree whenever it has finished a turn.
//!
//! One goes from a region's id to its peer, the other from an end key to its region. Every range belongs to a region that
//! is there and ends at that key; every region that is there and has a range is found under its end; an uninitialised
//! peer has none. While a turn is under way the maps may differ, so they are judged when the store says that it has
//! settled, and only what the turn touched.
//!
//! Source: tikv#8783.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use node::{fact::Fact, region::RegionId, store::fact::region};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const REGION_MAPS_AGREE: Entry = Entry {
    name: "region-maps-agree",
    family: "region",
    class: Class::Safety,
    property: "a store's map from id to peer and its map from end key to region agree after every turn",
    source: "tikv#8783",
    hears: &[Hall::Region],
    make: || Box::new(RegionMapsAgree::default()),
};

#[derive(Default)]
struct RegionMapsAgree {
    stores: BTreeMap<NodeId, Store>,
    settled: u64,
}

#[derive(Default)]
struct Store {
    incarnation: u32,
    /// The map from id to peer.
    peers: BTreeSet<RegionId>,
    /// The map from end key to region.
    ranges: BTreeMap<Bytes, RegionId>,
    /// Ends of initialised regions, by what their peers say.
    ends: BTreeMap<RegionId, Bytes>,
    touched: BTreeSet<RegionId>,
    /// Regions whose peers stated their end in this turn: an entry removed meanwhile was an older peer's.
    stated: BTreeSet<RegionId>,
}

impl Store {
    fn settled(&self, regions: u64, ranges: u64) -> Judged {
        for &id in &self.touched {
            let own: Vec<&Bytes> = self.ranges.iter().filter(|(_, owner)| **owner == id).map(|(end, _)| end).collect();
            let text = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
            let here = self.peers.contains(&id);
            match (&own[..], self.ends.get(&id)) {
                ([], Some(end)) if here => {
                    let detail = format!("region {id} ends at `{}` and is not in the range map", text(end));
                    return Err(Violation::new("region-without-range", detail));
                }
                ([end, ..], _) if !here => {
                    let detail = format!("the range to `{}` belongs to region {id}, which is not here", text(end));
                    return Err(Violation::new("range-without-region", detail));
                }
                ([end, ..], None) => {
                    let detail = format!("the range to `{}` belongs to region {id}, which has no range yet", text(end));
                    return Err(Violation::new("range-without-region", detail));
                }
                ([_, second, ..], _) => {
                    let detail = format!("region {id} has a second range, to `{}`", text(second));
                    return Err(Violation::new("two-ranges", detail));
                }
                ([end], Some(own_end)) if *end != own_end => {
                    let detail = format!(
                        "region {id} is in the range map with end `{}`, and ends at `{}`",
                        text(end),
                        text(own_end)
                    );
                    return Err(Violation::new("range-with-another-end", detail));
                }
                _ => {}
            }
        }
        if (regions, ranges) != (self.peers.len() as u64, self.ranges.len() as u64) {
            let detail = format!(
                "the store counts {regions} regions and {ranges} ranges; it has stated {} and {}",
                self.peers.len(),
                self.ranges.len()
            );
            return Err(Violation::new("counts-differ", detail));
        }
        Ok(())
    }
}

impl Check for RegionMapsAgree {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Node(Fact::Region(fact)) = &event.body else { return Ok(()) };
        let store = self.stores.entry(event.node).or_default();
        if store.incarnation != event.incarnation {
            *store = Store { incarnation: event.incarnation, ..Store::default() };
        }
        match fact {
            region::Fact::Changed { region, .. } if region.is_initialized() => {
                store.touched.insert(region.id);
                store.stated.insert(region.id);
                store.ends.insert(region.id, region.end.clone());
            }
            region::Fact::RegionInserted { region, .. } => {
                store.touched.insert(*region);
                store.peers.insert(*region);
            }
            region::Fact::RegionRemoved { region, .. } => {
                store.touched.insert(*region);
                store.peers.remove(region);
                if !store.stated.contains(region) {
                    store.ends.remove(region);
                }
            }
            region::Fact::RangeInserted { region, end } => {
                store.touched.insert(*region);
                if let Some(before) = store.ranges.insert(end.clone(), *region) {
                    store.touched.insert(before);
                }
            }
            region::Fact::RangeRemoved { end, .. } => {
                if let Some(before) = store.ranges.remove(end) {
                    store.touched.insert(before);
                }
            }
            region::Fact::MapsSettled { regions, ranges } => {
                self.settled += 1;
                let verdict = store.settled(*regions, *ranges);
                let peers = &store.peers;
                store.ends.retain(|id, _| peers.contains(id));
                store.touched.clear();
                store.stated.clear();
                return verdict.map_err(|mut violation| {
                    violation.detail = format!("{}: {}", known.name(event.node), violation.detail);
                    violation
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.settled
    }
}
