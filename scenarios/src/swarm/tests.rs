//! The swarm makes plans that can be read, differ, and together do everything that a row promises.

use std::collections::BTreeSet;

use super::*;
use crate::registry;

#[test]
fn every_plan_can_be_printed_and_read_again() {
    let vocabulary = registry::vocabulary();
    for seed in 0..300 {
        let plan = generate(seed);
        let text = plan.to_string();
        let again = Plan::parse(&text, &vocabulary).unwrap_or_else(|error| panic!("{}", error.render("swarm", &text)));
        assert_eq!(again, plan, "seed {seed}");
    }
}

#[test]
fn a_seed_makes_one_plan_and_seeds_differ() {
    assert_eq!(generate(7), generate(7));
    let different: BTreeSet<String> = (0..50).map(|seed| Plan { seed: 0, ..generate(seed) }.to_string()).collect();
    assert_eq!(different.len(), 50);
}

#[test]
fn every_kind_happens_and_every_kind_is_left_out() {
    let steps_of = |seed| generate(seed).steps.into_iter().map(|step| step.action.kind()).collect::<BTreeSet<_>>();
    let plans: Vec<BTreeSet<&str>> = (0..200).map(steps_of).collect();
    let known: BTreeSet<&str> = plans.iter().flatten().copied().collect();
    for kind in crate::plan::action::KINDS {
        let is_excluded = EXCLUDED.iter().any(|(what, _)| what.split(' ').next() == Some(kind.name));
        // What ends something, and what only marks a moment, happens to nobody.
        let is_neutral = ["resume", "heal", "note", "restart", "wipe"].contains(&kind.name);
        let happens = known.contains(kind.name);
        assert!(happens || is_excluded || is_neutral, "`{}` never happens, and nothing says why", kind.name);
        let everywhere = plans.iter().all(|plan| plan.contains(kind.name));
        assert!(!everywhere, "`{}` happens in every plan", kind.name);
    }
}
