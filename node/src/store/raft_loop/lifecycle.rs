//! How peers come and go: recovered, founded, made for a message or by a split, removed, buried.
//!
//! Removing takes three steps: the peer closes and takes nothing more; apply lets it go; its tombstone is durable and its
//! range is cleaned. The range stays in the map until then, so that nothing else can move in. A removed peer's id never
//! returns: ids grow, and the newest removed one of each region is remembered.

use std::sync::Arc;

use ::raft::eraftpb::{ConfState, HardState, Message, MessageType};
use failpoints::defect;
use protobuf::Message as _;

use super::{RaftLoop, Tomb, enqueue, key_of};
use crate::{
    cache,
    engine::Family,
    key,
    region::{Epoch, Peer as Id, PeerId, Region, RegionId},
    store::{
        apply::Task,
        fact::{raft, region},
        mail::Mail,
        peer::{Peer, log::Log, membership},
        state::{ApplyState, INIT_INDEX, INIT_TERM, MergeState, Merges, RegionState, Sources, Stage, encode},
        turn::Wish,
    },
    wire::{
        peer::{PeerMessage, Say},
        placement::{Reason, Version},
    },
};

/// How often in a row the placement driver has to know nothing of a region before a peer of it without a range goes.
const UNKNOWN_MAX: u64 = 3;

/// What was read back of one peer.
pub struct Found {
    /// Its region's state.
    pub state: RegionState,
    /// How far it is applied.
    pub apply: ApplyState,
    /// Its log.
    pub log: Log,
    /// Whom the region has taken in.
    pub sources: Sources,
}

impl RaftLoop {
    /// Takes in a peer that was read back.
    pub fn recover(&mut self, found: Found) {
        let Found { state, apply, log, sources } = found;
        let mut region = state.region;
        let born = if region.is_initialized() { Epoch::default() } else { std::mem::take(&mut region.epoch) };
        let region = Arc::new(region);
        let (id, me) = (region.id, state.peer);
        let hard = raft::Fact::PeerRecovered {
            region: id,
            peer: me.id,
            term: ::raft::Storage::initial_state(&log).map_or(0, |state| state.hard_state.term),
            vote: ::raft::Storage::initial_state(&log).map_or(0, |state| state.hard_state.vote),
            commit: ::raft::Storage::initial_state(&log).map_or(0, |state| state.hard_state.commit),
            applied: apply.applied_index,
            truncated_index: log.truncated().0,
            truncated_term: log.truncated().1,
            last_index: log.last_index(),
            last_term: log.last_term(),
        };
        self.turn.env.state(hard);
        let mut peer = Peer::new(&self.turn, region.clone(), me, log, apply, true);
        peer.born = born;
        let prepared = state.merge.filter(|_| state.stage == Stage::Merging as i32).map(Arc::new);
        peer.set_merges(&Merges { prepared, sources: Arc::new(sources) });
        if region.is_initialized() && region.peer(me.id).is_none() {
            peer.leave(&mut self.turn);
        }
        let applying = state.stage == Stage::Applying as i32;
        if applying {
            peer.resume_applying(state.index, state.term);
        } else if region.is_initialized() {
            let merges = peer.merges();
            self.turn.apply.push(Task::Register { region: region.clone(), peer: me, state: apply, merges });
        }
        self.insert(peer, "recover", apply.applied_index);
        if applying {
            self.reach.snapshots.set_durable_applying(id, Some(key_of(id, state.term, state.index)));
            self.turn.wishes.push(Wish::Apply(id, me.id));
            self.grant_wishes();
        }
    }

    /// Has one region's content hashed after a restart: another one each time.
    pub fn hash_one(&mut self) {
        let ready: Vec<_> =
            self.peers.values().filter(|peer| peer.region.is_initialized() && peer.applying.is_none()).collect();
        if !ready.is_empty() {
            let peer = ready[self.turn.env.rng.below(ready.len() as u64) as usize];
            let (region, peer) = (peer.id(), peer.me.id);
            self.turn.apply.push(Task::Hash { region, peer, why: "restart" });
        }
    }

