//! While force leaders are being made, those that stand do not step down by plan, and each commits within a bound.
//!
//! A stage that makes force leaders may take several tries; the set of them only grows from try to try. A force leader
//! commits what all voters that are left have, so its own first entry is committed soon, whatever learners do.
//!
//! Source: pd#5085; tikv#18197.

use std::collections::BTreeMap;

use node::{
    fact::Fact,
    pd::fact,
    region::{PeerId, RegionId},
    store::fact::{raft, recovery},
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The row for the set of force leaders.
pub const FORCE_LEADERS_STAY: Entry = Entry {
    name: "force-leaders-stay",
    family: "placement",
    class: Class::Liveness,
    property: "within a stage the set of force leaders only grows",
    source: "pd#5085",
    hears: &[Hall::Placement, Hall::Recovery],
    make: || Box::new(Stay::default()),
};

/// The row for what a force leader commits.
pub const FORCE_LEADER_COMMITS: Entry = Entry {
    name: "force-leader-commits",
    family: "placement",
    class: Class::Liveness,
    property: "a force leader commits within its bound, once nothing holds the stores apart that are left",
    source: "tikv#18197",
    hears: &[Hall::Raft, Hall::Committed, Hall::Recovery, Hall::Process, Hall::Plan],
    make: || Box::new(Commits::default()),
};

/// Within so much true time after healing a force leader commits an entry of its own.
const BOUND_NS: u64 = 10_000_000_000;

#[derive(Default)]
struct Stay {
    leading: bool,
    judged: u64,
}

impl Check for Stay {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Placement(fact::Fact::RecoveryStage { stage, .. })) => {
                self.leading = stage.as_str().starts_with("force-leader");
                Ok(())
            }
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderEntered { .. })) => {
                self.judged += 1;
                Ok(())
            }
            Body::Node(Fact::Recovery(recovery::Fact::ForceLeaderExited { region, peer, reason, .. }))
                if self.leading && reason.as_str() == "plan" =>
            {
                let detail =
                    format!("peer {peer} of region {region} steps down while force leaders are still being made");
                Err(Violation::new("stepped-down", detail))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}

#[derive(Default)]
struct Commits {
    waiting: BTreeMap<(NodeId, RegionId), (PeerId, u64)>,
    /// It needs every voter that is left, so that its time begins when faults have ended.
    healed_ns: Option<u64>,
    judged: u64,
}

impl Check for Commits {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Recovery(fact)) => match fact {
                recovery::Fact::ForceLeaderEntered { region, peer, .. } => {
                    self.waiting.insert((event.node, *region), (*peer, event.time_ns));
                }
                recovery::Fact::CommitForwarded { region, .. } | recovery::Fact::ForceLeaderExited { region, .. } => {
                    self.judged += u64::from(self.waiting.remove(&(event.node, *region)).is_some());
                }
                _ => {}
            },
            Body::Node(Fact::Raft(raft::Fact::PeerClosed { region, .. })) => {
                self.waiting.remove(&(event.node, *region));
            }
            Body::Room(RoomEvent::Healed {}) => self.healed_ns = Some(event.time_ns),
            Body::Room(RoomEvent::ProcessExited { .. }) => self.waiting.retain(|(node, _), _| *node != event.node),
            _ => {}
        }
        let Some(healed_ns) = self.healed_ns else { return Ok(()) };
        let is_late = |since: u64| event.time_ns.saturating_sub(since.max(healed_ns)) > BOUND_NS;
        let late = self.waiting.iter().find(|(_, (_, since))| is_late(*since));
        let Some(((_, region), (peer, _))) = late else { return Ok(()) };
        let detail = format!("peer {peer} has led region {region} without a majority for long and committed nothing");
        Err(Violation::new("commits-nothing", detail))
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
