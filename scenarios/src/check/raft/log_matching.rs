//! Entries with the same index and term are the same, and so is what precedes them.
//!
//! Judged by what peers write to their logs and read back from them. That the entry before has the same term everywhere,
//! too, makes the rest follow by induction.
//!
//! Unsafe recovery cuts a region's history: behind its force leader's last entry the terms of those that
//! are lost may come again.
//!
//! Source: Ongaro's thesis, figure 3.2, Log Matching; TLA+ `LogMatching`.

use std::collections::BTreeMap;

use node::{
    fact::{Fact, Mark},
    raftlog::fact as raftlog,
    region::RegionId,
};

use super::super::{Check, Entry, Judged, Known, Violation, dense::Dense};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const LOG_MATCHING: Entry = Entry {
    name: "log-matching",
    family: "raft",
    class: Class::Safety,
    property: "entries of one index and term are the same on all peers, and so are those before them",
    source: "Ongaro's thesis, figure 3.2, Log Matching",
    hears: &[Hall::RaftLog, Hall::Appended, Hall::Recovery],
    make: || Box::new(LogMatching::default()),
};

/// How many indexes back entries are remembered.
const REMEMBERED: usize = 16_384;

#[derive(Default)]
struct LogMatching {
    regions: BTreeMap<RegionId, Dense<Place>>,
    compared: u64,
}

/// What is known at one index: nearly always one entry.
struct Place {
    entry: Link,
    others: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    term: u64,
    digest: u64,
    /// The term of the entry before, 0 if not known.
    before: u64,
}

impl LogMatching {
    fn judge(&mut self, region: RegionId, marks: &[Mark]) -> Judged {
        let log = self.regions.entry(region).or_insert_with(|| Dense::new(REMEMBERED));
        let mut before = 0;
        for mark in marks {
            let link = Link { term: mark.term, digest: mark.digest, before };
            before = mark.term;
            let Some(slot) = log.slot(mark.index) else { continue };
            let Some(known) = slot else {
                *slot = Some(Place { entry: link, others: Vec::new() });
                continue;
            };
            let same_term = std::iter::once(&mut known.entry).chain(&mut known.others);
            let Some(same) = same_term.into_iter().find(|other| other.term == link.term) else {
                known.others.push(link);
                continue;
            };
            self.compared += 1;
            if same.digest != link.digest {
                let detail = format!("region {region} has two entries at index {} of term {}", mark.index, mark.term);
                return Err(Violation::new("entries-differ", detail));
            }
            if same.before != 0 && link.before != 0 && same.before != link.before {
                let detail = format!(
                    "region {region}: the entry at index {} of term {} follows term {} on one peer and term {} on another",
                    mark.index, mark.term, same.before, link.before
                );
                return Err(Violation::new("predecessors-differ", detail));
            }
            same.before = same.before.max(link.before);
        }
        Ok(())
    }
}

impl Check for LogMatching {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            if let Some(log) = self.regions.get_mut(&cut.region) {
                log.cut(cut.last_index + 1);
            }
            return Ok(());
        }
        match &event.body {
            Body::Node(Fact::RaftLog(
                raftlog::Fact::Appended { region, marks, .. } | raftlog::Fact::Recovered { region, marks, .. },
            )) => self.judge(*region, &marks.0),
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.compared
    }
}
