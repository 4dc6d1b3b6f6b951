//! A leader that has removed itself stays until the others know.
//!
//! Who applies its own removal is needed no more, unless it led: then it may be the only one that knows that the change is
//! committed. Of two voters the other one would ask it for its vote for ever (tikv#10595). So it goes on telling what is
//! committed, takes no requests, and asks the others whether it is gone; when most of those that have a vote say so, they
//! have applied the change, and it goes. Meanwhile it keeps the lead, however long it hears nothing. A restart does not
//! release it.
//!
//! Not here: removing; the raft loop does that.

use std::collections::BTreeSet;

use super::{Peer, membership};
use crate::{
    region::PeerId,
    store::{
        service::not_leader,
        turn::{Turn, Wish},
    },
    wire::peer::{Nothing, PeerMessage, Say},
};

/// How far the others are.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Who has said that this peer is gone.
    told: BTreeSet<PeerId>,
    /// Ticks since they were asked.
    ticks: usize,
}

impl Peer {
    /// The region has removed this peer, which leads it or may have: it goes when the others know.
    pub fn leave(&mut self, turn: &mut Turn) {
        self.leaving = Some(Leaving::default());
        if self.lease.bar(turn.env.now()) {
            self.revoked(turn, "removed");
        }
        self.give_up_proposals();
        for read in self.reads.take_all() {
            read.answer.send(not_leader(None));
        }
        self.wake(turn, "removed");
        if self.is_leader() {
            // Who has the longest log must not step down: nobody else of two could be elected.
            self.raw.raft.set_check_quorum(false);
            self.raw.ping();
        }
    }

    /// A ready is durable. raft-rs takes a leader for a member of its own configuration, and what one that is leaving has
    /// written counts for nothing any more.
    pub(super) fn persisted(&mut self, number: u64) {
        if !(self.is_leaving() && self.is_leader()) {
            self.raw.on_persist_ready(number);
        }
    }

    /// Takes an acknowledgement for one of what is committed, at most: raft-rs takes a leader for a member of its own
    /// configuration, and one that is leaving has nothing more to commit.
    pub(super) fn count_no_further(&self, message: &mut raft::eraftpb::Message) {
        if !message.reject {
            message.index = message.index.min(self.raw.raft.raft_log.committed);
        }
    }

    /// Whether the region has removed this peer and it stays for the others' sake.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Asks the others from time to time.
    pub(super) fn tick_leaving(&mut self, turn: &mut Turn) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.ticks += 1;
        if leaving.ticks < turn.options.raft_heartbeat_ticks {
            return;
        }
        leaving.ticks = 0;
        for &peer in &self.region.peers {
            self.say(turn, peer, Say::Ask(Nothing {}));
        }
    }

    /// One of the others says that this peer is gone. False when this peer is not leaving.
    pub(super) fn told_to_leave(&mut self, turn: &mut Turn, message: &PeerMessage) -> bool {
        let Some(leaving) = &mut self.leaving else { return false };
        if message.epoch.conf_ver >= self.region.epoch.conf_ver {
            leaving.told.insert(message.from.id);
        }
        let voters = || self.region.peers.iter().filter(|peer| membership::votes(peer));
        if voters().filter(|peer| leaving.told.contains(&peer.id)).count() * 2 > voters().count() {
            turn.wishes.push(Wish::Destroy(self.id(), self.me.id, "removed"));
        }
        true
    }
}