    /// Makes the peer of a region that begins here: the first one of a cluster.
    pub fn found_region(&mut self, region: Region, me: Id) {
        let hard = initial_hard_state(None);
        self.turn.log.log.start(region.id, me.id, INIT_INDEX, INIT_TERM);
        self.turn.log.log.hard_state(region.id, me.id, hard.term, hard.vote, hard.commit);
        let log = Log::new(hard, membership::conf_state(&region), (INIT_INDEX, INIT_TERM));
        let region = Arc::new(region);
        let mut peer = Peer::new(&self.turn, region.clone(), me, log, ApplyState::initial(), false);
        peer.campaign();
        let (state, merges) = (ApplyState::initial(), Merges::default());
        self.turn.apply.push(Task::Register { region, peer: me, state, merges });
        self.insert(peer, "create", INIT_INDEX);
    }

    fn insert(&mut self, peer: Peer, reason: &'static str, index: u64) {
        let (region, me) = (peer.region.clone(), peer.me.id);
        let initialized = region.is_initialized();
        self.turn.env.state(raft::Fact::PeerCreated { region: region.id, peer: me, initialized });
        self.reach.registry.lock().peers.insert(region.id, me);
        self.peers.insert(region.id, peer);
        if initialized {
            self.appear(&region, me, reason, index);
        }
        self.look(region.id);
    }

    /// A peer has a range from now on.
    fn appear(&mut self, region: &Arc<Region>, me: PeerId, reason: &'static str, index: u64) {
        self.initialized += 1;
        self.maps_changed = true;
        self.turn.env.state(region::Fact::RegionInserted { region: region.id, peer: me });
        self.insert_range(region);
        self.turn.env.state(region::Fact::Changed { region: region.clone(), peer: me, reason: reason.into(), index });
    }

    /// Makes a peer for a message to one that this store does not have. False when it must not have it.
    pub(super) fn make_for(&mut self, message: &PeerMessage) -> bool {
        let id = message.region;
        let gone = {
            let registry = self.reach.registry.lock();
            // A split that is being applied makes the peer: its messages come again.
            if registry.splitting.contains_key(&id) {
                return false;
            }
            registry.gone.get(&id).copied()
        };
        if gone.is_some_and(|gone| gone >= message.to.id) {
            self.turn.env.state(raft::Fact::StaleMessage {
                region: id,
                from: message.from.id,
                from_store: message.from.store,
                to: message.to.id,
            });
            self.tell_merged(message);
            return false;
        }
        let Some(Say::Raft(bytes)) = &message.say else { return false };
        let Ok(raft) = Message::parse_from_carllerche_bytes(bytes) else { return false };
        let begins = matches!(
            raft.get_msg_type(),
            MessageType::MsgRequestVote
                | MessageType::MsgRequestPreVote
                | MessageType::MsgHeartbeat
                | MessageType::MsgAppend
                | MessageType::MsgSnapshot
        );
        if !begins || message.to.store != self.turn.store || message.to.id == 0 {
            return false;
        }
        let region = Region { id, ..Region::default() };
        let log = Log::new(HardState::default(), ConfState::default(), (0, 0));
        let mut peer = Peer::new(&self.turn, Arc::new(region), message.to, log, ApplyState::default(), false);
        peer.born = message.epoch;
        if !failpoints::defect!(self.turn.env.points, crate::defects::TIKV_9579) {
            self.put_state(key::newcomer(id), &peer, Stage::Normal, None);
        }
        self.insert(peer, "create", 0);
        true
    }

    /// Writes a peer's state with the next write of the log.
    pub(super) fn put_state(&mut self, key: bytes::Bytes, peer: &Peer, stage: Stage, merge: Option<MergeState>) {
        let mut region = (*peer.region).clone();
        if !region.is_initialized() && stage == Stage::Normal {
            region.epoch = peer.born;
        }
        let state =
            RegionState { region: region.clone(), peer: peer.me, stage: stage as i32, index: 0, term: 0, merge };
        self.turn.log.engine.put(Family::Raft, key, encode(&state));
        self.turn.log.sync = true;
        let (region, state) = (Arc::new(region), stage.name().into());
        self.turn.env.state(region::Fact::StateWritten { region, peer: peer.me.id, state, index: 0, term: 0 });
    }

