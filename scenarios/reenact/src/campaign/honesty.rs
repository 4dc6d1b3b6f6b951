//! What happened in a campaign, in numbers that add up: over runs, over shards, over an interruption.
//!
//! Silence is not evidence: what was never reached is named, and what nobody expects to be reached has its reason. A state
//! of the world counts as new in the seed that shows it first, and how many seeds show something of their own says how
//! likely the next one is to.
//!
//! | file | what it holds |
//! |---|---|
//! | `states` | the distinct abstract states, and the estimate |
//! | `gaps` | what was never reached, and why that may be so |
//!
//! Not here: how it is shown.

pub mod gaps;
pub mod states;

use std::collections::{BTreeMap, BTreeSet};

use scenarios::{
    plan::Plan,
    run::{Outcome, RunStats},
    verdict::Class,
    witness::Asked,
};
use serde::{Deserialize, Serialize};

use self::states::States;

/// One run of a campaign, as its journal keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The seed of its plan.
    pub seed: u64,
    /// What it came to.
    pub class: Class,
    /// By which failures are sorted; empty for a pass.
    pub fingerprint: String,
    /// The scenario, and the history that it was drawn for.
    pub drawn_for: (String, String),
    /// Whether it was run in two processes although it did not fail.
    pub is_twice: bool,
    /// The kinds of step in the plan.
    pub steps: BTreeSet<String>,
    /// What happened.
    pub stats: RunStats,
}

impl Ran {
    /// A run of this plan.
    pub fn new(plan: &Plan, outcome: &Outcome, is_twice: bool) -> Self {
        let verdict = &outcome.verdict;
        Self {
            seed: plan.seed,
            class: verdict.class,
            fingerprint: verdict.fingerprint.clone(),
            drawn_for: (plan.scenario.clone(), plan.history.clone().unwrap_or_default()),
            is_twice,
            steps: plan.steps.iter().map(|step| step.action.kind().to_owned()).collect(),
            stats: outcome.stats.clone(),
        }
    }

    /// The fingerprint under which it is kept, if it is.
    pub fn failure(&self) -> Option<&str> {
        is_kept(self.class).then_some(&self.fingerprint)
    }
}

/// Whether runs of this class are kept in a corpus.
pub fn is_kept(class: Class) -> bool {
    !matches!(class, Class::Pass | Class::Unarmed)
}

