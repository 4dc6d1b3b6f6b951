//! Merges as decisions on data, and a peer's part in one.
//!
//! A merge has two sides. The source's leader proposes `PrepareMerge`; from when that is applied the source takes nothing
//! more, wherever it is, and each of its peers looks at the target on its own store: where the target leads it proposes
//! `CommitMerge` to it; where the target has gone past the epoch that the source is prepared for, the peer tells its
//! leader that the merge can never happen, and the leader proposes `RollbackMerge` when a quorum stands behind that.
//!
//! "Gone past" is certain knowledge: a target that had taken the source in, by its log or by a snapshot, would have taken
//! the source's peer on that store with it. A peer whose target is merely not on its store any more joins those who know.
//!
//! Not here: what the peers of one store do to each other (`raft_loop/merge`), and what applying does (`apply/merge`).

use std::{collections::BTreeMap, sync::Arc};

use raft::eraftpb::Entry;

use super::{Peer, membership};
use crate::{
    region::{Epoch, Peer as Id, PeerId, Region, RegionId, Role},
    store::{
        fact::region,
        service::Answer,
        state::MergeState,
        turn::{Turn, Wish},
    },
    wire::{
        command::{Body, CommitMerge, PrepareMerge, RollbackMerge},
        kv::Reason,
        peer::{Say, WantRollback},
    },
};

/// How many entries a source may give along: what its slowest peer lacks.
const LOG_GAP_MAX: u64 = 128;

/// Whether `source` can merge into `target`; otherwise why not.
pub fn fits(source: &Region, target: &Region) -> Result<(), String> {
    if !source.adjoins(target) {
        return Err(format!("regions {} and {} are no neighbours", source.id, target.id));
    }
    if membership::is_joint(source) || membership::is_joint(target) {
        return Err("a region is in a joint configuration".to_owned());
    }
    if !source.lives_with(target) {
        return Err(format!("regions {} and {} do not live on the same stores", source.id, target.id));
    }
    Ok(())
}

/// The source once it is prepared.
pub fn prepared(source: &Region) -> Region {
    let mut after = source.clone();
    after.epoch = Epoch { conf_ver: after.epoch.conf_ver + 1, version: after.epoch.version + 1 };
    after
}

/// The target once it has taken the source in.
pub fn union(target: &Region, source: &Region) -> Region {
    let mut after = target.clone();
    if source.start < target.start {
        after.start = source.start.clone();
    } else {
        after.end = source.end.clone();
    }
    after.epoch.version = target.epoch.version.max(source.epoch.version) + 1;
    after
}

/// Whether an epoch has gone past another one of the same region.
pub fn is_past(now: Epoch, then: Epoch) -> bool {
    now.version > then.version || now.conf_ver > then.conf_ver
}

/// What a store can say of the target that a source is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Nothing yet.
    Wait,
    /// The target leads here, at the right epoch.
    Propose,
    /// The target has changed here without the merge.
    Past,
    /// The target was here, and is not any more.
    Gone,
}

/// The target as it is on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// It has a range.
    Present {
        /// Its epoch.
        epoch: Epoch,
        /// Whether it leads.
        leads: bool,
        /// Whether a snapshot is on its way into it.
        busy: bool,
    },
    /// It has no range yet.
    New,
    /// It was removed; this was its epoch.
    Removed(Epoch),
    /// It was merged away itself, with all that it had taken in.
    Merged,
    /// It never was here.
    Unknown,
}

/// What a store can say, from what is there.
pub fn stand(expected: Epoch, here: Here) -> Stand {
    match here {
        Here::Present { busy: true, .. } | Here::New | Here::Unknown => Stand::Wait,
        Here::Present { epoch, .. } if is_past(epoch, expected) => Stand::Past,
        Here::Present { epoch, leads: true, .. } if epoch == expected => Stand::Propose,
        Here::Present { .. } => Stand::Wait,
        Here::Merged => Stand::Past,
        Here::Removed(epoch) if is_past(epoch, expected) => Stand::Past,
        Here::Removed(_) => Stand::Gone,
    }
}

