//! A leader's log holds every entry that was committed in an earlier term.
//!
//! A candidate of an old term may win late, after a newer leader has committed more: only commits learned in terms
//! before its own count.
//!
//! Unsafe recovery cuts a region's history: what its force leader does not have is not asked for any more.
//!
//! Source: Ongaro's thesis, figure 3.2, Leader Completeness; TLA+ `LeaderCompleteness`.

use std::collections::BTreeMap;

use node::{fact::Fact, region::RegionId, store::fact::raft};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const LEADER_COMPLETENESS: Entry = Entry {
    name: "leader-completeness",
    family: "raft",
    class: Class::Safety,
    property: "a new leader's log reaches every entry committed in an earlier term",
    source: "Ongaro's thesis, figure 3.2, Leader Completeness",
    hears: &[Hall::Raft, Hall::Committed, Hall::Recovery],
    make: || Box::new(LeaderCompleteness::default()),
};

#[derive(Default)]
struct LeaderCompleteness {
    /// Per region, by the term in which it was learned: the highest committed index. Ascending in term; few are kept.
    commits: BTreeMap<RegionId, Vec<(u64, u64)>>,
    elections: u64,
}

impl Check for LeaderCompleteness {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            let commits = self.commits.entry(cut.region).or_default();
            commits.iter_mut().for_each(|(_, index)| *index = (*index).min(cut.from.saturating_sub(1)));
            return Ok(());
        }
        match &event.body {
            Body::Node(Fact::Raft(raft::Fact::Committed { region, term, index, .. })) => {
                let commits = self.commits.entry(*region).or_default();
                match commits.last_mut() {
                    Some((last, highest)) if last == term => *highest = (*highest).max(*index),
                    _ => match commits.binary_search_by_key(term, |(term, _)| *term) {
                        Ok(at) => commits[at].1 = commits[at].1.max(*index),
                        Err(at) => commits.insert(at, (*term, *index)),
                    },
                }
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::Elected { region, peer, term, last_index, .. })) => {
                self.elections += 1;
                let commits = self.commits.get(region).map_or(&[][..], |commits| commits);
                let before = commits.iter().filter(|(learned, _)| learned < term);
                let Some((learned, index)) = before.max_by_key(|(_, index)| *index) else { return Ok(()) };
                if last_index >= index {
                    return Ok(());
                }
                let detail = format!(
                    "peer {peer} leads region {region} in term {term} with a log that ends at {last_index}, and {index} \
                     was committed by term {learned}"
                );
                Err(Violation::new("committed-entry-missing", detail))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.elections
    }
}
