//! What clients and the placement driver ask of a peer: checks, proposals, reads.
//!
//! Writes of one turn are proposed together, as one raft message. At most one admin command is under way at a time.

use std::time::Duration;

use prost::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};

use super::{Peer, membership, split};
use crate::{
    cache,
    region::PeerId,
    store::{
        apply::Proposal,
        fact::raft::Fact,
        service::{Answer, Read, What, epoch_not_match, not_leader, refusal},
        turn::{Turn, Wish},
    },
    wire::{
        command::{
            Body, ChangePeers, Collect, Command, CompactLog, ComputeHash, PeerChange, Split, SplitChild, VerifyHash,
            Write,
        },
        kv::{Answer as Said, Ask, Done, ReadBy, Reason, Request},
        peer::{Nothing, Say},
        placement::ChildIds,
    },
};

impl Peer {
    /// A client's request to this region.
    pub fn on_request(&mut self, turn: &mut Turn, request: Request, answer: Answer) {
        self.wake(turn, "request");
        if let Err(said) = self.admit(turn, &request) {
            return answer.send(said);
        }
        let epoch = request.epoch;
        match request.ask {
            None => answer.refuse(Reason::Invalid, "the request asks nothing"),
            Some(Ask::Get(get)) => {
                if !self.region.contains(&get.key) {
                    return answer.send(self.outside());
                }
                let (by, at) = (get.by(), get.at);
                self.read(turn, What::Get(get), by, at, epoch, answer);
            }
            Some(Ask::Scan(scan)) => {
                let ends = if scan.end.is_empty() { &self.region.end } else { &scan.end };
                let beyond = !self.region.end.is_empty() && (ends.is_empty() || *ends > self.region.end);
                if !self.region.contains(&scan.start) || beyond {
                    return answer.send(self.outside());
                }
                let (by, at) = (scan.by(), scan.at);
                self.read(turn, What::Scan(scan), by, at, epoch, answer);
            }
            Some(Ask::Write(write)) => self.write(turn, write, answer),
            Some(Ask::Split(at)) => {
                let request = Request { ask: Some(Ask::Split(at.clone())), ..request };
                self.ask_split(turn, request, at.keys, answer);
            }
            Some(Ask::ChangePeers(change)) => self.change_peers(turn, &change.changes, answer),
            Some(Ask::TransferLeader(transfer)) => self.transfer(turn, transfer.to, answer),
            Some(Ask::ComputeHash(_)) => self.admin(turn, "compute-hash", Body::ComputeHash(ComputeHash {}), answer),
            Some(Ask::CompactLog(_)) => self.compact_log(turn, answer),
            Some(Ask::Merge(into)) => {
                turn.wishes.push(Wish::AskMerge(self.region.id, self.me.id, into.target, answer));
            }
        }
    }

    /// Whether a request may go on here; otherwise what to tell.
    fn admit(&self, turn: &Turn, request: &Request) -> Result<(), Said> {
        if !self.region.is_initialized() || self.applying.is_some() || self.is_leaving() {
            return Err(not_leader(self.leader()));
        }
        let by = match &request.ask {
            Some(Ask::Get(get)) => Some(get.by()),
            Some(Ask::Scan(scan)) => Some(scan.by()),
            _ => None,
        };
        if by != Some(ReadBy::Replica) && !self.is_leader() {
            self.refused(turn, "not-leader");
            return Err(not_leader(self.leader()));
        }
        if self.recovery.is_under_way() {
            self.refused(turn, "recovery-under-way");
            return Err(refusal(Reason::ServerIsBusy, "an unsafe recovery of the region is under way"));
        }
        if self.merging.is_some() {
            self.refused(turn, "merging");
            return Err(refusal(Reason::Merging, format!("region {} is about to merge", self.region.id)));
        }
        let (known, asked) = (self.region.epoch, request.epoch);
        let fits = match &request.ask {
            Some(Ask::Get(_) | Ask::Scan(_) | Ask::Write(_)) => known.version == asked.version,
            _ => known == asked,
        };
        if !fits {
            self.refused(turn, "epoch-not-match");
            return Err(epoch_not_match(vec![(*self.region).clone()]));
        }
        if self.proposals.len() + self.gathered.len() >= turn.options.pending_proposals_max {
            self.refused(turn, "server-is-busy");
            return Err(refusal(Reason::ServerIsBusy, "too many commands are under way"));
        }
        Ok(())
    }

