//! The placement driver never has the last copy removed while such as hold nothing stay in its place.
//!
//! Replicas of one kind (voters; columnar learners) stand in for each other. When one that has the region's content is to
//! go, and others of its kind stay, one of these has content too. A table that wants no replicas any more may lose all.
//!
//! Whether a replica has content its store says: it is in the store's map of regions. What goes with a disk is missed only
//! after a while: the store has to come back without it, and the region's leader to say so. Until then the placement driver
//! goes by what it was told, and is not to blame.
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

/// So long after a disk was lost the placement driver need not know of it.
const LEARNT_WITHIN_NS: u64 = 10_000_000_000;

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
    /// Replicas that went with their disk, and when.
    wiped_ns: BTreeMap<(RegionId, PeerId), u64>,
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

    /// A store's disk is lost, with all replicas on it.
    fn wiped(&mut self, node: NodeId, now_ns: u64) {
        let gone = self.copies.iter().filter(|(_, on)| **on == node).map(|(&copy, _)| (copy, now_ns));
        self.wiped_ns.extend(gone);
        self.copies.retain(|_, on| *on != node);
    }

    /// Whether a replica has content as far as the placement driver can know.
    fn seems_to_hold(&self, copy: (RegionId, PeerId), now_ns: u64) -> bool {
        let is_news = |lost_ns: &u64| now_ns - lost_ns <= LEARNT_WITHIN_NS;
        self.copies.contains_key(&copy) || self.wiped_ns.get(&copy).is_some_and(is_news)
    }

    fn removal(&mut self, id: RegionId, peer: PeerId, now_ns: u64) -> Judged {
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
        let holds = self.copies.contains_key(&(id, peer));
        if holds && !rest.is_empty() && !rest.iter().any(|&other| self.seems_to_hold((id, other), now_ns)) {
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
                self.wiped_ns.remove(&(*region, *peer));
            }
            Body::Node(Fact::Region(region::Fact::RegionRemoved { region, peer })) => {
                self.copies.remove(&(*region, *peer));
            }
            Body::Room(RoomEvent::DiskWiped {}) => self.wiped(event.node, event.time_ns),
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
                fact::Fact::RemovalAsked { region, peer, .. } => return self.removal(*region, *peer, event.time_ns),
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
