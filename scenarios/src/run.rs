//! Plan to outcome: boots a cluster, lets the plan happen, heals, waits for rest, and says what came of it.
//!
//! An outcome is a value that crosses a process border as JSON. It holds no time of the machine and no path, so that
//! two outcomes of one plan are equal.

mod log;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sim::Seed;

use crate::{
    check::Checks,
    cluster::Cluster,
    event::Header,
    plan::{Plan, When},
    room::{self, End, World},
    trigger::Triggers,
    verdict::{Class, Verdict},
    witness::{Arm, Coverage, Testimony, Witness},
};

/// What does not belong to the plan: how it is watched. Nothing here may change a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Checks that are left out, by name.
    pub without_checks: Vec<String>,
    /// Leaves all checks out, to measure what they cost.
    pub without_any_check: bool,
    /// What nodes log goes to standard error from this level on, in `tracing`'s filter language.
    pub log: Option<String>,
    /// Where the whole trace is written: frames, disk calls, timers, facts, one a line.
    pub record: Option<PathBuf>,
    /// Where the history is written that checks judge, one JSON event a line.
    pub events: Option<PathBuf>,
}

/// How often a trigger of the plan was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerCount {
    /// The fact.
    pub fact: String,
    /// How often it was stated.
    pub count: u64,
}

/// What happened in a run, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStats {
    /// Steps of the trace.
    pub steps: u64,
    /// Events that checks saw.
    pub events: u64,
    /// Checks that judged at least one event.
    pub checks_reached: Vec<String>,
    /// Client operations that were acknowledged.
    pub operations_committed: u64,
    /// How often each kind of fault took effect.
    pub faults_fired: BTreeMap<String, u64>,
    /// Simulated time from first to last step, in nanoseconds.
    pub simulated_ns: u64,
    /// What was reached.
    #[serde(default, flatten)]
    pub coverage: Coverage,
    /// The knobs that the plan sets.
    #[serde(default)]
    pub knobs_set: BTreeSet<String>,
}

/// What a run gives back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What it came to.
    pub verdict: Verdict,
    /// How often each trigger of the plan was reached, in the plan's order.
    pub triggers: Vec<TriggerCount>,
    /// What happened, in numbers.
    pub stats: RunStats,
    /// The rolling hash of the whole trace.
    #[serde(with = "crate::verdict::hex")]
    pub trace_hash: u64,
    /// The last events of the trace, for people.
    pub last_events: Vec<String>,
    /// What happened since clients began, in a few lines for people; empty where nobody was accused.
    #[serde(default)]
    pub chronicle: Vec<String>,
}

impl Outcome {
    /// An outcome of a run that never began.
    pub fn harness(check: &str, detail: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::harness(check, detail),
            triggers: Vec::new(),
            stats: RunStats::default(),
            trace_hash: 0,
            last_events: Vec::new(),
            chronicle: Vec::new(),
        }
    }

    /// Whether every trigger of the plan was reached.
    pub fn is_armed(&self) -> bool {
        self.triggers.iter().all(|trigger| trigger.count > 0)
    }
}

/// Whether this can be a [`RunOptions::log`]; if not, why.
pub fn check_log(filter: &str) -> Result<(), String> {
    log::Log::new(filter).map(drop)
}

/// Lets raft-rs draw its election timeouts from the kernel, in this whole process: a leak that two processes differ by.
///
/// Only for tests of the comparison of traces; call it before the first run.
pub fn leak_entropy() {
    crate::room::leak_entropy();
}

/// Runs a plan. The calling thread waits; the run has a thread of its own.
pub fn run(plan: &Plan, options: &RunOptions) -> Outcome {
    let plan = Arc::new(plan.clone());
    let header = Cluster::header(&plan);
    let checks = if options.without_any_check {
        Ok(Checks::none(header.clone()))
    } else {
        Checks::without(header.clone(), &options.without_checks)
    };
    let checks = match checks {
        Ok(checks) => checks,
        Err(error) => return Outcome::harness("runner", error.to_string()),
    };
    let (triggers, arms) = (Triggers::new(&plan.trigger), arms(&plan, &header));
    let witness = Witness::new(&header, checks, triggers, arms, options.events.is_some(), options.record.is_some());
    let world = World::new(Seed::new(plan.seed)).time_limit(time_limit(&plan)).observer(witness.clone());
    let world = if options.record.is_some() { world.record() } else { world };
    let (told, hearing) = (plan.clone(), witness.clone());
    let log = match options.log.as_deref().map(log::Log::new).transpose() {
        Ok(log) => log,
        Err(error) => return Outcome::harness("log", error),
    };
    let ended = world.run(move |room| {
        let listening = log.map(|log| log.listen(&room));
        async move {
            let told = story::tell(room, told, hearing).await;
            drop(listening);
            told
        }
    });
    if matches!(ended.end, End::Finished(Ok(()))) {
        witness.finish();
    }
    let testimony = witness.testimony();
    let lines = ended.trace.lines().map(|lines| lines.join("\n") + "\n");
    let written = write(options.record.as_deref(), lines.as_deref().map(str::as_bytes))
        .and_then(|()| write(options.events.as_deref(), testimony.record.as_deref()));
    match written {
        Ok(()) => conclude(&plan, ended, testimony),
        Err(error) => Outcome::harness("record", error),
    }
}

