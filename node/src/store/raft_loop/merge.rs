//! What the peers of one store do to each other in a merge.
//!
//! A source looks at its target here, again and again, until it is taken in or goes on alone. When the target takes it in
//! by its log, apply has written both already, and only the maps follow. When a snapshot of the target contains the
//! merge, the source and every other region that the snapshot names as merged go in the same write with which the
//! snapshot begins: they close, apply lets them go, and only then the snapshot is taken out of raft-rs.
//!
//! Not here: the decisions (`peer/merge`); what applying does (`apply/merge`).

use std::{collections::BTreeMap, sync::Arc};

use ::raft::eraftpb::{Entry, Message};
use failpoints::{defect, point};
use protobuf::Message as _;

use super::{RaftLoop, lifecycle::lost};
use crate::{
    defects,
    engine::Family,
    key,
    region::{Epoch, PeerId, Region, RegionId},
    store::{
        fact::{raft, region},
        mail::Mail,
        peer::{
            Peer,
            merge::{self, Here, Stand, Taken},
        },
        service::Answer,
        site,
        state::{MergeState, Stage},
        turn::Wish,
    },
    wire::{
        command::CommitMerge,
        kv::Reason,
        peer::{Merged, PeerMessage, Say},
    },
};

/// What is remembered of a peer that is gone.
#[derive(Clone, Debug)]
pub struct Tomb {
    /// The region's epoch as the peer knew it last.
    pub epoch: Epoch,
    /// Whom it was merged into.
    pub merged: Option<MergeState>,
}

impl RaftLoop {
    /// Takes in what was read back of peers that are gone.
    pub fn remember(&mut self, tombs: BTreeMap<RegionId, Tomb>) {
        self.tombs = tombs;
    }

    /// A region is to merge into a neighbour, which has to be here.
    pub(super) fn ask_merge(&mut self, source: RegionId, me: PeerId, target: RegionId, answer: Answer) {
        let known = self.peers.get(&target).filter(|peer| peer.region.is_initialized() && peer.closing.is_none());
        let Some(known) = known.filter(|peer| peer.merging.is_none()).map(|peer| peer.region.clone()) else {
            return answer
                .refuse(Reason::Invalid, format!("region {target} is not on this store, or about to merge itself"));
        };
        match self.peers.get_mut(&source).filter(|peer| peer.me.id == me && peer.closing.is_none()) {
            Some(peer) => {
                peer.prepare_merge(&mut self.turn, &known, answer);
                self.busy.push_back(source);
            }
            None => answer.refuse(Reason::RegionNotFound, "the region is not here any more"),
        }
    }

    /// A prepared region looks at its target.
    pub(super) fn check_merge(&mut self, source: RegionId) {
        let Some(peer) = self.peers.get(&source).filter(|peer| peer.closing.is_none()) else { return };
        let Some(merging) = &peer.merging else { return };
        let (state, reading) = (merging.state.clone(), merging.reading);
        let expected = state.target.epoch;
        match merge::stand(expected, self.here(state.target.id, expected)) {
            Stand::Wait => {}
            Stand::Propose => {
                let ready = self.peers.get(&state.target.id).is_some_and(|target| target.may_take_in(expected));
                if ready && !reading {
                    self.read_merge_entries(source, &state);
                }
            }
            stand => {
                let peer = self.peers.get_mut(&source).expect("it was just found");
                peer.want_rollback(&mut self.turn, stand == Stand::Past);
                self.busy.push_back(source);
            }
        }
    }

    fn here(&self, target: RegionId, expected: Epoch) -> Here {
        match self.peers.get(&target) {
            // So many merges ago that nobody knows whom it took in first.
            Some(peer) if peer.region.is_initialized() && !peer.sources.reaches(expected.version) => Here::Unknown,
            Some(peer) if peer.region.is_initialized() => Here::Present {
                epoch: peer.region.epoch,
                leads: peer.is_leader(),
                busy: peer.applying.is_some() || peer.has_snapshot_waiting() || peer.closing.is_some(),
            },
            Some(_) => Here::New,
            None => match self.tombs.get(&target) {
                // It went with whomever it had taken in.
                Some(Tomb { merged: Some(merged), .. }) if merged.commit > 0 => Here::Merged,
                Some(tomb) => Here::Removed(tomb.epoch),
                None => Here::Unknown,
            },
        }
    }

