//! What comes out of raft-rs, and where it goes.
//!
//! A leader's messages go at once, in parallel with its own write; everybody else's wait for the write, since they
//! promise what is in it. Committed entries go to apply, with the proposals they answer.
//!
//! A ready with a snapshot waits until apply has returned everything that was handed to it, and while a snapshot is being
//! applied no further ready is taken: votes and acknowledgements are then late, not lost.

use std::sync::Arc;

use failpoints::defect;
use prost::Message as _;
use raft::{
    Ready, StateRole,
    eraftpb::{Message, MessageType},
};

use super::{Applying, Peer};
use crate::{
    cache, defects,
    engine::Family,
    key,
    store::{
        apply::{Proposal, Task},
        fact::{raft::Fact, region},
        mail::Written,
        peer::membership,
        raft_client::Outgoing,
        service::{Read, not_leader},
        state::{ApplyState, Merges, RegionState, SnapshotData, SnapshotRaftState, Stage, encode},
        turn::{Turn, Wish},
    },
};

fn role_name(role: StateRole) -> &'static str {
    match role {
        StateRole::Follower => "follower",
        StateRole::PreCandidate => "pre-candidate",
        StateRole::Candidate => "candidate",
        StateRole::Leader => "leader",
    }
}

impl Peer {
    /// Takes everything that raft-rs has ready, after the turn's mail.
    pub fn drive(&mut self, turn: &mut Turn) {
        if self.closing.is_some() {
            return;
        }
        self.propose_gathered(turn);
        self.begin_round(turn);
        self.append_what_merge_brought(turn);
        self.tend_recovery(turn);
        while self.applying.is_none() && self.raw.has_ready() {
            if self.has_snapshot_waiting() && !(self.is_drained() && self.takes.is_empty()) {
                break;
            }
            let ready = self.raw.ready();
            self.handle(turn, ready);
        }
        self.ask_for_what_is_missing(turn);
        self.serve(turn);
        self.say_sleep(turn);
    }

    fn ask_for_what_is_missing(&mut self, turn: &mut Turn) {
        let (region, me) = (self.region.id, self.me.id);
        for cold in self.log().take_cold() {
            turn.wishes.push(Wish::Fetch(region, me, cold));
        }
        if let Some(wanted) = self.log().take_wanted()
            && self.generating.is_none()
            && self.is_leader()
        {
            turn.env.state(Fact::SnapshotWanted { region, peer: me, to: wanted.to });
            self.generating = Some(1);
            turn.wishes.push(Wish::Generate(region, me));
        }
    }

    fn handle(&mut self, turn: &mut Turn, mut ready: Ready) {
        if ready.ss().is_some() || ready.hs().is_some() {
            self.note_role(turn, &ready);
        }
        for state in ready.take_read_states() {
            self.read_confirmed(turn, &state);
        }
        for message in ready.take_messages() {
            self.send(turn, message, false);
        }
        let (region, me) = (self.region.id, self.me.id);
        let (number, mut written) = (ready.number(), false);
        if !ready.snapshot().is_empty() {
            let snapshot = ready.snapshot().clone();
            let hard = ready.hs().cloned().unwrap_or_else(|| self.raw.raft.hard_state());
            self.begin_applying(turn, &snapshot, &hard, number);
            written = true;
        }
        let entries = ready.take_entries();
        let last = entries.last().map_or(0, |entry| entry.index);
        if !entries.is_empty() {
            self.raw.mut_store().append(&entries);
            turn.log.log.append(region, me, entries);
            written = true;
        }
        let mut commit_rises = false;
        if let Some(hard) = ready.hs() {
            let promise = (hard.term, hard.vote);
            written |= promise != self.promise;
            self.promise = promise;
            commit_rises = true;
            if hard.commit > self.committed {
                self.on_committed(turn, hard.commit);
            }
        }
        if written && (commit_rises || self.commit_unwritten) {
            self.write_hard_state(turn);
        } else {
            self.commit_unwritten |= commit_rises;
        }
        turn.log.sync |= ready.must_sync();
        let persisted = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.raw.advance_append_async(ready);
        let waits = written || !self.writing.is_empty();
        for message in persisted {
            // The defect acknowledges appends that are not on disk yet.
            let append = message.get_msg_type() == MessageType::MsgAppendResponse;
            let early = append && waits && defect!(turn.env.points, defects::TIKV_994);
            self.send(turn, message, waits && !early);
        }
        if waits {
            // A follower has promised what it had to when the log writer sends its answer.
            let urgent = self.raw.raft.state != StateRole::Follower || self.applying.is_some();
            if !urgent {
                self.unhurried = number;
            }
            turn.log.written.push(Written { region, instance: self.instance, number, urgent });
            self.writing.push_back((number, last));
        } else {
            self.persisted(number);
        }
        self.hand_over(turn, committed);
    }