    fn outside(&self) -> Said {
        refusal(Reason::KeyNotInRegion, format!("a key lies outside of region {}", self.region.id))
    }

    fn read(&mut self, turn: &mut Turn, what: What, by: ReadBy, at: u64, epoch: crate::region::Epoch, answer: Answer) {
        if at != 0 && at < self.state.safe_point {
            return answer.refuse(Reason::Collected, format!("versions below {} may be gone", self.state.safe_point));
        }
        let read = |by| Read { what, epoch, by, answer };
        match by {
            ReadBy::Lease if self.may_read_alone(turn) => {
                let now = turn.env.now();
                if self.lease.is_short(now) {
                    self.reads.want_renewal(now, patience(turn));
                }
                let read = read("lease");
                // A replica may have applied, and shown, what this leader has committed and not applied yet.
                let committed = self.raw.raft.raft_log.committed;
                if self.state.applied_index >= committed {
                    self.serve_reads(turn, vec![read]);
                } else {
                    self.reads.wait(read, committed, now);
                }
            }
            ReadBy::Lease | ReadBy::ReadIndex => self.reads.push(read("read-index")),
            ReadBy::Replica => self.reads.push(read("replica")),
        }
    }

    /// Whether this leader may read without asking anyone: it holds a lease, and has applied all that was committed
    /// before its term.
    fn may_read_alone(&self, turn: &Turn) -> bool {
        self.is_leader()
            && self.role_term == self.term()
            && self.state.applied_term == self.term()
            && self.lease.is_valid(turn.env.now())
    }

    fn write(&mut self, turn: &mut Turn, write: Write, answer: Answer) {
        if write.mutations.is_empty() {
            return answer.refuse(Reason::Invalid, "the write is empty");
        }
        if write.mutations.iter().any(|mutation| mutation.timestamp == 0) {
            return answer.refuse(Reason::Invalid, "a mutation needs a timestamp");
        }
        if write.mutations.iter().any(|mutation| !self.region.contains(&mutation.key)) {
            return answer.send(self.outside());
        }
        let command = self.command(Body::Write(write));
        if command.len() > turn.options.raft_entry_max_bytes {
            return answer.refuse(Reason::Invalid, format!("the write has {} bytes", command.len()));
        }
        self.gathered.push((Entry { data: command.into(), ..Entry::default() }, answer));
    }

    fn command(&self, body: Body) -> Vec<u8> {
        Command { region: self.region.id, epoch: self.region.epoch, body: Some(body) }.encode_to_vec()
    }

    /// Proposes the turn's writes as one message.
    pub(super) fn propose_gathered(&mut self, turn: &mut Turn) {
        if self.gathered.is_empty() {
            return;
        }
        let (entries, answers): (Vec<Entry>, Vec<Answer>) = self.gathered.drain(..).unzip();
        let (before, term) = (self.raw.raft.raft_log.last_index(), self.term());
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.me.id;
        message.set_entries(entries.into());
        let proposed = self.is_leader() && self.raw.step(message).is_ok();
        if !proposed {
            for answer in answers {
                if self.is_leader() {
                    answer.refuse(Reason::ServerIsBusy, "leadership is being handed over, or too much is uncommitted");
                } else {
                    answer.send(not_leader(self.leader()));
                }
            }
            return;
        }
        let last = self.raw.raft.raft_log.last_index();
        assert_eq!(last - before, answers.len() as u64, "every proposal becomes an entry");
        let (region, peer) = (self.region.id, self.me.id);
        for (index, answer) in (before + 1..).zip(answers) {
            turn.env.state(Fact::Proposed { region, peer, term, kind: "normal".into() });
            self.proposals.push_back(Proposal { index, term, answer });
        }
        self.lease.propose(last, turn.now);
    }

    /// Proposes an admin command that has no further conditions.
    pub(super) fn admin(&mut self, turn: &mut Turn, kind: &'static str, body: Body, answer: Answer) {
        let ends_merge = matches!(body, Body::RollbackMerge(_) | Body::CommitMerge(_));
        if self.recovery.is_under_way() && !ends_merge {
            return answer.refuse(Reason::ServerIsBusy, "an unsafe recovery of the region is under way");
        }
        if self.merging.is_some() && !matches!(body, Body::RollbackMerge(_)) {
            return answer.refuse(Reason::Merging, "the region is prepared for a merge");
        }
        if self.admin.is_some() || self.raw.raft.has_pending_conf() {
            return answer.refuse(Reason::AdminUnderWay, "another admin command is under way");
        }
        self.propose_gathered(turn);
        let data = self.command(body);
        let proposed = self.raw.propose(Vec::new(), data);
        self.proposed(turn, kind, proposed, answer);
    }

