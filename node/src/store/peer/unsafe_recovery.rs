//! A peer in an unsafe recovery: it leads without a majority, commits what is left, and gets rid of lost peers.
//!
//! A force leader is elected by *all* voters that are left, with real votes, so that none of them has a better log; then
//! the lost voters' votes are made up. It checks no quorum, holds no lease and serves no client. What every voter that is
//! left has is committed: learners do not count, since one that was destroyed would hold everything up for ever.
//!
//! Upstream also waits for the compaction of a log that ends before what is applied (`WaitForceCompact`). A peer here
//! applies nothing that is not durable in its own log, so that state cannot come about.
//!
//! Not here: which peer should lead; the placement driver chooses by all reports.

use std::{collections::BTreeSet, sync::Arc};

use failpoints::{defect, point_sync};
use raft::{
    StateRole, Storage as _,
    eraftpb::{Message, MessageType},
};

use super::{Peer, membership};
use crate::{
    defects,
    region::{Peer as Id, PeerId, Role, StoreId, has_majority},
    store::{fact::recovery::Fact, service::Answer, site, turn::Turn},
    wire::{
        command::{Body, ChangeKind, Command, PeerChange},
        recovery::PeerReport,
    },
};

/// Whose votes are made up.
#[derive(Debug, Default)]
pub struct LostPeers {
    /// The stores that are lost.
    pub stores: BTreeSet<StoreId>,
    /// Peers that were removed and are gone from stores that live.
    pub gone: BTreeSet<PeerId>,
}

impl LostPeers {
    /// Whether a peer never answers again.
    fn has(&self, peer: &Id) -> bool {
        self.stores.contains(&peer.store) || self.gone.contains(&peer.id)
    }
}

/// Shared by the regions of a plan.
pub type Lost = Arc<LostPeers>;

/// How a peer stands towards leading without a majority.
#[derive(Clone, Debug, Default)]
enum Force {
    #[default]
    No,
    /// Until the old leader is forgotten, here and elsewhere.
    Waiting {
        lost: Lost,
        ticks: usize,
    },
    /// Those that are left were asked for their votes in this term. For a learner raft-rs sets no time to that: a voter
    /// that still remembers a leader does not answer, and has to be asked again.
    Asking {
        lost: Lost,
        term: u64,
        ticks: usize,
    },
    Leading {
        lost: Lost,
    },
}

/// Getting rid of lost peers.
#[derive(Clone, Debug)]
struct Demotion {
    failed: Vec<Id>,
    /// A joint configuration has to be left first.
    leaves_first: bool,
    proposed: bool,
}

/// A peer's part in an unsafe recovery.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovery {
    force: Force,
    demotion: Option<Demotion>,
    /// The last demotion failed: the force leader stays, so that the next step can try again.
    failed: bool,
}

impl Recovery {
    /// Whether clients have to wait.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.force, Force::No)
    }
}

impl Peer {
    /// Whether this peer leads without a majority.
    pub fn is_force_leader(&self) -> bool {
        matches!(self.recovery.force, Force::Leading { .. })
    }

    /// The voters that a force leader goes without.
    pub(super) fn lost_voters(&self) -> impl Iterator<Item = &Id> {
        let lost = match &self.recovery.force {
            Force::Leading { lost } => Some(lost),
            _ => None,
        };
        let voters = self.region.peers.iter().filter(|peer| peer.role() != Role::Learner);
        voters.filter(move |peer| lost.is_some_and(|lost| lost.has(peer)))
    }

    /// Whether it is on its way there.
    pub fn becomes_force_leader(&self) -> bool {
        matches!(self.recovery.force, Force::Waiting { .. } | Force::Asking { .. })
    }

    /// Whether a demotion is under way.
    pub fn is_demoting(&self) -> bool {
        self.recovery.demotion.is_some()
    }

    /// Whether it should stay a force leader when the others step down.
    pub fn keeps_leading_by_force(&self) -> bool {
        self.recovery.failed && self.is_force_leader()
    }

    /// Up to where it should apply before it is reported.
    pub fn recovery_target(&self) -> u64 {
        if self.is_force_leader() { self.log().last_index() } else { self.raw.raft.raft_log.committed }
    }

    /// Whether it has applied what it should, or will not: who was removed applies nothing behind that.
    pub fn has_applied(&self, target: u64) -> bool {
        !self.awaits_snapshot() && (self.is_leaving() || self.state.applied_index >= target)
    }

    /// Whether a snapshot is on its way into it.
    pub fn awaits_snapshot(&self) -> bool {
        self.applying.is_some() || self.has_snapshot_waiting()
    }

