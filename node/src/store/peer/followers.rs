//! What a leader knows of its followers: who is silent, whose store cannot be reached, and who waits for what the log has
//! lost.
//!
//! Silence is one account: a follower that cannot be reached is silent, and whatever comes from it ends both. Of two
//! accounts one would forget what the other remembers, and a follower would be down for the placement driver and fit to
//! lead for the store, or the other way round.

use std::collections::BTreeMap;

use super::Peer;
use crate::{
    env::Instant,
    region::PeerId,
    store::turn::{Turn, Wish},
};

/// Followers from which nothing comes.
#[derive(Debug, Default)]
pub(super) struct Silent(BTreeMap<PeerId, Silence>);

#[derive(Debug)]
struct Silence {
    since: Instant,
    /// Whether its store could not be reached meanwhile.
    unreached: bool,
}

impl Silent {
    /// Something came from it.
    pub(super) fn heard(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    /// Its store cannot be reached: nothing will come.
    pub(super) fn cannot_reach(&mut self, peer: PeerId, now: Instant) {
        self.0.entry(peer).or_insert(Silence { since: now, unreached: true }).unreached = true;
    }

    /// Whether its store could not be reached, and nothing has come since.
    pub(super) fn is_unreached(&self, peer: PeerId) -> bool {
        self.0.get(&peer).is_some_and(|silence| silence.unreached)
    }

    /// Nobody is listened to any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Peer {
    /// Peers not heard from, with for how many milliseconds at least, and peers that wait for what the log has lost.
    pub fn followers(&self, turn: &Turn) -> (Vec<(PeerId, u64)>, Vec<PeerId>) {
        let (mut down, mut pending) = (Vec::new(), Vec::new());
        for peer in &self.region.peers {
            let Some(progress) = self.raw.raft.prs().get(peer.id).filter(|_| peer.id != self.me.id) else { continue };
            if let Some(silence) = self.silent.0.get(&peer.id) {
                let silence = turn.now.since(silence.since);
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
            return self.silent.forget();
        }
        self.silent.0.retain(|id, _| self.region.peer(*id).is_some());
        for peer in &self.region.peers {
            if peer.id != self.me.id {
                // Every message takes its sender out again.
                self.silent.0.entry(peer.id).or_insert(Silence { since: turn.now, unreached: false });
            }
        }
    }
}