    fn proposed(&mut self, turn: &mut Turn, kind: &'static str, proposed: raft::Result<()>, answer: Answer) -> bool {
        if proposed.is_err() || !self.is_leader() {
            answer.send(not_leader(self.leader().filter(|leader| leader.id != self.me.id)));
            return false;
        }
        let (index, term) = (self.raw.raft.raft_log.last_index(), self.term());
        self.proposals.push_back(Proposal { index, term, answer });
        self.admin = Some(index);
        // What changes the region is told to all at once.
        self.raw.skip_bcast_commit(false);
        self.lease.propose(index, turn.now);
        turn.env.state(Fact::Proposed { region: self.region.id, peer: self.me.id, term, kind: kind.into() });
        true
    }

    /// First half of a split: valid keys, then ids from the placement driver.
    fn ask_split(&mut self, turn: &mut Turn, request: Request, keys: Vec<bytes::Bytes>, answer: Answer) {
        if self.admin.is_some() || self.asking_split {
            return answer.refuse(Reason::AdminUnderWay, "another admin command is under way");
        }
        if keys.is_empty() {
            turn.wishes.push(Wish::Measure(self.region.id, self.me.id, Some((Box::new(request), answer))));
            return;
        }
        if let Err(why) = split::check(&self.region, &keys) {
            return answer.refuse(Reason::Invalid, why);
        }
        self.asking_split = true;
        turn.wishes.push(Wish::AskSplit(self.region.id, self.me.id, Box::new(request), keys, answer));
    }

    /// A split without keys goes on with one in the middle.
    pub fn split_at(&mut self, turn: &mut Turn, request: Request, middle: Option<bytes::Bytes>, answer: Answer) {
        if let Err(said) = self.admit(turn, &request) {
            return answer.send(said);
        }
        match middle {
            Some(key) => self.ask_split(turn, request, vec![key], answer),
            None => answer.refuse(Reason::Invalid, "the region has no key to split at"),
        }
    }

    /// Second half of a split.
    pub fn on_split_ids(
        &mut self,
        turn: &mut Turn,
        request: &Request,
        keys: Vec<bytes::Bytes>,
        ids: Result<Vec<ChildIds>, String>,
        answer: Answer,
    ) {
        self.asking_split = false;
        self.wake(turn, "split");
        if let Err(said) = self.admit(turn, request) {
            return answer.send(said);
        }
        let ids = match ids {
            Ok(ids) if ids.len() == keys.len() => ids,
            Ok(_) => return answer.refuse(Reason::ServerIsBusy, "the placement driver gave too few ids"),
            Err(why) => return answer.refuse(Reason::ServerIsBusy, why),
        };
        let child =
            |(split_key, ids): (bytes::Bytes, ChildIds)| SplitChild { split_key, region: ids.region, peers: ids.peers };
        let split = Split { children: keys.into_iter().zip(ids).map(child).collect() };
        if split::regions(&self.region, &split).is_none() {
            return answer.refuse(Reason::Invalid, "the split does not fit the region");
        }
        self.admin(turn, "split", Body::Split(split), answer);
        // The child may find a leader elsewhere before this store knows of it.
        if self.admin.is_some() && self.lease.suspend(turn.env.now()) {
            self.revoked(turn, "split");
        }
    }

    /// Changes the membership.
    pub fn change_peers(&mut self, turn: &mut Turn, changes: &[PeerChange], answer: Answer) {
        if self.admin.is_some() || self.raw.raft.has_pending_conf() {
            return answer.refuse(Reason::AdminUnderWay, "another admin command is under way");
        }
        if self.merging.is_some() {
            return answer.refuse(Reason::Merging, "the region is prepared for a merge");
        }
        if let Err(why) = membership::check(&self.region, self.me.id, changes) {
            return answer.refuse(Reason::Invalid, why);
        }
        if !self.raw.raft.apply_to_current_term() {
            return answer.refuse(Reason::ServerIsBusy, "the leader has applied nothing of its own term yet");
        }
        self.propose_gathered(turn);
        let command = self.command(Body::ChangePeers(ChangePeers { changes: changes.to_vec() }));
        let change = membership::to_raft(changes, command);
        let proposed = self.raw.propose_conf_change(Vec::new(), change);
        self.proposed(turn, "conf-change", proposed, answer);
    }

