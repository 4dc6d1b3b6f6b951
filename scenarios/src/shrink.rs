//! From a failing plan to the smallest one that fails in the same way.
//!
//! A search proposes [`Attempt`]s, simpler plans than the best one so far; whoever can run plans says which of them
//! failed with the same fingerprint, and the search goes on from there. It is greedy and deterministic: the same answers
//! lead to the same plan.
//!
//! Changing a plan changes the whole schedule after the change, so that a race may be missed by one seed and met by the
//! next. An attempt is therefore made with the best plan's own seed first, and only when nothing more can be had that
//! way with others; leaving out one step is tried with twenty before the step counts as needed.
//!
//! | file | what it proposes |
//! |---|---|
//! | `steps` | fewer steps, and steps that say less |
//! | `shape` | a smaller cluster, fewer clients and keys, defaults instead of knobs |
//! | `times` | shorter times and rounder numbers |
//!
//! None of it may take more away for good than the plan did with which the search began (`losses`).
//!
//! Not here: running, parallelism and budgets, which belong to programs; and what a failure is.

mod losses;
mod shape;
mod steps;
mod times;

use self::losses::Losses;
use crate::plan::{Plan, Vocabulary};

/// With how many further seeds an attempt is made, round after round.
const ROUNDS: [Round; 3] = [
    Round { seeds: 0, only_steps: false },
    Round { seeds: 4, only_steps: false },
    Round { seeds: 20, only_steps: true },
];

struct Round {
    /// Seeds beside the best plan's own; in the first round only that one is tried.
    seeds: u64,
    /// Whether only leaving out single steps is tried.
    only_steps: bool,
}

/// A simpler plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was simplified, for people.
    pub what: String,
    /// The plan.
    pub plan: Plan,
    /// Its place among the simplifications of the best plan.
    place: usize,
}

/// One way to simplify a plan.
struct Reduction {
    what: String,
    plan: Plan,
    /// Whether it leaves out exactly one step.
    is_single_step: bool,
}

impl Reduction {
    fn new(what: impl Into<String>, plan: Plan) -> Reduction {
        Reduction { what: what.into(), plan, is_single_step: false }
    }
}

/// The search for a smaller plan.
pub struct Search<'a> {
    vocabulary: &'a Vocabulary,
    best: Plan,
    /// What the plan at the beginning takes away.
    losses: Losses,
    /// Every plan that was the best one, whatever its seed, so that two simplifications which undo each other do not go
    /// in a circle.
    seen: Vec<Plan>,
    round: usize,
    /// The first simplification that was not yet tried in this round.
    place: usize,
    has_improved: bool,
}

impl<'a> Search<'a> {
    /// Begins with a plan that fails. What it recorded is forgotten.
    pub fn new(plan: &Plan, vocabulary: &'a Vocabulary) -> Search<'a> {
        let best = Plan { recorded: None, ..plan.clone() };
        Search {
            vocabulary,
            losses: Losses::of(&best),
            seen: vec![Plan { seed: 0, ..best.clone() }],
            best,
            round: 0,
            place: 0,
            has_improved: false,
        }
    }

    /// The smallest plan so far.
    pub fn best(&self) -> &Plan {
        &self.best
    }

    /// What to try next, best first; nothing when no smaller plan can be found.
    ///
    /// Answer with [`Search::adopt`] for the first attempt that fails in the same way, or [`Search::reject`].
    pub fn attempts(&mut self) -> Vec<Attempt> {
        while let Some(round) = ROUNDS.get(self.round) {
            let attempts = self.of_round(round);
            if !attempts.is_empty() {
                return attempts;
            }
            self.next_pass();
        }
        Vec::new()
    }

    /// The attempt failed in the same way: it is the best plan now.
    pub fn adopt(&mut self, attempt: Attempt) {
        self.best = attempt.plan;
        self.seen.push(Plan { seed: 0, ..self.best.clone() });
        // What stood behind it has moved up, and what stood before it was in vain a moment ago.
        self.place = attempt.place;
        self.has_improved = true;
    }

    /// None of the attempts failed in the same way.
    pub fn reject(&mut self) {
        self.next_pass();
    }

    fn next_pass(&mut self) {
        self.place = 0;
        // What was in vain before may succeed for a smaller plan, with the plan's own seed again.
        self.round = if self.has_improved { 0 } else { self.round + 1 };
        self.has_improved = false;
    }

    fn of_round(&self, round: &Round) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for (place, reduction) in self.reductions().into_iter().enumerate().skip(self.place) {
            if round.only_steps && !reduction.is_single_step {
                continue;
            }
            let others = (1..=round.seeds + 1).filter(|seed| *seed != self.best.seed).take(round.seeds as usize);
            let own = (round.seeds == 0).then_some(self.best.seed);
            for seed in own.into_iter().chain(others) {
                let plan = Plan { seed, ..reduction.plan.clone() };
                attempts.push(Attempt { what: reduction.what.clone(), plan, place });
            }
        }
        attempts
    }

    /// Every simplification of the best plan that is another sound plan, the most promising first.
    fn reductions(&self) -> Vec<Reduction> {
        let mut all = steps::fewer(&self.best);
        all.extend(shape::smaller(&self.best));
        all.extend(steps::plainer(&self.best));
        all.extend(times::shorter(&self.best));
        // What names a process that is gone, or a number out of its range, is no plan.
        all.retain(|reduction| {
            let is_new = !self.seen.contains(&Plan { seed: 0, ..reduction.plan.clone() });
            is_new
                && Losses::of(&reduction.plan).are_within(&self.losses)
                && Plan::parse(&reduction.plan.to_string(), self.vocabulary).is_ok()
        });
        all
    }
}

#[cfg(test)]
mod tests;