    fn read_merge_entries(&mut self, source: RegionId, state: &Arc<MergeState>) {
        let peer = self.peers.get_mut(&source).expect("the caller has just found it");
        let me = peer.me.id;
        if let Some(merging) = &mut peer.merging {
            merging.reading = true;
        }
        let (log, mailbox, env) = (self.reach.raftlog.clone(), self.turn.mailbox.clone(), self.turn.env.clone());
        let (low, commit) = (state.min_index, state.commit);
        self.turn.env.spawn("merge-entries", async move {
            // What cannot be read is tried again.
            let entries = log.fetch(source, low, commit + 1, u64::MAX).await.unwrap_or_default();
            point!(env.points, site::BEFORE_MERGE_SCHEDULED).await;
            mailbox.send(Mail::MergeEntries { region: source, peer: me, commit, entries });
        });
    }

    /// The entries to give along are read: the target is asked to take the source in.
    pub(super) fn on_merge_entries(&mut self, source: RegionId, commit: u64, entries: &[Entry]) {
        let peer = self.peers.get_mut(&source).expect("the caller has just found it");
        let (region, me) = (peer.region.clone(), peer.me.id);
        let Some(merging) = &mut peer.merging else { return };
        merging.reading = false;
        let state = merging.state.clone();
        let whole = entries.len() as u64 == commit + 1 - state.min_index;
        if state.commit != commit || !whole {
            return;
        }
        let encoded = entries.iter().filter_map(|entry| entry.write_to_bytes().ok()).map(Into::into).collect();
        let count = entries.len() as u64;
        let command = CommitMerge { source: (*region).clone(), commit, entries: encoded };
        let target = state.target.id;
        if let Some(peer) = self.peers.get_mut(&target)
            && peer.take_in(&mut self.turn, state.target.epoch, command)
        {
            self.turn.env.state(region::Fact::MergeScheduled { region: source, peer: me, target, entries: count });
            self.busy.push_back(target);
        }
    }

    /// Apply of a target waits for a source that lags.
    pub(super) fn on_catch_up(&mut self, source: RegionId, target: RegionId, commit: u64, entries: &[bytes::Bytes]) {
        let read = |bytes: &bytes::Bytes| Entry::parse_from_carllerche_bytes(bytes).ok();
        let entries: Vec<Entry> = entries.iter().filter_map(read).collect();
        if self.peers.get(&target).is_none_or(|peer| peer.closing.is_some()) {
            // The snapshot with which the source goes takes the target with it, too.
            return;
        }
        match self.peers.get_mut(&source).filter(|peer| peer.closing.is_none()) {
            Some(peer) => {
                peer.catch_up(&mut self.turn, commit, entries);
                self.busy.push_back(source);
            }
            None => {
                let cause = format!("region {target} is to take in region {source}, which is not here");
                crate::store::fail(&self.turn.env, self.turn.store, &cause);
            }
        }
    }

