//! The course of a run, from an empty room to a cluster at rest.
//!
//! Boot, then chaos: clients work and the plan's steps take effect. Then everything is healed and the cluster has to
//! come to rest within the plan's time; what is missing is named. Whatever happens, the first accusation ends the story.
//!
//! Not here: judging. A story fails only where no check could speak, as when the cluster does not even boot.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{Either, select};

use crate::{
    cluster::{Cluster, OPERATOR},
    event::RoomEvent,
    nemesis::{Nemesis, Order, Orders, Unanswered},
    plan::{Plan, knobs},
    room::Room,
    verdict::Class,
    witness::Witness,
    workload,
};

/// How long the cluster may take to boot and to be split into the plan's regions.
pub const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// How often the runner looks whether something has come about.
const LOOK: Duration = Duration::from_millis(100);

/// How long the cluster is left alone before it counts as at rest.
const QUIET: Duration = Duration::from_millis(500);

/// Of what is not answered, so much is named.
const NAMED: usize = 3;

/// Why a story could not be told to its end.
#[derive(Debug)]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// Who noticed.
    pub check: &'static str,
    /// What happened.
    pub detail: String,
}

/// Tells the story of a plan.
pub async fn tell(room: Room, plan: Arc<Plan>, witness: Arc<Witness>) -> Result<(), Failure> {
    let accused = witness.clone();
    let story = std::pin::pin!(chapters(room, plan, witness));
    match select(story, std::pin::pin!(accused.accused())).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => Ok(()),
    }
}

async fn chapters(room: Room, plan: Arc<Plan>, witness: Arc<Witness>) -> Result<(), Failure> {
    let cluster = Cluster::new(room.clone(), plan.clone(), witness.clone());
    let orders = Orders::start(&cluster);
    boot(&cluster, &orders).await?;

    let nemesis = Nemesis::new(cluster.clone(), orders.clone());
    let fire: Arc<dyn crate::witness::Fire> = nemesis.clone();
    witness.set_fire(Arc::downgrade(&fire));
    let over = Arc::new(AtomicBool::new(false));
    workload::start(&cluster, &over);
    witness.begin(room.true_ns());
    nemesis.begin();
    room.sleep(plan.workload.lasting.duration()).await;
    while nemesis.is_busy(room.true_ns()) {
        room.sleep(LOOK).await;
    }
    over.store(true, Ordering::Relaxed);
    nemesis.heal();
    converge(&cluster, &orders).await;
    Ok(())
}

/// Starts everything and waits until all regions of the plan have all their replicas.
async fn boot(cluster: &Arc<Cluster>, orders: &Orders) -> Result<(), Failure> {
    for name in cluster.initial() {
        cluster.start(&name, None);
    }
    let plan = cluster.plan();
    let deadline_ns = cluster.room().true_ns() + BOOT_LIMIT.as_nanos() as u64;
    settle(cluster, deadline_ns).await.map_err(|missing| unbooted(&missing))?;
    let keys = workload::borders(&plan.workload, plan.cluster.regions);
    split(cluster, orders, keys, deadline_ns).await
}

/// Splits the cluster into the plan's regions. An answer may be late where a plan makes everything slow, and says nothing
/// then of what has come about: what counts is whether the regions are there, so it is looked, and asked for the rest.
async fn split(cluster: &Cluster, orders: &Orders, keys: Vec<Bytes>, deadline_ns: u64) -> Result<(), Failure> {
    let mut keys = keys;
    while !keys.is_empty() {
        let asked = orders.carry_out(Order::Split { keys: keys.clone() }).await;
        settle(cluster, deadline_ns).await.map_err(|missing| unbooted(&missing))?;
        let Err(cause) = asked else { return Ok(()) };
        if cluster.room().true_ns() >= deadline_ns {
            return Err(unbooted(&[cause]));
        }
        cluster.room().sleep(LOOK).await;
        let starts = cluster.witness().with_rest(|rest| rest.regions());
        keys.retain(|key| !starts.iter().any(|region| region.start == *key));
    }
    settle(cluster, deadline_ns).await.map_err(|missing| unbooted(&missing))
}

fn unbooted(missing: &[String]) -> Failure {
    Failure {
        class: Class::Harness,
        check: "boot",
        detail: format!("the cluster did not boot: {}", missing.join("; ")),
    }
}

/// How many voters each region can have.
fn voters(cluster: &Cluster) -> u64 {
    cluster.plan().knobs.get(knobs::PD_REPLICAS).min(cluster.living_stores())
}

/// Waits until nothing is missing for rest; what is, when the time is up.
async fn settle(cluster: &Cluster, deadline_ns: u64) -> Result<(), Vec<String>> {
    loop {
        let missing = cluster.witness().with_rest(|rest| rest.missing(Some(voters(cluster))));
        if missing.is_empty() {
            return Ok(());
        }
        if cluster.room().true_ns() >= deadline_ns {
            return Err(missing);
        }
        cluster.room().sleep(LOOK).await;
    }
}

/// Waits for rest, then has every replica hashed and every key read.
async fn converge(cluster: &Arc<Cluster>, orders: &Orders) {
    let (room, witness) = (cluster.room(), cluster.witness());
    let operator = cluster.id(OPERATOR);
    witness.room(operator, 0, RoomEvent::ConvergeStarted {});
    let deadline_ns = room.true_ns() + cluster.plan().converge_within.0;
    let mut reasons = Vec::new();
    if let Err(missing) = settle(cluster, deadline_ns).await {
        reasons = missing;
    } else {
        let limit = Duration::from_nanos(deadline_ns.saturating_sub(room.true_ns()));
        let waits = Unanswered::default();
        let order = Order::Probe { waits: waits.clone() };
        let (timer, probe) = (std::pin::pin!(room.sleep(limit)), std::pin::pin!(orders.carry_out(order)));
        match select(probe, timer).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(cause), _)) => reasons.push(format!("no progress: {cause}")),
            Either::Right(_) => reasons.push(unanswered(&waits)),
        }
        if reasons.is_empty()
            && let Err(missing) = settle(cluster, deadline_ns).await
        {
            reasons = missing;
        }
    }
    let calm = reasons.is_empty();
    let reasons = reasons.into_iter().map(Into::into).collect();
    witness.room(operator, 0, RoomEvent::ConvergeEnded { reasons });
    if calm {
        rest(cluster, deadline_ns).await;
    }
}

/// What the cluster did not answer, the first of it by name.
fn unanswered(waits: &Unanswered) -> String {
    let waits = waits.lock();
    let named: Vec<&str> = waits.iter().take(NAMED).map(String::as_str).collect();
    let more = if waits.len() > NAMED { format!(" and {} more", waits.len() - NAMED) } else { String::new() };
    format!("no progress: the cluster does not answer for {}{more}", named.join(", "))
}

/// Leaves the cluster alone, and says that it is at rest once nothing has happened meanwhile that is not over: the placement
/// driver may still be evening the load out. A snapshot that is under way is waited for; what is left of one that is not
/// shows when the time is up.
async fn rest(cluster: &Cluster, deadline_ns: u64) {
    let (room, witness) = (cluster.room(), cluster.witness());
    loop {
        room.sleep(QUIET).await;
        if witness.with_rest(|rest| rest.has_snapshots_under_way()) && room.true_ns() < deadline_ns {
            continue;
        }
        if witness.with_rest(|rest| rest.missing(Some(voters(cluster)))).is_empty() {
            witness.room(cluster.id(OPERATOR), 0, RoomEvent::AtRest {});
            return;
        }
        if settle(cluster, deadline_ns).await.is_err() {
            return;
        }
    }
}
