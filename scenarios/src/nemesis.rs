//! Carries out the steps of a plan, each when its time has come or its fact is stated, and heals at the end.
//!
//! What the room can do at once (kill, cut, set) is done before the call returns, so that a step which waits for a fact
//! meets the very moment of it. What has to be asked of the cluster (split, move, compact) goes to the operator, a
//! process of its own that no fault reaches.
//!
//! Not here: which steps make sense together; generators know that.

mod fault;
mod operator;
mod restore;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use futures::future::{Either, select};
use parking_lot::Mutex;

pub use operator::{Order, Orders, Unanswered};

use crate::{
    cluster::Cluster,
    event::RoomEvent,
    plan::{Action, Nanos, Step, When},
    room::{FaultGuard, RuleGuard},
    witness::Fire,
};

/// Carries out the steps of one plan.
pub struct Nemesis {
    cluster: Arc<Cluster>,
    orders: Orders,
    state: Mutex<State>,
    /// Itself, for tasks that outlast a call.
    me: Weak<Nemesis>,
}

#[derive(Default)]
struct State {
    /// Steps that have taken effect.
    done: Vec<bool>,
    /// What some steps hold in place, by their position.
    held: BTreeMap<usize, Vec<Held>>,
    /// Chaos is over: nothing more takes effect.
    over: bool,
    /// Timers and `for`s that have not ended.
    outstanding: usize,
}

/// A fault that lasts, with what ends it.
pub(crate) enum Held {
    /// A rule of the fabric.
    Rule(RuleGuard),
    /// A fault beside a disk.
    Disk(FaultGuard),
    /// Anything else that is put back by a call.
    Undo(Box<dyn FnOnce(&Cluster) + Send>),
}

impl Nemesis {
    /// For the plan of this cluster; `orders` is how the operator is reached.
    pub fn new(cluster: Arc<Cluster>, orders: Orders) -> Arc<Self> {
        let steps = cluster.plan().steps.len();
        let state = State { done: vec![false; steps], ..State::default() };
        Arc::new_cyclic(|me| Self { cluster, orders, state: Mutex::new(state), me: me.clone() })
    }

    /// Chaos begins: steps with a time are set on their way.
    pub fn begin(&self) {
        for (position, step) in self.cluster.plan().steps.iter().enumerate() {
            if let When::At(at) = step.when {
                self.later(at, move |nemesis| nemesis.carry_out(position));
            }
        }
    }

    /// Whether something of the plan is still to come, at true time `now_ns`.
    pub fn is_busy(&self, now_ns: u64) -> bool {
        self.state.lock().outstanding > 0 || self.cluster.witness().is_waiting(now_ns)
    }

    /// Chaos is over: nothing more takes effect, every fault is lifted, and whatever is down is started.
    pub fn heal(&self) {
        let held = {
            let mut state = self.state.lock();
            state.over = true;
            std::mem::take(&mut state.held)
        };
        held.into_values().flatten().for_each(|held| held.end(&self.cluster));
        self.cluster.heal();
        let id = self.cluster.id(crate::cluster::OPERATOR);
        self.cluster.witness().room(id, 0, RoomEvent::Healed {});
        for name in self.cluster.begun() {
            if !self.cluster.member(&name).process.is_running() {
                self.cluster.start(&name, None);
            }
        }
    }

    fn later(&self, wait: Nanos, then: impl FnOnce(&Nemesis) + Send + 'static) {
        self.state.lock().outstanding += 1;
        let (me, room) = (self.me.clone(), self.cluster.room().clone());
        self.cluster.room().spawn(async move {
            if wait > Nanos::ZERO {
                room.sleep(wait.duration()).await;
            }
            if let Some(nemesis) = me.upgrade() {
                then(&nemesis);
                nemesis.state.lock().outstanding -= 1;
            }
        });
    }

