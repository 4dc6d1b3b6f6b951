//! What happened in a campaign, and what did not: a table for people, an object for machines.

use scenarios::{verdict::Class, witness::Asked};
use serde_json::json;

use crate::campaign::honesty::{
    Totals,
    gaps::{Gap, RUNS_MIN},
};

/// So many names stand in one line of what was never reached.
const NAMED: usize = 12;

/// For people.
pub fn table(totals: &Totals, gaps: &[Gap]) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<22} {value}\n"));
    let classes = Class::ALL.iter().map(|class| (class, totals.count(*class))).filter(|(_, count)| *count > 0);
    let classes: Vec<String> = classes.map(|(class, count)| format!("{count} {class}")).collect();
    row("seeds", format!("{}: {}", totals.runs, classes.join(", ")));
    row("compared twice", format!("{}, besides every failure", totals.twice));
    row("steps", totals.steps.to_string());
    row("operations committed", totals.operations.to_string());
    row("simulated", format!("{}s", totals.simulated_ns / 1_000_000_000));
    let listed = |counts: &mut dyn Iterator<Item = (&String, &u64)>| {
        let listed: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
        if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
    };
    // Steps and failpoints are counted among the faults that took effect, too.
    let is_of_room = |name: &str| !totals.steps_done.contains_key(name) && !totals.points_fired.contains_key(name);
    row("steps done", listed(&mut totals.steps_done.iter()));
    row("faults of the machine", listed(&mut totals.faults.iter().filter(|(name, _)| is_of_room(name))));
    row("failpoints fired", listed(&mut totals.points_fired.iter()));
    row("failpoints passed", format!("{} of {}", totals.points_reached.len(), sites()));
    let asked = |(kind, asked): (&String, &Asked)| format!("{kind} {}/{}", asked.succeeded, asked.asked);
    let asked: Vec<String> = totals.operations_by_kind.iter().map(asked).collect();
    row("came about, of asked", if asked.is_empty() { "nothing".to_owned() } else { asked.join(", ") });
    row("facts stated", format!("{} kinds", totals.facts.len()));
    row("checks that judged", format!("{} of {}", totals.checks.len(), scenarios::check::list().len()));
    if let Some(chance) = totals.states.chance_of_new(totals.runs) {
        let distinct = totals.states.distinct();
        row(
            "abstract states",
            format!("{distinct} distinct; the next seed shows a new one with {:.1} %", chance * 100.0),
        );
    }
    for name in totals.unarmed() {
        row("unarmed", format!("{name}: too few runs reached their trigger to prove anything"));
    }
    text.push_str(&unreached(totals, gaps));
    text
}

/// How many sites of failpoints there are.
fn sites() -> usize {
    scenarios::registry::vocabulary().sites.len()
}

fn unreached(totals: &Totals, gaps: &[Gap]) -> String {
    let mut text = String::new();
    for what in ["step", "fault", "knob", "failpoint", "check", "operation"] {
        let of_kind = || gaps.iter().filter(|gap| gap.what == what);
        let silent: Vec<&str> = of_kind().filter(|gap| gap.reason.is_none()).map(|gap| gap.name.as_str()).collect();
        if !silent.is_empty() {
            let more = silent.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = silent[..silent.len().min(NAMED)].join(", ");
            let label = format!("never: {what}");
            text.push_str(&format!("{label:<22} {} without a reason: {named}{more}\n", silent.len()));
        }
        let mut by_reason = std::collections::BTreeMap::<&str, Vec<&str>>::new();
        for gap in of_kind() {
            if let Some(reason) = gap.reason {
                by_reason.entry(reason).or_default().push(&gap.name);
            }
        }
        for (reason, names) in by_reason {
            let label = format!("left out: {what}");
            text.push_str(&format!("{label:<22} {}: {reason}\n", names.join(", ")));
        }
    }
    let holes: Vec<&str> = gaps.iter().filter(|gap| gap.is_hole()).map(|gap| gap.name.as_str()).collect();
    if !holes.is_empty() {
        text.push_str(&match totals.runs >= RUNS_MIN {
            true => format!(
                "the campaign failed: in {} runs nothing of this ever happened, and nobody says why: {}\n",
                totals.runs,
                holes.join(", ")
            ),
            false => format!("fewer than {RUNS_MIN} runs: what never happened may be chance\n"),
        });
    }
    text
}

/// For machines.
pub fn as_json(totals: &Totals, gaps: &[Gap]) -> serde_json::Value {
    json!({
        "seeds": totals.runs,
        "twice": totals.twice,
        "classes": totals.classes,
        "steps": totals.steps,
        "events": totals.events,
        "operations_committed": totals.operations,
        "simulated_ns": totals.simulated_ns,
        "faults_fired": totals.faults,
        "steps_planned": totals.steps_planned,
        "steps_done": totals.steps_done,
        "points_reached": totals.points_reached,
        "points_fired": totals.points_fired,
        "facts": totals.facts,
        "operations_by_kind": totals.operations_by_kind,
        "knobs_set": totals.knobs,
        "checks_reached": totals.checks,
        "unarmed": totals.unarmed().collect::<Vec<_>>(),
        "states": {
            "distinct": totals.states.distinct(),
            "chance_of_new": totals.states.chance_of_new(totals.runs),
        },
        "never": gaps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_happened_and_what_never_did() {
        let mut totals = Totals { runs: RUNS_MIN, ..Totals::default() };
        totals.faults = [("bounce".to_owned(), 3), ("disk-read".to_owned(), 2)].into();
        totals.steps_done = [("bounce".to_owned(), 3)].into();
        let hole = Gap { what: "knob", name: "some.knob".to_owned(), reason: None };
        let left = Gap { what: "step", name: "some-step".to_owned(), reason: Some("too loud") };
        let text = table(&totals, &[hole, left]);
        for line in [
            "steps done             bounce 3\n",
            "faults of the machine  disk-read 2\n",
            "never: knob            1 without a reason: some.knob\n",
            "left out: step         some-step: too loud\n",
            "the campaign failed: in 200 runs nothing of this ever happened, and nobody says why: some.knob\n",
        ] {
            assert!(text.contains(line), "`{line}` should stand in:\n{text}");
        }
    }
}