    /// How it stands.
    pub fn recovery_report(&self) -> PeerReport {
        PeerReport {
            region: (*self.region).clone(),
            peer: self.me,
            last_term: self.log().last_term(),
            last_index: self.log().last_index(),
            commit: self.raw.raft.raft_log.committed,
            applied: self.state.applied_index,
            is_force_leader: self.is_force_leader(),
            has_commit_merge: self.has_commit_merge(),
        }
    }

    /// Whether the log holds the commit of a merge that is not applied.
    fn has_commit_merge(&self) -> bool {
        let (low, high) = (self.state.applied_index + 1, self.log().last_index() + 1);
        if low >= high || !self.region.is_initialized() || self.awaits_snapshot() {
            return false;
        }
        let is_one = |entry: &raft::eraftpb::Entry| {
            let command = <Command as prost::Message>::decode(entry.data.clone());
            matches!(command, Ok(Command { body: Some(Body::CommitMerge(_)), .. }))
        };
        // What is not applied lies in memory.
        let entries = self.log().entries(low, high, None, raft::GetEntriesContext::empty(false));
        entries.is_ok_and(|entries| entries.iter().any(is_one))
    }

    /// Leads without a majority, or does not; either way it is known after a while.
    pub fn lead_by_force(&mut self, turn: &mut Turn, lost: Lost) {
        if self.is_force_leader() {
            return;
        }
        self.wake(turn, "recovery");
        let (region, peer) = (self.id(), self.me.id);
        if point_sync!(turn.env.points, site::BEFORE_FORCE_LEADER).is_some() {
            return self.refuse_force(turn, "failpoint");
        }
        if !self.region.is_initialized() || self.awaits_snapshot() {
            return self.refuse_force(turn, "no-log");
        }
        if has_majority(&self.region, |peer| lost.has(peer), false) {
            return self.refuse_force(turn, "has-majority");
        }
        // A leader without a quorum steps down, and a follower forgets it, within two election timeouts. A learner never
        // does by itself.
        let remembers = self.is_leader() || (self.leader_id() != 0 && self.raw.raft.promotable());
        let ticks = if remembers { 2 * turn.options.raft_election_timeout_ticks + 1 } else { 1 };
        turn.env.state(Fact::ForceLeaderWaits { region, peer, ticks: ticks as u64 });
        self.recovery.force = Force::Waiting { lost, ticks };
    }

    /// A tick while a recovery is under way.
    pub(super) fn tick_recovery(&mut self, turn: &mut Turn) {
        let (Force::Waiting { ticks, .. } | Force::Asking { ticks, .. }) = &mut self.recovery.force else { return };
        *ticks = ticks.saturating_sub(1);
        if *ticks > 0 {
            return;
        }
        match &self.recovery.force {
            Force::Waiting { lost, .. } => {
                let lost = lost.clone();
                self.ask_for_votes(turn, lost);
            }
            Force::Asking { .. } => self.refuse_force(turn, "timeout"),
            Force::No | Force::Leading { .. } => {}
        }
    }

    fn ask_for_votes(&mut self, turn: &mut Turn, lost: Lost) {
        if self.is_leader() {
            return self.refuse_force(turn, "leads");
        }
        if self.leader_id() != 0 && self.raw.raft.promotable() {
            return self.refuse_force(turn, "follows");
        }
        // A leader's log is durable when it is elected, and what is committed of the configuration has taken effect.
        let settled = self.writing.is_empty() && self.raw.raft.raft_log.committed <= self.state.applied_index;
        if !settled || self.awaits_snapshot() {
            self.recovery.force = Force::Waiting { lost, ticks: 1 };
            return;
        }
        self.raw.raft.campaign(raft::CAMPAIGN_ELECTION);
        self.raw.raft.set_check_quorum(false);
        let (region, peer, term) = (self.id(), self.me.id, self.term());
        turn.env.state(Fact::ForceLeaderAsks { region, peer, term });
        self.recovery.force = Force::Asking { lost, term, ticks: 2 * turn.options.raft_election_timeout_ticks + 1 };
    }

    /// What recovery wants of raft-rs before a ready is taken.
    pub(super) fn tend_recovery(&mut self, turn: &mut Turn) {
        match self.recovery.force.clone() {
            Force::No | Force::Waiting { .. } => {}
            Force::Asking { lost, term, .. } => self.count_votes(turn, lost, term),
            Force::Leading { .. } if !self.is_leader() => self.leave_force(turn, "deposed"),
            Force::Leading { lost } => self.forward_commit(turn, &lost),
        }
    }

