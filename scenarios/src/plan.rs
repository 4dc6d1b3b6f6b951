//! A plan: everything that a run depends on, as a value and as a text that people read, edit and check in.
//!
//! One type for a scenario, a reproduction and a regression. A run is a function of its plan; what happened when a plan
//! was kept stands in `recorded` and never affects a run. Printing and parsing are inverse.
//!
//! | file | when to touch it |
//! |---|---|
//! | `action` | a new kind of step: one row |
//! | `knobs` | a new knob: one row |
//! | `step` | when steps take effect |
//! | `name`, `quantity` | a new type of value |
//! | `vocabulary` | a new registry whose names a plan may use |
//! | `field`, `parse`, `print`, `error` | the text form itself |
//!
//! Not here: where plans come from (`generate`, `catalog`), and what a step does (`nemesis`).

pub mod action;
pub mod error;
pub(crate) mod field;
pub mod knobs;
pub mod name;
mod parse;
mod print;
pub mod quantity;
pub mod recorded;
pub mod step;
pub mod vocabulary;

pub use self::{
    action::Action,
    error::{Place, PlanError, Problem},
    knobs::Knobs,
    name::{DiskFault, End, Keep, Key, Keys, Node, Nodes, PointAction, Release, Sides, Site},
    quantity::{Nanos, Ratio, SignedNanos, Size},
    recorded::Recorded,
    step::{FactValue, On, Step, When},
    vocabulary::{FactSpec, FieldKind, Vocabulary},
};

/// The version of the text form.
pub const FORMAT: i64 = 1;

/// How long a plan that does not say may take to converge after healing.
pub const DEFAULT_CONVERGE_WITHIN: Nanos = Nanos::secs(30);

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The scenario that made it.
    pub scenario: String,
    /// The upstream issue that it re-enacts on purpose, if it was drawn for one.
    pub history: Option<String>,
    /// Root of every random stream of the run.
    pub seed: u64,
    /// Historic defects that the nodes carry.
    pub defects: Vec<String>,
    /// Bugs planted by tests.
    pub plant: Vec<String>,
    /// The processes.
    pub cluster: Cluster,
    /// Settings that differ from their default.
    pub knobs: Knobs,
    /// What clients do.
    pub workload: Workload,
    /// Facts that must be stated for the run to prove anything.
    pub trigger: Vec<String>,
    /// What is done to the cluster.
    pub steps: Vec<Step>,
    /// How long the cluster may take to come to rest after healing.
    pub converge_within: Nanos,
    /// What happened when the plan was kept.
    pub recorded: Option<Recorded>,
}

/// The processes of a plan: `pd`, `store-1`…, `tiflash-1`….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Stores that run from the start.
    pub stores: u64,
    /// Stores of learners, labelled `engine=tiflash`.
    pub tiflash: u64,
    /// Further stores that start only when a step says so; they are numbered after the others.
    pub spare: u64,
    /// The release that all run as at first.
    pub release: Release,
    /// Regions that the key space is split into before chaos begins.
    pub regions: u64,
}

impl Cluster {
    /// The name of the placement driver's process.
    pub const PD: &str = "pd";

    /// The names of all processes, spare ones included.
    pub fn nodes(&self) -> Vec<String> {
        let stores = (1..=self.stores + self.spare).map(|number| format!("store-{number}"));
        let tiflash = (1..=self.tiflash).map(|number| format!("tiflash-{number}"));
        stores.chain(tiflash).chain([Self::PD.to_owned()]).collect()
    }
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which workload.
    pub kind: String,
    /// How many clients: `client-1`….
    pub clients: u64,
    /// Operations a simulated second, of all clients together.
    pub rate: u64,
    /// How many keys they use: `k0000`….
    pub keys: u64,
    /// Bounds of the length of a value.
    pub value_bytes: [u64; 2],
    /// How long they work. Chaos ends when they are done and no step is outstanding.
    pub lasting: Nanos,
    /// What they do how often.
    pub mix: Mix,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            kind: "registers".to_owned(),
            clients: 3,
            rate: 40,
            keys: 128,
            value_bytes: [16, 1024],
            lasting: Nanos::secs(10),
            mix: Mix::default(),
        }
    }
}

impl Workload {
    /// The names of all clients.
    pub fn client_names(&self) -> impl Iterator<Item = String> {
        (1..=self.clients).map(|number| format!("client-{number}"))
    }
}

/// Weights of the operations of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Reads by the leader's lease.
    pub read: u64,
    /// Reads by read index at the leader.
    pub read_index: u64,
    /// Reads by read index at a follower.
    pub follower_read: u64,
    /// Writes of one key.
    pub put: u64,
    /// Compare-and-swap of one key.
    pub cas: u64,
    /// Deletions of one key.
    pub delete: u64,
    /// Reads of a range within a region.
    pub scan: u64,
    /// Writes of several keys of a region at once.
    pub batch: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { read: 20, read_index: 15, follower_read: 10, put: 35, cas: 5, delete: 5, scan: 5, batch: 5 }
    }
}

impl Mix {
    /// The keys in a plan.
    pub const KEYS: &[&str] = &["read", "read-index", "follower-read", "put", "cas", "delete", "scan", "batch"];

    /// The weight behind a key.
    pub(crate) fn weight(&mut self, key: &str) -> Option<&mut u64> {
        Some(match key {
            "read" => &mut self.read,
            "read-index" => &mut self.read_index,
            "follower-read" => &mut self.follower_read,
            "put" => &mut self.put,
            "cas" => &mut self.cas,
            "delete" => &mut self.delete,
            "scan" => &mut self.scan,
            "batch" => &mut self.batch,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
