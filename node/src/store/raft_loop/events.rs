//! What applied entries, measurements and the placement driver make the loop do.

use std::sync::Arc;

use bytes::Bytes;
use failpoints::defect;

use super::RaftLoop;
use crate::{
    defects,
    region::{Region, RegionId},
    store::{
        fact::region,
        mail::{Applied, Event},
        service::Answer,
        state::ApplyState,
        turn::Wish,
    },
    wire::{
        kv::{Ask, Request},
        placement::{Next, Step},
    },
};

impl RaftLoop {
    pub(super) fn on_applied(&mut self, id: RegionId, applied: Applied) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if applied.peer != peer.me.id {
            return;
        }
        if applied.closed {
            return peer.on_let_go(&mut self.turn);
        }
        for event in applied.events {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            match event {
                Event::AdminEnded(index) => peer.admin_ended(index),
                Event::CompactLog(index, term) => {
                    peer.compact(&mut self.turn, index, term);
                    self.look(id);
                }
                Event::ConfChanged { index, change, region } => self.on_conf_changed(id, index, &change, region),
                Event::Split { index, parent, children, state } => self.on_split(id, index, parent, children, state),
                Event::PrepareMerge { index, region, merge } => self.on_prepared(id, index, region, merge),
                Event::RollbackMerge { index, region } => self.on_rolled_back(id, index, region),
                Event::CommitMerge { index, region, source, peer } => self.on_merged(id, index, region, &source, peer),
                Event::Hashed { index, digest } => peer.verify_hash(&mut self.turn, index, digest.0),
            }
        }
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.closing.is_none()
        {
            peer.on_applied(applied.state, applied.bytes, applied.keys);
            peer.recovery_applied(&self.turn);
        }
    }

    /// What apply did for a peer before it let it go: a split has made children here, whose states are written.
    pub(super) fn on_applied_last(&mut self, id: RegionId, applied: Applied) {
        for event in applied.events {
            if let Event::Split { index, parent, children, state } = event {
                self.on_split(id, index, parent, children, state);
            }
        }
    }

    pub(super) fn on_conf_changed(
        &mut self,
        id: RegionId,
        index: u64,
        change: &::raft::eraftpb::ConfChangeV2,
        region: Region,
    ) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        peer.on_conf_changed(change);
        let removed = region.peer(peer.me.id).is_none();
        let region = Arc::new(region);
        let before = peer.region.clone();
        peer.set_region(region.clone());
        let (me, leads) = (peer.me.id, peer.is_leader());
        let only_in = |one: &Region, other: &Region| {
            one.peers.iter().find(|peer| other.peer(peer.id).is_none()).map_or(0, |peer| peer.id)
        };
        self.turn.env.state(region::Fact::ConfChanged {
            removed: only_in(&before, &region),
            added: only_in(&region, &before),
            region: region.clone(),
            peer: me,
            index,
        });
        self.turn.env.state(region::Fact::Changed { region, peer: me, reason: "conf-change".into(), index });
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.recovery_conf_changed(&mut self.turn);
        // The defect goes before the others know.
        if removed && leads && !defect!(self.turn.env.points, defects::TIKV_10595) {
            peer.leave(&mut self.turn);
        } else if removed {
            self.destroy(id, "removed");
        } else if leads {
            self.turn.wishes.push(Wish::Report(id));
        }
    }

    pub(super) fn on_split(
        &mut self,
        id: RegionId,
        index: u64,
        parent: Region,
        children: Vec<(Region, bool)>,
        state: ApplyState,
    ) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        let (leads, me, source) = (peer.is_leader(), peer.me.id, id);
        let parent = Arc::new(parent);
        // The parent keeps its end, so its place in the map of ranges.
        peer.set_region(parent.clone());
        self.turn.env.state(region::Fact::Changed { region: parent, peer: me, reason: "split".into(), index });
        let mut all = Vec::new();
        for (child, free) in children {
            let Some(me) = child.peer_on(self.turn.store).copied() else { continue };
            let child = Arc::new(child);
            // The defect has inserted the range before it looks whether the child is its own to make.
            if !free {
                if defect!(self.turn.env.points, defects::TIKV_8783) {
                    self.insert_range(&child);
                }
                let fact =
                    region::Fact::SplitChild { region: child.id, peer: me.id, source, outcome: "left-alone".into() };
                self.turn.env.state(fact);
                continue;
            }
            let replaced = self.replace_by_split(child.id, me.id);
            let outcome = if replaced.is_some() { "replaced" } else { "created" };
            self.create_from_split(&child, me, state, replaced, index);
            let fact = region::Fact::SplitChild { region: child.id, peer: me.id, source, outcome: outcome.into() };
            self.turn.env.state(fact);
            if leads && let Some(peer) = self.peers.get_mut(&child.id) {
                peer.campaign();
            }
            all.push((*child).clone());
            self.busy.push_back(child.id);
        }
        if leads {
            let pd = self.reach.pd.clone();
            all.extend(self.peers.get(&id).map(|peer| (*peer.region).clone()));
            self.turn.env.spawn("report-split", async move {
                // Heartbeats say the same a little later.
                let _ = pd.report_split(all).await;
            });
            self.turn.wishes.push(Wish::Report(id));
        }
    }

    pub(super) fn on_measured(
        &mut self,
        id: RegionId,
        size: (u64, u64),
        middle: Option<Bytes>,
        split: Option<(Box<Request>, Answer)>,
    ) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        peer.measuring = false;
        peer.size = size;
        peer.grown = (0, 0);
        if let Some((request, answer)) = split {
            return peer.split_at(&mut self.turn, *request, middle, answer);
        }
        let options = &self.turn.options;
        let large = size.0 >= options.region_split_size || size.1 >= options.region_split_keys;
        if large && peer.is_leader() && middle.is_some() {
            let request = Request { region: id, epoch: peer.region.epoch, store: self.turn.store, ask: None };
            peer.split_at(&mut self.turn, request, middle, Answer::nobody());
        }
    }

    /// What the placement driver wants done next.
    pub(super) fn on_next(&mut self, id: RegionId, next: Next) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        if !peer.is_leader() || next.epoch != peer.region.epoch {
            return;
        }
        peer.wake(&self.turn, "operator");
        match next.step {
            Some(Step::ChangePeers(change)) => peer.change_peers(&mut self.turn, &change.changes, Answer::nobody()),
            Some(Step::TransferLeader(to)) => peer.transfer(&mut self.turn, to.id, Answer::nobody()),
            Some(Step::Split(at)) => {
                let split = crate::wire::kv::SplitAt { keys: at.keys };
                let ask = Some(Ask::Split(split));
                let request = Request { region: id, epoch: peer.region.epoch, store: self.turn.store, ask };
                peer.on_request(&mut self.turn, request, Answer::nobody());
            }
            Some(Step::Merge(into)) => {
                let me = peer.me.id;
                self.ask_merge(id, me, into.target.id, Answer::nobody());
            }
            None => {}
        }
    }

    pub(super) fn on_safe_point(&mut self, safe_point: u64) {
        if safe_point <= self.safe_point {
            return;
        }
        self.safe_point = safe_point;
        for (&id, peer) in &mut self.peers {
            peer.collect_versions(&mut self.turn, safe_point);
            super::enqueue(&mut self.busy, id, peer);
        }
    }
}
