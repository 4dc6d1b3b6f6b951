//! Orders of events around the region cache.

use std::collections::BTreeSet;

use node::{cache::fact, fact::Fact, region::RegionId, store::fact::region};

use super::Order;
use crate::event::{Body, Event, NodeId, RoomEvent};

fn cache(event: &Event) -> Option<&fact::Fact> {
    match &event.body {
        Body::Node(Fact::Cache(fact)) => Some(fact),
        _ => None,
    }
}

/// No memory: an event of this name met a region that loads or serves.
pub(super) struct Met(pub(super) &'static str);

impl Order for Met {
    fn on(&mut self, event: &Event) -> bool {
        let Some(fact::Fact::Met { event, state, .. }) = cache(event) else { return false };
        event.as_str() == self.0 && matches!(state.as_str(), "loading" | "active")
    }
}

/// No memory: a load was scheduled while apply had writes of its region.
pub(super) struct LoadBeforeFlush;

impl Order for LoadBeforeFlush {
    fn on(&mut self, event: &Event) -> bool {
        matches!(cache(event), Some(fact::Fact::LoadScheduled { pending, .. }) if *pending > 0)
    }
}

/// No memory: a collection was held back by a reader of what its region was split from.
pub(super) struct HeldByHistory;

impl Order for HeldByHistory {
    fn on(&mut self, event: &Event) -> bool {
        matches!(cache(event), Some(fact::Fact::CollectionHeld { by, .. }) if by.as_str() == "historical")
    }
}

/// Regions whose load is scheduled and has not begun.
#[derive(Default)]
pub(super) struct SplitBeforeLoad {
    waiting: BTreeSet<(NodeId, RegionId)>,
}

impl Order for SplitBeforeLoad {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Room(RoomEvent::ProcessExited { .. }) => self.waiting.retain(|(node, _)| *node != event.node),
            Body::Node(Fact::Cache(fact::Fact::LoadScheduled { region, .. })) => {
                self.waiting.insert((event.node, *region));
            }
            Body::Node(Fact::Cache(fact::Fact::LoadStarted { region, .. })) => {
                self.waiting.remove(&(event.node, *region));
            }
            Body::Node(Fact::Region(region::Fact::SplitApplied { region, .. })) => {
                return self.waiting.contains(&(event.node, *region));
            }
            _ => {}
        }
        false
    }
}
