//! A vote is durable before it is sent, and no restart forgets it.
//!
//! Whether it is durable is the room's word: the synced length of the file that the hard state was written to. A peer
//! that is read back has to know the newest vote that it ever sent, or a later term. So a later term that is durable is as good
//! as the vote itself: nobody comes back from it to vote a second time.
//!
//! Source: Ongaro's thesis, section 3.8 (a server must persist its vote before it answers); tikv#9579.

use std::collections::BTreeMap;

use node::{
    fact::{Fact, Text},
    raftlog::fact as raftlog,
    region::PeerId,
    store::fact::raft,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const VOTES_DURABLE: Entry = Entry {
    name: "votes-durable",
    family: "raft",
    class: Class::Safety,
    property: "a vote is durable before it is sent, and no restart forgets it",
    source: "Ongaro's thesis, section 3.8; tikv#9579",
    hears: &[Hall::HardState, Hall::Raft, Hall::Disk],
    make: || Box::new(VotesDurable::default()),
};

#[derive(Default)]
struct VotesDurable {
    peers: BTreeMap<(NodeId, PeerId), Peer>,
    votes: u64,
}

#[derive(Default)]
struct Peer {
    /// What was written in the newest terms: a slow disk takes several at once, and their votes go out afterwards.
    written: Vec<Written>,
    /// The newest vote that was sent: term and candidate.
    sent: (u64, PeerId),
}

/// How many terms are remembered.
const REMEMBERED: usize = 8;

struct Written {
    incarnation: u32,
    term: u64,
    vote: PeerId,
    file: Text,
    end: u64,
}

impl Check for VotesDurable {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::RaftLog(raftlog::Fact::HardStateWritten { peer, term, vote, file, end, .. })) => {
                let state = self.peers.entry((event.node, *peer)).or_default();
                let (term, vote, end) = (*term, *vote, *end);
                let incarnation = event.incarnation;
                state.written.retain(|written| written.incarnation == incarnation && written.term != term);
                state.written.push(Written { incarnation, term, vote, file: file.clone(), end });
                if state.written.len() > REMEMBERED {
                    state.written.remove(0);
                }
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::VoteSent { region, peer, term, to })) => {
                self.votes += 1;
                let state = self.peers.entry((event.node, *peer)).or_default();
                state.sent = state.sent.max((*term, *to));
                let newest = state.written.last().filter(|written| written.incarnation == event.incarnation);
                let Some(newest) = newest else { return Ok(()) };
                // A peer that went through several terms in one turn writes the last: it cannot vote again in an earlier one.
                let other = |written: &&Written| written.term == *term && ![0, *to].contains(&written.vote);
                let holds = |written: &&Written| written.term > *term || (written.term, written.vote) == (*term, *to);
                let other = state.written.iter().find(other);
                let Some(written) = state.written.iter().find(holds).filter(|_| other.is_none()) else {
                    let written = other.unwrap_or(newest);
                    let detail = format!(
                        "peer {peer} of region {region} votes for {to} in term {term}; written is a vote for {} in term {}",
                        written.vote, written.term
                    );
                    return Err(Violation::new("vote-not-written", detail));
                };
                if known.files().covers(event.node, written.file.as_str(), written.end) == Some(false) {
                    let detail = format!(
                        "peer {peer} of region {region} sends its vote for {to} in term {term}, which ends at {} of {} and is not synced",
                        written.end, written.file
                    );
                    return Err(Violation::new("vote-not-durable", detail));
                }
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerRecovered { region, peer, term, vote, .. })) => {
                let Some(state) = self.peers.get(&(event.node, *peer)) else { return Ok(()) };
                let (sent_term, sent_to) = state.sent;
                if *term > sent_term || (*term == sent_term && (*vote == sent_to || sent_term == 0)) {
                    return Ok(());
                }
                let detail = format!(
                    "peer {peer} of region {region} comes back with term {term} vote {vote}; it had voted for {sent_to} in term {sent_term}"
                );
                Err(Violation::new("vote-forgotten", detail))
            }
            Body::Node(Fact::Raft(raft::Fact::PeerDestroyed { peer, .. })) => {
                self.peers.remove(&(event.node, *peer));
                Ok(())
            }
            Body::Room(RoomEvent::DiskWiped {}) => {
                self.peers.retain(|(node, _), _| *node != event.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.votes
    }
}