    /// Term, vote and commit index for the log. A commit index alone promises nothing, and a restart learns it again: it
    /// waits for the next write, or for a tick.
    pub(super) fn write_hard_state(&mut self, turn: &mut Turn) {
        let (term, vote) = self.promise;
        self.commit_unwritten = false;
        // The defect keeps nothing of a peer that has no range yet.
        if !defect!(turn.env.points, defects::TIKV_9579, !self.region.is_initialized()) {
            turn.log.log.hard_state(self.region.id, self.me.id, term, vote, self.committed);
        }
    }

    fn on_committed(&mut self, turn: &mut Turn, index: u64) {
        self.committed = index;
        let (region, peer, term) = (self.region.id, self.me.id, self.role_term);
        turn.env.state(Fact::Committed { region, peer, term, index });
        if self.is_leader() {
            let renewed = self.lease.commit(index);
            self.renewed(turn, renewed);
        }
    }

    fn note_role(&mut self, turn: &mut Turn, ready: &Ready) {
        let (role, term, leader) = (self.raw.raft.state, self.raw.raft.term, self.raw.raft.leader_id);
        let (region, peer) = (self.region.id, self.me.id);
        if role != self.role || term != self.role_term {
            if self.role == StateRole::Leader {
                if self.lease.reset(turn.env.now()) {
                    self.revoked(turn, "stepped-down");
                }
                self.admin = None;
                self.raw.skip_bcast_commit(true);
                self.asking_split = false;
                self.give_up_proposals();
                self.raw.mut_store().offer(None);
                turn.wishes.push(Wish::Report(region));
                if let Some(cache) = &turn.cache {
                    cache.meet(&self.region, cache::Event::BecomeFollower);
                }
            }
            for read in self.reads.take_all() {
                read.answer.send(not_leader(self.leader()));
            }
            turn.env.state(Fact::RoleChanged { region, peer, term, role: role_name(role).into() });
        }
        if role == StateRole::Leader && (self.role != StateRole::Leader || term != self.role_term) {
            self.lease.reset(turn.env.now());
            if self.merging.is_some() {
                self.lease.suspend(turn.env.now());
            }
            let first = ready.entries().iter().find(|entry| entry.term == term);
            let last_index = first.map_or(self.raw.raft.raft_log.last_index(), |entry| entry.index - 1);
            let last_term = self.raw.raft.raft_log.term(last_index).unwrap_or(0);
            turn.env.state(Fact::Elected { region, peer, term, last_index, last_term });
            self.snapshots_until = last_index;
            self.lease.propose(self.raw.raft.raft_log.last_index(), turn.now);
            if self.is_force_leader() {
                // No quorum stands behind it.
                self.lease.bar(turn.env.now());
            }
            turn.wishes.push(Wish::Report(region));
            if turn.cache.as_ref().is_some_and(|cache| cache.is_manual(&self.region)) {
                self.load_into_cache(turn, "become-leader");
            }
        }
        if leader != self.leader && leader != 0 {
            self.leaderless = None;
        }
        (self.role, self.role_term, self.leader) = (role, term, leader);
    }

