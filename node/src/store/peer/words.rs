//! What peers of a region say to each other: raft messages, and the few words beside them.
//!
//! A message from a peer that was removed is dropped, and its sender told; a request for a vote is withheld while an
//! election timeout has not passed since a restart.
//!
//! Not here: what raft-rs makes of a message and what comes of it (`ready`); when regions sleep (`sleep`).

use failpoints::defect;
use prost::Message as _;
use protobuf::{CodedOutputStream, Message as _};
use raft::eraftpb::{Message, MessageType};

use super::Peer;
use crate::{
    cache, defects,
    region::Peer as Id,
    store::{
        fact::raft::Fact,
        raft_client::Outgoing,
        turn::{Turn, Wish},
    },
    wire::peer::{Gone, Letterhead, Nothing, PeerMessage, Say},
};

/// The context by which raft-rs marks votes that a leader asked for: they ignore the lease that it gave up.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

impl Peer {
    /// A raft message or a word from a peer of another store.
    pub fn on_message(&mut self, turn: &mut Turn, message: PeerMessage) {
        if message.to.id != self.me.id {
            return;
        }
        if self.is_from_stranger(turn, &message) {
            return;
        }
        match message.say {
            Some(Say::Raft(bytes)) => match Message::parse_from_carllerche_bytes(&bytes) {
                Ok(raft) => {
                    self.heard(turn, message.from, &raft);
                    self.step(turn, message.from, raft);
                }
                Err(_) => self.refused(turn, "unreadable-message"),
            },
            Some(Say::Gone(_)) if self.told_to_leave(turn, &message) => {}
            Some(Say::Gone(_)) => {
                // Whoever lags behind would say the same of a newcomer.
                let mine = self.known_epoch();
                if mine.conf_ver > 0 && message.epoch.conf_ver > mine.conf_ver {
                    turn.wishes.push(Wish::Destroy(self.id(), self.me.id, "gone"));
                }
            }
            Some(Say::Sleep(sleep)) => self.on_sleep(turn, message.from, sleep),
            Some(Say::Asleep(sleep)) => self.on_asleep(turn, message.from, sleep),
            Some(Say::Ask(_)) => self.wake(turn, "message"),
            Some(Say::WantRollback(want)) => self.on_want_rollback(turn, message.from, want),
            Some(Say::Merged(merged)) => turn.wishes.push(Wish::Merged(self.id(), self.me.id, merged.target)),
            Some(Say::Preload(_)) if turn.cache.is_some() => {
                turn.env.state(cache::fact::Fact::PreloadAsked { region: self.id(), peer: self.me.id });
                self.load_into_cache(turn, "preload");
            }
            Some(Say::Preload(_)) => {}
            None => {}
        }
    }

    /// Drops messages of peers that were removed, and tells them. Who knows this very configuration and is not in it knows
    /// that it was removed.
    fn is_from_stranger(&mut self, turn: &mut Turn, message: &PeerMessage) -> bool {
        let known = !self.region.is_initialized() || self.region.peer(message.from.id).is_some();
        if known || message.epoch.conf_ver > self.region.epoch.conf_ver {
            return false;
        }
        turn.env.state(Fact::StaleMessage {
            region: self.id(),
            from: message.from.id,
            from_store: message.from.store,
            to: self.me.id,
        });
        if !matches!(message.say, Some(Say::Gone(_))) {
            self.say(turn, message.from, Say::Gone(Gone {}));
        }
        true
    }

    fn step(&mut self, turn: &mut Turn, from: Id, mut message: Message) {
        if self.region.peer(from.id).is_none() {
            self.strangers.insert(from.id, from);
        }
        self.silent.heard(from.id);
        self.heard = turn.now;
        let kind = message.get_msg_type();
        match kind {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                let embargo = self.embargo.is_some_and(|until| turn.env.now() < until);
                let (region, peer, term, to) = (self.id(), self.me.id, message.term, message.from);
                turn.env.state(Fact::VoteAsked { region, peer, term, from: to, embargo });
                let sound = !defect!(turn.env.points, defects::TIKV_15035, embargo);
                if embargo && sound && message.context != CAMPAIGN_TRANSFER {
                    turn.env.state(Fact::VoteWithheld { region, peer, term, to });
                    return;
                }
            }
            MessageType::MsgReadIndex if self.is_leader() && !self.raw.raft.commit_to_current_term() => {
                self.read_index_early(turn);
                // raft-rs drops it, and the replica asks again. The defect answers.
                if defect!(turn.env.points, defects::TIKV_9208) {
                    let index = self.raw.raft.raft_log.committed;
                    let mut answer = Message::default();
                    answer.set_msg_type(MessageType::MsgReadIndexResp);
                    (answer.to, answer.from, answer.term) = (from.id, self.me.id, self.term());
                    answer.index = index;
                    answer.entries = message.entries;
                    self.read_index_answered(turn, index);
                    self.send(turn, answer, false);
                }
                return;
            }
            MessageType::MsgTransferLeader => return,
            MessageType::MsgReadIndex if self.is_leaving() => return,
            MessageType::MsgAppendResponse if self.is_leaving() => self.count_no_further(&mut message),
            // A log that a snapshot has replaced holds nothing between what is applied and what is committed, and raft-rs
            // would look there before it campaigns: the leader asks again, or another one.
            MessageType::MsgTimeoutNow if self.applying.is_some() => return,
            _ => {}
        }
        // Messages of unknown peers and of the past are refused by raft-rs; there is nobody to tell.
        let _ = self.raw.step(message);
    }

    /// Says something to a peer; lost with the turn of a network.
    pub(super) fn say(&self, turn: &mut Turn, to: Id, say: Say) {
        let message = self.message(to, Some(say)).encode_to_vec();
        turn.out.push(Outgoing { store: to.store, message, fact: None });
    }

    /// A raft message to a peer, in its envelope.
    pub(super) fn letter(&mut self, to: Id, message: &Message) -> Option<Vec<u8>> {
        if self.letterheads.get(&to.id).is_none_or(|(known, _)| *known != to) {
            let head = Letterhead::of(&self.message(to, None));
            self.letterheads.insert(to.id, (to, head));
        }
        let (_, head) = &self.letterheads[&to.id];
        let mut written = Ok(());
        let letter = head.raft(message.compute_size() as usize, |out| {
            let mut out = CodedOutputStream::bytes(out);
            written = message.write_to_with_cached_sizes(&mut out);
        });
        written.ok().map(|()| letter)
    }

    /// Asks the other peers whether this one still belongs to the region.
    pub fn ask_around(&self, turn: &mut Turn) {
        turn.env.state(Fact::StaleSuspected { region: self.id(), peer: self.me.id });
        for peer in &self.region.peers {
            if peer.id != self.me.id {
                self.say(turn, *peer, Say::Ask(Nothing {}));
            }
        }
    }

    fn message(&self, to: Id, say: Option<Say>) -> PeerMessage {
        PeerMessage {
            region: self.region.id,
            from: self.me,
            to,
            epoch: self.region.epoch,
            start: self.region.start.clone(),
            end: self.region.end.clone(),
            say,
        }
    }
}
