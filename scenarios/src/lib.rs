//! The library of Reenact: from a seed to a verdict.
//!
//! ```text
//!  seed --catalog--> Plan --run--> room + cluster + workload + nemesis --witness--> Events --check--> Verdict
//! ```
//!
//! | room | what it is |
//! |---|---|
//! | [`plan`] | a plan as a value and as a text |
//! | [`catalog`] | scenarios, their histories, and the generators of plans |
//! | [`swarm`] | plans over everything that exists, re-enacting nothing |
//! | [`room`] | the machine room as what a node asks for |
//! | [`cluster`] | the processes of a plan |
//! | [`workload`] | what clients do |
//! | [`nemesis`] | what the plan does to the cluster |
//! | [`event`] | what happened, as three witnesses state it |
//! | [`witness`] | takes each event to whoever hears it |
//! | [`trigger`] | what has to come about for a run to prove anything |
//! | [`rest`] | what a cluster at rest looks like |
//! | [`check`] | the promises, judged on every event |
//! | [`run`] | a plan from boot to rest |
//! | [`shrink`] | from a failing plan to the smallest one that fails in the same way |
//! | [`bare`] | the bare consensus loop that speed is measured against |
//! | [`verdict`] | what a run came to |
//! | [`registry`] | every name that there is |
//!
//! Nothing here knows a terminal or a command line.

pub mod bare;
pub mod catalog;
pub mod check;
pub mod cluster;
pub mod event;
pub mod nemesis;
pub mod plan;
pub mod registry;
pub mod rest;
pub mod room;
pub mod run;
pub mod shrink;
pub mod swarm;
pub mod trigger;
pub mod verdict;
pub mod witness;
pub mod workload;
