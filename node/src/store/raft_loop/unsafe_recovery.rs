//! How the loop carries out a store's part of a step: what the plan says, then waiting, then the report.
//!
//! A newer step takes the place of an older one at any time; the same step heard again changes nothing, but that a report
//! which was given is given again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use failpoints::defect;
use tokio::sync::oneshot;

use super::RaftLoop;
use crate::{
    defects,
    engine::Family,
    key,
    region::{Region, RegionId},
    store::{
        fact::{recovery::Fact, region},
        mail::Mail,
        peer::unsafe_recovery::LostPeers,
        region_worker,
        state::{ApplyState, RegionState, Stage, encode},
        unsafe_recovery::{Phase, Step},
    },
    wire::recovery::{Gone, Plan, Report},
};

impl RaftLoop {
    /// Mail that concerns recovery as a whole.
    pub(super) fn sort_recovery(&mut self, mail: Mail) {
        match mail {
            Mail::Recover(plan) => self.on_recovery_plan(*plan),
            Mail::Cleaned(region) => self.create_empty(*region),
            Mail::Created(region) => self.created(region),
            _ => {}
        }
    }

    fn on_recovery_plan(&mut self, plan: Plan) {
        let (store, step) = (self.turn.store, plan.step);
        if step < self.step.number || (step == self.step.number && self.step.is_active()) {
            return;
        }
        if step == self.step.number {
            // It was done, and its report is lost.
            return self.report_step();
        }
        let busy = self.peers.values().filter(|peer| peer.is_demoting()).count() as u64;
        // The defect's peer that is never done keeps every later plan away.
        if defect!(self.turn.env.points, defects::TIKV_12644, busy > 0) {
            self.turn.env.state(Fact::PlanRefused { store, step, busy });
            return;
        }
        self.turn.env.state(Fact::PlanReceived { store, step });
        for (&id, peer) in &mut self.peers {
            if peer.closing.is_none() {
                peer.abandon_recovery(&self.turn);
                // Whoever sleeps would not notice that its leader is gone.
                peer.wake(&self.turn, "recovery");
                self.busy.push_back(id);
            }
        }
        let phase = match plan.force_leader {
            Some(force) => {
                let (stores, gone) = (force.failed_stores.into_iter().collect(), force.gone.into_iter().collect());
                let lost = Arc::new(LostPeers { stores, gone });
                for id in &force.regions {
                    if let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.closing.is_none()) {
                        peer.lead_by_force(&mut self.turn, lost.clone());
                        self.busy.push_back(*id);
                    }
                }
                Phase::Leading(force.regions.into_iter().collect())
            }
            None => self.act(plan),
        };
        self.step = Step { number: step, phase };
    }

    fn act(&mut self, plan: Plan) -> Phase {
        let mut tombstones = BTreeMap::new();
        for id in plan.tombstones {
            if let Some(peer) = self.peers.get(&id) {
                let me = peer.me.id;
                self.turn.env.state(Fact::PeerTombstoned { region: id, peer: me });
                tombstones.insert(id, me);
                self.destroy(id, "recovery");
            }
        }
        let mut demotes = BTreeSet::new();
        for demote in plan.demotes {
            if let Some(peer) = self.peers.get_mut(&demote.region).filter(|peer| peer.closing.is_none()) {
                peer.demote(&mut self.turn, demote.failed);
                demotes.insert(demote.region);
                self.busy.push_back(demote.region);
            }
        }
        let creates = plan.creates.iter().map(|region| region.id).collect();
        for region in plan.creates {
            self.clean_for(region);
        }
        Phase::Acting { demotes, tombstones, creates }
    }

    /// Cleans an empty region's range first: removed peers may have left data there.
    fn clean_for(&mut self, region: Region) {
        let (reply, cleaned) = oneshot::channel();
        let (start, end) = (region.start.clone(), region.end.clone());
        if self.is_taken(&region) {
            self.turn.mailbox.send(Mail::Cleaned(Box::new(region)));
            return;
        }
        let task = region_worker::Destroy { region: region.id, start, end, after: None, reply: Some(reply) };
        self.reach.worker.ask(region_worker::Task::Destroy(task));
        let mailbox = self.turn.mailbox.clone();
        self.turn.env.spawn("clean-for-empty-region", async move {
            // A store that stops creates nothing.
            if matches!(cleaned.await, Ok(Ok(()))) {
                mailbox.send(Mail::Cleaned(Box::new(region)));
            }
        });
    }

    fn is_taken(&self, region: &Region) -> bool {
        let taken = !self.overlapping(region).is_empty() || self.meets_arriving(region);
        taken || self.peers.contains_key(&region.id)
    }

    fn create_empty(&mut self, region: Region) {
        let Some(me) = region.peer_on(self.turn.store).copied() else { return };
        let id = region.id;
        let wanted = match &mut self.step.phase {
            Phase::Acting { creates, .. } => creates.contains(&id),
            _ => false,
        };
        // The newest step may want something else by now.
        if !wanted {
            return;
        }
        if self.is_taken(&region) {
            self.turn.env.state(Fact::EmptyRegionRefused { region: id, peer: me.id });
            return self.created(id);
        }
        let stage = Stage::Normal;
        let state = RegionState { region: region.clone(), peer: me, stage: stage as i32, ..RegionState::default() };
        self.turn.log.engine.put(Family::Raft, key::region_state(id), encode(&state));
        self.turn.log.engine.put(Family::Raft, key::apply_state(id), encode(&ApplyState::initial()));
        self.turn.log.sync = true;
        let shared = Arc::new(region.clone());
        let fact = region::Fact::StateWritten {
            region: shared.clone(),
            peer: me.id,
            state: stage.name().into(),
            index: 0,
            term: 0,
        };
        self.turn.env.state(fact);
        self.turn.env.state(Fact::EmptyRegionCreated { region: shared, peer: me.id });
        self.found_region(region, me);
        self.busy.push_back(id);
        // The report says that it is there, so it has to be there after a crash, too.
        let (reply, durable) = oneshot::channel();
        self.turn.log.done.push(reply);
        let mailbox = self.turn.mailbox.clone();
        self.turn.env.spawn("empty-region-durable", async move {
            if durable.await.is_ok() {
                mailbox.send(Mail::Created(id));
            }
        });
    }

    /// An empty region is there for good, or will not be.
    fn created(&mut self, id: RegionId) {
        if let Phase::Acting { creates, .. } = &mut self.step.phase {
            creates.remove(&id);
        }
    }

    /// Goes on with the newest step as far as that is possible now.
    pub(super) fn tend_step(&mut self) {
        let peers = &self.peers;
        match &mut self.step.phase {
            Phase::Idle => {}
            Phase::Leading(regions) => {
                regions.retain(|id| peers.get(id).is_some_and(|peer| peer.becomes_force_leader()));
                if regions.is_empty() {
                    self.report_step();
                }
            }
            Phase::Acting { demotes, tombstones, creates } => {
                demotes.retain(|id| peers.get(id).is_some_and(|peer| peer.is_demoting() && peer.closing.is_none()));
                tombstones.retain(|id, me| peers.get(id).is_some_and(|peer| peer.me.id == *me));
                if demotes.is_empty() && tombstones.is_empty() && creates.is_empty() {
                    let living = peers.iter().filter(|(_, peer)| peer.closing.is_none());
                    let targets = living.map(|(&id, peer)| (id, peer.recovery_target())).collect();
                    self.step.phase = Phase::Applying(targets);
                    self.tend_step();
                }
            }
            Phase::Applying(targets) => {
                targets.retain(|id, target| {
                    let peer = peers.get(id).filter(|peer| peer.closing.is_none());
                    peer.is_some_and(|peer| !peer.has_applied(*target))
                });
                if targets.is_empty() {
                    for (&id, peer) in &mut self.peers {
                        if peer.closing.is_none() && peer.is_force_leader() && !peer.keeps_leading_by_force() {
                            peer.step_down_from_force(&self.turn);
                            self.busy.push_back(id);
                        }
                    }
                    self.report_step();
                }
            }
        }
    }

    fn report_step(&mut self) {
        self.step.phase = Phase::Idle;
        let (store, step) = (self.turn.store, self.step.number);
        let living = self.peers.values().filter(|peer| peer.closing.is_none());
        let peers: Vec<_> = living.map(|peer| peer.recovery_report()).collect();
        let registry = self.reach.registry.lock();
        let buried = registry.gone.iter().filter(|(id, _)| !self.peers.contains_key(id));
        let gone = buried.map(|(&region, &peer)| Gone { region, peer }).collect();
        drop(registry);
        self.turn.env.state(Fact::Reported { store, step, peers: peers.len() as u64 });
        let report = Report { step, peers, gone };
        // Whoever is said to be gone must not be back after a crash.
        let (reply, durable) = oneshot::channel();
        self.turn.log.done.push(reply);
        let reports = self.reach.reports.clone();
        self.turn.env.spawn("recovery-report", async move {
            if durable.await.is_ok() {
                reports.put(report);
            }
        });
    }
}