    /// Asks for the region to be loaded into the cache, and apply to look at it.
    pub fn load_into_cache(&mut self, turn: &mut Turn, cause: &'static str) {
        let Some(cache) = &turn.cache else { return };
        let ready = self.region.is_initialized() && self.applying.is_none() && self.closing.is_none();
        if ready && cache.load(&self.region, cause) {
            turn.apply.push(Task::Prepare { region: self.region.id, peer: self.me.id });
        }
    }

    /// Sends a raft message, now or once what is being written is durable.
    pub(super) fn send(&mut self, turn: &mut Turn, message: Message, after_write: bool) {
        let Some(to) = self.address(message.to) else { return };
        let (region, peer, term) = (self.region.id, self.me.id, message.term);
        let fact = match message.get_msg_type() {
            MessageType::MsgSnapshot => {
                self.snapshots_until = self.snapshots_until.max(message.get_snapshot().get_metadata().index);
                turn.wishes.push(Wish::Send(self.region.clone(), self.me, to, Box::new(message)));
                return;
            }
            MessageType::MsgAppendResponse if !message.reject && message.index > 0 => {
                Some(Fact::Acknowledged { region, peer, term, index: message.index })
            }
            MessageType::MsgRequestVoteResponse if !message.reject => {
                Some(Fact::VoteSent { region, peer, term, to: message.to })
            }
            MessageType::MsgRequestVote => Some(Fact::VoteSent { region, peer, term, to: peer }),
            MessageType::MsgReadIndexResp if self.raw.raft.commit_to_current_term() => {
                self.read_index_answered(turn, message.index);
                None
            }
            MessageType::MsgTimeoutNow => {
                // The other one may campaign whenever this arrives, however late.
                if self.lease.bar(turn.env.now()) {
                    self.revoked(turn, "transfer");
                }
                None
            }
            _ => None,
        };
        let Some(message) = self.letter(to, &message) else { return };
        let outgoing = Outgoing { store: to.store, message, fact };
        if after_write {
            turn.log.messages.push(outgoing);
        } else {
            turn.out.push(outgoing);
        }
    }

    /// Where a peer lives: in the region, or where it wrote from when this peer knows no region yet.
    fn address(&self, peer: u64) -> Option<crate::region::Peer> {
        self.region.peer(peer).copied().or_else(|| self.strangers.get(&peer).copied())
    }

    fn hand_over(&mut self, turn: &mut Turn, entries: Vec<raft::eraftpb::Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        self.handed = last;
        let mut proposals: Vec<Proposal> = Vec::new();
        while self.proposals.front().is_some_and(|proposal| proposal.index <= last) {
            proposals.extend(self.proposals.pop_front());
        }
        turn.apply.push(Task::Entries { region: self.region.id, peer: self.me.id, entries, proposals });
    }