/// Whether the source goes on alone: one peer is sure, and a quorum of the voters wants it.
pub fn rolls_back(region: &Region, wants: &BTreeMap<PeerId, bool>) -> bool {
    let voters = || region.peers.iter().filter(|peer| peer.role() == Role::Voter);
    let for_it = voters().filter(|peer| wants.contains_key(&peer.id)).count();
    wants.values().any(|sure| *sure) && for_it * 2 > voters().count()
}

/// A merge that the region is prepared for.
#[derive(Debug)]
pub struct Merging {
    /// What for.
    pub state: Arc<MergeState>,
    /// Whether the entries to give along are being read.
    pub reading: bool,
    /// Who wants it undone, and whether they are sure.
    wants: BTreeMap<PeerId, bool>,
    ticks: usize,
}

impl Merging {
    /// Prepared, and nothing heard yet.
    pub fn new(state: Arc<MergeState>) -> Merging {
        Merging { state, reading: false, wants: BTreeMap::new(), ticks: 0 }
    }
}

/// Entries that a merge has brought, and how far the region has to apply.
#[derive(Debug)]
pub(super) struct CatchUp {
    commit: u64,
    entries: Vec<Entry>,
}

/// Why the peer of a merged region goes, and with whom.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The region that has taken it in, as far as it is known.
    pub target: Region,
    /// The region with whose snapshot the peer goes, in one write.
    pub snapshot_of: Option<RegionId>,
}

impl Peer {
    /// Proposes that the region begins to merge into `target`, which is as this store knows it.
    pub fn prepare_merge(&mut self, turn: &mut Turn, target: &Region, answer: Answer) {
        if let Err(why) = fits(&self.region, target) {
            return answer.refuse(Reason::Invalid, why);
        }
        if !self.raw.raft.apply_to_current_term() {
            return answer.refuse(Reason::ServerIsBusy, "the leader has applied nothing of its own term yet");
        }
        self.propose_gathered(turn);
        let matched = self.raw.raft.prs().iter().map(|(_, progress)| progress.matched).min().unwrap_or(0);
        if matched <= self.log().truncated().0 {
            return answer.refuse(Reason::ServerIsBusy, "a peer waits for a snapshot");
        }
        if matched < self.snapshots_until {
            // The target may be led from where the log begins with a snapshot: nobody there could give along what others lack.
            return answer.refuse(Reason::ServerIsBusy, "a peer may lack what another one's log does not have");
        }
        if self.raw.raft.raft_log.last_index() - matched > LOG_GAP_MAX {
            return answer.refuse(Reason::ServerIsBusy, "a peer is far behind");
        }
        let prepare = PrepareMerge { target: target.clone(), min_index: matched + 1 };
        self.admin(turn, "prepare-merge", Body::PrepareMerge(prepare), answer);
        // The target may serve the range before this store knows that it does.
        if self.admin.is_some() && self.lease.suspend(turn.env.now()) {
            self.revoked(turn, "merge");
        }
    }

    /// Proposes that this region takes in a source, if it is the one that the source is prepared for.
    pub fn take_in(&mut self, turn: &mut Turn, expected: Epoch, commit: CommitMerge) -> bool {
        if !self.may_take_in(expected) {
            return false;
        }
        self.wake(turn, "merge");
        self.admin(turn, "commit-merge", Body::CommitMerge(commit), Answer::nobody());
        self.admin.is_some()
    }

    /// Whether this region can be asked now to take a source in.
    pub fn may_take_in(&self, expected: Epoch) -> bool {
        self.is_leader()
            && self.region.epoch == expected
            && self.merging.is_none()
            && self.admin.is_none()
            && !self.raw.raft.has_pending_conf()
            && self.raw.raft.apply_to_current_term()
            && self.closing.is_none()
    }

    /// The region is prepared: nothing more is served until it has ended one way or the other.
    pub fn on_prepared(&mut self, turn: &mut Turn, state: MergeState) {
        let state = Arc::new(state);
        self.merging = Some(Merging::new(state));
        if self.lease.suspend(turn.env.now()) {
            self.revoked(turn, "merge");
        }
        self.wake(turn, "merge");
        turn.wishes.push(Wish::CheckMerge(self.id()));
    }

