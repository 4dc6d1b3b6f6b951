//! A restarted peer's log agrees with the snapshot that its state rests on.
//!
//! State and log are not written together. A crash between them may leave the state behind a snapshot and the log from
//! before it: the log then has to be dropped or mended, so that it reaches the snapshot's index, has the snapshot's term
//! there, never has a lower term behind it, and contradicts nothing that any peer has applied as committed.
//!
//! Unsafe recovery cuts a region's history: what was applied behind the cut is forgotten.
//!
//! Source: tikv#12618.

use std::{collections::BTreeMap, sync::Arc};

use node::{
    fact::{Fact, Mark},
    raftlog::fact as raftlog,
    region::{PeerId, RegionId},
    store::fact::{apply, raft},
};

use super::super::{Check, Entry, Judged, Known, Violation, dense::Dense};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const LOG_TERMS_AGREE_WITH_SNAPSHOT: Entry = Entry {
    name: "log-terms-agree-with-snapshot",
    family: "snapshot",
    class: Class::Safety,
    property: "a restarted peer's log agrees with the snapshot that its state rests on",
    source: "tikv#12618",
    hears: &[Hall::RaftLog, Hall::Raft, Hall::Applied, Hall::Recovery],
    make: || Box::new(LogTermsAgree::default()),
};

/// How many indexes back applied entries are remembered.
const REMEMBERED: usize = 16_384;

#[derive(Default)]
struct LogTermsAgree {
    applied: BTreeMap<RegionId, Dense<u64>>,
    recovered: BTreeMap<(NodeId, PeerId), Recovered>,
    judged: u64,
}

/// A log as read back, in which life of the process.
type Recovered = (u32, Arc<[Mark]>);

impl Check for LogTermsAgree {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            if let Some(terms) = self.applied.get_mut(&cut.region) {
                terms.cut(cut.from);
            }
            return Ok(());
        }
        match &event.body {
            Body::Node(Fact::Apply(apply::Fact::Applied { region, index, term, .. })) => {
                let terms = self.applied.entry(*region).or_insert_with(|| Dense::new(REMEMBERED));
                if let Some(slot) = terms.slot(*index) {
                    slot.get_or_insert(*term);
                }
                Ok(())
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Recovered { peer, marks, .. })) => {
                self.recovered.insert((event.node, *peer), (event.incarnation, marks.0.clone()));
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerRecovered {
                region,
                peer,
                commit,
                truncated_index,
                truncated_term,
                last_index,
                last_term,
                ..
            })) => {
                self.judged += 1;
                let (cut, cut_term) = (*truncated_index, *truncated_term);
                let recovered = self.recovered.remove(&(event.node, *peer));
                let marks = recovered.filter(|(life, _)| *life == event.incarnation).map(|(_, marks)| marks);
                // What lies behind the last index was dropped by the store itself.
                let live = || marks.iter().flat_map(|marks| marks.iter()).filter(|mark| mark.index <= *last_index);
                let name = known.name(event.node);
                let accuse = |rule, text: String| {
                    let detail = format!(
                        "peer {peer} of region {region} on {name} rests on a snapshot or state at {cut} of term {cut_term}, and {text}"
                    );
                    Err(Violation::new(rule, detail))
                };
                if *last_index < cut {
                    return accuse("log-behind", format!("its log ends at {last_index}"));
                }
                if *last_index == cut && *last_term != cut_term && *last_term != 0 {
                    return accuse("other-term", format!("its log ends there with term {last_term}"));
                }
                if *last_index > cut {
                    if *last_term < cut_term {
                        return accuse("stale-log", format!("its log goes on to {last_index} of term {last_term}"));
                    }
                    if let Some(mark) = live().find(|mark| mark.index == cut && mark.term != cut_term) {
                        return accuse("other-term", format!("its log has term {} there", mark.term));
                    }
                    if let Some(mark) = live().find(|mark| mark.index > cut && mark.term < cut_term) {
                        return accuse(
                            "stale-log",
                            format!("its log has {} of term {} behind it", mark.index, mark.term),
                        );
                    }
                }
                let terms = self.applied.get(region);
                let committed = |mark: &&Mark| {
                    let applied = terms.and_then(|terms| terms.get(mark.index));
                    mark.index > cut && mark.index <= *commit && applied.is_some_and(|term| *term != mark.term)
                };
                if let Some(mark) = live().find(committed) {
                    return accuse(
                        "not-what-was-committed",
                        format!(
                            "its log has {} of term {}, which is not what was applied there",
                            mark.index, mark.term
                        ),
                    );
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