    pub(super) fn on_prepared(&mut self, id: RegionId, index: u64, region: Region, state: MergeState) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        let (region, me, reason) = (Arc::new(region), peer.me.id, "prepare-merge".into());
        peer.set_region(region.clone());
        self.turn.env.state(region::Fact::Changed { region, peer: me, reason, index });
        peer.on_prepared(&mut self.turn, state);
        if peer.is_leader() {
            self.turn.wishes.push(Wish::Report(id));
        }
    }

    pub(super) fn on_rolled_back(&mut self, id: RegionId, index: u64, region: Region) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        let (region, me, reason) = (Arc::new(region), peer.me.id, "rollback-merge".into());
        peer.set_region(region.clone());
        self.turn.env.state(region::Fact::Changed { region, peer: me, reason, index });
        peer.on_rolled_back();
        if peer.is_leader() {
            self.turn.wishes.push(Wish::Report(id));
        }
    }

    /// The target has taken the source in, and both are written: the maps follow.
    pub(super) fn on_merged(&mut self, id: RegionId, index: u64, region: Region, source: &Region, source_peer: PeerId) {
        let mut size = (0, 0);
        let mut sources = Default::default();
        if let Some(mut peer) = self.peers.remove(&source.id) {
            assert_eq!(peer.me.id, source_peer, "region {}: apply knows another peer than the raft loop", source.id);
            size = (peer.size.0 + peer.grown.0, peer.size.1 + peer.grown.1);
            sources = peer.sources.clone();
            peer.close(&mut self.turn, "merged");
            for mail in std::mem::take(&mut peer.inbox) {
                self.undeliverable(mail);
            }
            let target = self.peers.get(&id).map(|peer| (*peer.region).clone()).unwrap_or_default();
            self.turn.log.log.clear(source.id, source_peer);
            let commit = peer.merging.as_ref().map_or(peer.state.applied_index, |merging| merging.state.commit);
            self.forget_source(&peer, MergeState { target, min_index: 0, commit }, "commit");
        }
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        let (before, me) = (peer.region.clone(), peer.me.id);
        let region = Arc::new(region);
        Arc::make_mut(&mut peer.sources).take_in(source.id, &sources, region.epoch.version);
        peer.size = (peer.size.0 + size.0, peer.size.1 + size.1);
        peer.set_region(region.clone());
        if peer.is_leader() {
            self.turn.wishes.push(Wish::Report(id));
        }
        self.remove_range(&before);
        self.insert_range(&region);
        self.turn.env.state(region::Fact::Changed { region, peer: me, reason: "merge".into(), index });
    }

    /// The peer of a merged region is gone: from the maps, and from what apply and the collection of snapshots know.
    fn forget_source(&mut self, peer: &Peer, merged: MergeState, by: &'static str) {
        let (id, me) = (peer.id(), peer.me.id);
        self.arriving.remove(&id);
        {
            let mut registry = self.reach.registry.lock();
            registry.peers.remove(&id);
            let gone = registry.gone.entry(id).or_default();
            *gone = me.max(*gone);
        }
        self.reach.snapshots.set_durable_applying(id, None);
        if peer.region.is_initialized() {
            self.initialized -= 1;
            self.maps_changed = true;
            self.turn.env.state(region::Fact::RegionRemoved { region: id, peer: me });
            self.remove_range(&peer.region);
        }
        let fact = region::Fact::SourceDestroyed { region: id, peer: me, target: merged.target.id, by: by.into() };
        self.turn.env.state(fact);
        self.turn.env.state(raft::Fact::PeerDestroyed { region: id, peer: me, reason: "merged".into() });
        self.tombs.insert(id, Tomb { epoch: peer.region.epoch, merged: Some(merged) });
        self.look(id);
    }

    /// The regions on this store whose range a snapshot wants and that were merged into its region; `None` when another
    /// one is in the way, or one of them cannot go now.
    pub(super) fn sources_of(&self, id: RegionId, snapshot: &Region, message: &PeerMessage) -> Option<Vec<RegionId>> {
        let named = snapshot_sources(message);
        let free = |other: RegionId| named.names(other);
        if self.meets_arriving(snapshot) || self.overlapping(snapshot).into_iter().any(|other| !free(other)) {
            return None;
        }
        let peers = self.peers.iter().filter(|(_, peer)| peer.region.is_initialized());
        let sources: Vec<_> =
            peers.filter(|(other, _)| **other != id && free(**other)).map(|(&other, _)| other).collect();
        if !sources.is_empty() {
            let closing = sources.iter().any(|other| self.peers[other].closing.is_some());
            let target = &self.peers[&id];
            // What a source has yet to apply may be the split that makes the target here, in place of a peer without a range:
            // then the snapshot would go with that peer, after it has taken the source along.
            let splits = !target.region.is_initialized() && sources.iter().any(|other| !self.peers[other].is_drained());
            // A commit of the merge that waits in apply needs its source.
            if closing || splits || !target.is_drained() || target.applying.is_some() || target.has_snapshot_waiting() {
                return None;
            }
        }
        Some(sources)
    }

    /// The sources that a snapshot takes with it begin to go; the snapshot waits for them.
    pub(super) fn close_sources(&mut self, id: RegionId, snapshot: &Region, sources: Vec<RegionId>) {
        for source in sources {
            let peer = self.peers.get_mut(&source).expect("it was just found");
            let target = peer.merging.as_ref().map_or(snapshot, |merging| &merging.state.target).clone();
            peer.taken = Some(Taken { target, snapshot_of: Some(id) });
            self.destroy(source, "merged");
        }
    }

    /// Apply has let a source go that goes with a snapshot of its target. False when there is no such snapshot.
    pub(super) fn source_let_go(&mut self, source: RegionId) -> bool {
        let taken = self.peers.get(&source).and_then(|peer| peer.taken.as_ref());
        let Some(id) = taken.and_then(|taken| taken.snapshot_of) else { return false };
        let Some(target) = self.peers.get_mut(&id).filter(|target| target.closing.is_none()) else { return false };
        if target.takes.remove(&source) {
            self.busy.push_back(id);
            return true;
        }
        false
    }

    /// The snapshot begins: its sources go in the same write.
    pub(super) fn bury_sources(&mut self, target: &Arc<Region>) {
        for source in self.waiting_for(target.id) {
            self.bury_source(source, target);
        }
    }

    /// The sources that have been let go, and wait for a snapshot of this region to go with.
    pub(super) fn waiting_for(&self, id: RegionId) -> Vec<RegionId> {
        let waits = |peer: &Peer| peer.let_go && peer.taken.as_ref().is_some_and(|taken| taken.snapshot_of == Some(id));
        self.peers.iter().filter(|(_, peer)| waits(peer)).map(|(&id, _)| id).collect()
    }

    fn bury_source(&mut self, source: RegionId, target: &Arc<Region>) {
        let Some(peer) = self.peers.remove(&source) else { return };
        let expected = peer.taken.as_ref().map(|taken| taken.target.clone()).unwrap_or_default();
        let commit = peer.merging.as_ref().map_or(peer.state.applied_index, |merging| merging.state.commit);
        let merge = MergeState { target: expected, min_index: 0, commit };
        let begun = std::mem::take(&mut self.turn.log.engine);
        self.put_state(key::region_state(source), &peer, Stage::Tombstone, Some(merge.clone()));
        self.turn.log.engine.delete(Family::Raft, key::apply_state(source));
        self.turn.log.engine.delete(Family::Raft, key::merge_sources(source));
        self.turn.log.engine.delete(Family::Raft, key::snapshot_raft_state(source));
        let gone = std::mem::replace(&mut self.turn.log.engine, begun);
        // One write with the state that begins the snapshot. The defect makes it two.
        if defect!(self.turn.env.points, defects::TIKV_7002) {
            self.turn.log.engine_late.append(gone);
        } else {
            self.turn.log.engine.append(gone);
        }
        self.turn.log.log.clear(source, peer.me.id);
        // What the target does not hold any more belongs to no peer here until another snapshot brings it.
        for (start, end) in lost(&peer.region, target) {
            self.clean(source, start, end);
        }
        self.forget_source(&peer, merge, "snapshot");
    }

    /// A peer without a leader learns that its region was merged away.
    pub(super) fn on_merged_word(&mut self, id: RegionId, target: Region) {
        let store = self.turn.store;
        let expected = target.peer_on(store).map_or(0, |peer| peer.id);
        let goes = match self.peers.get(&target.id) {
            Some(peer) if peer.region.is_initialized() => peer.sources.names(id),
            // One that the merge did not know came later, by a snapshot that contains it.
            Some(peer) => expected != 0 && peer.me.id > expected,
            None if expected == 0 => true,
            None => self.reach.registry.lock().gone.get(&target.id).is_some_and(|&gone| gone >= expected),
        };
        match self.peers.contains_key(&target.id) {
            _ if goes => self.go_with(id, target),
            true => {}
            false => self.ask_for_target(id, target, expected),
        }
    }

    /// The target's peer was never made here, and may have been removed since the merge: then nobody will take this one in.
    fn ask_for_target(&mut self, id: RegionId, target: Region, expected: PeerId) {
        let Some(me) = self.peers.get(&id).filter(|peer| peer.closing.is_none()).map(|peer| peer.me.id) else { return };
        let (pd, mailbox) = (self.reach.pd.clone(), self.turn.mailbox.clone());
        self.turn.env.spawn("target-check", async move {
            let Ok(known) = pd.region_by_id(target.id).await else { return };
            let known = known.region;
            if known.epoch.conf_ver > target.epoch.conf_ver && known.peer(expected).is_none() {
                mailbox.send(Mail::MergedInto(id, me, Box::new(target)));
            }
        });
    }

    /// The target of a region that was merged away has left this store.
    pub(super) fn on_target_left(&mut self, id: RegionId, target: Region) {
        if self.peers.get(&target.id).is_none_or(|peer| !peer.region.is_initialized()) {
            self.go_with(id, target);
        }
    }

    fn go_with(&mut self, id: RegionId, target: Region) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.closing.is_none()) else { return };
        peer.taken = Some(Taken { target, snapshot_of: None });
        self.destroy(id, "merged");
    }

    /// Tells a peer whose region was merged away here.
    pub(super) fn tell_merged(&mut self, message: &PeerMessage) {
        let Some(Tomb { merged: Some(merged), .. }) = self.tombs.get(&message.region) else { return };
        // Two that are gone have nothing to tell each other.
        if matches!(message.say, Some(Say::Merged(_))) {
            return;
        }
        let say = Some(Say::Merged(Merged { target: merged.target.clone() }));
        let (region, from, to) = (message.region, message.to, message.from);
        let (start, end) = Default::default();
        let message = PeerMessage { region, from, to, epoch: Epoch::default(), start, end, say };
        let (store, message) = (to.store, prost::Message::encode_to_vec(&message));
        self.turn.out.push(crate::store::raft_client::Outgoing { store, message, fact: None });
    }

    /// Something has gone here: a neighbour that sleeps may have waited for it.
    pub(super) fn wake_neighbours(&mut self, region: &Region) {
        for (&id, peer) in &mut self.peers {
            let near = peer.region.end == region.start || (!region.end.is_empty() && peer.region.start == region.end);
            if near && peer.closing.is_none() && peer.region.is_initialized() {
                peer.wake(&self.turn, "neighbour-gone");
                self.busy.push_back(id);
            }
        }
    }
}

/// Whom a snapshot's region has taken in, as the snapshot says.
fn snapshot_sources(message: &PeerMessage) -> crate::store::state::Sources {
    let Some(Say::Raft(bytes)) = &message.say else { return Default::default() };
    let Ok(raft) = Message::parse_from_carllerche_bytes(bytes) else { return Default::default() };
    let data: Result<crate::store::state::SnapshotData, _> = prost::Message::decode(raft.get_snapshot().data.clone());
    data.ok().and_then(|data| data.sources).unwrap_or_default()
}

impl RaftLoop {
    /// Has a range cleaned that belongs to no peer, once what is gathered for the log is durable.
    pub(super) fn clean(&mut self, region: RegionId, start: bytes::Bytes, end: bytes::Bytes) {
        use crate::store::region_worker;
        let (durable, after) = tokio::sync::oneshot::channel();
        self.turn.log.done.push(durable);
        let task = region_worker::Destroy { region, start, end, after: Some(after), reply: None };
        self.reach.worker.ask(region_worker::Task::Destroy(task));
    }
}