    /// The region goes on alone.
    pub fn on_rolled_back(&mut self) {
        self.merging = None;
        self.lease.resume();
    }

    /// From time to time a prepared region looks at its target.
    pub(super) fn tick_merge(&mut self, turn: &mut Turn) {
        let Some(merging) = &mut self.merging else { return };
        merging.ticks += 1;
        if merging.ticks.is_multiple_of(turn.options.raft_heartbeat_ticks.max(1)) {
            turn.wishes.push(Wish::CheckMerge(self.id()));
        }
    }

    /// The target has changed here without the merge, or is not here any more: the leader has to hear of it.
    pub fn want_rollback(&mut self, turn: &mut Turn, sure: bool) {
        let (id, me, leader) = (self.id(), self.me, self.leader());
        let Some(merging) = &mut self.merging else { return };
        let (commit, target) = (merging.state.commit, merging.state.target.id);
        if merging.wants.insert(me.id, sure) != Some(sure) {
            turn.env.state(region::Fact::RollbackWanted { region: id, peer: me.id, target, sure });
        }
        match leader {
            Some(leader) if leader.id != me.id => {
                self.say(turn, leader, Say::WantRollback(WantRollback { commit, sure }));
            }
            _ => self.consider_rollback(turn),
        }
    }

    /// Another peer wants the merge undone.
    pub(super) fn on_want_rollback(&mut self, turn: &mut Turn, from: Id, want: WantRollback) {
        let Some(merging) = &mut self.merging else { return };
        if merging.state.commit == want.commit {
            merging.wants.insert(from.id, want.sure);
            self.consider_rollback(turn);
        }
    }

    fn consider_rollback(&mut self, turn: &mut Turn) {
        let Some(merging) = &self.merging else { return };
        let ready = self.is_leader() && self.admin.is_none() && self.raw.raft.apply_to_current_term();
        // Lost voters agree with whatever a force leader does.
        let mut wants = merging.wants.clone();
        wants.extend(self.lost_voters().map(|lost| (lost.id, false)));
        if ready && rolls_back(&self.region, &wants) {
            let rollback = RollbackMerge { commit: merging.state.commit };
            self.admin(turn, "rollback-merge", Body::RollbackMerge(rollback), Answer::nobody());
        }
    }

    /// The target waits until this source has applied up to `commit`; here is what it may lack.
    pub fn catch_up(&mut self, turn: &mut Turn, commit: u64, entries: Vec<Entry>) {
        self.wake(turn, "merge");
        self.catching_up = Some(CatchUp { commit, entries });
    }

    /// Appends what a merge has brought: it is committed, for the merge is.
    pub(super) fn append_what_merge_brought(&mut self, turn: &Turn) {
        if self.applying.is_some() || self.has_snapshot_waiting() {
            return;
        }
        let Some(CatchUp { commit, entries }) = self.catching_up.take() else { return };
        let raft = &mut self.raw.raft;
        let committed = raft.raft_log.committed;
        let fresh: Vec<Entry> = entries.into_iter().filter(|entry| entry.index > committed).collect();
        let mut appended = 0;
        if let (Some(first), Some(last)) = (fresh.first(), fresh.last()) {
            let before = first.index - 1;
            let term = raft.raft_log.term(before).expect("every peer has what is before the entries of a merge");
            if last.term > raft.term {
                raft.become_follower(last.term, raft::INVALID_ID);
            }
            appended = last.index.saturating_sub(raft.raft_log.last_index());
            let accepted = raft.raft_log.maybe_append(before, term, commit, &fresh);
            accepted.expect("the term of the entry before is this log's own");
        }
        let (region, peer) = (self.id(), self.me.id);
        turn.env.state(region::Fact::CatchUp { region, peer, commit, appended });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: u64, start: &'static str, end: &'static str, epoch: (u64, u64), stores: &[(u64, Role)]) -> Region {
        let peer = |&(store, role): &(u64, Role)| Id { id: id * 10 + store, store, role: role as i32 };
        Region {
            id,
            start: start.into(),
            end: end.into(),
            epoch: Epoch { conf_ver: epoch.0, version: epoch.1 },
            peers: stores.iter().map(peer).collect(),
        }
    }

