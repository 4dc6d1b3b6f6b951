//! One peer of one region: raft-rs in, effects out.
//!
//! A peer steps messages, proposals and ticks into raft-rs and turns what comes out of it into entries for the log
//! writer, commands for apply, messages for other stores and answers for clients, all pushed into the [`Turn`]. It does
//! no I/O and never waits.
//!
//! Its duties stand in files of their own: [`log`] (what raft-rs reads), [`lease`], `leaving`, [`read_index`], [`membership`],
//! [`split`], [`merge`], [`unsafe_recovery`], `words` (what peers say to each other), `ready` (what comes out of raft-rs),
//! `snapshots`, `followers`, `sleep` (hibernation), `requests` (what clients ask).
//!
//! Not here: which peers a store has, and the two region maps: the raft loop owns those.

mod followers;
pub mod lease;
mod leaving;
pub mod log;
pub mod membership;
pub mod merge;
pub mod read_index;
mod ready;
mod requests;
mod sleep;
mod snapshots;
pub mod split;
pub mod unsafe_recovery;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use failpoints::defect;
use raft::{Config, RawNode, StateRole, eraftpb::HardState};

use self::{lease::Lease, log::Log, read_index::Reads, snapshots::Applying};
use super::{
    apply::Proposal,
    fact::raft::Fact,
    mail::Mail,
    service::{Answer, not_leader, refusal},
    state::{ApplyState, Merges, Sources},
    turn::Turn,
};
use crate::{
    defects,
    env::Instant,
    fact::Text,
    region::{Epoch, Peer as Id, PeerId, Region, RegionId},
    wire::{kv::Reason, peer::Letterhead},
};

/// One peer.
pub struct Peer {
    /// The region as of what was applied.
    pub region: Arc<Region>,
    /// The local peer.
    pub me: Id,
    /// Tells peers in memory apart: counts them over the life of the process.
    pub instance: u64,
    /// Mail of this turn, not handled yet.
    pub inbox: VecDeque<Mail>,
    /// Whether the peer stands in the loop's queue for this turn.
    pub queued: bool,
    /// Whether the mailbox calls the loop for what is done for this peer.
    pub urgent: bool,
    /// The peer takes no further mail and waits for apply to let it go.
    pub closing: Option<&'static str>,
    /// Whether apply has let the closing peer go.
    pub let_go: bool,
    /// A snapshot that replaces the peer's data.
    pub applying: Option<Applying>,
    /// How far apply is, as written.
    pub state: ApplyState,
    /// For an uninitialised peer: the epoch of the message that made it.
    pub born: Epoch,
    /// About how many bytes and keys were written since the size was measured.
    pub grown: (u64, u64),
    /// About how many bytes and keys the region holds.
    pub size: (u64, u64),
    /// Whether the size is being measured.
    pub measuring: bool,
    /// Attempts at building the wanted snapshot; none under way when even `None`.
    pub generating: Option<u64>,
    /// Since when there is no leader.
    pub leaderless: Option<Instant>,
    /// How often in a row the placement driver knew nothing of the region.
    pub unknown: u64,
    /// What the region is prepared for.
    pub merging: Option<merge::Merging>,
    /// Whom the region has taken in.
    pub sources: Arc<Sources>,
    /// The region was merged away, and the peer goes.
    pub taken: Option<merge::Taken>,
    /// Regions that go with the snapshot that waits, and that apply has not let go yet.
    pub takes: BTreeSet<RegionId>,

    raw: RawNode<Log>,
    role: StateRole,
    role_term: u64,
    leader: PeerId,
    committed: u64,
    /// Term and vote, as taken from raft-rs last.
    promise: (u64, u64),
    /// Whether the log does not know `committed` yet.
    commit_unwritten: bool,
    /// The last committed entry that was handed to apply.
    handed: u64,
    /// Readies that the log writer has, with their last entry and whether this peer led.
    writing: VecDeque<(u64, u64)>,
    /// The last ready that nobody waited for when it was handed to the log writer.
    unhurried: u64,
    gathered: Vec<(raft::eraftpb::Entry, Answer)>,
    proposals: VecDeque<Proposal>,
    catching_up: Option<merge::CatchUp>,
    /// The admin command under way: none, or its index; a split suspends the lease.
    admin: Option<u64>,
    asking_split: bool,
    lease: Lease,
    reads: Reads,
    embargo: Option<Instant>,
    sleep: sleep::Sleep,
    /// The region has removed this peer.
    leaving: Option<leaving::Leaving>,
    /// For a leader: how many followers waited for what the log has lost.
    pending: usize,
    /// For a leader: up to here there may be logs that begin later: a snapshot was sent, or may have been by others.
    snapshots_until: u64,
    /// For a leader: followers from which nothing comes.
    silent: followers::Silent,
    /// Where peers live that wrote before this one knew its region.
    strangers: BTreeMap<PeerId, Id>,
    /// When a raft message came last.
    heard: Instant,
    /// How letters to the others begin, until the region changes.
    letterheads: BTreeMap<PeerId, (Id, Letterhead)>,
    recovery: unsafe_recovery::Recovery,
}

