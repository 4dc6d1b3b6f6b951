//! A cached region goes from state to state as the state machine says.
//!
//! Pending -> Loading; Loading -> Active, LoadingCanceled or Evicting; Active -> PendingEvict; LoadingCanceled ->
//! PendingEvict or Evicting; PendingEvict -> Evicting; Evicting -> removed. What is pending may be dropped freely. A region
//! comes in as pending, or as a part of a split with the state that the split region had; a split leaves that state alone.
//!
//! Source: TiKV's `region_manager.rs`.

use std::collections::BTreeMap;

use node::{cache::fact, fact::Fact, region::RegionId};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const LEGAL_CACHE_TRANSITIONS: Entry = Entry {
    name: "legal-cache-transitions",
    family: "cache",
    class: Class::Safety,
    property: "a cached region goes from state to state as the state machine of the cache says",
    source: "TiKV's region_manager.rs",
    hears: &[Hall::Cache, Hall::Process],
    make: || Box::new(LegalTransitions::default()),
};

#[derive(Default)]
struct LegalTransitions {
    states: BTreeMap<(NodeId, RegionId), String>,
    /// The states in which regions were split, by node: their parts come with it.
    split: BTreeMap<NodeId, String>,
    judged: u64,
}

fn is_legal(from: &str, to: &str, cause: &str, split: Option<&str>) -> bool {
    match (from, to) {
        ("none", "pending")
        | ("pending", "loading" | "removed")
        | ("loading", "active" | "loading-canceled" | "evicting")
        | ("active", "pending-evict")
        | ("loading-canceled", "pending-evict" | "evicting")
        | ("pending-evict", "evicting")
        | ("evicting", "removed") => true,
        ("none", state) => cause == "split" && split == Some(state),
        (from, to) => cause == "split" && from == to,
    }
}

impl Check for LegalTransitions {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Room(RoomEvent::ProcessStarted { .. } | RoomEvent::ProcessExited { .. }) => {
                self.states.retain(|(node, _), _| *node != event.node);
                self.split.remove(&event.node);
            }
            Body::Node(Fact::Cache(fact::Fact::Split { state, .. })) => {
                self.split.insert(event.node, state.as_str().to_owned());
            }
            Body::Node(Fact::Cache(fact::Fact::Transition { region, from, to, cause, .. })) => {
                self.judged += 1;
                let key = (event.node, *region);
                let known = self.states.get(&key).map_or("none", String::as_str);
                let (from, to) = (from.as_str(), to.as_str());
                if known != from {
                    let detail = format!("region {region} leaves {from} for {to} ({cause}), and was {known}");
                    return Err(Violation::new("another-state", detail).at(&format!("{known}, not {from}")));
                }
                if !is_legal(from, to, cause.as_str(), self.split.get(&event.node).map(String::as_str)) {
                    let detail = format!("region {region} goes from {from} to {to} ({cause})");
                    return Err(Violation::new("illegal-transition", detail).at(&format!("{from} to {to}")));
                }
                if to == "removed" {
                    self.states.remove(&key);
                } else {
                    self.states.insert(key, to.to_owned());
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
