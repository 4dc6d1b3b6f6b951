//! A finished unsafe recovery leaves every key to a region that can elect a leader, and no region with a lost peer.
//!
//! When the placement driver says that it finished, the newest regions of the stores that are left cover the key space,
//! each with a majority of voters on stores that were not given up. And when the run has converged, no region that was led
//! without a majority names a store that was given up.
//!
//! Source: pd#6859; tikv#18440, tikv#18458.

use bytes::Bytes;
use node::{fact::Fact, pd::fact, region::has_majority};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const FINISHED_MEANS_COVERED: Entry = Entry {
    name: "finished-means-covered",
    family: "placement",
    class: Class::Safety,
    property: "after an unsafe recovery every key has a region that can elect a leader, and no region names a lost store",
    source: "pd#6859; tikv#18440, tikv#18458",
    hears: &[Hall::Placement, Hall::Plan],
    make: || Box::new(Finished::default()),
};

#[derive(Default)]
struct Finished {
    /// The last recovery that began has also finished.
    finished: bool,
    judged: u64,
}

fn covered(known: &Known) -> Judged {
    let mut reached = Some(Bytes::new());
    let hole = |from: &Bytes| {
        let from = String::from_utf8_lossy(from);
        Violation::new("hole", format!("the recovery has finished, and nobody holds the keys from `{from}` on"))
    };
    for region in known.cuts().newest_left() {
        let Some(from) = &reached else { break };
        if region.start > *from {
            return Err(hole(from));
        }
        if !has_majority(&region, |peer| known.cuts().is_given_up(peer.store), false) {
            let detail = format!("the recovery has finished, and nobody can be elected: {region}");
            return Err(Violation::new("no-majority", detail));
        }
        reached = (!region.end.is_empty()).then(|| region.end.clone());
    }
    reached.map_or(Ok(()), |from| Err(hole(&from)))
}

fn names_nobody_lost(known: &Known, at_rest: bool) -> Judged {
    for region in known.cuts().newest_left().iter().filter(|region| at_rest || known.cuts().was_led_by_force(region.id))
    {
        let lost = region.peers.iter().find(|peer| known.cuts().is_given_up(peer.store));
        if let Some(lost) = lost {
            let detail = format!(
                "region {} still names peer {} on store {}, which was given up",
                region.id, lost.id, lost.store
            );
            return Err(Violation::new("names-a-failed-store", detail));
        }
    }
    Ok(())
}

impl Check for Finished {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Placement(fact::Fact::RecoveryBegun { .. })) => {
                self.finished = false;
                Ok(())
            }
            Body::Node(Fact::Placement(fact::Fact::RecoveryEnded { outcome, .. })) => {
                self.finished = outcome.as_str() == "finished";
                if !self.finished || !known.is_whole() {
                    return Ok(());
                }
                self.judged += 1;
                covered(known)
            }
            // One that did not finish is the matter of `recovery-ends`.
            Body::Room(RoomEvent::ConvergeEnded { reasons }) if self.finished => {
                names_nobody_lost(known, reasons.is_empty())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