    /// Closes the uninitialised peer that a split's child takes the place of; what it voted stays voted.
    pub(super) fn replace_by_split(&mut self, id: RegionId, me: PeerId) -> Option<HardState> {
        let mut old = self.peers.remove(&id)?;
        assert!(old.me.id == me && !old.region.is_initialized(), "apply makes a child only where its place is free");
        let hard = old.hard_state();
        old.close(&mut self.turn, "split");
        if !old.inbox.is_empty() {
            let count = old.inbox.len() as u64;
            self.turn.env.state(raft::Fact::MailLeftBehind { region: id, peer: me, count });
        }
        // The mailbox goes with the peer. The defect lets it be drained.
        if !old.inbox.is_empty() && defect!(self.turn.env.points, crate::defects::TIKV_17469) {
            self.ghosts.push(old);
        }
        Some(hard)
    }

    /// Makes a split's child, whose states apply has written.
    pub(super) fn create_from_split(
        &mut self,
        child: &Arc<Region>,
        me: Id,
        state: ApplyState,
        replaced: Option<HardState>,
        index: u64,
    ) {
        let id = child.id;
        let hard = initial_hard_state(replaced);
        self.turn.log.log.start(id, me.id, INIT_INDEX, INIT_TERM);
        self.turn.log.log.hard_state(id, me.id, hard.term, hard.vote, hard.commit);
        self.turn.log.sync = true;
        let log = Log::new(hard, membership::conf_state(child), (INIT_INDEX, INIT_TERM));
        let peer = Peer::new(&self.turn, child.clone(), me, log, state, false);
        self.reach.registry.lock().splitting.remove(&id);
        self.insert(peer, "split", index);
    }

    /// A snapshot replaces a peer's region.
    pub(super) fn replace_by_snapshot(&mut self, before: &Arc<Region>, after: &Arc<Region>, me: PeerId, index: u64) {
        self.bury_sources(after);
        if before.is_initialized() {
            self.remove_range(before);
            self.insert_range(after);
            let (region, reason) = (after.clone(), "snapshot".into());
            self.turn.env.state(region::Fact::Changed { region, peer: me, reason, index });
            // What the range loses belongs to no peer here until another snapshot brings it.
            for (start, end) in lost(before, after) {
                self.clean(before.id, start, end);
            }
        } else {
            self.appear(after, me, "snapshot", index);
        }
        self.arriving.remove(&after.id);
        let term =
            self.peers.get(&after.id).and_then(|peer| peer.applying.as_ref()).map_or(0, |applying| applying.term);
        self.reach.snapshots.set_durable_applying(after.id, Some(key_of(after.id, term, index)));
        self.look(after.id);
    }

