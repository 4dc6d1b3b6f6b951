//! In the end, no live store has given up a live one that is registered.
//!
//! A store may take another one for gone, for good, only when it is: a record that says so is a tombstone's. What is not
//! found may register later.
//!
//! Source: tikv#19980.

use std::collections::{BTreeMap, BTreeSet};

use node::{fact::Fact, pd::fact as placement, region::StoreId, store::fact::lifecycle};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const REGISTERED_STORES_ARE_REACHABLE: Entry = Entry {
    name: "registered-stores-are-reachable",
    family: "placement",
    class: Class::Liveness,
    property: "in the end no live store has given up a live and registered one",
    source: "tikv#19980",
    hears: &[Hall::Store, Hall::Placement, Hall::Process, Hall::Plan],
    make: || Box::new(RegisteredStoresAreReachable::default()),
};

#[derive(Default)]
struct RegisteredStoresAreReachable {
    blocked: BTreeSet<(NodeId, StoreId)>,
    /// Which store a process is, while it runs.
    live: BTreeMap<NodeId, StoreId>,
    registered: BTreeSet<StoreId>,
    judged: u64,
}

impl Check for RegisteredStoresAreReachable {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Store(lifecycle::Fact::Started { store, .. })) => {
                self.live.insert(event.node, *store);
            }
            Body::Node(Fact::Store(lifecycle::Fact::Blocked { store })) => {
                self.blocked.insert((event.node, *store));
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                self.live.remove(&event.node);
                self.blocked.retain(|(node, _)| *node != event.node);
            }
            Body::Node(Fact::Placement(placement::Fact::StorePut { store, state, .. })) => {
                if state.as_str() == "tombstone" {
                    self.registered.remove(store);
                } else {
                    self.registered.insert(*store);
                }
            }
            Body::Node(Fact::Placement(placement::Fact::StoreDeleted { store })) => {
                self.registered.remove(store);
            }
            Body::Room(RoomEvent::ConvergeEnded { .. }) => {
                self.judged += 1;
                let lives = |store: &StoreId| self.live.values().any(|live| live == store);
                let wrong = self.blocked.iter().find(|(_, store)| self.registered.contains(store) && lives(store));
                if let Some((node, store)) = wrong {
                    let detail = format!("{} sends nothing to store {store}, which is registered", known.name(*node));
                    return Err(Violation::new("blocked", detail));
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
