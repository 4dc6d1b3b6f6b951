//! Orders of an unsafe recovery.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use node::{
    fact::Fact,
    region::{PeerId, Region, RegionId, Role},
    store::fact::{recovery, region},
};

use super::Order;
use crate::event::{Body, Event, NodeId, RoomEvent};

/// A demotion with lost learners.
pub(super) struct LearnerNamed;

impl Order for LearnerNamed {
    fn on(&mut self, event: &Event) -> bool {
        matches!(&event.body, Body::Node(Fact::Recovery(recovery::Fact::DemotionStarted { learners, .. })) if *learners > 0)
    }
}

/// Learners that recovery has destroyed, and each peer's region as it knows it.
#[derive(Default)]
pub(super) struct LearnerDestroyed {
    regions: BTreeMap<(NodeId, RegionId), Arc<Region>>,
    destroyed: BTreeSet<PeerId>,
}

impl Order for LearnerDestroyed {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Region(region::Fact::Changed { region, .. })) => {
                self.regions.insert((event.node, region.id), region.clone());
                false
            }
            Body::Node(Fact::Recovery(recovery::Fact::PeerTombstoned { region, peer })) => {
                let known = self.regions.get(&(event.node, *region)).and_then(|region| region.peer(*peer));
                if known.is_some_and(|peer| peer.role() == Role::Learner) {
                    self.destroyed.insert(*peer);
                }
                false
            }
            // A force leader counts on whom its region names.
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderEntered { region, .. })) => {
                let region = self.regions.get(&(event.node, *region));
                region.is_some_and(|region| region.peers.iter().any(|peer| self.destroyed.contains(&peer.id)))
            }
            _ => false,
        }
    }
}

/// Force leaders by node, and those that were refused.
#[derive(Default)]
pub(super) struct RefusedBesideAnother {
    leading: BTreeSet<(NodeId, RegionId)>,
    /// In their store's newest plan.
    refused: BTreeSet<NodeId>,
}

impl Order for RefusedBesideAnother {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Recovery(recovery::Fact::PlanReceived { .. })) => {
                self.refused.remove(&event.node);
                false
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                self.refused.remove(&event.node);
                self.leading.retain(|(node, _)| *node != event.node);
                false
            }
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderEntered { region, .. })) => {
                self.leading.insert((event.node, *region));
                self.refused.iter().any(|node| *node != event.node)
            }
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderExited { region, .. })) => {
                self.leading.remove(&(event.node, *region));
                false
            }
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderRefused { .. })) => {
                self.refused.insert(event.node);
                self.leading.iter().any(|(node, _)| *node != event.node)
            }
            _ => false,
        }
    }
}
