//! Historic defects, from the switch in the node to the check that catches it.
//!
//! A defect belongs to the node, its history and check to the catalog; here the two are held together. Rates over many
//! seeds are `cargo reenact run --defect`'s business: a few seeds a history are enough to see that each is caught at all.

use std::collections::BTreeMap;

use scenarios::{
    catalog::{self, GenerateOptions, History, Scenario},
    check,
    run::{self, RunOptions},
};

/// A history has to be caught within so many seeds.
const SEEDS: u64 = 16;

fn histories() -> impl Iterator<Item = (&'static Scenario, &'static History)> {
    catalog::all().iter().flat_map(|scenario| scenario.histories.iter().map(|history| (*scenario, history)))
}

#[test]
fn each_defect_has_one_history_and_each_history_one_defect() {
    let defects: Vec<&str> = node::defects::TABLE.iter().map(|defect| defect.id()).collect();
    let mut count: BTreeMap<&str, usize> = defects.iter().map(|defect| (*defect, 0)).collect();
    assert_eq!(count.len(), defects.len(), "no defect is carried twice");
    for (scenario, history) in histories() {
        let Some(count) = count.get_mut(history.name) else {
            panic!("{} re-enacts `{}`, and no node carries that", scenario.name, history.name)
        };
        *count += 1;
        assert!(check::list().iter().any(|check| check.name == history.check), "no check `{}`", history.check);
        assert!(!history.trigger.is_empty(), "nothing would show that `{}` came about", history.name);
    }
    let wrong: Vec<_> = count.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "each defect has exactly one history; not so: {wrong:?}");
}

#[test]
fn each_defect_is_caught_by_its_check_in_a_run_that_was_armed() {
    let failed: Vec<_> = histories().filter_map(|(scenario, history)| caught(scenario, history).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs seeds until one is caught.
fn caught(scenario: &Scenario, history: &History) -> Result<(), String> {
    let options = GenerateOptions { defects: vec![history.name.to_owned()] };
    let mut came_to = BTreeMap::<String, u64>::new();
    for seed in 1..=SEEDS {
        let outcome = run::run(&(scenario.generate)(seed, &options), &RunOptions::default());
        if outcome.verdict.check == history.check {
            return match outcome.is_armed() {
                true => Ok(()),
                false => Err(format!("{}: seed {seed} was caught without being armed", history.name)),
            };
        }
        *came_to.entry(format!("{} {}", outcome.verdict.class, outcome.verdict.check)).or_default() += 1;
    }
    Err(format!("{}: not caught by {} within {SEEDS} seeds: {came_to:?}", history.name, history.check))
}
