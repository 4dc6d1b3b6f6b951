//! The search against failures whose cause is known: what it keeps is what they need.

use super::*;
use crate::{
    plan::{Action, Nanos, When},
    registry,
};

const LONG: &str = r#"
reenact = 1
scenario = "hand-written"
seed = "7"
defects = ["tikv-11746"]
cluster = { stores = 4, spare = 1, release = "8.1.0", regions = 6 }
knobs = { "engine.memtable" = "32KiB", "snapshot.gc-tick" = "1s", "raft.hibernate" = true }
workload = { kind = "registers", clients = 4, rate = 73, keys = 211, value-bytes = [16, 4096], for = "11.37s" }
steps = [
  { at = "0.531s", do = "pause", node = "store-4", for = "1.234s" },
  { at = "1.251s", do = "crash", node = "store-2", keep = "prefix" },
  { after = 2, wait = "0.7s", do = "restart", node = "store-2" },
  { after = 3, wait = "0.113s", do = "split", key = "k0042" },
  { on = { fact = "snapshot-generating", node = "store-1", nth = 2 }, within = "5.5s", do = "compact", node = "store-1" },
  { after = 5, wait = "1s", do = "flush", node = "store-1" },
  { at = "9s", do = "heal" },
]
converge-within = "41s"
"#;

fn plan(text: &str) -> Plan {
    Plan::parse(text, &registry::vocabulary()).unwrap_or_else(|error| panic!("{}", error.render("test", text)))
}

/// Shrinks against a failure that is known; gives the smallest plan and how many attempts it took.
fn shrink(text: &str, fails: impl Fn(&Plan) -> bool) -> (Plan, usize) {
    let (start, vocabulary) = (plan(text), registry::vocabulary());
    assert!(fails(&start), "what does not fail cannot be shrunk");
    let (mut search, mut count) = (Search::new(&start, &vocabulary), 0);
    loop {
        let attempts = search.attempts();
        if attempts.is_empty() {
            return (search.best().clone(), count);
        }
        let found = attempts.into_iter().find(|attempt| {
            count += 1;
            fails(&attempt.plan)
        });
        match found {
            Some(attempt) => search.adopt(attempt),
            None => search.reject(),
        }
    }
}

fn has(plan: &Plan, kind: &str) -> bool {
    plan.steps.iter().any(|step| step.action.kind() == kind)
}

#[test]
fn what_the_failure_does_not_need_goes() {
    let (small, count) = shrink(LONG, |plan| has(plan, "crash") && has(plan, "split") && plan.workload.keys >= 3);
    let kinds: Vec<_> = small.steps.iter().map(|step| step.action.kind()).collect();
    assert_eq!(kinds, ["crash", "split"], "{small}");
    assert_eq!((small.cluster.stores, small.cluster.spare, small.cluster.regions), (2, 0, 1), "store-2 is named");
    assert_eq!((small.workload.clients, small.workload.keys, small.workload.rate), (1, 3, 1));
    assert_eq!(small.knobs.iter().count(), 0);
    assert_eq!(small.defects, ["tikv-11746"], "the only defect stays");
    let times: Vec<_> = small.steps.iter().map(|step| step.when.clone()).collect();
    assert_eq!(times, [When::At(Nanos::ZERO), When::After { step: 1, wait: Nanos::ZERO }], "the order stays");
    assert!(count < 1_000, "{count} attempts");
}

#[test]
fn a_step_takes_over_what_the_one_before_it_waited_for() {
    let (small, _) = shrink(LONG, |plan| {
        plan.steps.iter().any(|step| match &step.when {
            When::On(on) => step.action.kind() == "flush" && on.fact == "snapshot-generating",
            _ => false,
        }) || has(plan, "compact") && has(plan, "flush")
    });
    let lines = small.to_string();
    assert!(lines.contains("{ on = { fact = \"snapshot-generating\" }, within = \"100ms\", do = \"flush\""), "{lines}");
    assert_eq!(small.steps.len(), 1, "{lines}");
}

#[test]
fn a_failure_that_only_some_seeds_meet_is_shrunk_with_others() {
    // Without the pause, only seed 3 fails.
    let (small, _) = shrink(LONG, |plan| has(plan, "crash") && (has(plan, "pause") || plan.seed == 3));
    assert!(!has(&small, "pause") && small.seed == 3, "{small}");
    // Single steps are tried with many seeds.
    let (small, _) = shrink(LONG, |plan| has(plan, "crash") && (has(plan, "pause") || plan.seed == 19));
    assert!(!has(&small, "pause") && small.seed == 19, "{small}");
}

#[test]
fn what_a_failure_needs_whole_stays_as_it_is() {
    let start = plan(LONG);
    let (small, _) = shrink(LONG, |other| *other == Plan { recorded: None, ..start.clone() });
    assert_eq!(small, start);
}

#[test]
fn what_is_lost_is_still_recovered_and_has_as_many_stores_beside_it() {
    let lost = LONG.replace(
        r#"  { at = "9s", do = "heal" },"#,
        r#"  { at = "9s", do = "lose", node = "store-1" },
  { at = "9s", do = "lose", node = "store-2" },
  { at = "9s", do = "unsafe-recover", stores = ["store-1", "store-2"] },"#,
    );
    let (small, _) = shrink(&lost, |plan| has(plan, "lose"));
    let kinds: Vec<_> = small.steps.iter().map(|step| step.action.kind()).collect();
    assert_eq!(kinds, ["lose"], "one alone is a minority: {small}");
    let (small, _) = shrink(&lost, |plan| plan.steps.iter().filter(|step| step.action.kind() == "lose").count() > 1);
    assert!(has(&small, "unsafe-recover") && small.cluster.stores > 2, "{small}");
}

#[test]
fn every_attempt_is_another_plan_that_can_be_read() {
    let (start, vocabulary) = (plan(LONG), registry::vocabulary());
    let attempts = Search::new(&start, &vocabulary).attempts();
    assert!(attempts.len() > 30, "{}", attempts.len());
    for Attempt { what, plan, .. } in attempts {
        assert_ne!(plan, start, "{what}");
        let again = Plan::parse(&plan.to_string(), &vocabulary).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(again, plan, "{what}");
    }
}

#[test]
fn all_lengths_of_time_of_a_step_are_found() {
    let mut action = plan(LONG).steps[0].action.clone();
    action.each_time(&mut |time| *time = Nanos(time.0 / 2));
    assert!(matches!(action, Action::Pause { lasting: Some(Nanos(617_000_000)), .. }), "{action:?}");
}
