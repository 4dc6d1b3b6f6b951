//! Orders of an unsafe recovery.

use std::collections::BTreeSet;

use node::{fact::Fact, region::RegionId, store::fact::recovery};

use super::Order;
use crate::event::{Body, Event, NodeId};

/// A demotion with lost learners.
pub(super) struct LearnerNamed;

impl Order for LearnerNamed {
    fn on(&mut self, event: &Event) -> bool {
        matches!(&event.body, Body::Node(Fact::Recovery(recovery::Fact::DemotionStarted { learners, .. })) if *learners > 0)
    }
}

/// Regions of which recovery has destroyed a peer.
#[derive(Default)]
pub(super) struct LearnerDestroyed {
    destroyed: BTreeSet<RegionId>,
}

impl Order for LearnerDestroyed {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Recovery(recovery::Fact::PeerTombstoned { region, .. })) => {
                self.destroyed.insert(*region);
                false
            }
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderEntered { region, .. })) => {
                self.destroyed.contains(region)
            }
            _ => false,
        }
    }
}

/// Force leaders by node, and those that were refused.
#[derive(Default)]
pub(super) struct RefusedBesideAnother {
    leading: BTreeSet<(NodeId, RegionId)>,
    refused: BTreeSet<NodeId>,
}

impl Order for RefusedBesideAnother {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
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
