//! Unsafe recovery: stores are lost for good, and with them the majorities of regions. Step by step the stores that are
//! left report what they have, and are told what to do, until every key has a region again that can elect a leader.
//!
//! A pure state machine: reports and time come in as arguments, plans come back, facts and the step to be kept go out as
//! [`Effects`]. Every change of the stage is a new step, whose number never returns, across restarts too; a report of
//! another step is ignored. A restart of the placement driver ends a recovery: it has to be asked for again.
//!
//! | stage | what stores do |
//! |---|---|
//! | collect-report | apply what they can, and report |
//! | tombstone-tiflash-learner | destroy learners with the newest log, which cannot lead |
//! | force-leader-for-commit-merge, force-leader | lead without a majority, the lost voters taken to agree |
//! | demote-failed-voter | make lost voters learners, remove lost learners, destroy stale peers |
//! | create-empty-region | fill the holes |
//! | exit-force-leader | lead and follow as usual again |
//!
//! `survey` reads the reports of a step, `plans` says what each stage has to do. Not here: what a store does.

mod plans;
mod survey;

use std::{collections::BTreeMap, time::Duration};

use failpoints::{Points, defect};

use self::{
    plans::Plans,
    survey::{Destroyed, Stores, Survey},
};
use super::fact::Fact;
use crate::{
    defects,
    env::Instant,
    fact::Text,
    region::{PeerId, RegionId, StoreId},
    wire::recovery::{Plan, Progress, Report},
};

/// Where a recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Idle,
    CollectReport,
    TombstoneTiFlashLearner,
    ForceLeaderForCommitMerge,
    ForceLeader,
    DemoteFailedVoter,
    CreateEmptyRegion,
    ExitForceLeader,
    Finished,
    Failed,
}

impl Stage {
    /// As facts and people write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Stage::Idle => "idle",
            Stage::CollectReport => "collect-report",
            Stage::TombstoneTiFlashLearner => "tombstone-tiflash-learner",
            Stage::ForceLeaderForCommitMerge => "force-leader-for-commit-merge",
            Stage::ForceLeader => "force-leader",
            Stage::DemoteFailedVoter => "demote-failed-voter",
            Stage::CreateEmptyRegion => "create-empty-region",
            Stage::ExitForceLeader => "exit-force-leader",
            Stage::Finished => "finished",
            Stage::Failed => "failed",
        }
    }
}

/// What has to happen before a plan leaves.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// The step to be kept.
    pub step: Option<u64>,
    /// To state.
    pub facts: Vec<Fact>,
    /// The recovery has ended: what was known of regions may be ahead of what is left of them.
    pub ended: bool,
}

/// The newest recovery.
pub(super) struct Recovery {
    points: Points,
    /// A plan that brought no report for so long is sent again.
    redispatch: Duration,
    stage: Stage,
    step: u64,
    stores: Stores,
    /// What every live store reported of this step.
    reports: BTreeMap<StoreId, Option<Report>>,
    dispatched: BTreeMap<StoreId, Instant>,
    plans: Plans,
    /// Learners that were destroyed for their newest log, by region. A leader may learn from its own log that it has them
    /// only after it was seen to lead.
    destroyed: Destroyed,
    deadline: Instant,
    error: Option<String>,
    effects: Effects,
}

/// Ids of a new region and of its peer.
pub(super) type NewIds<'a> = &'a mut dyn FnMut() -> Option<(RegionId, PeerId)>;

impl Recovery {
    /// No recovery; steps go on behind `step`.
    pub(super) fn resume(step: u64, redispatch: Duration, points: Points) -> Recovery {
        Recovery {
            points,
            redispatch,
            stage: Stage::Idle,
            step,
            stores: Stores::default(),
            reports: BTreeMap::new(),
            dispatched: BTreeMap::new(),
            plans: Plans::new(),
            destroyed: Destroyed::new(),
            deadline: Instant(0),
            error: None,
            effects: Effects::default(),
        }
    }

