//! The registry of scenarios: one row each, with the histories that it re-enacts.
//!
//! A scenario is a family of plans; a history is one upstream issue that some of its seeds re-enact on purpose. A
//! history is drawn whether or not the defect is switched on: the sound node has to get through it, too.

mod cache_split;
mod concurrent_split;
mod draw;
mod snapshot_gc;
mod store_removal;
mod unsafe_recovery;
mod upgrade_rollback;

use crate::plan::Plan;

/// A family of plans.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line and in plans.
    pub name: &'static str,
    /// What it does to the cluster, in a sentence.
    pub doc: &'static str,
    /// The upstream issues that it re-enacts.
    pub histories: &'static [History],
    /// Makes the plan of a seed.
    pub generate: fn(seed: u64, options: &GenerateOptions) -> Plan,
}

/// One upstream issue that a scenario re-enacts.
#[derive(Debug)]
pub struct History {
    /// Its name, which is also that of its defect: `tikv-11746`.
    pub name: &'static str,
    /// The order of events that it needs, in a sentence.
    pub doc: &'static str,
    /// The check that must catch the defect.
    pub check: &'static str,
    /// The facts that must be stated for a run of it to prove anything; the sound node states them, too.
    pub trigger: &'static [&'static str],
}

/// What a generator is asked for beside the seed.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Defects that the nodes carry. They change nothing else of the plan, but that with any of them the seed draws
    /// only histories of these.
    pub defects: Vec<String>,
}

/// Every scenario.
pub fn all() -> &'static [&'static Scenario] {
    &[
        &snapshot_gc::SNAPSHOT_GC,
        &concurrent_split::CONCURRENT_SPLIT,
        &cache_split::CACHE_SPLIT,
        &store_removal::STORE_REMOVAL,
        &unsafe_recovery::UNSAFE_RECOVERY,
        &upgrade_rollback::UPGRADE_ROLLBACK,
    ]
}

/// The scenario of this name; the swarm is run by its name, too, though it is none of the catalog's.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    all().iter().copied().chain([&crate::swarm::SWARM]).find(|scenario| scenario.name == name)
}

/// The scenario that re-enacts a defect, with the history.
pub fn of_defect(id: &str) -> Option<(&'static Scenario, &'static History)> {
    all().iter().find_map(|scenario| {
        scenario.histories.iter().find(|history| history.name == id).map(|history| (*scenario, history))
    })
}
