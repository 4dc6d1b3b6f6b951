//! One run as machines are told of it: what JUnit files, annotations and summaries are made of.
//!
//! Not here: how each of them writes it.

use scenarios::{plan::Plan, run::Outcome, verdict::Class};

use super::failure;

/// A run, or one failure of many runs that were alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The scenario.
    pub suite: String,
    /// The seed, and what was drawn.
    pub name: String,
    /// What it came to.
    pub class: Class,
    /// By which failures are sorted; empty for a pass.
    pub fingerprint: String,
    /// The first line of what the check says, and the place; empty for a pass.
    pub headline: String,
    /// Everything about a failure; empty for a pass.
    pub text: String,
    /// Lines to paste; empty for a pass.
    pub paste: String,
}

impl Case {
    /// A run that nothing has to be said about.
    pub fn quiet(plan: &Plan, class: Class) -> Self {
        let mut name = format!("seed {}", plan.seed);
        if let Some(history) = &plan.history {
            name.push_str(&format!(", history {history}"));
        }
        if !plan.defects.is_empty() {
            name.push_str(&format!(", with {}", plan.defects.join(", ")));
        }
        let (suite, empty) = (plan.scenario.clone(), String::new);
        Self { suite, name, class, fingerprint: empty(), headline: empty(), text: empty(), paste: empty() }
    }

    /// A failure, with lines to paste.
    pub fn failed(plan: &Plan, outcome: &Outcome, stderr: &str, paste: String) -> Self {
        let verdict = &outcome.verdict;
        let detail = verdict.detail.lines().next().unwrap_or_default();
        Self {
            fingerprint: verdict.fingerprint.clone(),
            headline: format!("{}: {detail}", verdict.check),
            text: failure::report(plan, outcome, stderr),
            paste,
            ..Self::quiet(plan, verdict.class)
        }
    }

    /// Whether the run is to be shown as one that failed.
    pub fn is_failure(&self) -> bool {
        self.class.is_violation() || matches!(self.class, Class::Harness | Class::Inconclusive)
    }
}
