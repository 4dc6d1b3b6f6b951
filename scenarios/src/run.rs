//! Plan to outcome: what one run gives back.
//!
//! An outcome is a value that crosses a process border as JSON. It holds no time of the machine and no path, so that
//! two outcomes of one plan are equal.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{plan::Plan, verdict::Verdict};

/// What does not belong to the plan: how it is watched. Nothing here may change a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Checks that are left out, by name.
    pub without_checks: Vec<String>,
    /// Leaves all checks out, to measure what they cost.
    pub without_any_check: bool,
    /// What nodes log goes to standard error from this level on, in `tracing`'s filter language.
    pub log: Option<String>,
    /// Where the whole trace is written, one JSON event a line.
    pub record: Option<PathBuf>,
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
        }
    }

    /// Whether every trigger of the plan was reached.
    pub fn is_armed(&self) -> bool {
        self.triggers.iter().all(|trigger| trigger.count > 0)
    }
}

/// Runs a plan. The calling thread waits; the run has a thread of its own.
pub fn run(plan: &Plan, _options: &RunOptions) -> Outcome {
    Outcome::harness("runner", format!("this build has no machine room to run `{}` in", plan.scenario))
}
