//! A peer and its snapshots: one that it offers to followers, and one that replaces its own data.
//!
//! Not here: files and the engine (`store/snapshot`); when a snapshot may be taken from raft-rs (`ready`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Peer;
use crate::{
    region::PeerId,
    store::{
        state::ApplyState,
        turn::{Turn, Wish},
    },
};

/// A snapshot on its way into the engine.
#[derive(Clone, Debug)]
pub struct Applying {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The apply state afterwards.
    pub state: ApplyState,
    /// Whether the region worker has been asked: the state is durable, and apply has let the region go. Apply may still
    /// have to take in what an earlier snapshot left, and would take the content of this one for it.
    pub scheduled: bool,
    pub(super) durable: bool,
    pub(super) let_go: bool,
    /// The ready that makes the state durable.
    pub(super) ready: u64,
    pub(super) abort: Arc<AtomicBool>,
}

impl Applying {
    /// The peer is to be removed: the snapshot is not worth finishing.
    pub fn abort(&self) {
        self.abort.store(true, Ordering::Relaxed);
    }

    /// What the region worker looks at.
    pub fn abort_flag(&self) -> Arc<AtomicBool> {
        self.abort.clone()
    }
}

impl Peer {
    /// Whether a snapshot was stepped and not taken yet.
    pub fn has_snapshot_waiting(&self) -> bool {
        self.raw.snap().is_some_and(|snapshot| !snapshot.is_empty())
    }

    /// A snapshot was built.
    pub fn on_generated(&mut self, snapshot: Option<raft::eraftpb::Snapshot>) {
        self.generating = None;
        if let Some(snapshot) = snapshot {
            self.raw.mut_store().offer(Some(snapshot));
            if self.is_leader() {
                self.raw.ping();
            }
        }
    }

    /// A snapshot's sending ended.
    pub fn on_sent(&mut self, to: PeerId, arrived: bool) {
        let status = if arrived { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(to, status);
    }

    /// A peer that was recovered while its snapshot was being applied: its durable state says so already.
    pub fn resume_applying(&mut self, index: u64, term: u64) {
        self.applying = Some(Applying {
            index,
            term,
            state: self.state,
            scheduled: true,
            durable: true,
            let_go: true,
            ready: 0,
            abort: Arc::default(),
        });
    }

    /// Apply has let the region go, for a snapshot to replace it.
    pub fn on_let_go(&mut self, turn: &mut Turn) {
        if let Some(applying) = &mut self.applying {
            applying.let_go = true;
        }
        self.schedule_applying(turn);
    }

    /// The region worker may begin once the state is durable and apply has let the region go.
    pub(super) fn schedule_applying(&mut self, turn: &mut Turn) {
        if let Some(applying) = &mut self.applying
            && applying.durable
            && applying.let_go
            && !applying.scheduled
        {
            applying.scheduled = true;
            turn.wishes.push(Wish::Apply(self.region.id, self.me.id));
        }
    }

    /// A snapshot's content is in the engine.
    pub fn on_snapshot_applied(&mut self) -> Option<ApplyState> {
        let applying = self.applying.take()?;
        self.state = applying.state;
        self.handed = applying.index;
        self.raw.advance_apply_to(applying.index);
        Some(applying.state)
    }
}