impl Peer {
    /// A peer whose log and apply state were read back, or begin.
    ///
    /// One that was `restarted` withholds votes for an election timeout: what it acknowledged before the restart may
    /// hold up a lease.
    pub fn new(turn: &Turn, region: Arc<Region>, me: Id, log: Log, state: ApplyState, restarted: bool) -> Peer {
        let options = &turn.options;
        let config = Config {
            id: me.id,
            election_tick: options.raft_election_timeout_ticks,
            heartbeat_tick: options.raft_heartbeat_ticks,
            applied: state.applied_index,
            max_size_per_msg: options.raft_max_size_per_msg,
            max_inflight_msgs: options.raft_max_inflight_msgs,
            max_uncommitted_size: options.raft_max_uncommitted_bytes,
            max_committed_size_per_ready: 1 << 20,
            check_quorum: true,
            pre_vote: true,
            // raft-rs 0.7.0 adds entries to an empty append that is queued already, also when its index has moved since.
            batch_append: false,
            // What is committed travels with the next append or heartbeat, as upstream has it.
            skip_bcast_commit: true,
            ..Config::default()
        };
        let raw = RawNode::new(&config, log, &turn.logger).expect("the settings are checked before a store starts");
        let hard = raw.raft.hard_state();
        // Before a restore every store was down: no leader can count on a vote. The defect forgets that.
        let spared = options.restoring && !defect!(turn.env.points, defects::TIKV_15296);
        let embargo = (restarted && !spared).then(|| turn.now + options.vote_embargo());
        Peer {
            instance: turn.next_instance(),
            inbox: VecDeque::new(),
            queued: false,
            urgent: false,
            closing: None,
            let_go: false,
            applying: None,
            state,
            born: Epoch::default(),
            grown: (0, 0),
            size: (0, 0),
            measuring: false,
            generating: None,
            leaderless: Some(turn.now),
            unknown: 0,
            merging: None,
            sources: Arc::default(),
            taken: None,
            takes: BTreeSet::new(),
            catching_up: None,
            role: raw.raft.state,
            role_term: hard.term,
            leader: 0,
            committed: hard.commit,
            promise: (hard.term, hard.vote),
            commit_unwritten: false,
            handed: state.applied_index,
            writing: VecDeque::new(),
            unhurried: 0,
            gathered: Vec::new(),
            proposals: VecDeque::new(),
            admin: None,
            asking_split: false,
            lease: Lease::new(options.raft_store_max_leader_lease),
            // A number that no earlier incarnation of this peer gave to a round, whose answer may still come.
            reads: Reads::new(turn.env.rng.next_u64() >> 8),
            embargo,
            sleep: sleep::Sleep::default(),
            leaving: None,
            pending: 0,
            snapshots_until: 0,
            silent: followers::Silent::default(),
            strangers: BTreeMap::new(),
            heard: turn.now,
            letterheads: BTreeMap::new(),
            recovery: unsafe_recovery::Recovery::default(),
            raw,
            region,
            me,
        }
    }

    /// The region's id.
    pub fn id(&self) -> RegionId {
        self.region.id
    }

    /// The newest epoch that it knows of its region: its own, or without a range the one that it was made for.
    pub fn known_epoch(&self) -> Epoch {
        if self.region.is_initialized() { self.region.epoch } else { self.born }
    }

    /// Whether this peer leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// The leader's peer id, 0 when unknown.
    pub fn leader_id(&self) -> PeerId {
        self.raw.raft.leader_id
    }

