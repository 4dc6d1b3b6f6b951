//! The swarm: from a seed to a plan over everything that exists, with nothing in mind.
//!
//! It knows no history and no defect. Each kind of fault and of operation is in or out with one half, and has a weight of
//! its own when it is in: a plan that does a few things often meets states that a plan which does everything a little
//! never does. Each kind draws from streams split by its name, so that a new kind leaves what the others do as it was.
//!
//! | file | what it holds |
//! |---|---|
//! | `shape` | cluster, knobs and workload |
//! | `kinds` | what can happen: one row a kind |
//! | `windows` | when nothing happens |
//! | `budget` | what the node does not promise to survive, and how plans keep inside it |
//!
//! Not here: campaigns, which run these plans, and what becomes of failures.

mod budget;
mod kinds;
mod shape;
mod windows;

use sim::Seed;

use crate::{
    catalog::Scenario,
    plan::{Nanos, Plan, Step, When},
};

pub use budget::EXCLUDED;
pub use kinds::{KINDS, Kind};

/// The name that plans of the swarm have for a scenario.
pub const NAME: &str = "swarm";

/// How often a kind of the greatest weight happens in one plan.
const TIMES_MAX: u64 = 6;

/// The swarm as a scenario that is run by its name; it is none of the catalog's, since it re-enacts nothing.
pub static SWARM: Scenario = Scenario {
    name: NAME,
    doc: "Everything that exists, each kind in or out with one half; nothing is re-enacted on purpose.",
    histories: &[],
    generate: |seed, options| Plan { defects: options.defects.clone(), ..generate(seed) },
};

/// The plan of a seed.
pub fn generate(seed: u64) -> Plan {
    let root = Seed::new(seed).split("swarm");
    let mut plan = shape::draw(seed, root);
    let mut events = Vec::new();
    for kind in KINDS {
        let mut stream = root.split("kind").split(kind.name).stream();
        if !stream.ratio(1, 2) {
            continue;
        }
        let weight = stream.range(1..=100);
        let most = (weight * TIMES_MAX).div_ceil(100);
        for _ in 0..stream.range(1..=most) {
            let at = Nanos::millis(stream.range(100..=plan.workload.lasting.0 / 1_000_000));
            if let Some(action) = (kind.draw)(&plan, &mut stream) {
                events.push((at, kind, action));
            }
        }
    }
    events.sort_by_key(|(at, ..)| *at);
    let windows = windows::Windows::draw(&plan, &mut root.split("windows").stream());
    let events = budget::keep_within(&plan, windows.leave_alone(events));
    plan.steps = kinds::failpoints(&plan, root);
    plan.steps.extend(events.into_iter().map(|(at, _, action)| Step { when: When::At(at), action }));
    plan
}

#[cfg(test)]
mod tests;
