//! A write that was acknowledged has been applied, and no later leader is without it.
//!
//! The acknowledgement comes from a client, the application from the replicas' own commands as the reference reads them.
//! From then on every peer that wins an election of that region in a term above all those seen by then has a log that
//! reaches the write's entry; a candidate of an older term may still win late, without it.
//!
//! Unsafe recovery may lose acknowledged writes, but only where no voter that is left has the first entry that is lost.
//!
//! Source: Ongaro's thesis, section 8.2 (durability of acknowledged commands); tikv#994.

use std::collections::BTreeMap;

use node::{fact::Fact, region::RegionId, store::fact::raft};

use super::super::{Check, Entry, Judged, Known, Violation, known::cuts::Cut, reference::Landed};
use crate::{
    event::{Body, ClientEvent, Event, Hall, Outcome},
    verdict::Class,
};

/// The check's row.
pub const ACKNOWLEDGED_WRITES_SURVIVE: Entry = Entry {
    name: "acknowledged-writes-survive",
    family: "client",
    class: Class::Safety,
    property: "an acknowledged write has been applied, and every later leader has it",
    source: "Ongaro's thesis, section 8.2; tikv#994",
    hears: &[Hall::Client, Hall::Raft, Hall::Recovery],
    make: || Box::new(Survive::default()),
};

#[derive(Default)]
struct Survive {
    regions: BTreeMap<RegionId, Acknowledged>,
    judged: u64,
}

#[derive(Default)]
struct Acknowledged {
    /// The newest term in which anybody was elected.
    newest_term: u64,
    /// By the newest term at that time: the newest entry with an acknowledged write.
    entries: Vec<(u64, Landed)>,
}

impl Survive {
    fn cut(&mut self, cut: &Cut) -> Judged {
        self.judged += 1;
        let Some(known) = self.regions.get_mut(&cut.region) else { return Ok(()) };
        let lost = known.entries.iter().map(|(_, entry)| entry).find(|entry| entry.index >= cut.from).copied();
        known.entries.retain(|(_, entry)| entry.index < cut.from);
        let (Some(lost), Some(holder)) = (lost, cut.held_by) else { return Ok(()) };
        let detail = format!(
            "region {} goes on from entry {} without that of term {} at {}, which holds an acknowledged write; peer {holder} \
             still has entry {}",
            cut.region,
            cut.from.saturating_sub(1),
            lost.term,
            lost.index,
            cut.from
        );
        Err(Violation::new("lost-though-held", detail))
    }
}

impl Check for Survive {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            return self.cut(cut);
        }
        match &event.body {
            Body::Client(ClientEvent::Returned { op, outcome: Outcome::Written { timestamp }, .. }) => {
                let Some(reference) = known.reference().filter(|reference| reference.is_complete()) else {
                    return Ok(());
                };
                self.judged += 1;
                let Some(landed) = reference.landed(*timestamp) else {
                    let detail =
                        format!("operation {op} was acknowledged at {timestamp}, and no peer has applied that write");
                    return Err(Violation::new("acknowledged-before-applied", detail));
                };
                let region = self.regions.entry(landed.region).or_default();
                match region.entries.last_mut() {
                    Some((term, newest)) if *term == region.newest_term => {
                        if newest.index < landed.index {
                            *newest = landed;
                        }
                    }
                    _ => region.entries.push((region.newest_term, landed)),
                }
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::Elected { region, peer, term, last_index, .. })) => {
                self.judged += 1;
                let known = self.regions.entry(*region).or_default();
                known.newest_term = known.newest_term.max(*term);
                let lost = known.entries.iter().find(|(seen, entry)| seen < term && entry.index > *last_index);
                let Some((_, lost)) = lost else { return Ok(()) };
                let detail = format!(
                    "peer {peer} leads region {region} in term {term} with a log that ends at {last_index}; entry {} of term {} \
                     holds an acknowledged write",
                    lost.index, lost.term
                );
                Err(Violation::new("leader-without-acknowledged-write", detail))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