    /// The leader, if it is known and in the region.
    pub fn leader(&self) -> Option<Id> {
        self.region.peer(self.leader_id()).copied()
    }

    /// The hard state.
    pub fn hard_state(&self) -> HardState {
        self.raw.raft.hard_state()
    }

    /// The log.
    pub fn log(&self) -> &Log {
        self.raw.store()
    }

    /// Whether all that was handed to apply came back.
    pub fn is_drained(&self) -> bool {
        self.handed <= self.state.applied_index
    }

    /// A tick of the store's clock.
    pub fn tick(&mut self, turn: &mut Turn) {
        if self.sleep.is_asleep() {
            return;
        }
        if self.commit_unwritten {
            self.write_hard_state(turn);
        }
        // Whoever applies a snapshot does not stand for election: raft-rs would look for entries that the snapshot replaced.
        if self.applying.is_none() {
            self.raw.tick();
        }
        // Who cannot stand for election never notices by itself that its leader is silent.
        let unheard =
            !self.raw.raft.promotable() && turn.now.since(self.heard) >= 2 * turn.options.election_timeout_min();
        if self.leader_id() == 0 || unheard {
            self.leaderless.get_or_insert(turn.now);
        } else {
            self.leaderless = None;
        }
        self.tick_recovery(turn);
        self.tick_leaving(turn);
        self.listen(turn);
        self.note_pending(turn);
        let patience = turn.options.election_timeout_min();
        let before = Instant(turn.now.0.saturating_sub(patience.as_nanos() as u64));
        for read in self.reads.take_lost(before) {
            read.answer.send(not_leader(self.leader()));
        }
        // A force leader leaves it when its plan says so.
        let leaves = !self.is_force_leader() || self.is_demoting();
        if self.is_leader() && membership::is_joint(&self.region) && self.admin.is_none() && leaves {
            self.leave_joint(turn);
        }
        self.tick_merge(turn);
        self.tick_sleep(turn);
    }

    /// A ready is durable.
    pub fn on_written(&mut self, turn: &mut Turn, number: u64) {
        let mut last = 0;
        while let Some(&(ready, index)) = self.writing.front()
            && ready <= number
        {
            last = index.max(last);
            self.writing.pop_front();
        }
        if last > 0 && self.is_leader() {
            let (region, peer, term) = (self.id(), self.me.id, self.term());
            turn.env.state(Fact::Acknowledged { region, peer, term, index: last });
        }
        self.persisted(number);
        if let Some(applying) = &mut self.applying
            && applying.ready <= number
        {
            applying.durable = true;
            self.schedule_applying(turn);
        }
    }

    /// Apply is further; events are handled already.
    pub fn on_applied(&mut self, state: ApplyState, bytes: u64, keys: u64) {
        self.grown = (self.grown.0 + bytes, self.grown.1 + keys);
        if state.applied_index > self.state.applied_index {
            self.state = state;
            self.raw.advance_apply_to(state.applied_index);
            self.raw.mut_store().evict(state.applied_index, false);
        }
    }

    /// Whether somebody waits for what the log writer or apply is doing. A follower that waits for nothing but the next
    /// append hears of both when that comes.
    pub fn awaits_news(&self) -> bool {
        let unwritten = self.writing.front().is_some_and(|&(number, _)| {
            self.committed > self.handed || (number <= self.unhurried && self.raw.raft.state != StateRole::Follower)
        });
        unwritten
            || !self.reads.is_idle()
            || self.applying.is_some()
            || self.has_snapshot_waiting()
            || !self.takes.is_empty()
            || self.merging.is_some()
            || self.catching_up.is_some()
            || self.taken.is_some()
            || self.closing.is_some()
            || self.is_leaving()
            || self.recovery.is_under_way()
    }

    /// The admin command at `index` is applied.
    pub fn admin_ended(&mut self, index: u64) {
        if self.admin.is_some_and(|under_way| under_way <= index) {
            self.admin = None;
            self.raw.skip_bcast_commit(true);
            if self.merging.is_none() {
                self.lease.resume();
            }
        }
    }

    /// What was read back, or came with a snapshot, of the region's merges.
    pub fn set_merges(&mut self, merges: &Merges) {
        self.merging = merges.prepared.clone().map(merge::Merging::new);
        self.sources = merges.sources.clone();
    }