    fn count_votes(&mut self, turn: &mut Turn, lost: Lost, term: u64) {
        if self.raw.raft.state != StateRole::Candidate || self.term() != term {
            return self.refuse_force(turn, "timeout");
        }
        let voters: Vec<Id> = self.region.peers.iter().filter(|peer| peer.role() != Role::Learner).copied().collect();
        let mut missing = false;
        for voter in voters.iter().filter(|voter| voter.id != self.me.id && !lost.has(voter)) {
            match self.raw.raft.prs().votes().get(&voter.id) {
                None => missing = true,
                Some(true) => {}
                Some(false) => return self.refuse_force(turn, "vote-rejected"),
            }
        }
        // Its own vote has to be durable, like every leader's.
        if missing || !self.writing.is_empty() || self.raw.has_ready() {
            return;
        }
        let (region, peer) = (self.id(), self.me.id);
        let (last_index, last_term) = (self.log().last_index(), self.log().last_term());
        turn.env.state(Fact::ForceLeaderEntered { region, peer, term, last_index, last_term });
        self.recovery.force = Force::Leading { lost: lost.clone() };
        self.recovery.failed = false;
        for voter in voters.iter().filter(|voter| lost.has(voter)) {
            let mut vote = Message::default();
            vote.set_msg_type(MessageType::MsgRequestVoteResponse);
            (vote.from, vote.to, vote.term) = (voter.id, self.me.id, term);
            // A candidate takes a vote of this very term.
            let _ = self.raw.raft.step(vote);
            if self.is_leader() {
                return;
            }
        }
        self.leave_force(turn, "not-elected");
    }

    /// Commits what all voters that are left have.
    fn forward_commit(&mut self, turn: &mut Turn, lost: &Lost) {
        let mut index = self.raw.raft.raft_log.persisted;
        for peer in self.region.peers.iter().filter(|peer| peer.id != self.me.id && !lost.has(peer)) {
            let Some(progress) = self.raw.raft.prs().get(peer.id) else { continue };
            let counts = match peer.role() {
                // The defect waits for a learner, too: one that was destroyed never comes.
                Role::Learner => defect!(turn.env.points, defects::TIKV_18197, progress.matched < index),
                _ => true,
            };
            if counts {
                index = index.min(progress.matched);
            }
        }
        // Like any leader it commits what is of its own term, and with it what is before.
        if index > self.raw.raft.raft_log.committed && self.log().term_of(index) == Some(self.term()) {
            self.raw.raft.raft_log.committed = index;
            let (region, peer, term) = (self.id(), self.me.id, self.term());
            turn.env.state(Fact::CommitForwarded { region, peer, term, index });
            let behind = |id: &Id| self.raw.raft.prs().get(id.id).is_some_and(|progress| progress.matched < index);
            for learner in &self.region.peers {
                if learner.role() == Role::Learner && !lost.has(learner) && behind(learner) {
                    turn.env.state(Fact::LearnerLeftBehind { region, peer, learner: learner.id });
                }
            }
        }
    }

    fn refuse_force(&mut self, turn: &Turn, reason: &'static str) {
        let (region, peer) = (self.id(), self.me.id);
        turn.env.state(Fact::ForceLeaderRefused { region, peer, reason: reason.into() });
        self.recovery.force = Force::No;
        self.raw.raft.set_check_quorum(true);
    }

    fn leave_force(&mut self, turn: &Turn, reason: &'static str) {
        let (region, peer, term) = (self.id(), self.me.id, self.term());
        turn.env.state(Fact::ForceLeaderExited { region, peer, term, reason: reason.into() });
        self.recovery = Recovery::default();
        self.raw.raft.set_check_quorum(true);
    }

    /// A force leader becomes a follower, and asks at once who should lead.
    pub fn step_down_from_force(&mut self, turn: &Turn) {
        if !self.is_force_leader() {
            return;
        }
        self.leave_force(turn, "plan");
        let term = self.term();
        self.raw.raft.become_follower(term, raft::INVALID_ID);
        // One that is alone wins at once, and everything in its log has to be durable then; ticks campaign later.
        if self.writing.is_empty() && !self.raw.has_ready() {
            self.campaign();
        }
    }

    /// What an earlier step had it do and is not done counts no more.
    pub fn abandon_recovery(&mut self, turn: &Turn) {
        self.recovery.demotion = None;
        self.recovery.failed = false;
        if self.becomes_force_leader() {
            self.refuse_force(turn, "abandoned");
        }
    }

