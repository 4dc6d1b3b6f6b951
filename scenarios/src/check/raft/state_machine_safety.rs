//! No two peers apply different entries at one index.
//!
//! Term, kind and data are compared, whoever applies and however often.
//!
//! Unsafe recovery cuts a region's history: from there on its indexes are taken anew.
//!
//! Source: Ongaro's thesis, figure 3.2, State Machine Safety.

use std::collections::BTreeMap;

use node::{fact::Fact, region::RegionId, store::fact::apply};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::{Check, Entry, Judged, Known, Violation, dense::Dense};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const STATE_MACHINE_SAFETY: Entry = Entry {
    name: "state-machine-safety",
    family: "raft",
    class: Class::Safety,
    property: "no two peers of a region apply different entries at one index",
    source: "Ongaro's thesis, figure 3.2, State Machine Safety",
    hears: &[Hall::Applied, Hall::Recovery],
    make: || Box::new(StateMachineSafety::default()),
};

/// How many indexes back entries are remembered.
const REMEMBERED: usize = 32_768;

#[derive(Default)]
struct StateMachineSafety {
    regions: BTreeMap<RegionId, Dense<Applied>>,
    compared: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Applied {
    term: u64,
    digest: u64,
}

impl Check for StateMachineSafety {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            if let Some(log) = self.regions.get_mut(&cut.region) {
                log.cut(cut.from);
            }
            return Ok(());
        }
        let Body::Node(Fact::Apply(apply::Fact::Applied { region, peer, index, term, kind, command })) = &event.body
        else {
            return Ok(());
        };
        let applied = Applied { term: *term, digest: xxh3_64_with_seed(command, kind.as_str().len() as u64) };
        let log = self.regions.entry(*region).or_insert_with(|| Dense::new(REMEMBERED));
        let Some(slot) = log.slot(*index) else { return Ok(()) };
        let first = *slot.get_or_insert(applied);
        self.compared += 1;
        if first == applied {
            return Ok(());
        }
        let detail = format!(
            "peer {peer} of region {region} applies an entry of term {term} at index {index} that is not the one of \
             term {} applied there before",
            first.term
        );
        Err(Violation::new("entries-differ", detail))
    }

    fn reached(&self) -> u64 {
        self.compared
    }
}