    /// What apply has to know of the region's merges.
    pub fn merges(&self) -> Merges {
        let prepared = self.merging.as_ref().map(|merging| merging.state.clone());
        Merges { prepared, sources: self.sources.clone() }
    }

    /// The region changed by an applied entry.
    pub fn set_region(&mut self, region: Arc<Region>) {
        if let Some(me) = region.peer(self.me.id) {
            self.me = *me;
        }
        self.region = region;
        self.letterheads.clear();
    }

    /// A membership change is applied.
    pub fn on_conf_changed(&mut self, change: &raft::eraftpb::ConfChangeV2) {
        // A change that raft-rs refused when it was proposed is refused here again.
        let _ = self.raw.apply_conf_change(change);
    }

    /// Drops the log's beginning.
    pub fn compact(&mut self, turn: &mut Turn, index: u64, term: u64) {
        if index > self.log().truncated().0 {
            self.raw.mut_store().compact(index, term);
            turn.log.log.compact(self.region.id, self.me.id, index);
        }
    }

    /// Becomes a candidate now: the parent's leader made this peer.
    pub fn campaign(&mut self) {
        // Not possible means not now; ticks go on.
        let _ = self.raw.campaign();
    }

    /// Entries that raft-rs asked for are here.
    pub fn on_fetched(&mut self, entries: Vec<raft::eraftpb::Entry>, context: raft::GetEntriesContext) {
        self.raw.store().fetched(entries);
        self.raw.on_entries_fetched(context);
    }

    /// A store could not be reached.
    pub fn on_unreachable(&mut self, turn: &mut Turn, store: u64) {
        let Some(peer) = self.region.peer_on(store).copied() else { return };
        if self.is_leader() {
            // Asleep, it would never miss the follower, and nobody would replace that.
            self.wake(turn, "follower-unreachable");
            self.raw.report_unreachable(peer.id);
            self.silent.cannot_reach(peer.id, turn.now);
            if self.raw.raft.lead_transferee == Some(peer.id) {
                // It may never have heard of it, and until then nothing could be proposed.
                self.raw.raft.abort_leader_transfer();
            }
        } else if peer.id == self.leader_id() {
            self.wake(turn, "leader-unreachable");
        }
    }

    /// The peer takes nothing more: whoever waits is told.
    pub fn close(&mut self, turn: &mut Turn, reason: &'static str) {
        let (region, peer) = (self.id(), self.me.id);
        turn.env.state(Fact::PeerClosed { region, peer, reason: reason.into(), instance: self.instance });
        self.closing = Some(reason);
        if self.lease.reset(turn.env.now()) {
            self.revoked(turn, "closed");
        }
        self.give_up_proposals();
        let not_here = || refusal(Reason::RegionNotFound, "the region's peer is being removed");
        for (_, answer) in self.gathered.drain(..) {
            answer.send(not_here());
        }
        for read in self.reads.take_all() {
            read.answer.send(not_here());
        }
    }

    fn give_up_proposals(&mut self) {
        // Dropped answers say that the outcome is unknown.
        self.proposals.clear();
    }

    fn refused(&self, turn: &Turn, reason: &'static str) {
        turn.env.state(Fact::Refused { region: self.id(), peer: self.me.id, reason: reason.into() });
    }

    fn revoked(&self, turn: &Turn, reason: &'static str) {
        let (region, peer, term) = (self.id(), self.me.id, self.role_term);
        turn.env.state(Fact::LeaseRevoked { region, peer, term, reason: Text::from(reason) });
    }

    fn renewed(&self, turn: &Turn, renewed: Option<lease::Renewed>) {
        if let Some(lease::Renewed { from, until }) = renewed {
            let (region, peer, term) = (self.id(), self.me.id, self.term());
            turn.env.state(Fact::LeaseRenewed { region, peer, term, from, until });
        }
    }

    fn read_index_early(&self, turn: &Turn) {
        turn.env.state(Fact::ReadIndexEarly { region: self.id(), peer: self.me.id, term: self.term() });
    }

    fn read_index_answered(&self, turn: &Turn, index: u64) {
        turn.env.state(Fact::ReadIndexAnswered {
            region: self.id(),
            peer: self.me.id,
            term: self.term(),
            index,
            committed_in_term: self.raw.raft.commit_to_current_term(),
        });
    }
}