/// The steps that wait for a fact.
fn arms(plan: &Plan, header: &Header) -> Vec<Arm> {
    let number = |name: &str| header.nodes.iter().position(|node| node == name).map(|number| number as u16);
    let arm = |(position, step): (usize, &crate::plan::Step)| match &step.when {
        When::On(on) => Some(Arm::new(position, on.clone(), on.node.as_ref().and_then(|node| number(node.as_str())))),
        When::At(_) | When::After { .. } => None,
    };
    plan.steps.iter().enumerate().filter_map(arm).collect()
}

/// Chaos and convergence have bounds of their own; a run that outlasts them threefold hangs.
fn time_limit(plan: &Plan) -> Duration {
    let waits = plan.steps.iter().map(|step| match &step.when {
        When::At(at) => at.duration(),
        When::After { wait, .. } => wait.duration(),
        When::On(on) => on.within.duration(),
    });
    3 * (story::BOOT_LIMIT
        + plan.workload.lasting.duration()
        + plan.converge_within.duration()
        + waits.sum::<Duration>())
}

#[expect(clippy::disallowed_methods, reason = "the run is over: its record goes to the real disk")]
fn write(path: Option<&Path>, bytes: Option<&[u8]>) -> Result<(), String> {
    match (path, bytes) {
        (Some(path), Some(bytes)) => {
            std::fs::write(path, bytes).map_err(|error| format!("{} cannot be written: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn conclude(plan: &Plan, ended: room::Outcome<Result<(), story::Failure>>, testimony: Testimony) -> Outcome {
    let (steps, trace) = (ended.trace.steps, ended.trace.hash);
    let simulated_ns = u64::try_from(ended.simulated.as_nanos()).unwrap_or(u64::MAX);
    let unarmed = testimony.triggers.iter().find(|(_, count)| *count == 0).map(|(name, _)| name.clone());
    let other = |class, check: &str, detail: String| Verdict::new(class, check, detail, steps, simulated_ns, trace);
    let verdict = match (testimony.accusation, ended.end) {
        (Some(accusation), _) => {
            let violation = &accusation.violation;
            let detail = format!("{}: {}", violation.headline(), violation.detail);
            Verdict {
                class: violation.class,
                check: violation.check.clone(),
                detail,
                fingerprint: violation.fingerprint(),
                step: accusation.step,
                time_ns: accusation.time_ns,
                trace,
            }
        }
        (None, End::Panicked { message, location, .. }) => {
            other(Class::Harness, "run-panics", format!("outside of any process: {message} at {location}"))
        }
        (None, End::DeadEnd) => {
            other(Class::Harness, "dead-end", "every task waits, and nothing will happen".to_owned())
        }
        (None, End::TimeLimit) => {
            other(Class::Harness, "time-limit", "the run outlasted every bound of its own".to_owned())
        }
        (None, End::Finished(Err(failure))) => other(failure.class, failure.check, failure.detail),
        (None, End::Finished(Ok(()))) => match unarmed {
            Some(name) => other(Class::Unarmed, "triggers-reached", format!("`{name}` never came about")),
            None => Verdict::pass(steps, simulated_ns, trace),
        },
    };
    Outcome {
        verdict,
        triggers: testimony.triggers.into_iter().map(|(fact, count)| TriggerCount { fact, count }).collect(),
        stats: RunStats {
            steps,
            events: testimony.events,
            checks_reached: testimony.checks_reached,
            operations_committed: testimony.operations,
            faults_fired: testimony.faults,
            simulated_ns,
            coverage: testimony.coverage,
            knobs_set: plan.knobs.iter().map(|(name, _)| name.to_owned()).collect(),
        },
        trace_hash: trace,
        last_events: testimony.last_events,
        chronicle: testimony.chronicle,
    }
}