    /// Whether one is under way.
    pub(super) fn is_running(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Finished | Stage::Failed)
    }

    /// What has to happen before what was answered so far may leave.
    pub(super) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let cause = self.error.clone().unwrap_or_default();
        Progress { stage: self.stage.name().into(), step: self.step, cause }
    }

    /// Begins. `live` are all other stores that may still report, with whether they are columnar.
    pub(super) fn begin(
        &mut self,
        failed: &[StoreId],
        live: impl Iterator<Item = (StoreId, bool)>,
        now: Instant,
        limit: Duration,
    ) {
        self.stores = Stores { failed: failed.iter().copied().collect(), ..Stores::default() };
        self.reports.clear();
        self.destroyed.clear();
        for (store, is_columnar) in live {
            self.reports.insert(store, None);
            if is_columnar {
                self.stores.columnar.insert(store);
            }
        }
        self.deadline = now + limit;
        self.error = None;
        for &store in failed {
            self.effects.facts.push(Fact::RecoveryStoreFailed { store });
        }
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.effects.facts.push(Fact::RecoveryBegun { step: self.step + 1, failed: failed.len() as u64, limit_ms });
        self.enter(Stage::CollectReport, Plans::new());
    }

    /// A live store was heard: takes its report, and says what it is to do, if anything.
    pub(super) fn heard(
        &mut self,
        store: StoreId,
        report: Option<Report>,
        now: Instant,
        ids: NewIds<'_>,
    ) -> Option<Plan> {
        self.tick(now);
        if !self.is_running() {
            return None;
        }
        if let Some(report) = report {
            self.take(store, report);
            if self.reports.values().all(Option::is_some) {
                self.advance(now, ids);
            }
        }
        self.dispatch(store, now)
    }

    /// Time alone has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.is_running() && now >= self.deadline {
            self.fail("the time limit has passed".into(), now);
        }
    }

    fn take(&mut self, store: StoreId, report: Report) {
        let (step, peers) = (report.step, report.peers.len() as u64);
        let known = self.reports.get_mut(&store).filter(|_| step == self.step);
        self.effects.facts.push(match known {
            Some(_) => Fact::RecoveryReportAccepted { store, step, peers },
            None => Fact::RecoveryReportIgnored { store, step, current: self.step },
        });
        if let Some(known) = known {
            // Of two reports of a step the later one counts.
            *known = Some(report);
        }
    }

    /// What the store is to do, unless it has done it or is at it.
    fn dispatch(&mut self, store: StoreId, now: Instant) -> Option<Plan> {
        if !self.is_running() || self.reports.get(&store)?.is_some() {
            return None;
        }
        let before = self.dispatched.get(&store).copied();
        if before.is_some_and(|at| now.since(at) < self.redispatch) {
            return None;
        }
        self.dispatched.insert(store, now);
        let plan = Plan { step: self.step, ..self.plans.get(&store).cloned().unwrap_or_default() };
        self.effects.facts.push(Fact::RecoveryPlanDispatched {
            store,
            step: self.step,
            force_leaders: plan.force_leader.as_ref().map_or(0, |plan| plan.regions.len() as u64),
            demotes: plan.demotes.len() as u64,
            tombstones: plan.tombstones.len() as u64,
            creates: plan.creates.len() as u64,
            keeps_leaders: plan.force_leader.is_some(),
            again: before.is_some(),
        });
        Some(plan)
    }

    /// All stores have reported: on to the next stage that has work.
    fn advance(&mut self, now: Instant, ids: NewIds<'_>) {
        let reports = std::mem::take(&mut self.reports);
        match self.next(&reports, ids) {
            Ok((stage, plans)) => {
                self.reports = reports;
                if stage == Stage::TombstoneTiFlashLearner {
                    self.note_destroyed(&plans);
                }
                self.enter(stage, plans);
            }
            Err(error) => {
                self.reports = reports;
                self.fail(error.to_string(), now);
            }
        }
    }

    fn note_destroyed(&mut self, plans: &Plans) {
        for (store, plan) in plans {
            let reported =
                self.reports.get(store).and_then(Option::as_ref).into_iter().flat_map(|report| &report.peers);
            for report in reported.filter(|report| plan.tombstones.contains(&report.region.id)) {
                self.destroyed.entry(report.region.id).or_default().push(report.peer);
            }
        }
    }

    /// The next stage with work, and its plans.
    fn next(
        &self,
        reports: &BTreeMap<StoreId, Option<Report>>,
        ids: NewIds<'_>,
    ) -> Result<(Stage, Plans), plans::Error> {
        let given = reports.iter().filter_map(|(&store, report)| Some((store, report.as_ref()?)));
        let survey = Survey::of(given, &self.stores);
        let failed: Vec<StoreId> = self.stores.failed.iter().copied().collect();
        let row_stores: Vec<StoreId> =
            reports.keys().copied().filter(|store| !self.stores.columnar.contains(store)).collect();
        let points = &self.points;
        let force_leaders = |for_commit_merge| {
            // A retry: some region's force leader failed, while others stand.
            let retried = || self.stage == Stage::ForceLeader;
            let forgetful = || defect!(points, defects::PD_5085, retried());
            plans::force_leaders(&survey, &failed, reports.keys().copied(), for_commit_merge, forgetful)
        };
        // What was created may not be all that came about: everything is looked at again. The defect does not.
        let trusting = self.stage == Stage::CreateEmptyRegion && defect!(points, defects::PD_6859);
        let mut stage = match self.stage {
            Stage::CollectReport => Stage::TombstoneTiFlashLearner,
            Stage::CreateEmptyRegion if !trusting => Stage::TombstoneTiFlashLearner,
            other => other,
        };
        let mut looked_again = false;
        loop {
            let (plans, then) = match stage {
                Stage::TombstoneTiFlashLearner => {
                    (plans::tombstone_learners(&survey)?, Stage::ForceLeaderForCommitMerge)
                }
                Stage::ForceLeaderForCommitMerge => (force_leaders(true)?, Stage::ForceLeader),
                Stage::ForceLeader => (force_leaders(false)?, Stage::DemoteFailedVoter),
                Stage::DemoteFailedVoter => {
                    let with_orphans = || !defect!(points, defects::PD_9624);
                    let plans = plans::demotions(&survey, &self.destroyed, with_orphans);
                    let again = !std::mem::replace(&mut looked_again, true);
                    (plans, if again { Stage::TombstoneTiFlashLearner } else { Stage::CreateEmptyRegion })
                }
                Stage::CreateEmptyRegion => match plans::empty_regions(&survey, &row_stores, &mut *ids)? {
                    Some(plans) => (plans, Stage::ExitForceLeader),
                    None => return Ok((Stage::CollectReport, Plans::new())),
                },
                Stage::ExitForceLeader => {
                    let ended = if self.error.is_some() { Stage::Failed } else { Stage::Finished };
                    (plans::exits(&survey), ended)
                }
                ended => return Ok((ended, Plans::new())),
            };
            if !plans.is_empty() {
                return Ok((stage, plans));
            }
            stage = then;
        }
    }

    /// The first error ends what was planned: force leaders are to step down, and what is left of the limit is short.
    fn fail(&mut self, error: String, now: Instant) {
        self.error.get_or_insert(error);
        if self.stage == Stage::ExitForceLeader {
            return self.enter(Stage::Failed, Plans::new());
        }
        self.deadline = now + self.redispatch;
        self.enter(Stage::ExitForceLeader, Plans::new());
    }

    fn enter(&mut self, stage: Stage, plans: Plans) {
        self.stage = stage;
        self.step += 1;
        self.effects.step = Some(self.step);
        self.plans = plans;
        self.dispatched.clear();
        self.reports.values_mut().for_each(|report| *report = None);
        let (step, name) = (self.step, stage.name());
        let cause = self.error.clone().map_or(Text::from(""), Text::from);
        self.effects.facts.push(Fact::RecoveryStage { stage: name.into(), step, cause: cause.clone() });
        if !self.is_running() {
            self.effects.ended = true;
            self.effects.facts.push(Fact::RecoveryEnded { outcome: name.into(), step, cause });
        }
    }
}

#[cfg(test)]
mod tests;
