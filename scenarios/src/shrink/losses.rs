//! What a plan takes away for good beyond what copies can bear, so that shrinking does not take away more.
//!
//! Leaving something out can make a plan worse: without the recovery that was asked for, or with fewer stores beside those
//! that are lost, it fails because too much is gone, which the node never promised to survive, and with words that a real
//! failure may have too. The search would wander from the one to the other. So nothing is proposed that goes further past
//! the promise than the plan did with which the search began.
//!
//! Not here: what the swarm's plans keep inside of (`swarm/budget`), which is more; plans written by hand may go past it on
//! purpose, and stay as far out as they were.

use std::collections::BTreeSet;

use crate::plan::{Action, Plan, knobs};

/// How far a plan goes past what copies can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Losses {
    /// Stores with voters that are lost and given up by no recovery, beyond a minority of a region's replicas.
    beyond_minority: usize,
    /// Where stores leave that no recovery gives up: how many of the others are missing for a region's replicas.
    stores_short: usize,
    /// Where columnar stores are lost: how many of the others are missing for what the tables want.
    columnar_short: usize,
}

impl Losses {
    /// Reads them off a plan.
    pub(super) fn of(plan: &Plan) -> Losses {
        let (mut lost, mut leaving, mut recovered, mut started) = (Set::new(), Set::new(), Set::new(), Set::new());
        let mut wanted = 0;
        for step in &plan.steps {
            match &step.action {
                Action::Lose { node } | Action::Wipe { node } | Action::BuryStore { node } => {
                    lost.insert(node.as_str());
                }
                Action::RemoveStore { node, .. } => {
                    leaving.insert(node.as_str());
                }
                Action::UpStore { node } => {
                    leaving.remove(node.as_str());
                }
                Action::UnsafeRecover { stores, .. } => recovered.extend(stores.0.iter().map(|node| node.as_str())),
                Action::Restart { node, .. } => {
                    started.insert(node.as_str());
                }
                Action::SetTiflashReplica { count, .. } => wanted = wanted.max(*count as usize),
                _ => {}
            }
        }
        let is_columnar = |node: &&str| node.starts_with("tiflash-");
        let (columnar, lost): (Set<'_>, Set<'_>) = lost.into_iter().partition(is_columnar);
        leaving.retain(|node| !is_columnar(node));
        // A spare store is there once it was started.
        let is_there = |number: &u64| *number <= plan.cluster.stores || started.contains(&*format!("store-{number}"));
        let there = (1..=plan.cluster.stores + plan.cluster.spare).filter(is_there).count();
        let replicas = (plan.knobs.get(knobs::PD_REPLICAS) as usize).min(there);
        let given_up = lost.difference(&recovered).count();
        let everything = usize::from(lost.len() >= there);
        let wiped = |node: &&str| {
            plan.steps
                .iter()
                .any(|step| matches!(&step.action, Action::Wipe { node: wiped } if wiped.as_str() == *node))
        };
        let gone = lost.union(&leaving).filter(|node| !recovered.contains(*node) && !wiped(node)).count();
        let left = there - lost.union(&leaving).filter(|node| !wiped(node)).count().min(there);
        Losses {
            beyond_minority: given_up.saturating_sub(replicas.saturating_sub(1) / 2) + everything,
            stores_short: if gone > 0 { replicas.saturating_sub(left) } else { 0 },
            columnar_short: match columnar.len() {
                0 => 0,
                lost => wanted.saturating_sub((plan.cluster.tiflash as usize).saturating_sub(lost)),
            },
        }
    }

    /// Whether a plan goes no further past the promise than another one, in any respect.
    pub(super) fn are_within(&self, other: &Losses) -> bool {
        self.beyond_minority <= other.beyond_minority
            && self.stores_short <= other.stores_short
            && self.columnar_short <= other.columnar_short
    }
}

type Set<'a> = BTreeSet<&'a str>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    fn losses(cluster: &str, steps: &str) -> (usize, usize, usize) {
        let text = format!(
            "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\ncluster = {{ {cluster}, release = \"8.1.0\" }}\nsteps = [{steps}]\n"
        );
        let plan = Plan::parse(&text, &registry::vocabulary())
            .unwrap_or_else(|error| panic!("{}", error.render("test", &text)));
        let Losses { beyond_minority, stores_short, columnar_short } = Losses::of(&plan);
        (beyond_minority, stores_short, columnar_short)
    }

    #[test]
    fn what_is_lost_beyond_what_copies_bear() {
        let lose = |number| format!(r#"{{ at = "1s", do = "lose", node = "store-{number}" }}, "#);
        let recover = r#"{ at = "2s", do = "unsafe-recover", stores = ["store-1", "store-2"] }, "#;
        let restart = r#"{ at = "0s", do = "restart", node = "store-4" }, "#;
        let table = r#"{ at = "0s", do = "set-tiflash-replica", count = 2 }, "#;
        let columns = r#"{ at = "1s", do = "lose", node = "tiflash-1" }"#;
        let (one, two) = (lose(1), lose(1) + &lose(2));
        for (cluster, steps, expected) in [
            ("stores = 1", String::new(), (0, 0, 0)),
            ("stores = 4", one.clone(), (0, 0, 0)),
            ("stores = 3", one.clone(), (0, 1, 0)),
            ("stores = 3, spare = 1", one.clone(), (0, 1, 0)),
            ("stores = 3, spare = 1", restart.to_owned() + &one, (0, 0, 0)),
            ("stores = 4", two.clone(), (1, 1, 0)),
            ("stores = 3", two.clone() + recover, (0, 0, 0)),
            ("stores = 2", two.clone() + recover, (1, 0, 0)),
            ("stores = 3", r#"{ at = "1s", do = "wipe", node = "store-1" }"#.to_owned(), (0, 0, 0)),
            ("stores = 3", r#"{ at = "1s", do = "remove-store", node = "store-1" }"#.to_owned(), (0, 1, 0)),
            ("stores = 3, tiflash = 2", table.to_owned() + columns, (0, 0, 1)),
            ("stores = 3, tiflash = 3", table.to_owned() + columns, (0, 0, 0)),
        ] {
            assert_eq!(losses(cluster, &steps), expected, "{cluster}: {steps}");
        }
    }
}
