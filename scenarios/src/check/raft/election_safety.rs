//! At most one leader is elected in a term.
//!
//! Two winners of one term need one voter that voted twice, so this also sees votes that a restart forgot and peers that
//! came back under an id of theirs.
//!
//! Unsafe recovery cuts a region's history: a term in which a lost peer led may come again.
//!
//! Source: Ongaro's thesis, figure 3.2, Election Safety; TLA+ `ElectionSafety`.

use std::collections::{BTreeMap, btree_map::Entry as Slot};

use node::{
    fact::Fact,
    region::{PeerId, RegionId},
    store::fact::raft,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const ELECTION_SAFETY: Entry = Entry {
    name: "election-safety",
    family: "raft",
    class: Class::Safety,
    property: "at most one leader is elected in a term of a region",
    source: "Ongaro's thesis, figure 3.2, Election Safety",
    hears: &[Hall::Raft, Hall::Recovery],
    make: || Box::new(ElectionSafety::default()),
};

#[derive(Default)]
struct ElectionSafety {
    leaders: BTreeMap<(RegionId, u64), PeerId>,
    elections: u64,
}

impl Check for ElectionSafety {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            let (region, term) = (cut.region, cut.term);
            let left = |peer: PeerId| known.cuts().has(region, peer);
            self.leaders.retain(|(id, led), peer| *id != region || *led < term || left(*peer));
            return Ok(());
        }
        let Body::Node(Fact::Raft(raft::Fact::Elected { region, peer, term, .. })) = &event.body else { return Ok(()) };
        self.elections += 1;
        match self.leaders.entry((*region, *term)) {
            Slot::Vacant(slot) => {
                slot.insert(*peer);
                Ok(())
            }
            Slot::Occupied(slot) if slot.get() == peer => Ok(()),
            Slot::Occupied(slot) => {
                let first = slot.get();
                let detail = format!("region {region} has two leaders in term {term}: peer {first} and peer {peer}");
                Err(Violation::new("two-leaders", detail))
            }
        }
    }

    fn reached(&self) -> u64 {
        self.elections
    }
}