    #[test]
    fn who_can_merge() {
        use Role::*;
        let three = [(1, Voter), (2, Voter), (3, Learner)];
        let turned = [(3, Learner), (1, Voter), (2, Voter)];
        let whole = |id, start, end, stores: &[(u64, Role)]| region(id, start, end, (1, 1), stores);
        let source = whole(1, "b", "m", &three);
        for (target, fit) in [
            (whole(2, "m", "", &three), Ok(())),
            (whole(2, "", "b", &turned), Ok(())),
            (whole(2, "n", "", &three), Err("no neighbours")),
            (whole(1, "m", "", &three), Err("no neighbours")),
            (whole(2, "m", "", &[(1, Voter), (2, Voter), (3, Voter)]), Err("same stores")),
            (whole(2, "m", "", &[(1, Voter), (2, Voter)]), Err("same stores")),
            (whole(2, "m", "", &[(1, Voter), (2, Voter), (4, Learner)]), Err("same stores")),
            (whole(2, "m", "", &[(1, Voter), (2, IncomingVoter), (3, Learner)]), Err("joint")),
        ] {
            match (fits(&source, &target), fit) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, _) => panic!("{target:?}: {found:?}"),
            }
        }
        assert!(
            fits(&whole(1, "", "", &three), &whole(2, "", "", &three)).is_err(),
            "the end of all keys is no border"
        );
    }

    #[test]
    fn the_union_is_newer_than_both() {
        let left = region(1, "a", "m", (3, 9), &[(1, Role::Voter)]);
        let right = region(2, "m", "", (5, 4), &[(1, Role::Voter)]);
        assert_eq!(prepared(&left).epoch, Epoch { conf_ver: 4, version: 10 });
        let into_right = union(&right, &prepared(&left));
        assert_eq!((into_right.id, &into_right.start[..], &into_right.end[..]), (2, &b"a"[..], &b""[..]));
        assert_eq!(into_right.epoch, Epoch { conf_ver: 5, version: 11 });
        let into_left = union(&left, &prepared(&right));
        assert_eq!((into_left.id, &into_left.start[..], &into_left.end[..]), (1, &b"a"[..], &b""[..]));
        assert_eq!(into_left.epoch, Epoch { conf_ver: 3, version: 10 });
    }

    #[test]
    fn what_a_store_says_of_the_target() {
        let at = |conf_ver, version| Epoch { conf_ver, version };
        let present = |epoch, leads, busy| Here::Present { epoch, leads, busy };
        for (here, expected) in [
            (present(at(5, 5), true, false), Stand::Propose),
            (present(at(5, 5), false, false), Stand::Wait),
            (present(at(5, 4), true, false), Stand::Wait),
            (present(at(5, 6), true, false), Stand::Past),
            (present(at(6, 5), false, false), Stand::Past),
            (present(at(6, 5), false, true), Stand::Wait),
            (Here::New, Stand::Wait),
            (Here::Unknown, Stand::Wait),
            (Here::Merged, Stand::Past),
            (Here::Removed(at(5, 5)), Stand::Gone),
            (Here::Removed(at(4, 5)), Stand::Gone),
            (Here::Removed(at(6, 5)), Stand::Past),
        ] {
            assert_eq!(stand(at(5, 5), here), expected, "{here:?}");
        }
    }

    #[test]
    fn a_quorum_of_voters_of_whom_one_is_sure_undoes_a_merge() {
        use Role::*;
        let region = region(1, "", "m", (1, 1), &[(1, Voter), (2, Voter), (3, Voter), (4, Learner)]);
        for (wants, expected) in [
            (&[][..], false),
            (&[(11, true)], false),
            (&[(11, true), (12, true)], true),
            (&[(11, true), (12, false)], true),
            (&[(11, false), (12, false), (13, false)], false),
            (&[(11, true), (14, true)], false),
            (&[(11, false), (12, false), (14, true)], true),
        ] {
            assert_eq!(rolls_back(&region, &wants.iter().copied().collect()), expected, "{wants:?}");
        }
    }
}
