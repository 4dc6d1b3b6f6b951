//! What a run reached: facts by kind, operations by kind, steps, sites of failpoints, and abstract states.
//!
//! Counted while events go round, without a string being made; names are put to the counts at the end. A campaign adds
//! these up, and says what none of its runs ever did.
//!
//! Not here: what any of it means, and the checks, which count for themselves.

use std::collections::{BTreeMap, BTreeSet};

use failpoints::Points;
use node::fact::Fact;
use serde::{Deserialize, Serialize};

use super::states::States;
use crate::event::{Ask, Body, ClientEvent, Event, Outcome};

/// How often something was asked for, and came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// How often it was asked for.
    pub asked: u64,
    /// How often the answer was that it came about.
    pub succeeded: u64,
}

/// What a run reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// How often each site of a failpoint was passed, configured or not.
    pub points_reached: BTreeMap<String, u64>,
    /// How often each site fired.
    pub points_fired: BTreeMap<String, u64>,
    /// How often each fact was stated.
    pub facts: BTreeMap<String, u64>,
    /// What clients and the operator asked for, by kind.
    pub operations_by_kind: BTreeMap<String, Asked>,
    /// How many steps of each kind were done.
    pub steps_done: BTreeMap<String, u64>,
    /// Hashes of the abstract states that regions were seen in.
    pub states: BTreeSet<u64>,
}

/// Counts while the run lasts.
pub(super) struct Watching {
    facts: [Vec<u64>; 10],
    operations: BTreeMap<&'static str, Asked>,
    /// Clients' operations that have not ended: what kind they are of.
    open: BTreeMap<u64, &'static str>,
    steps: BTreeMap<&'static str, u64>,
    fired: BTreeMap<&'static str, u64>,
    /// The switchboards of all processes that there were.
    boards: Vec<Points>,
    states: States,
}

impl Watching {
    pub(super) fn new() -> Self {
        Self {
            facts: Fact::rooms().map(|specs| vec![0; specs.len()]),
            operations: BTreeMap::new(),
            open: BTreeMap::new(),
            steps: BTreeMap::new(),
            fired: BTreeMap::new(),
            boards: Vec::new(),
            states: States::default(),
        }
    }

    #[inline]
    pub(super) fn on(&mut self, event: &Event) {
        match &event.body {
            Body::Node(fact) => {
                let (room, number) = fact.place();
                self.facts[room][number] += 1;
                self.states.on(event.node, fact);
            }
            Body::Client(ClientEvent::Invoked { op, ask, .. }) => {
                let kind = kind(ask);
                self.asked(kind);
                self.open.insert(*op, kind);
            }
            Body::Client(ClientEvent::Returned { op, outcome, .. }) => {
                let kind = self.open.remove(op);
                if let (Some(kind), false) = (kind, matches!(outcome, Outcome::Failed { .. } | Outcome::Unknown)) {
                    self.succeeded(kind);
                }
            }
            Body::Client(ClientEvent::Stamped { .. }) => {}
            Body::Room(room) => self.states.on_room(event.node, room),
        }
    }

    pub(super) fn asked(&mut self, kind: &'static str) {
        self.operations.entry(kind).or_default().asked += 1;
    }

    pub(super) fn succeeded(&mut self, kind: &'static str) {
        self.operations.entry(kind).or_default().succeeded += 1;
    }

    pub(super) fn step_done(&mut self, kind: &'static str) {
        *self.steps.entry(kind).or_default() += 1;
    }

    pub(super) fn point_fired(&mut self, site: &'static str) {
        *self.fired.entry(site).or_default() += 1;
    }

    pub(super) fn watch_points(&mut self, points: Points) {
        self.boards.push(points);
    }

    /// What was reached; the switchboards, which hold on to their witness, are let go.
    pub(super) fn ends(&mut self) -> Coverage {
        let mut reached = BTreeMap::<String, u64>::new();
        for count in std::mem::take(&mut self.boards).iter().flat_map(Points::hits).filter(|count| count.hits > 0) {
            *reached.entry(count.site.name().to_owned()).or_default() += count.hits;
        }
        let counts = self.facts.iter().flatten().copied();
        let facts = Fact::specs().zip(counts).filter(|(_, count)| *count > 0);
        let named =
            |counts: &BTreeMap<&'static str, u64>| counts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Coverage {
            points_reached: reached,
            points_fired: named(&self.fired),
            facts: facts.map(|(spec, count)| (spec.name.to_owned(), count)).collect(),
            operations_by_kind: self.operations.iter().map(|(kind, asked)| ((*kind).to_owned(), *asked)).collect(),
            steps_done: named(&self.steps),
            states: self.states.seen(),
        }
    }
}

/// The kind of a client's operation, as the weights of a workload call it.
fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::Get { by, .. } => match by.as_str() {
            "lease" => "read",
            "read-index" => "read-index",
            _ => "follower-read",
        },
        Ask::Scan { .. } => "scan",
        Ask::Write { edits } => match &edits[..] {
            [edit] if edit.expect.is_some() => "cas",
            [edit] if edit.value.is_none() => "delete",
            [_] => "put",
            _ => "batch",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_has_its_place_among_the_specifications() {
        let fact: Fact = node::cache::fact::Fact::RangeDeleted { region: 1, versions: 2 }.into();
        let (room, number) = fact.place();
        assert_eq!(Fact::rooms()[room][number].name, fact.name());
    }
}
