//! The swarm makes plans that can be read, differ, and together do everything that a row promises.

use std::collections::BTreeSet;

use super::*;
use crate::{
    plan::{Action, Knobs, Nanos, knobs},
    registry,
};

#[test]
fn every_plan_can_be_printed_and_read_again() {
    let vocabulary = registry::vocabulary();
    for seed in 0..500 {
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
fn every_kind_of_step_happens_or_says_why_not() {
    let steps_of = |seed| generate(seed).steps.into_iter().map(|step| step.action.kind()).collect::<BTreeSet<_>>();
    let plans: Vec<BTreeSet<&str>> = (0..300).map(steps_of).collect();
    let known: BTreeSet<&str> = plans.iter().flatten().copied().collect();
    for kind in crate::plan::action::KINDS {
        let is_excluded = EXCLUDED.iter().any(|(what, _)| *what == kind.name);
        let happens = known.contains(kind.name);
        assert!(happens || is_excluded, "`{}` never happens, and nothing says why", kind.name);
        let everywhere = plans.iter().all(|plan| plan.contains(kind.name));
        assert!(!everywhere, "`{}` happens in every plan", kind.name);
    }
}

#[test]
fn every_fault_of_a_disk_happens_or_says_why_not() {
    let mut known = BTreeSet::new();
    for step in (0..300).flat_map(|seed| generate(seed).steps) {
        if let Action::DiskFault { kind, .. } = step.action {
            known.insert(kind.as_str());
        }
    }
    for kind in crate::plan::DiskFault::ALL {
        let name = format!("disk-fault {kind}");
        let is_excluded = EXCLUDED.iter().any(|(what, _)| *what == name);
        assert!(known.contains(kind.as_str()) != is_excluded, "{name}");
    }
}

#[test]
fn every_knob_is_set_or_says_why_not() {
    let set = |seed| generate(seed).knobs.iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    let known: BTreeSet<&str> = (0..300).flat_map(set).collect();
    for row in knobs::TABLE {
        let is_left = KNOBS_LEFT.iter().any(|(name, _)| *name == row.name);
        assert!(known.contains(row.name) != is_left, "`{}`", row.name);
    }
    assert_ne!(generate(1).knobs, Knobs::default());
}

#[test]
fn every_site_can_fire_and_every_release_runs() {
    let mut sites = BTreeSet::new();
    let mut releases = BTreeSet::new();
    for seed in 0..400 {
        let plan = generate(seed);
        releases.insert(plan.cluster.release.as_str().to_owned());
        for step in plan.steps {
            if let Action::Failpoint { site, .. } = step.action {
                sites.insert(site.as_str().to_owned());
            }
        }
    }
    for site in registry::sites() {
        assert!(sites.contains(site.name()), "`{}` is never set", site.name());
    }
    for row in node::release::RELEASES {
        assert!(releases.contains(row.name), "no cluster starts as {row}");
    }
    for (name, _) in POINTS_ONLY_WAIT {
        assert!(registry::sites().any(|site| site.name() == *name), "there is no site `{name}`");
    }
}

#[test]
fn a_plan_that_loses_a_copy_for_good_changes_no_membership_and_has_stores_enough() {
    let mut lossy = 0;
    for plan in (0..400).map(generate) {
        let kinds: BTreeSet<&str> = plan.steps.iter().map(|step| step.action.kind()).collect();
        let recovers = kinds.contains("unsafe-recover");
        let loses = ["wipe", "lose", "bury-store"].iter().any(|kind| kinds.contains(kind));
        if !loses || recovers {
            continue;
        }
        lossy += 1;
        for kind in ["add-peer", "remove-peer", "replace-peer"] {
            assert!(!kinds.contains(kind), "seed {}: `{kind}`", plan.seed);
        }
        let stays = plan.cluster.stores - u64::from(!kinds.contains("wipe"));
        assert!(plan.knobs.get(knobs::PD_REPLICAS).clamp(3, 7) <= stays, "seed {}", plan.seed);
    }
    assert!(lossy > 20);
}

#[test]
fn where_a_recovery_is_asked_for_nobody_removes_replicas_from_stores_that_stay() {
    let mut removed = 0;
    for plan in (0..1_000).map(generate) {
        let given_up = |action: &Action| match action {
            Action::UnsafeRecover { stores, .. } => stores.0.clone(),
            _ => Vec::new(),
        };
        let given_up: Vec<_> = plan.steps.iter().flat_map(|step| given_up(&step.action)).collect();
        if given_up.is_empty() {
            continue;
        }
        for step in &plan.steps {
            if let Action::RemovePeer { store, .. } = &step.action {
                assert!(given_up.contains(store), "seed {}: {store:?}", plan.seed);
                removed += 1;
            }
        }
    }
    assert!(removed > 3, "{removed}");
}

#[test]
fn what_is_left_out_exists() {
    let steps = crate::plan::action::KINDS.iter().map(|kind| kind.name.to_owned());
    let faults = crate::plan::DiskFault::ALL.iter().map(|kind| format!("disk-fault {kind}"));
    let known: BTreeSet<String> = steps.chain(faults).collect();
    for (name, reason) in EXCLUDED {
        assert!(known.contains(*name) && !reason.is_empty(), "`{name}`");
    }
    for (name, reason) in KNOBS_LEFT {
        assert!(knobs::TABLE.iter().any(|row| row.name == *name) && !reason.is_empty(), "`{name}`");
    }
}

#[test]
fn where_a_store_leaves_each_release_reads_what_all_before_it_wrote() {
    let row = |name: &str| node::release::Release::parse(name).expect("plans name releases of the table");
    let mut walks = 0;
    for plan in (0..600).map(generate) {
        let leaves = |action: &Action| matches!(action, Action::RemoveStore { .. } | Action::BuryStore { .. });
        if !plan.steps.iter().any(|step| leaves(&step.action)) {
            continue;
        }
        let mut been = vec![row(plan.cluster.release.as_str())];
        for step in &plan.steps {
            let release = match &step.action {
                Action::Upgrade { release, .. } | Action::Restart { release: Some(release), .. } => release,
                _ => continue,
            };
            let to = row(release.as_str());
            for from in &been {
                let fits = to.takes_over(from).is_ok() && !from.exports_raft_log_to(to);
                assert!(fits, "seed {}: {from} to {to}", plan.seed);
            }
            been.push(to);
            walks += 1;
        }
    }
    assert!(walks > 20, "{walks}");
}

#[test]
fn where_a_columnar_store_is_lost_the_others_can_hold_what_the_rules_want() {
    let mut asked = 0;
    for plan in (0..1_000).map(generate) {
        let loses = |action: &Action| match action {
            Action::Lose { node } | Action::BuryStore { node } => node.as_str().starts_with("tiflash-"),
            _ => false,
        };
        if !plan.steps.iter().any(|step| loses(&step.action)) {
            continue;
        }
        let is_row = |node: &&crate::plan::Node| !node.as_str().starts_with("tiflash-");
        let stores = plan.cluster.stores + plan.cluster.spare;
        let all_lost = |action: &Action| match action {
            Action::UnsafeRecover { stores: lost, .. } => lost.0.iter().filter(is_row).count() as u64 + 1 >= stores,
            _ => false,
        };
        if plan.steps.iter().any(|step| all_lost(&step.action)) {
            continue;
        }
        for step in &plan.steps {
            if let Action::SetTiflashReplica { count, .. } = &step.action {
                assert!(*count < plan.cluster.tiflash, "seed {}: {count}", plan.seed);
                asked += 1;
            }
        }
    }
    assert!(asked > 3, "{asked}");
}

#[test]
fn one_more_thing_that_happens_moves_nothing_but_what_collides_with_it() {
    let plan = generate(3);
    let root = Seed::new(3).split("a test");
    let moments = moments::Moments::draw(&plan, &[], root).always_colliding();
    let times = |names: &[&'static str]| -> Vec<u64> {
        let when = |at: usize| moments::Moment::At(Nanos::secs(10 * (at as u64 + 1)));
        let mut all: Vec<Happening> = names
            .iter()
            .enumerate()
            .map(|(at, name)| Happening {
                name: (name, 1),
                when: when(at),
                is_shock: false,
                is_course: false,
                stays: at % 2 == 0,
                gesture: Gesture::default(),
            })
            .collect();
        moments.collide(&mut all, root);
        let at = |happening: &Happening| match happening.when {
            moments::Moment::At(at) => at.0,
            moments::Moment::Fact(..) => 0,
        };
        all.iter().map(at).collect()
    };
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
    let (few, more) = (times(&names[..15]), times(&names));
    let joined = Nanos::secs(160).0;
    let moved = few.iter().zip(&more).filter(|(before, after)| before != after);
    assert!(moved.clone().all(|(_, after)| *after >= joined), "{few:?} {more:?}");
    assert!(moved.count() < 5, "{few:?} {more:?}");
}
