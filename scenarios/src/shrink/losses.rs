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

use crate::plan::{Action, Nanos, Plan, knobs};

/// How far a plan goes past what copies can bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Losses {
    /// Stores with voters that are lost and given up by no recovery, beyond a minority of a region's replicas.
    beyond_minority: usize,
    /// Where stores leave that no recovery gives up: how many of the others are missing for a region's replicas.
    stores_short: usize,
    /// Where columnar stores are lost: how many of the others are missing for what the tables want.
    columnar_short: usize,
    /// The least time that a recovery has; without one, more than any.
    recovers_within: Nanos,
}

impl Losses {
    /// Reads them off a plan.
    pub(super) fn of(plan: &Plan) -> Losses {
        let mut steps = Steps::of(plan);
        let (columnar, lost): (Set<'_>, Set<'_>) = std::mem::take(&mut steps.lost).into_iter().partition(is_columnar);
        // A spare store is there once it was started.
        let is_there =
            |number: &u64| *number <= plan.cluster.stores || steps.started.contains(format!("store-{number}").as_str());
        let there = (1..=plan.cluster.stores + plan.cluster.spare).filter(is_there).count();
        let replicas = (plan.knobs.get(knobs::PD_REPLICAS) as usize).min(there);
        let given_up = lost.difference(&steps.recovered).count();
        let everything = usize::from(lost.len() >= there);
        // A store whose disk was replaced is there again.
        let away: Set<'_> = lost.union(&steps.leaving).filter(|node| !steps.wiped.contains(*node)).copied().collect();
        let left = there.saturating_sub(away.len());
        let left_columnar = (plan.cluster.tiflash as usize).saturating_sub(columnar.len());
        Losses {
            beyond_minority: given_up.saturating_sub(replicas.saturating_sub(1) / 2) + everything,
            stores_short: if away.is_subset(&steps.recovered) { 0 } else { replicas.saturating_sub(left) },
            columnar_short: if columnar.is_empty() { 0 } else { steps.wanted.saturating_sub(left_columnar) },
            recovers_within: steps.recovers_within,
        }
    }

    /// Whether a plan goes no further past the promise than another one, in any respect.
    pub(super) fn are_within(&self, other: &Losses) -> bool {
        self.beyond_minority <= other.beyond_minority
            && self.stores_short <= other.stores_short
            && self.columnar_short <= other.columnar_short
            && self.recovers_within >= other.recovers_within
    }
}

type Set<'a> = BTreeSet<&'a str>;

fn is_columnar(node: &&str) -> bool {
    node.starts_with("tiflash-")
}

/// What steps do to stores.
struct Steps<'a> {
    lost: Set<'a>,
    /// Of those that are lost: with a new disk.
    wiped: Set<'a>,
    /// Taken out of service, of those with voters.
    leaving: Set<'a>,
    started: Set<'a>,
    /// Given up by a recovery.
    recovered: Set<'a>,
    recovers_within: Nanos,
    /// The most columnar replicas that a table wants.
    wanted: usize,
}

impl<'a> Steps<'a> {
    fn of(plan: &'a Plan) -> Steps<'a> {
        let mut all = Steps {
            lost: Set::new(),
            wiped: Set::new(),
            leaving: Set::new(),
            started: Set::new(),
            recovered: Set::new(),
            recovers_within: Nanos(u64::MAX),
            wanted: 0,
        };
        plan.steps.iter().for_each(|step| all.add(&step.action));
        // The placement driver refuses to give up a store that lives, and all that are named with it.
        for step in &plan.steps {
            if let Action::UnsafeRecover { stores, .. } = &step.action
                && stores.0.iter().all(|node| all.lost.contains(node.as_str()))
            {
                all.recovered.extend(stores.0.iter().map(|node| node.as_str()));
            }
        }
        all.leaving.retain(|node| !is_columnar(node));
        all
    }

    fn add(&mut self, action: &'a Action) {
        match action {
            Action::Wipe { node } => {
                self.lost.insert(node.as_str());
                self.wiped.insert(node.as_str());
            }
            Action::Lose { node } | Action::BuryStore { node } => {
                self.lost.insert(node.as_str());
            }
            Action::RemoveStore { node, .. } => {
                self.leaving.insert(node.as_str());
            }
            Action::UpStore { node } => {
                self.leaving.remove(node.as_str());
            }
            Action::Restart { node, .. } => {
                self.started.insert(node.as_str());
            }
            Action::UnsafeRecover { timeout, .. } => self.recovers_within = self.recovers_within.min(*timeout),
            Action::SetTiflashReplica { count, .. } => self.wanted = self.wanted.max(*count as usize),
            _ => {}
        }
    }
}

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
        let Losses { beyond_minority, stores_short, columnar_short, .. } = Losses::of(&plan);
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
            ("stores = 3", lose(2) + recover, (0, 1, 0)),
            ("stores = 3", lose(2) + &lose(3) + recover, (1, 2, 0)),
            ("stores = 3", r#"{ at = "1s", do = "wipe", node = "store-1" }"#.to_owned(), (0, 0, 0)),
            ("stores = 3", r#"{ at = "1s", do = "remove-store", node = "store-1" }"#.to_owned(), (0, 1, 0)),
            ("stores = 3, tiflash = 2", table.to_owned() + columns, (0, 0, 1)),
            ("stores = 3, tiflash = 3", table.to_owned() + columns, (0, 0, 0)),
        ] {
            assert_eq!(losses(cluster, &steps), expected, "{cluster}: {steps}");
        }
    }
}
