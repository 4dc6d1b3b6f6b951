//! Replicas that have applied the same membership change have the same replicas in their region.
//!
//! The change at one index of a region's log has one result, on every peer and in every life.
//!
//! Unsafe recovery cuts a region's history: its lost changes are forgotten.
//!
//! Source: TiKV's check of region states across replicas.

use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    sync::Arc,
};

use node::{
    fact::Fact,
    region::{Peer, Region, RegionId},
    store::fact::region,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const EQUAL_PEER_LIST: Entry = Entry {
    name: "equal-peer-list",
    family: "region",
    class: Class::Safety,
    property: "the membership change at one index has the same result on every peer",
    source: "TiKV's check of region states across replicas",
    hears: &[Hall::Region, Hall::Recovery],
    make: || Box::new(EqualPeerList::default()),
};

#[derive(Default)]
struct EqualPeerList {
    results: BTreeMap<(RegionId, u64), Arc<Region>>,
    judged: u64,
}

impl Check for EqualPeerList {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            self.results.retain(|(region, index), _| *region != cut.region || *index < cut.from);
            return Ok(());
        }
        let Body::Node(Fact::Region(region::Fact::ConfChanged { region, peer, index, .. })) = &event.body else {
            return Ok(());
        };
        self.judged += 1;
        match self.results.entry((region.id, *index)) {
            Slot::Vacant(slot) => {
                slot.insert(region.clone());
                Ok(())
            }
            Slot::Occupied(slot) if sorted(slot.get()) == sorted(region) => Ok(()),
            Slot::Occupied(slot) => {
                let (id, now, first) = (region.id, sorted(region), sorted(slot.get()));
                let detail =
                    format!("peer {peer} of region {id} has {now:?} after the change at {index}; {first:?} before");
                Err(Violation::new("peer-lists-differ", detail))
            }
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}

fn sorted(region: &Region) -> Vec<Peer> {
    let mut peers = region.peers.clone();
    peers.sort_unstable();
    peers
}
