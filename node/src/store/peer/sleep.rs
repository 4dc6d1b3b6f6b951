//! Hibernation: an idle region stops ticking everywhere.
//!
//! A leader with nothing to do asks its followers to sleep; each one that has everything sleeps and says so; when all
//! have, the leader sleeps too. Any message and any request wakes a peer, and a leader that wakes says a heartbeat, which
//! wakes its followers. A follower that woke alone campaigns after its timeout, and thereby wakes the others. Whether the
//! others woke without it, and changed the region, the store asks the placement driver from time to time.
//!
//! Heartbeats and their answers are no work: they keep nobody from falling asleep. An answer shows that a follower is awake,
//! so a leader that sleeps already asks it to sleep again.

use std::collections::BTreeSet;

use raft::eraftpb::{Message, MessageType};

use super::{Peer, membership};
use crate::{
    region::{Peer as Id, PeerId},
    store::{fact::raft::Fact, turn::Turn},
    wire::peer::{Say, Sleep as Words},
};

/// Whether a peer sleeps, and how far its leader's attempt is.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    asleep: bool,
    idle_ticks: usize,
    agreed: BTreeSet<PeerId>,
    /// Whether the others are to be asked at the end of this turn.
    asks: bool,
    /// Whom to tell at the end of this turn that this peer sleeps.
    answers: Option<(Id, Words)>,
}

impl Sleep {
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep
    }
}

impl Peer {
    /// Whether the peer sleeps and needs no ticks.
    pub fn is_asleep(&self) -> bool {
        self.sleep.asleep
    }

    /// Something is to be done.
    pub fn wake(&mut self, turn: &Turn, reason: &'static str) {
        self.sleep.idle_ticks = 0;
        self.sleep.agreed.clear();
        if !self.sleep.asleep {
            return;
        }
        self.sleep.asleep = false;
        turn.env.state(Fact::Woken { region: self.id(), peer: self.me.id, reason: reason.into() });
        if self.is_leader() {
            self.raw.ping();
        }
    }

    /// What a raft message from another peer means for sleep, before it is stepped.
    pub(super) fn heard(&mut self, turn: &mut Turn, from: Id, message: &Message) {
        let now = message.term == self.term();
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if now && !self.sleep.asleep => {}
            MessageType::MsgHeartbeatResponse if now && self.is_leader() => {
                self.sleep.agreed.remove(&from.id);
                let known = self.region.peer(from.id).is_some();
                if self.sleep.asleep && known {
                    let words = Words { term: self.term(), index: self.log().last_index() };
                    self.say(turn, from, Say::Sleep(words));
                }
            }
            _ => self.wake(turn, "message"),
        }
    }

    fn is_still(&self) -> bool {
        let raft = &self.raw.raft;
        let last = self.log().last_index();
        raft.raft_log.last_index() == last
            && self.committed == last
            && self.state.applied_index == last
            && self.writing.is_empty()
            && self.proposals.is_empty()
            && self.gathered.is_empty()
            && self.admin.is_none()
            && self.merging.is_none()
            && self.catching_up.is_none()
            && self.reads.is_idle()
            && self.applying.is_none()
            && self.generating.is_none()
            && !self.measuring
            && !self.is_leaving()
            && self.closing.is_none()
            && !self.recovery.is_under_way()
    }

    pub(super) fn tick_sleep(&mut self, turn: &mut Turn) {
        if !turn.options.hibernate || !self.is_leader() {
            return;
        }
        let raft = &self.raw.raft;
        let last = self.log().last_index();
        let all_have_it = raft.prs().iter().all(|(_, progress)| progress.matched == last);
        let quiet = self.is_still()
            && all_have_it
            && raft.lead_transferee.is_none()
            && !membership::is_joint(&self.region)
            && self.log().last_term() == self.term();
        if !quiet {
            self.sleep.idle_ticks = 0;
            self.sleep.agreed.clear();
            return;
        }
        self.sleep.idle_ticks += 1;
        let over = self.sleep.idle_ticks.saturating_sub(turn.options.hibernate_ticks);
        if over == 0 {
            return;
        }
        if self.region.peers.len() == 1 {
            return self.fall_asleep(turn);
        }
        let every = turn.options.raft_heartbeat_ticks;
        self.sleep.asks = every == 1 || over % every == 1;
    }

    /// Says what is to be said about sleep, behind what raft-rs said in this turn: a heartbeat that came after would wake
    /// the others, and its answer would tell the leader that this peer is awake.
    pub(super) fn say_sleep(&mut self, turn: &mut Turn) {
        if let Some((to, words)) = self.sleep.answers.take()
            && self.sleep.asleep
        {
            self.say(turn, to, Say::Asleep(words));
        }
        if !std::mem::take(&mut self.sleep.asks) || !self.is_leader() || self.sleep.idle_ticks == 0 {
            return;
        }
        let words = Words { term: self.term(), index: self.log().last_index() };
        for peer in &self.region.peers {
            if peer.id != self.me.id && !self.sleep.agreed.contains(&peer.id) {
                self.say(turn, *peer, Say::Sleep(words));
            }
        }
    }

    fn fall_asleep(&mut self, turn: &Turn) {
        self.silent.forget();
        self.sleep.asleep = true;
        self.sleep.idle_ticks = 0;
        self.sleep.agreed.clear();
        let applied = self.state.applied_index;
        self.raw.mut_store().evict(applied, true);
        turn.env.state(Fact::Hibernated { region: self.id(), peer: self.me.id });
    }

    /// The leader proposes to sleep.
    pub(super) fn on_sleep(&mut self, turn: &mut Turn, from: Id, words: Words) {
        let fits = !self.is_leader()
            && from.id == self.leader_id()
            && words.term == self.term()
            && words.index == self.log().last_index()
            && self.is_still();
        if fits {
            if !self.sleep.asleep {
                self.fall_asleep(turn);
            }
            self.sleep.answers = Some((from, words));
        }
    }

    /// A follower sleeps.
    pub(super) fn on_asleep(&mut self, turn: &mut Turn, from: Id, words: Words) {
        self.silent.heard(from.id);
        let fits = self.is_leader()
            && self.sleep.idle_ticks > turn.options.hibernate_ticks
            && words.term == self.term()
            && words.index == self.log().last_index();
        if !fits || self.region.peer(from.id).is_none() {
            return;
        }
        self.sleep.agreed.insert(from.id);
        if self.sleep.agreed.len() + 1 == self.region.peers.len() && self.is_still() {
            self.fall_asleep(turn);
        }
    }
}