/// What all runs add up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// How many runs there were.
    pub runs: u64,
    /// How many of them were run in two processes although they did not fail.
    pub twice: u64,
    /// How many came to each class.
    pub classes: BTreeMap<String, u64>,
    /// Steps of all traces.
    pub steps: u64,
    /// Events that checks saw.
    pub events: u64,
    /// Client operations that were acknowledged.
    pub operations: u64,
    /// Simulated time in nanoseconds.
    pub simulated_ns: u64,
    /// How often each kind of fault took effect.
    pub faults: BTreeMap<String, u64>,
    /// In how many plans each kind of step stood.
    pub steps_planned: BTreeMap<String, u64>,
    /// How often each kind of step was done.
    pub steps_done: BTreeMap<String, u64>,
    /// How often each site of a failpoint was passed.
    pub points_reached: BTreeMap<String, u64>,
    /// How often each site fired.
    pub points_fired: BTreeMap<String, u64>,
    /// How often each fact was stated.
    pub facts: BTreeMap<String, u64>,
    /// What clients and the operator asked for, by kind, and how often it came about.
    pub operations_by_kind: BTreeMap<String, Asked>,
    /// In how many plans each knob was set.
    pub knobs: BTreeMap<String, u64>,
    /// In how many runs each check judged something.
    pub checks: BTreeMap<String, u64>,
    /// Of each scenario and history, how many runs were drawn, and how many of these were unarmed.
    pub drawn: BTreeMap<String, (u64, u64)>,
    /// The distinct abstract states.
    pub states: States,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, ran: &Ran) {
        let stats = &ran.stats;
        self.runs += 1;
        self.twice += u64::from(ran.is_twice);
        *self.classes.entry(ran.class.as_str().to_owned()).or_default() += 1;
        self.steps += stats.steps;
        self.events += stats.events;
        self.operations += stats.operations_committed;
        self.simulated_ns += stats.simulated_ns;
        sum(&mut self.faults, &stats.faults_fired);
        count(&mut self.steps_planned, &ran.steps);
        count(&mut self.knobs, &stats.knobs_set);
        let coverage = &stats.coverage;
        sum(&mut self.steps_done, &coverage.steps_done);
        sum(&mut self.points_reached, &coverage.points_reached);
        sum(&mut self.points_fired, &coverage.points_fired);
        sum(&mut self.facts, &coverage.facts);
        sum_asked(&mut self.operations_by_kind, &coverage.operations_by_kind);
        self.states.add(ran.seed, coverage.states.iter().copied());
        count(&mut self.checks, &stats.checks_reached);
        let (scenario, history) = &ran.drawn_for;
        let drawn_for = if history.is_empty() { scenario.clone() } else { format!("{scenario} {history}") };
        let (drawn, unarmed) = self.drawn.entry(drawn_for).or_default();
        *drawn += 1;
        *unarmed += u64::from(ran.class == Class::Unarmed);
    }

    /// Adds what another shard has done.
    pub fn merge(&mut self, other: &Totals) {
        self.runs += other.runs;
        self.twice += other.twice;
        self.steps += other.steps;
        self.events += other.events;
        self.operations += other.operations;
        self.simulated_ns += other.simulated_ns;
        sum(&mut self.classes, &other.classes);
        sum(&mut self.faults, &other.faults);
        sum(&mut self.steps_planned, &other.steps_planned);
        sum(&mut self.steps_done, &other.steps_done);
        sum(&mut self.points_reached, &other.points_reached);
        sum(&mut self.points_fired, &other.points_fired);
        sum(&mut self.facts, &other.facts);
        sum_asked(&mut self.operations_by_kind, &other.operations_by_kind);
        sum(&mut self.knobs, &other.knobs);
        sum(&mut self.checks, &other.checks);
        for (drawn_for, (drawn, unarmed)) in &other.drawn {
            let known = self.drawn.entry(drawn_for.clone()).or_default();
            *known = (known.0 + drawn, known.1 + unarmed);
        }
        self.states.merge(&other.states);
    }

    /// How many runs came to this class.
    pub fn count(&self, class: Class) -> u64 {
        self.classes.get(class.as_str()).copied().unwrap_or(0)
    }

    /// Scenarios and histories of whose runs too few were armed to prove anything: more than a fifth were not, where
    /// one of several is forgiven.
    pub fn unarmed(&self) -> impl Iterator<Item = &str> {
        let is_unarmed = |drawn: u64, unarmed: u64| unarmed * 5 > drawn && (unarmed > 1 || drawn == 1);
        self.drawn
            .iter()
            .filter(move |(_, (drawn, unarmed))| is_unarmed(*drawn, *unarmed))
            .map(|(name, _)| name.as_str())
    }
}

fn sum(totals: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *totals.entry(name.clone()).or_default() += count;
    }
}

fn sum_asked(totals: &mut BTreeMap<String, Asked>, more: &BTreeMap<String, Asked>) {
    for (kind, asked) in more {
        let total = totals.entry(kind.clone()).or_default();
        total.asked += asked.asked;
        total.succeeded += asked.succeeded;
    }
}

fn count<'a>(totals: &mut BTreeMap<String, u64>, names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        *totals.entry(name.clone()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(seed: u64, class: Class) -> Ran {
        let stats = RunStats { steps: 10, faults_fired: [("bounce".to_owned(), seed)].into(), ..RunStats::default() };
        let drawn_for = ("s".to_owned(), "h".to_owned());
        Ran { seed, class, fingerprint: String::new(), drawn_for, is_twice: false, steps: BTreeSet::new(), stats }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (mut whole, mut one, mut two) = (Totals::default(), Totals::default(), Totals::default());
        for seed in 1..=10 {
            let ran = ran(seed, if seed == 7 { Class::Unarmed } else { Class::Pass });
            whole.add(&ran);
            if seed % 2 == 0 { one.add(&ran) } else { two.add(&ran) }
        }
        one.merge(&two);
        assert_eq!(one, whole);
        assert_eq!((whole.runs, whole.steps, whole.faults["bounce"]), (10, 100, 55));
        let text = serde_json::to_string(&whole).expect("plain values");
        assert_eq!(serde_json::from_str::<Totals>(&text).expect("what was written"), whole);
    }

    #[test]
    fn too_many_unarmed_runs_prove_nothing_and_failed_ones_are_not_unarmed() {
        let of = |classes: &[Class]| {
            let mut totals = Totals::default();
            (1..).zip(classes).for_each(|(seed, class)| totals.add(&ran(seed, *class)));
            totals.unarmed().next().map(str::to_owned)
        };
        assert_eq!(of(&[Class::Unarmed]).as_deref(), Some("s h"));
        assert_eq!(of(&[Class::Unarmed, Class::Pass]), None);
        assert_eq!(of(&[Class::Unarmed, Class::Unarmed, Class::Pass]).as_deref(), Some("s h"));
        assert_eq!(of(&[Class::Harness, Class::Safety, Class::Harness]), None);
    }
}