    /// Leaves a joint configuration.
    pub(super) fn leave_joint(&mut self, turn: &mut Turn) {
        if self.raw.raft.apply_to_current_term() {
            self.change_peers(turn, &[], Answer::nobody());
        }
    }

    /// Hands leadership over.
    pub fn transfer(&mut self, turn: &mut Turn, to: PeerId, answer: Answer) {
        let known = self.region.peer(to).filter(|peer| peer.role() == crate::region::Role::Voter);
        let known = known.copied();
        if known.is_none() || to == self.me.id {
            return answer.refuse(Reason::Invalid, format!("peer {to} is no other voter of the region"));
        }
        if self.admin.is_some() || self.raw.raft.has_pending_conf() {
            return answer.refuse(Reason::AdminUnderWay, "another admin command is under way");
        }
        if self.silent.is_unreached(to) {
            // It would not hear of it, and until that is noticed the region would take no writes.
            return answer.refuse(Reason::ServerIsBusy, format!("peer {to} cannot be reached"));
        }
        self.propose_gathered(turn);
        let (region, peer) = (self.region.id, self.me.id);
        if turn.cache.as_ref().is_some_and(|cache| cache.is_active(region))
            && let Some(to) = known
        {
            turn.env.state(cache::fact::Fact::PreloadSent { region, peer, to: to.id });
            self.say(turn, to, Say::Preload(Nothing {}));
        }
        turn.env.state(Fact::TransferStarted { region, peer, to });
        // Before the message that lets the other one campaign.
        if self.lease.bar(turn.env.now()) {
            self.revoked(turn, "transfer");
        }
        self.raw.transfer_leader(to);
        answer.send(Said::Done(Done { regions: vec![(*self.region).clone()] }));
    }

    fn compact_log(&mut self, turn: &mut Turn, answer: Answer) {
        let index = self.state.applied_index.saturating_sub(1);
        match self.log().term_of(index) {
            Some(term) if index > self.log().truncated().0 => {
                self.admin(turn, "compact-log", Body::CompactLog(CompactLog { index, term }), answer);
            }
            _ => answer.send(Said::Done(Done { regions: vec![(*self.region).clone()] })),
        }
    }

    /// Proposes to drop the log's beginning when it is worth it: what all followers have, or more than is kept for them.
    pub fn collect_log(&mut self, turn: &mut Turn) {
        if !self.is_leader() || self.is_asleep() || self.admin.is_some() || self.closing.is_some() {
            return;
        }
        let (first, applied) = (self.log().truncated().0, self.state.applied_index);
        let progress = self.raw.raft.prs().iter().map(|(_, progress)| progress.matched).min().unwrap_or(0);
        let index = if applied.saturating_sub(first) > turn.options.raft_log_gc_count_limit {
            applied
        } else {
            progress.min(applied)
        };
        // The last entry stays, so that a follower that has nearly everything needs no snapshot.
        let index = index.saturating_sub(1);
        if index < first + turn.options.raft_log_gc_threshold {
            return;
        }
        if let Some(term) = self.log().term_of(index) {
            self.admin(turn, "compact-log", Body::CompactLog(CompactLog { index, term }), Answer::nobody());
        }
    }

    /// Proposes to raise the region's safe point.
    pub fn collect_versions(&mut self, turn: &mut Turn, safe_point: u64) {
        if self.is_leader() && safe_point > self.state.safe_point && self.admin.is_none() && self.closing.is_none() {
            self.wake(turn, "safe-point");
            self.admin(turn, "collect", Body::Collect(Collect { safe_point }), Answer::nobody());
        }
    }

    /// This leader's hash for a `ComputeHash` is there: everyone compares.
    pub fn verify_hash(&mut self, turn: &mut Turn, index: u64, digest: u64) {
        if self.is_leader() && self.admin.is_none() {
            self.admin(turn, "verify-hash", Body::VerifyHash(VerifyHash { index, digest }), Answer::nobody());
        }
    }
}

fn patience(turn: &Turn) -> Duration {
    turn.options.raft_base_tick * turn.options.raft_heartbeat_ticks as u32
}
