//! A store's part in an unsafe recovery: the step it is at, and the report on its way to the placement driver.
//!
//! Values only: what peers do stands in `peer/unsafe_recovery`, how the loop carries out a plan in
//! `raft_loop/unsafe_recovery`. A step is done in three phases: what the plan says; then, unless the plan leaves force
//! leaders as they are, every peer applies what it can; then force leaders step down, and the store reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    region::{PeerId, RegionId},
    wire::recovery::Report,
};

/// How far a store is with the newest step.
#[derive(Debug, Default)]
pub enum Phase {
    /// There is nothing to do.
    #[default]
    Idle,
    /// Peers become force leaders, or do not.
    Leading(BTreeSet<RegionId>),
    /// Peers are demoted and destroyed, empty regions created.
    Acting {
        /// Regions whose lost peers are demoted.
        demotes: BTreeSet<RegionId>,
        /// Peers that go.
        tombstones: BTreeMap<RegionId, PeerId>,
        /// Regions whose range is being cleaned for them.
        creates: BTreeSet<RegionId>,
    },
    /// Each peer applies up to an index.
    Applying(BTreeMap<RegionId, u64>),
}

/// The newest step and how far it is.
#[derive(Debug, Default)]
pub struct Step {
    /// Its number; 0 before the first.
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
}

impl Step {
    /// Whether there is something to do.
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }
}

/// The newest report, from the raft loop to the heartbeats. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Slot>);

#[derive(Debug, Default)]
struct Slot {
    report: Mutex<Option<Report>>,
    news: Notify,
}

impl Reports {
    /// A report is to be sent with the next heartbeat, which comes at once, unless there is one of a newer step.
    pub fn put(&self, report: Report) {
        let mut slot = self.0.report.lock();
        if slot.as_ref().is_none_or(|other| other.step <= report.step) {
            *slot = Some(report);
            self.0.news.notify_one();
        }
    }

    /// The report to send.
    pub fn current(&self) -> Option<Report> {
        self.0.report.lock().clone()
    }

    /// The report of a step was answered.
    pub fn delivered(&self, step: u64) {
        let mut report = self.0.report.lock();
        if report.as_ref().is_some_and(|report| report.step == step) {
            *report = None;
        }
    }

    /// Until there is a report to send.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }
}
