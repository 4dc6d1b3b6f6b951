//! The placement driver never has the last copy removed while such as hold nothing stay in its place.
//!
//! Replicas of one kind (voters; columnar learners) stand in for each other. When one that has the region's content is to
//! go, and others of its kind stay, one of these has content too. A table that wants no replicas any more may lose all.
//!
//! Whether a replica has content its store says: it is in the store's map of regions.
//!
//! Source: pd#4045.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use node::{
    fact::Fact,
    pd::fact,
    region::{Peer, PeerId, Region, RegionId, Role, StoreId},
    store::fact::region,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const LAST_COPY_STAYS: Entry = Entry {
    name: "last-copy-stays",
    family: "placement",
    class: Class::Safety,
    property: "the last replica with content is not removed while empty ones of its kind stay",
    source: "pd#4045",
    hears: &[Hall::Placement, Hall::Region, Hall::Disk],
    make: || Box::new(LastCopyStays::default()),
};

#[derive(Default)]
struct LastCopyStays {
    /// Replicas that have their range, and where.
    copies: BTreeMap<(RegionId, PeerId), NodeId>,
    regions: BTreeMap<RegionId, Arc<Region>>,
    columnar: BTreeSet<StoreId>,
    /// Ranges of the tables that want columnar replicas.
    tables: BTreeMap<u64, Region>,
    judged: u64,
}

impl LastCopyStays {
    fn is_columnar(&self, peer: &Peer) -> bool {
        peer.role() == Role::Learner && self.columnar.contains(&peer.store)
    }

    fn removal(&mut self, id: RegionId, peer: PeerId) -> Judged {
        let Some(region) = self.regions.get(&id) else { return Ok(()) };
        let Some(going) = region.peer(peer) else { return Ok(()) };
        let columnar = self.is_columnar(going);
        let nobody_wants = columnar && !self.tables.values().any(|table| table.overlaps(region));
        if nobody_wants || (!columnar && going.role() == Role::Learner) {
            return Ok(());
        }
        let like = |other: &&Peer| {
            let alike = if columnar { self.is_columnar(other) } else { other.role() != Role::Learner };
            alike && other.id != peer
        };
        let rest: Vec<PeerId> = region.peers.iter().filter(like).map(|other| other.id).collect();
        self.judged += 1;
        let has_content = |peer: PeerId| self.copies.contains_key(&(id, peer));
        if has_content(peer) && !rest.is_empty() && !rest.iter().any(|&other| has_content(other)) {
            let kind = if columnar { "columnar replica" } else { "voter" };
            let detail = format!("{kind} {peer} of region {id} is to go, and {rest:?}, which stay, hold nothing");
            return Err(Violation::new("last-copy-removed", detail).at(kind));
        }
        Ok(())
    }
}

impl Check for LastCopyStays {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Region(region::Fact::RegionInserted { region, peer })) => {
                self.copies.insert((*region, *peer), event.node);
            }
            Body::Node(Fact::Region(region::Fact::RegionRemoved { region, peer })) => {
                self.copies.remove(&(*region, *peer));
            }
            Body::Room(RoomEvent::DiskWiped {}) => self.copies.retain(|_, node| *node != event.node),
            Body::Node(Fact::Placement(fact)) => match fact {
                fact::Fact::RegionKnown { region, .. } => {
                    self.regions.insert(region.id, region.clone());
                }
                fact::Fact::StorePut { store, columnar: true, .. } => {
                    self.columnar.insert(*store);
                }
                fact::Fact::RulePut { table, start, end, .. } => {
                    let range = Region { start: start.clone(), end: end.clone(), ..Region::default() };
                    self.tables.insert(*table, range);
                }
                fact::Fact::RuleRemoved { table } => {
                    self.tables.remove(table);
                }
                fact::Fact::RemovalAsked { region, peer, .. } => return self.removal(*region, *peer),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