    /// A snapshot is in the engine: entries behind it may come.
    pub(super) fn on_snapshot_applied(&mut self, id: RegionId) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        let Some(state) = peer.on_snapshot_applied() else { return };
        let (region, me, merges) = (peer.region.clone(), peer.me, peer.merges());
        self.turn.apply.push(Task::Register { region, peer: me, state, merges });
        self.turn.apply.push(Task::Hash { region: id, peer: me.id, why: "snapshot" });
        self.reach.snapshots.set_durable_applying(id, None);
        self.look(id);
    }

    /// A peer that no longer belongs to its region begins to go.
    pub(super) fn destroy(&mut self, id: RegionId, reason: &'static str) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.closing.is_some() {
            return;
        }
        let me = peer.me.id;
        {
            let mut registry = self.reach.registry.lock();
            // A split is about to make a peer with this id: it decides.
            if registry.splitting.contains_key(&id) {
                return;
            }
            let gone = registry.gone.entry(id).or_default();
            *gone = me.max(*gone);
        }
        if let Some(applying) = &peer.applying {
            applying.abort();
        }
        if let Some(cache) = &self.turn.cache {
            cache.meet(&peer.region, cache::Event::DestroyPeer);
        }
        peer.close(&mut self.turn, reason);
        self.turn.apply.push(Task::Close { region: id, peer: me });
        self.look(id);
    }

    /// Apply has let a peer go: its tombstone is written, then its range is cleaned.
    pub(super) fn bury(&mut self, id: RegionId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        self.arriving.remove(&id);
        let reason = peer.closing.unwrap_or("removed");
        let target = peer.taken.as_ref().map(|taken| taken.target.clone());
        let merged = target.map(|target| MergeState { target, min_index: 0, commit: 0 });
        let (me, had_range) = (peer.me, peer.region.is_initialized());
        // The tombstone names the peer, also one without a range. The defect writes an empty one over what was known.
        if defect!(self.turn.env.points, crate::defects::TIKV_10533, !had_range) {
            self.reach.registry.lock().gone.remove(&id);
            peer.me = Id::default();
        }
        let earlier = self.tombs.remove(&id).filter(|_| !had_range);
        let epoch = earlier.as_ref().map_or(peer.region.epoch, |tomb| tomb.epoch);
        let merged = merged.or(earlier.and_then(|tomb| tomb.merged));
        self.put_state(key::region_state(id), &peer, Stage::Tombstone, merged.clone());
        peer.me = me;
        if let Some(merged) = merged.as_ref().filter(|_| had_range) {
            let (region, target, by) = (id, merged.target.id, "stale".into());
            self.turn.env.state(region::Fact::SourceDestroyed { region, peer: peer.me.id, target, by });
        }
        self.tombs.insert(id, Tomb { epoch, merged });
        self.turn.log.engine.delete(Family::Raft, key::merge_sources(id));
        self.turn.log.engine.delete(Family::Raft, key::apply_state(id));
        self.turn.log.engine.delete(Family::Raft, key::snapshot_raft_state(id));
        self.turn.log.log.clear(id, peer.me.id);
        self.reach.registry.lock().peers.remove(&id);
        self.reach.snapshots.set_durable_applying(id, None);
        if had_range {
            self.initialized -= 1;
            self.maps_changed = true;
            self.turn.env.state(region::Fact::RegionRemoved { region: id, peer: peer.me.id });
            self.remove_range(&peer.region);
            let (start, end) = (peer.region.start.clone(), peer.region.end.clone());
            // The tombstone is durable before the data goes, so that a crash leaves no peer without its data.
            self.clean(id, start, end);
            self.wake_neighbours(&peer.region);
        }
        self.turn.env.state(raft::Fact::PeerDestroyed { region: id, peer: peer.me.id, reason: reason.into() });
        self.look(id);
        for source in self.waiting_for(id) {
            self.bury(source);
        }
    }

    /// What the placement driver knows of a region whose peer misses its leader.
    pub(super) fn on_known(&mut self, id: RegionId, known: Option<Region>) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        let Some(known) = known else {
            // A living region is unknown for a moment only. What it once told this peer of itself is not to be had again.
            peer.unknown += 1;
            if !peer.region.is_initialized() && peer.unknown >= UNKNOWN_MAX {
                self.destroy(id, "stale");
            }
            return;
        };
        peer.unknown = 0;
        let mine = peer.known_epoch();
        let newer = known.epoch.conf_ver > mine.conf_ver || (known.epoch != Epoch::default() && known.epoch == mine);
        if newer && known.peer(peer.me.id).is_none() {
            self.destroy(id, "stale");
        }
    }

    /// Peers that have had no leader for long ask whether they still belong to their region.
    pub(super) fn stale_check(&mut self) {
        self.ask_for_sleepers();
        let limit = self.turn.options.max_leader_missing;
        let mut missing = Vec::new();
        for (&id, peer) in &self.peers {
            let long = peer.leaderless.is_some_and(|since| self.turn.now.since(since) >= limit);
            if long && peer.closing.is_none() && !peer.is_asleep() {
                peer.ask_around(&mut self.turn);
                missing.push((id, peer.me.id));
            }
        }
        for (id, me) in missing {
            let (pd, mailbox) = (self.reach.pd.clone(), self.turn.mailbox.clone());
            self.turn.env.spawn("stale-check", async move {
                let known = match pd.region_by_id(id).await {
                    Ok(located) => Some(Box::new(located.region)),
                    Err(error) if error.reason() == Some(Reason::RegionNotFound) => None,
                    Err(_) => return,
                };
                mailbox.send(Mail::Known(id, me, known));
            });
        }
    }
}

