//! What a peer writes as its hard state never goes back: not the term, not the commit index, and not the vote of a term.
//!
//! Within one life of a process, and also when a split replaces an uninitialised peer by one of the same id: that peer
//! may have voted. A crash may lose what was not synced, so a new life starts over here; `votes-durable` joins lives.
//!
//! Source: Ongaro's thesis, figure 3.1 (currentTerm, votedFor).

use std::collections::BTreeMap;

use node::{fact::Fact, raftlog::fact as raftlog, region::PeerId};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const HARD_STATE_MONOTONE: Entry = Entry {
    name: "hard-state-monotone",
    family: "raft",
    class: Class::Safety,
    property: "term, commit and the vote of a term never go back in what a peer writes",
    source: "Ongaro's thesis, figure 3.1",
    hears: &[Hall::HardState],
    make: || Box::new(HardStateMonotone::default()),
};

#[derive(Default)]
struct HardStateMonotone {
    peers: BTreeMap<(NodeId, PeerId), HardState>,
    written: u64,
}

#[derive(Clone, Copy)]
struct HardState {
    incarnation: u32,
    term: u64,
    vote: PeerId,
    commit: u64,
}

impl Check for HardStateMonotone {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        let Body::Node(Fact::RaftLog(raftlog::Fact::HardStateWritten { region, peer, term, vote, commit, .. })) =
            &event.body
        else {
            return Ok(());
        };
        self.written += 1;
        let now = HardState { incarnation: event.incarnation, term: *term, vote: *vote, commit: *commit };
        let Some(last) = self.peers.insert((event.node, *peer), now) else { return Ok(()) };
        if last.incarnation != now.incarnation {
            return Ok(());
        }
        let rule = if now.term < last.term {
            "term-went-back"
        } else if now.term == last.term && last.vote != 0 && now.vote != last.vote {
            "vote-changed"
        } else if now.commit < last.commit {
            "commit-went-back"
        } else {
            return Ok(());
        };
        let detail = format!(
            "peer {peer} of region {region} writes term {term} vote {vote} commit {commit} after term {} vote {} commit {}",
            last.term, last.vote, last.commit
        );
        Err(Violation::new(rule, detail))
    }

    fn reached(&self) -> u64 {
        self.written
    }
}
