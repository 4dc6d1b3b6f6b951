//! After all faults are lifted the columnar replicas that a table asks for are there in time.
//!
//! The placement driver knows a table's regions, columnar stores report the peers that have caught up. Each region needs
//! one such peer to be readable, and as many as the table asks for, where there are so many columnar stores. A peer that
//! a region lists although nobody has it keeps its table waiting for ever.
//!
//! Not judged: a table that no columnar store could serve.
//!
//! Source: TiDB's progress and availability of a table's TiFlash replicas; tikv#18458, pd#9624.

use std::collections::BTreeMap;

use node::{fact::Fact, pd::fact};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const TABLE_REPLICAS_BECOME_AVAILABLE: Entry = Entry {
    name: "table-replicas-become-available",
    family: "placement",
    class: Class::Liveness,
    property: "after all faults are lifted every table's columnar replicas are there within the bound",
    source: "TiDB's availability of TiFlash replicas; tikv#18458, pd#9624",
    hears: &[Hall::Placement, Hall::Plan],
    make: || Box::new(Available { tables: Tables::default(), judged: 0 }),
};

/// The tables that have a rule, as the placement driver states them.
#[derive(Debug, Default)]
pub struct Tables(BTreeMap<u64, Table>);

#[derive(Debug)]
struct Table {
    count: u64,
    progress: Option<Progress>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    regions: u64,
    peers: u64,
    available: u64,
    stores: u64,
}

impl Tables {
    /// Takes a fact in.
    pub fn on(&mut self, fact: &fact::Fact) {
        match *fact {
            fact::Fact::RulePut { table, count, .. } => {
                self.0.insert(table, Table { count, progress: None });
            }
            fact::Fact::RuleRemoved { table } => {
                self.0.remove(&table);
            }
            fact::Fact::TableProgress { table, count, regions, peers, available, stores } => {
                self.0.insert(table, Table { count, progress: Some(Progress { regions, peers, available, stores }) });
            }
            _ => {}
        }
    }

    /// What is missing, each as `what: detail`.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(table, state)| {
            let Some(Progress { regions, peers, available, stores }) = state.progress else {
                return Some(format!("table replicas unknown: table {table}"));
            };
            let most = state.count.min(stores);
            if most > 0 && available < regions {
                let detail = format!("table {table} has a caught-up replica of {available} of {regions} regions");
                return Some(format!("table replicas not available: {detail}"));
            }
            (peers < regions * most).then(|| {
                let detail = format!("table {table} has {peers} caught-up replicas of {} wanted", regions * most);
                format!("table replicas incomplete: {detail}")
            })
        })
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

struct Available {
    tables: Tables,
    judged: u64,
}

impl Check for Available {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Placement(fact)) => self.tables.on(fact),
            Body::Room(RoomEvent::ConvergeEnded { .. }) => {
                self.judged += self.tables.len();
                if let Some(missing) = self.tables.missing().next() {
                    let (what, detail) = missing.split_once(": ").unwrap_or((&missing, ""));
                    let rule = if what.ends_with("incomplete") { "incomplete" } else { "not-available" };
                    return Err(Violation::new(rule, detail));
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
