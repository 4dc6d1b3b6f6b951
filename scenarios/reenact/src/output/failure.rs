//! The text of a failure: what was broken, the last events, and lines to paste.

use scenarios::{plan::Plan, run::Outcome};

use crate::campaign::keep::Kept;

/// What is shown of a worker's standard error.
const STDERR_LINES: usize = 20;

/// A failure in full, without lines to paste.
pub fn report(plan: &Plan, outcome: &Outcome, stderr: &str) -> String {
    let verdict = &outcome.verdict;
    let mut text = format!("{}: {} seed {}", verdict.class, plan.scenario, plan.seed);
    if let Some(history) = &plan.history {
        text.push_str(&format!(", history {history}"));
    }
    if !plan.defects.is_empty() {
        text.push_str(&format!(", with {}", plan.defects.join(", ")));
    }
    text.push_str(&format!("\n  check:       {}\n", verdict.check));
    for (i, line) in verdict.detail.lines().enumerate() {
        text.push_str(&format!("  {:<12} {line}\n", if i == 0 { "detail:" } else { "" }));
    }
    text.push_str(&format!("  fingerprint: {}\n", verdict.fingerprint));
    let seconds = scenarios::plan::Nanos(verdict.time_ns);
    text.push_str(&format!("  at:          step {}, {seconds}, trace {:016x}\n", verdict.step, verdict.trace));
    for trigger in &outcome.triggers {
        text.push_str(&format!("  trigger:     {} {} times\n", trigger.fact, trigger.count));
    }
    if !outcome.chronicle.is_empty() {
        text.push_str("  what happened since clients began:\n");
        for line in &outcome.chronicle {
            text.push_str(&format!("    {line}\n"));
        }
    }
    if !outcome.last_events.is_empty() {
        text.push_str(&format!("  last {} events:\n", outcome.last_events.len()));
        for event in &outcome.last_events {
            text.push_str(&format!("    {event}\n"));
        }
    }
    let lines: Vec<&str> = stderr.lines().collect();
    if !lines.is_empty() {
        text.push_str("  the worker's standard error ends with:\n");
        for line in &lines[lines.len().saturating_sub(STDERR_LINES)..] {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// The lines to paste.
pub fn lines_to_paste(kept: &Kept) -> String {
    let (plan, report) = (kept.plan.display(), kept.report.display());
    format!("Reproduce: cargo reenact replay {plan}\nShrink:    cargo reenact shrink {plan}\nReport:    {report}\n")
}
