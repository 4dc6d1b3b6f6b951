//! A store's record lives through its states in order, and its id never returns.
//!
//! Up and Offline may follow each other; the tombstone is for good; only a tombstone's record is deleted, and nothing
//! follows that.
//!
//! Source: the states of pd's `metapb.Store`.

use std::collections::{BTreeMap, BTreeSet};

use node::{fact::Fact, pd::fact, region::StoreId};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const LEGAL_STORE_STATES: Entry = Entry {
    name: "legal-store-states",
    family: "placement",
    class: Class::Safety,
    property: "a tombstone stays one until its record is deleted, and a deleted store's id never returns",
    source: "pd's metapb.StoreState",
    hears: &[Hall::Placement],
    make: || Box::new(LegalStoreStates::default()),
};

#[derive(Default)]
struct LegalStoreStates {
    tombstone: BTreeMap<StoreId, bool>,
    deleted: BTreeSet<StoreId>,
    judged: u64,
}

impl Check for LegalStoreStates {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Placement(fact::Fact::StorePut { store, state, .. })) => {
                self.judged += 1;
                let is_tombstone = state.as_str() == "tombstone";
                if self.deleted.contains(store) {
                    let detail = format!("store {store} is {state} after its record was deleted");
                    return Err(Violation::new("returned", detail));
                }
                if self.tombstone.insert(*store, is_tombstone) == Some(true) && !is_tombstone {
                    return Err(Violation::new("risen", format!("store {store} is {state} after it was a tombstone")));
                }
            }
            Body::Node(Fact::Placement(fact::Fact::StoreDeleted { store })) => {
                self.judged += 1;
                self.deleted.insert(*store);
                // What has not been seen from its beginning may have become one before.
                if self.tombstone.remove(store) == Some(false) {
                    let detail = format!("the record of store {store} was deleted, which was no tombstone");
                    return Err(Violation::new("deleted-alive", detail));
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