    /// Gets rid of lost peers.
    pub fn demote(&mut self, turn: &mut Turn, failed: Vec<Id>) {
        let leaves_first = membership::is_joint(&self.region);
        let (region, peer) = (self.id(), self.me.id);
        let voters = failed.iter().filter(|peer| peer.role() != Role::Learner).count() as u64;
        let learners = failed.len() as u64 - voters;
        turn.env.state(Fact::DemotionStarted { region, peer, voters, learners });
        self.recovery.demotion = Some(Demotion { failed, leaves_first, proposed: false });
        // A leader leaves a joint configuration by itself; what comes then comes then.
        if !leaves_first || !self.is_force_leader() {
            self.propose_demotion(turn);
        }
    }

    /// A membership change took effect.
    pub fn recovery_conf_changed(&mut self, turn: &mut Turn) {
        let Some(demotion) = &self.recovery.demotion else { return };
        if membership::is_joint(&self.region) {
            return;
        }
        if demotion.proposed {
            turn.env.state(Fact::Demoted { region: self.region.clone(), peer: self.me.id });
            self.recovery.demotion = None;
        } else {
            self.propose_demotion(turn);
        }
    }

    /// All that was applied has been heard of: a demotion that is over without having changed anything was refused, because
    /// the region had changed after it was proposed.
    pub fn recovery_applied(&mut self, turn: &Turn) {
        let Some(demotion) = &self.recovery.demotion else { return };
        if demotion.proposed && self.admin.is_none() && !membership::is_joint(&self.region) {
            self.demotion_refused(turn, demotion.leaves_first);
        }
    }

    fn propose_demotion(&mut self, turn: &mut Turn) {
        let Some(demotion) = self.recovery.demotion.clone() else { return };
        if !self.is_force_leader() {
            return self.demotion_refused(turn, demotion.leaves_first);
        }
        let changes = self.demoting_changes(turn, &demotion.failed);
        if changes.is_empty() {
            // Leaving the joint configuration was all.
            turn.env.state(Fact::Demoted { region: self.region.clone(), peer: self.me.id });
            self.recovery.demotion = None;
            return;
        }
        // Right behind another membership change there cannot be one yet.
        if self.admin.is_some() || self.raw.raft.has_pending_conf() || !self.raw.raft.apply_to_current_term() {
            return self.demotion_refused(turn, demotion.leaves_first);
        }
        self.change_peers(turn, &changes, Answer::nobody());
        if self.admin.is_none() {
            return self.demotion_refused(turn, demotion.leaves_first);
        }
        self.recovery.demotion = Some(Demotion { proposed: true, ..demotion });
    }

    /// The demotion is over without effect; the force leader stays for the next step.
    fn demotion_refused(&mut self, turn: &Turn, left_first: bool) {
        let (region, peer) = (self.id(), self.me.id);
        turn.env.state(Fact::DemotionRefused { region, peer });
        if left_first {
            turn.env.state(Fact::DemotionGivenUp { region, peer });
            // The defect returns here and leaves the demotion behind.
            if defect!(turn.env.points, defects::TIKV_12644) {
                return;
            }
        }
        self.recovery.demotion = None;
        self.recovery.failed = true;
    }

    /// Lost voters become learners, lost learners go, and a learner that leads becomes a voter.
    fn demoting_changes(&self, turn: &Turn, failed: &[Id]) -> Vec<PeerChange> {
        let change = |kind: ChangeKind, peer: Id, role: Role| {
            let peer = Id { role: role as i32, ..peer };
            PeerChange { kind: kind as i32, peer }
        };
        // The plan was made before everything in the log was applied: who came since may be lost, too.
        let lost = match &self.recovery.force {
            Force::Leading { lost } if !failed.is_empty() => Some(lost),
            _ => None,
        };
        let mut changes = Vec::new();
        for peer in &self.region.peers {
            let is_lost = lost.is_some_and(|lost| lost.has(peer));
            let named = is_lost || failed.iter().any(|failed| failed.id == peer.id);
            match peer.role() {
                Role::Learner if peer.id == self.me.id => {
                    changes.push(change(ChangeKind::AddVoter, *peer, Role::Voter));
                }
                Role::Voter if named => changes.push(change(ChangeKind::AddLearner, *peer, Role::Learner)),
                Role::Learner if named && !defect!(turn.env.points, defects::TIKV_18458) => {
                    changes.push(change(ChangeKind::Remove, *peer, Role::Learner));
                }
                _ => {}
            }
        }
        changes
    }
}
