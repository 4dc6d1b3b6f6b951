//! Tables: of what a campaign added up to, and of registries.

use comfy_table::{CellAlignment, Table, presets};
use scenarios::verdict::Class;

use crate::campaign::tally::Tally;

/// The rows of a tally, with its totals.
pub fn tally(tally: &Tally) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "scenario",
        "history",
        "drawn",
        "armed",
        "share",
        "failed",
        "steps",
        "operations",
        "faults",
        "simulated",
    ]);
    for column in 2..10 {
        table.column_mut(column).expect("the header has ten columns").set_cell_alignment(CellAlignment::Right);
    }
    for ((scenario, history), row) in &tally.rows {
        let failed: u64 = Class::ALL
            .iter()
            .filter(|class| class.is_violation())
            .map(|class| row.classes.get(class.as_str()).copied().unwrap_or(0))
            .sum();
        table.add_row([
            scenario.clone(),
            if history.is_empty() { "-".to_owned() } else { history.clone() },
            row.drawn.to_string(),
            row.armed.to_string(),
            format!("{}%", row.armed * 100 / row.drawn.max(1)),
            failed.to_string(),
            row.steps.to_string(),
            row.operations.to_string(),
            row.faults.values().sum::<u64>().to_string(),
            format!("{}s", row.simulated_ns / 1_000_000_000),
        ]);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    let mut faults = std::collections::BTreeMap::<&str, u64>::new();
    for (kind, count) in tally.rows.values().flat_map(|row| &row.faults) {
        *faults.entry(kind).or_default() += count;
    }
    if !faults.is_empty() {
        let faults: Vec<String> = faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        text.push_str(&format!("faults fired: {}\n", faults.join(", ")));
    }
    let classes = Class::ALL.iter().map(|class| (class, tally.count(*class))).filter(|(_, count)| *count > 0);
    let classes: Vec<String> = classes.map(|(class, count)| format!("{count} {class}")).collect();
    text.push_str(&format!("{} runs: {}\n", tally.runs(), classes.join(", ")));
    for (scenario, history) in tally.unarmed() {
        let history = if history.is_empty() { "no history" } else { history };
        text.push_str(&format!(
            "unarmed: {scenario}, {history}: too few runs reached their trigger to prove anything\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use scenarios::{
        plan::Plan,
        registry,
        run::{Outcome, RunStats},
        verdict::Verdict,
    };

    use super::*;

    #[test]
    fn a_tally_shows_what_was_drawn_and_what_was_armed() {
        let text =
            "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\ncluster = { stores = 3, release = \"8.1.0\" }\n";
        let plan = Plan::parse(text, &registry::vocabulary()).expect("a sound plan");
        let mut runs = Tally::default();
        for class in [Class::Pass, Class::Pass, Class::Unarmed, Class::Safety] {
            let mut outcome = Outcome::harness("", "");
            outcome.verdict = Verdict::new(class, "check", "detail", 0, 0, 0);
            outcome.stats = RunStats {
                steps: 10,
                operations_committed: 5,
                faults_fired: [("crash".to_owned(), 2)].into(),
                simulated_ns: 3_000_000_000,
                ..RunStats::default()
            };
            runs.add(&plan, &outcome);
        }
        let text = tally(&runs);
        let row: Vec<&str> = text.lines().nth(1).expect("a row below the header").split_whitespace().collect();
        assert_eq!(row, ["hand-written", "-", "4", "3", "75%", "1", "40", "20", "8", "12s"]);
        assert!(text.contains("faults fired: crash 8\n4 runs: 2 pass, 1 safety, 1 unarmed\n"), "{text}");
    }
}