    fn carry_out(&self, position: usize) {
        {
            let mut state = self.state.lock();
            if state.over || std::mem::replace(&mut state.done[position], true) {
                return;
            }
        }
        let step: &Step = &self.cluster.plan().clone().steps[position];
        let kind = step.action.kind();
        self.cluster.witness().fault(kind);
        self.cluster.witness().step_done(position, &step.action, self.cluster.room().true_ns());
        if let Some(id) = fault::subject(&step.action).map(|node| self.cluster.id(node)) {
            self.cluster.witness().room(id, 0, RoomEvent::FaultInjected { kind: kind.into() });
        }
        let (held, lasting) = self.act(&step.action);
        if !held.is_empty() {
            self.state.lock().held.insert(position, held);
        }
        if let Some(lasting) = lasting {
            self.later(lasting, move |nemesis| {
                let held = nemesis.state.lock().held.remove(&position);
                held.into_iter().flatten().for_each(|held| held.end(&nemesis.cluster));
            });
        }
        self.cluster.witness().arm_after(position, self.cluster.room().true_ns());
        for (next, step) in self.cluster.plan().steps.iter().enumerate() {
            if let When::After { step: earlier, wait } = step.when
                && earlier == position as u64 + 1
            {
                self.later(wait, move |nemesis| nemesis.carry_out(next));
            }
        }
    }

    /// Takes the first `stores` stores to a release, each `every` after the one before.
    fn upgrade(&self, release: &str, every: Option<Nanos>, stores: Option<u64>) {
        let count = stores.map_or(usize::MAX, |stores| usize::try_from(stores).unwrap_or(usize::MAX));
        let names = self.cluster.initial().into_iter().filter(|name| name != crate::plan::Cluster::PD).take(count);
        let mut wait = Nanos::ZERO;
        for name in names {
            let release = release.to_owned();
            self.later(wait, move |nemesis| {
                if nemesis.state.lock().over {
                    return;
                }
                let cluster = nemesis.cluster.clone();
                nemesis.state.lock().outstanding += 1;
                let me = nemesis.me.clone();
                nemesis.cluster.room().spawn(async move {
                    cluster.stop(&name).await;
                    cluster.start(&name, Some(&release));
                    if let Some(nemesis) = me.upgrade() {
                        nemesis.state.lock().outstanding -= 1;
                    }
                });
            });
            wait = Nanos(wait.0 + every.map_or(0, |every| every.0));
        }
    }

    /// Does it, and returns what lasts and for how long.
    fn act(&self, action: &Action) -> (Vec<Held>, Option<Nanos>) {
        match action {
            Action::Heal {} => {
                let held = std::mem::take(&mut self.state.lock().held);
                held.into_values().flatten().for_each(|held| held.end(&self.cluster));
                self.cluster.heal();
                (Vec::new(), None)
            }
            Action::Bounce { node, keep, down } => {
                self.cluster.crash(node.as_str(), fault::keep(*keep));
                let name = node.as_str().to_owned();
                self.later(*down, move |nemesis| {
                    if !nemesis.cluster.member(&name).process.is_running() && !nemesis.state.lock().over {
                        nemesis.cluster.start(&name, None);
                    }
                });
                (Vec::new(), None)
            }
            Action::Restore {} => {
                self.state.lock().outstanding += 1;
                let (me, cluster) = (self.me.clone(), self.cluster.clone());
                self.cluster.room().spawn(async move {
                    let limit = std::pin::pin!(cluster.room().sleep(restore::LIMIT));
                    let waits_no_more = || {
                        if let Some(nemesis) = me.upgrade() {
                            nemesis.state.lock().outstanding -= 1;
                        }
                    };
                    match select(std::pin::pin!(restore::restore(&cluster)), limit).await {
                        Either::Left(_) => waits_no_more(),
                        Either::Right(((), restore)) => {
                            waits_no_more();
                            restore.await;
                        }
                    }
                });
                (Vec::new(), None)
            }
            Action::Stop { node } => {
                let (cluster, name) = (self.cluster.clone(), node.as_str().to_owned());
                self.cluster.room().spawn(async move { cluster.stop(&name).await });
                (Vec::new(), None)
            }
            Action::Upgrade { release, every, stores } => {
                self.upgrade(release.as_str(), *every, *stores);
                (Vec::new(), None)
            }
            action => match operator::order(action) {
                Some(order) => {
                    self.orders.send(order);
                    (Vec::new(), None)
                }
                None => fault::act(&self.cluster, action),
            },
        }
    }
}

impl Fire for Nemesis {
    fn fire(&self, step: usize) {
        self.carry_out(step);
    }
}

impl Held {
    pub(crate) fn end(self, cluster: &Cluster) {
        match self {
            Held::Rule(guard) => guard.lift(),
            Held::Disk(guard) => guard.lift(),
            Held::Undo(undo) => undo(cluster),
        }
    }
}