    /// The snapshot replaces everything: the state that says so goes to disk first, the files into the engine then.
    fn begin_applying(
        &mut self,
        turn: &mut Turn,
        snapshot: &raft::eraftpb::Snapshot,
        hard: &raft::eraftpb::HardState,
        ready: u64,
    ) {
        let data = SnapshotData::decode(snapshot.data.clone()).expect("a snapshot is read before it is stepped");
        let (index, term) = (snapshot.get_metadata().index, snapshot.get_metadata().term);
        let state = ApplyState {
            applied_index: index,
            applied_term: term,
            truncated_index: index,
            truncated_term: term,
            safe_point: data.safe_point,
            newest: data.newest,
        };
        if let Some(cache) = &turn.cache {
            cache.meet(&self.region, cache::Event::ApplySnapshot);
        }
        let (before, region) = (self.region.clone(), Arc::new(data.region));
        let (id, me) = (region.id, region.peer(self.me.id).copied().unwrap_or(self.me));
        let stage = Stage::Applying;
        let sources = data.sources.unwrap_or_default();
        turn.log.engine.put(Family::Raft, key::merge_sources(id), encode(&sources));
        self.set_merges(&Merges { prepared: None, sources: Arc::new(sources) });
        let stored = RegionState { region: (*region).clone(), peer: me, stage: stage as i32, index, term, merge: None };
        let raft = SnapshotRaftState { term: hard.term, vote: hard.vote, commit: hard.commit, snapshot_term: term };
        turn.log.engine.put(Family::Raft, key::region_state(id), encode(&stored));
        turn.log.engine.put(Family::Raft, key::apply_state(id), encode(&state));
        turn.log.engine.put(Family::Raft, key::snapshot_raft_state(id), encode(&raft));
        turn.log.log.start(id, me.id, index, term);
        let (state_name, written) = (stage.name().into(), region.clone());
        turn.env.state(region::Fact::StateWritten { region: written, peer: me.id, state: state_name, index, term });
        self.raw.mut_store().restart(index, term, membership::conf_state(&region));
        turn.apply.push(Task::Close { region: id, peer: me.id });
        self.set_region(region.clone());
        self.handed = index;
        let (scheduled, durable, let_go, abort) = (false, false, false, Arc::default());
        self.applying = Some(Applying { index, term, state, scheduled, durable, let_go, ready, abort });
        turn.wishes.push(Wish::Replace(before, region, self.me.id, index));
    }

    /// Begins a round for the reads that came in this turn.
    fn begin_round(&mut self, turn: &mut Turn) {
        if !self.reads.wants_round() {
            return;
        }
        if self.is_leader() && !self.raw.raft.commit_to_current_term() {
            self.read_index_early(turn);
            if defect!(turn.env.points, defects::TIKV_9208) {
                let index = self.raw.raft.raft_log.committed;
                let round = self.reads.begin(turn.now);
                self.reads.confirm(round, index);
                self.read_index_answered(turn, index);
            }
            // Otherwise they wait until this leader knows what is committed.
            return;
        }
        if !self.is_leader() && self.leader_id() == 0 {
            for read in self.reads.take_all() {
                read.answer.send(not_leader(None));
            }
            return;
        }
        let round = self.reads.begin(turn.now);
        self.raw.read_index(round.to_be_bytes().to_vec());
    }

    fn read_confirmed(&mut self, turn: &mut Turn, state: &raft::ReadState) {
        let Ok(round) = <[u8; 8]>::try_from(&state.request_ctx[..]) else { return };
        if self.is_leader() {
            self.read_index_answered(turn, state.index);
        }
        if let Some(began) = self.reads.confirm(u64::from_be_bytes(round), state.index)
            && self.is_leader()
        {
            let renewed = self.lease.renew(began);
            self.renewed(turn, renewed);
        }
    }

    /// Serves the reads whose time has come, if the region is still the one they were meant for.
    fn serve(&mut self, turn: &mut Turn) {
        if self.applying.is_some() {
            return;
        }
        let ready = self.reads.take_ready(self.state.applied_index);
        if !ready.is_empty() {
            self.serve_reads(turn, ready);
        }
    }

    /// Hands reads to the reader, from a snapshot of now.
    pub(super) fn serve_reads(&mut self, turn: &mut Turn, reads: Vec<Read>) {
        let mut served = Vec::with_capacity(reads.len());
        for read in reads {
            if read.epoch.version != self.region.epoch.version {
                read.answer.send(crate::store::service::epoch_not_match(vec![(*self.region).clone()]));
                continue;
            }
            turn.env.state(Fact::ReadServed {
                region: self.region.id,
                peer: self.me.id,
                term: self.term(),
                by: read.by.into(),
                applied: self.state.applied_index,
            });
            served.push(read);
        }
        if !served.is_empty() {
            turn.served.push((self.region.clone(), self.state.safe_point, served));
        }
    }
}
