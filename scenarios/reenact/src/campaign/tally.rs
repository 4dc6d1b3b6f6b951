//! What many runs add up to: per scenario and per history, how many were drawn, armed, and what happened in them.
//!
//! Silence is not evidence: a history whose runs do not reach its trigger has proved nothing, and the tally says so.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::{plan::Plan, run::Outcome, verdict::Class};
use serde::Serialize;

use crate::exit;

/// All runs of a campaign so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// By scenario and history; runs that were drawn for none have the history "".
    pub rows: BTreeMap<(String, String), Row>,
}

/// Runs of one scenario, drawn for one history.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// How many ran.
    pub drawn: u64,
    /// How many reached every trigger.
    pub armed: u64,
    /// How many came to each class.
    pub classes: BTreeMap<&'static str, u64>,
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
    /// Checks that judged something.
    pub checks: BTreeSet<String>,
}

impl Row {
    fn count(&self, class: Class) -> u64 {
        self.classes.get(class.as_str()).copied().unwrap_or(0)
    }

    /// Whether too many runs were unarmed: more than a fifth, where one is forgiven, unless it was all that was asked for.
    fn is_unarmed(&self, is_all: bool) -> bool {
        let unarmed = self.count(Class::Unarmed);
        unarmed * 5 > self.drawn && (unarmed > 1 || is_all)
    }
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        let key = (plan.scenario.clone(), plan.history.clone().unwrap_or_default());
        let (row, stats) = (self.rows.entry(key).or_default(), &outcome.stats);
        row.drawn += 1;
        row.armed += u64::from(outcome.is_armed() && !matches!(outcome.verdict.class, Class::Unarmed | Class::Harness));
        *row.classes.entry(outcome.verdict.class.as_str()).or_default() += 1;
        row.steps += stats.steps;
        row.events += stats.events;
        row.operations += stats.operations_committed;
        row.simulated_ns += stats.simulated_ns;
        for (kind, count) in &stats.faults_fired {
            *row.faults.entry(kind.clone()).or_default() += count;
        }
        row.checks.extend(stats.checks_reached.iter().cloned());
    }

    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.rows.values().map(|row| row.drawn).sum()
    }

    /// How many runs came to this class.
    pub fn count(&self, class: Class) -> u64 {
        self.rows.values().map(|row| row.count(class)).sum()
    }

    /// The rows whose triggers were reached too seldom to prove anything.
    pub fn unarmed(&self) -> impl Iterator<Item = &(String, String)> {
        let is_all = self.runs() == 1;
        self.rows.iter().filter(move |(_, row)| row.is_unarmed(is_all)).map(|(key, _)| key)
    }

    /// The exit status that the runs amount to.
    pub fn status(&self) -> u8 {
        if self.runs() == 0 {
            exit::NOTHING
        } else if self.count(Class::Inconclusive) + self.count(Class::Harness) > 0 || self.unarmed().next().is_some() {
            exit::VOID
        } else if Class::ALL.iter().any(|class| class.is_violation() && self.count(*class) > 0) {
            exit::VIOLATION
        } else {
            exit::PASSED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(classes: &[(Class, u64)]) -> Tally {
        let mut tally = Tally::default();
        let row = tally.rows.entry(("s".to_owned(), "h".to_owned())).or_default();
        for (class, count) in classes {
            row.classes.insert(class.as_str(), *count);
            row.drawn += count;
        }
        tally
    }

    #[test]
    fn nothing_proved_goes_before_a_violation() {
        assert_eq!(Tally::default().status(), exit::NOTHING);
        assert_eq!(tally(&[(Class::Pass, 3)]).status(), exit::PASSED);
        assert_eq!(tally(&[(Class::Pass, 3), (Class::Crash, 1)]).status(), exit::VIOLATION);
        assert_eq!(tally(&[(Class::Safety, 3), (Class::Harness, 1)]).status(), exit::VOID);
        assert_eq!(tally(&[(Class::Safety, 3), (Class::Inconclusive, 1)]).status(), exit::VOID);
    }

    #[test]
    fn a_history_is_unarmed_when_a_fifth_of_its_runs_are_not_enough() {
        assert_eq!(tally(&[(Class::Unarmed, 1)]).status(), exit::VOID);
        assert_eq!(tally(&[(Class::Unarmed, 1), (Class::Pass, 1)]).status(), exit::PASSED);
        assert_eq!(tally(&[(Class::Unarmed, 2), (Class::Pass, 8)]).status(), exit::PASSED);
        assert_eq!(tally(&[(Class::Unarmed, 3), (Class::Pass, 7)]).status(), exit::VOID);
    }

    #[test]
    fn one_unarmed_run_of_a_campaign_is_forgiven() {
        let mut two = tally(&[(Class::Unarmed, 1)]);
        two.rows.extend([(("s".to_owned(), "other".to_owned()), Row { drawn: 1, armed: 1, ..Row::default() })]);
        assert_eq!(two.status(), exit::PASSED);
    }
}