impl RaftLoop {
    /// Whoever sleeps does not notice that nobody speaks to it any more: the others may have woken without it, and removed
    /// it. So the store asks the placement driver for all its sleeping peers at once.
    fn ask_for_sleepers(&self) {
        let sleepers = self.peers.iter().filter(|(_, peer)| peer.is_asleep() && peer.closing.is_none());
        let regions: Vec<_> = sleepers.map(|(&id, peer)| Version { id, epoch: peer.region.epoch }).collect();
        if regions.is_empty() {
            return;
        }
        let (pd, mailbox) = (self.reach.pd.clone(), self.turn.mailbox.clone());
        self.turn.env.spawn("stale-check", async move {
            match pd.outdated(regions).await {
                Ok(outdated) if !outdated.is_empty() => mailbox.send(Mail::Outdated(outdated)),
                _ => {}
            }
        });
    }

    /// Regions have changed while their peers here slept: awake, they hear of it, or miss their leader and ask.
    pub(super) fn on_outdated(&mut self, regions: &[RegionId]) {
        for &id in regions {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.wake(&self.turn, "outdated");
                enqueue(&mut self.busy, id, peer);
            }
        }
    }
}

/// The hard state with which a region begins, after what its place on this store has voted already.
fn initial_hard_state(replaced: Option<HardState>) -> HardState {
    let mut hard = replaced.unwrap_or_default();
    if hard.term < INIT_TERM {
        (hard.term, hard.vote) = (INIT_TERM, 0);
    }
    hard.commit = INIT_INDEX;
    hard
}

/// The ranges that `before` holds and `after` does not.
pub(super) fn lost(before: &Region, after: &Region) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    if !before.overlaps(after) {
        return vec![(before.start.clone(), before.end.clone())];
    }
    let mut pieces = Vec::new();
    if before.start < after.start {
        pieces.push((before.start.clone(), after.start.clone()));
    }
    if !after.end.is_empty() && (before.end.is_empty() || after.end < before.end) {
        pieces.push((after.end.clone(), before.end.clone()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_smaller_range_loses() {
        let region = |start: &'static str, end: &'static str| Region {
            start: start.into(),
            end: end.into(),
            ..Region::default()
        };
        for (before, after, expected) in [
            (("a", "z"), ("a", "z"), &[][..]),
            (("a", "z"), ("m", "z"), &[("a", "m")]),
            (("a", ""), ("m", "p"), &[("a", "m"), ("p", "")]),
            (("a", "c"), ("c", "e"), &[("a", "c")]),
            (("m", "p"), ("a", ""), &[]),
        ] {
            let found = lost(&region(before.0, before.1), &region(after.0, after.1));
            let expected: Vec<_> = expected
                .iter()
                .map(|(start, end)| {
                    (bytes::Bytes::from_static(start.as_bytes()), bytes::Bytes::from_static(end.as_bytes()))
                })
                .collect();
            assert_eq!(found, expected, "{before:?} -> {after:?}");
        }
    }

    #[test]
    fn a_vote_survives_the_split_that_replaces_the_voter() {
        let old = HardState { term: 7, vote: 3, commit: 0, ..HardState::default() };
        let hard = initial_hard_state(Some(old));
        assert_eq!((hard.term, hard.vote, hard.commit), (7, 3, INIT_INDEX));
        let old = HardState { term: 2, vote: 3, ..HardState::default() };
        let hard = initial_hard_state(Some(old));
        assert_eq!((hard.term, hard.vote), (INIT_TERM, 0));
    }
}
