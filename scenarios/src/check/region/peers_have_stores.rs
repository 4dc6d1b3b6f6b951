//! In the end, every store that a region names is known to the placement driver.
//!
//! Of a peer on a store without a record nobody can say whether it is lost, so nobody replaces it. Judged when the
//! second phase has ended, by the newest configuration of each region and the records as the placement driver wrote them.
//!
//! Source: pd#3664.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use node::{
    fact::Fact,
    pd::fact as placement,
    region::{Region, RegionId, StoreId},
    store::fact::region,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const PEERS_HAVE_STORES: Entry = Entry {
    name: "peers-have-stores",
    family: "region",
    class: Class::Safety,
    property: "in the end no region's newest configuration names a store unknown to the placement driver",
    source: "pd#3664",
    hears: &[Hall::Region, Hall::Placement, Hall::Recovery, Hall::Plan],
    make: || Box::new(PeersHaveStores::default()),
};

#[derive(Default)]
struct PeersHaveStores {
    newest: BTreeMap<RegionId, Arc<Region>>,
    records: BTreeSet<StoreId>,
    judged: u64,
}

impl PeersHaveStores {
    fn learn(&mut self, region: &Arc<Region>) {
        let age = |region: &Region| (region.epoch.version, region.epoch.conf_ver);
        let known = self.newest.entry(region.id).or_insert_with(|| region.clone());
        if age(known) < age(region) {
            *known = region.clone();
        }
    }

    fn judge(&mut self) -> Judged {
        self.judged += 1;
        for region in self.newest.values() {
            // A region whose range belongs to a newer one is gone.
            let newer = |other: &&Arc<Region>| other.epoch.version > region.epoch.version && other.overlaps(region);
            let gone = || self.newest.values().find(newer).is_some();
            if let Some(peer) = region.peers.iter().find(|peer| !self.records.contains(&peer.store))
                && !gone()
            {
                let detail = format!("region {} names store {}, of which there is no record", region.id, peer.store);
                return Err(Violation::new("unknown-store", detail));
            }
        }
        Ok(())
    }
}

impl Check for PeersHaveStores {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if known.cuts().made().is_some() {
            // What only lost stores knew has never been.
            self.newest.clear();
            known.cuts().left().for_each(|region| self.learn(region));
        }
        match &event.body {
            Body::Node(Fact::Region(region::Fact::Changed { region, .. })) if region.is_initialized() => {
                self.learn(region);
            }
            Body::Node(Fact::Placement(placement::Fact::StorePut { store, .. })) => {
                self.records.insert(*store);
            }
            Body::Node(Fact::Placement(placement::Fact::StoreDeleted { store })) => {
                self.records.remove(store);
            }
            // Without a placement driver in the history nothing is known of records.
            Body::Room(RoomEvent::ConvergeEnded { .. }) if known.is_whole() && !self.records.is_empty() => {
                return self.judge();
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
