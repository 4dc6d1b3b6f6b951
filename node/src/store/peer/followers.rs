//! What a leader knows of its followers: who is silent, and who waits for what the log has lost.

use super::Peer;
use crate::{
    region::PeerId,
    store::turn::{Turn, Wish},
};

impl Peer {
    /// Peers not heard from, with for how many milliseconds at least, and peers that wait for what the log has lost.
    pub fn followers(&self, turn: &Turn) -> (Vec<(PeerId, u64)>, Vec<PeerId>) {
        let (mut down, mut pending) = (Vec::new(), Vec::new());
        for peer in &self.region.peers {
            let Some(progress) = self.raw.raft.prs().get(peer.id).filter(|_| peer.id != self.me.id) else { continue };
            if let Some(since) = self.silent.get(&peer.id) {
                let silence = turn.now.since(*since);
                if silence >= 2 * turn.options.election_timeout_min() {
                    down.push((peer.id, silence.as_millis() as u64));
                }
            }
            if progress.matched <= self.log().truncated().0 {
                pending.push(peer.id);
            }
        }
        (down, pending)
    }

    /// Reports at once when a follower has caught up: the placement driver may be waiting for it.
    pub(super) fn note_pending(&mut self, turn: &mut Turn) {
        if !self.is_leader() {
            return;
        }
        let truncated = self.log().truncated().0;
        let waits = |id: &PeerId| self.raw.raft.prs().get(*id).is_some_and(|progress| progress.matched <= truncated);
        let pending = self.region.peers.iter().filter(|peer| waits(&peer.id)).count();
        if pending < self.pending {
            turn.wishes.push(Wish::Report(self.id()));
        }
        self.pending = pending;
    }

    /// Notes followers that have fallen silent.
    pub(super) fn listen(&mut self, turn: &Turn) {
        if !self.is_leader() {
            self.silent.clear();
            self.unreached.clear();
            return;
        }
        self.silent.retain(|id, _| self.region.peer(*id).is_some());
        self.unreached.retain(|id| self.region.peer(*id).is_some());
        for peer in &self.region.peers {
            if peer.id != self.me.id {
                // Every message takes its sender out again.
                self.silent.entry(peer.id).or_insert(turn.now);
            }
        }
    }
}
