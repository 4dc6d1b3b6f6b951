//! What a store does about another one that is missing stays bounded: questions, reconnections, lines in the log.
//!
//! Of one missing store a line is logged at most once a minute, and in ten seconds it is heard to be missing a dozen times
//! at most. Answers count, not questions: a placement driver that does not answer is asked again by whoever has something
//! to send, as it should be.
//! The placement client is not reconnected because of it, and not more often than its least interval for whatever cause.
//! All times are the room's; clocks may drift a little. Only stores are judged: an operator has a client for each order.
//!
//! Source: tikv#17875.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use node::{fact::Fact, pd::ClientOptions, region::StoreId, store::fact::lifecycle, store::resolver::SAID_EVERY};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// So many answers that one store is missing are allowed in [`WINDOW_NS`].
const HEARD_MAX: usize = 12;

/// Ten seconds.
const WINDOW_NS: u64 = 10_000_000_000;

/// The check's row.
pub const RETRIES_ARE_BOUNDED: Entry = Entry {
    name: "retries-are-bounded",
    family: "placement",
    class: Class::Safety,
    property: "questions, reconnections and log lines about a missing store stay bounded",
    source: "tikv#17875",
    hears: &[Hall::Store, Hall::Process],
    make: || Box::new(RetriesAreBounded::default()),
};

#[derive(Default)]
struct RetriesAreBounded {
    said_ns: BTreeMap<(NodeId, StoreId), u64>,
    heard_ns: BTreeMap<(NodeId, StoreId), VecDeque<u64>>,
    reconnected_ns: BTreeMap<NodeId, u64>,
    stores: BTreeSet<NodeId>,
    judged: u64,
}

/// Nine tenths: what a clock that runs fast makes of a time, and more.
fn nearly(duration: std::time::Duration) -> u64 {
    duration.as_nanos() as u64 / 10 * 9
}

impl RetriesAreBounded {
    fn store(&mut self, node: NodeId, now_ns: u64, fact: &lifecycle::Fact, known: &Known) -> Judged {
        let name = known.name(node);
        match fact {
            lifecycle::Fact::Identified { .. } => {
                self.stores.insert(node);
            }
            lifecycle::Fact::LogLine { about, store } => {
                self.judged += 1;
                let before = self.said_ns.insert((node, *store), now_ns);
                if before.is_some_and(|before| now_ns - before < nearly(SAID_EVERY)) {
                    let detail = format!("{name} logs `{about}` of store {store} again within a minute");
                    return Err(Violation::new("log-lines", detail));
                }
            }
            lifecycle::Fact::ResolveFailed { store, reason } if reason.as_str() == "not-found" => {
                self.judged += 1;
                let heard = self.heard_ns.entry((node, *store)).or_default();
                heard.push_back(now_ns);
                while heard.front().is_some_and(|first| now_ns - first > WINDOW_NS) {
                    heard.pop_front();
                }
                if heard.len() > HEARD_MAX {
                    let detail = format!("{name} asks for missing store {store} {} times in ten seconds", heard.len());
                    return Err(Violation::new("questions", detail));
                }
            }
            lifecycle::Fact::PlacementReconnected { cause, .. } if self.stores.contains(&node) => {
                self.judged += 1;
                if cause.as_str() == "not found" {
                    let detail = format!("{name} reconnects to the placement driver because a store was not found");
                    return Err(Violation::new("reconnections", detail).at("not found"));
                }
                let before = self.reconnected_ns.insert(node, now_ns);
                let least = nearly(ClientOptions::default().reconnect_min);
                if before.is_some_and(|before| now_ns - before < least) {
                    let detail = format!("{name} reconnects to the placement driver again within its least interval");
                    return Err(Violation::new("reconnections", detail).at("too soon"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Check for RetriesAreBounded {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Store(fact)) => self.store(event.node, event.time_ns, fact, known),
            // A new life knows nothing of the last one's.
            Body::Room(crate::event::RoomEvent::ProcessStarted { .. }) => {
                self.said_ns.retain(|(node, _), _| *node != event.node);
                self.heard_ns.retain(|(node, _), _| *node != event.node);
                self.reconnected_ns.remove(&event.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
