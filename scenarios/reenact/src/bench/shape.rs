//! What is measured: plans that are written here and not drawn, so that figures of two builds compare; and the shapes
//! of the bare loop that were measured before there was a harness.
//!
//! Not here: measuring.

use std::time::Duration;

use scenarios::{
    bare::Shape,
    plan::{
        Cluster, Knobs, Mix, Nanos, Plan, Release, Workload,
        knobs::{self, Between},
    },
};

/// Operations a simulated second that the clients of a loaded cluster begin at most, all together.
const RATE: u64 = 1_000;
/// Enough that clients which wait for each answer still begin nearly as many.
const CLIENTS: u64 = 32;

/// Few enough that reading them all at the end takes little, enough that clients seldom meet; at least one a region.
const KEYS: u64 = 256;
/// As in the loops that were measured before: what is measured is the machine room, not the copying of values.
const VALUE_BYTES: [u64; 2] = [64, 64];

/// A cluster whose clients do everything that clients do.
pub fn mixed(stores: u64, regions: u64, simulated: Nanos) -> Plan {
    loaded(stores, regions, simulated, Mix::default())
}

/// A cluster whose clients do nothing but put: each operation is a proposal.
pub fn puts(stores: u64, regions: u64, simulated: Nanos) -> Plan {
    let none = Mix { read: 0, read_index: 0, follower_read: 0, put: 0, cas: 0, delete: 0, scan: 0, batch: 0 };
    loaded(stores, regions, simulated, Mix { put: 1, ..none })
}

/// A cluster without work, whose regions hibernate. It takes so little that it is given a hundred times the time.
pub fn idle(simulated: Nanos) -> Plan {
    let lasting = Nanos(simulated.0.saturating_mul(100));
    let mut knobs = Knobs::default();
    knobs.set(knobs::RAFT_HIBERNATE, true);
    plan(3, 10, Workload { clients: 0, rate: 0, lasting, ..Workload::default() }, knobs)
}

fn loaded(stores: u64, regions: u64, simulated: Nanos, mix: Mix) -> Plan {
    let load = Workload {
        clients: CLIENTS,
        rate: RATE,
        keys: KEYS.max(regions),
        value_bytes: VALUE_BYTES,
        lasting: simulated,
        mix,
        ..Workload::default()
    };
    plan(stores, regions, load, Knobs::default())
}

fn plan(stores: u64, regions: u64, workload: Workload, knobs: Knobs) -> Plan {
    Plan {
        scenario: "hand-written".to_owned(),
        history: None,
        seed: 1,
        defects: Vec::new(),
        plant: Vec::new(),
        cluster: Cluster { stores, tiflash: 0, spare: 0, release: Release::new("8.1.0"), regions },
        knobs,
        workload,
        trigger: Vec::new(),
        steps: Vec::new(),
        converge_within: scenarios::plan::DEFAULT_CONVERGE_WITHIN,
        recorded: None,
    }
}

/// The shapes whose figures stand in the notes on the design: stores, each with a replica of every region; regions;
/// writes a second of each region.
pub const MEASURED_BEFORE: [(u64, u64, u64); 4] = [(3, 1, 100), (3, 10, 20), (5, 20, 10), (3, 1, 1)];

/// One of them.
pub fn measured_before((stores, regions, writes): (u64, u64, u64), lasting: Duration) -> Shape {
    Shape {
        seed: 1,
        stores,
        regions,
        replicas: stores,
        proposals: regions * writes * lasting.as_secs(),
        value_bytes: VALUE_BYTES,
        lasting,
        tick: Duration::from_millis(100),
        heartbeat_ticks: 3,
        election_ticks: 10,
        message_bytes: 1 << 20,
        inflight: 256,
        delay: Between::new(Nanos::millis(1), Nanos::millis(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_the_bench_can_be_read_back() {
        let vocabulary = scenarios::registry::vocabulary();
        let time = Nanos::secs(20);
        for plan in [mixed(3, 10, time), puts(30, 1_000, time), idle(time)] {
            assert_eq!(Plan::parse(&plan.to_string(), &vocabulary).as_ref(), Ok(&plan));
        }
    }

    #[test]
    fn the_bare_loop_has_the_shape_and_the_proposals_of_the_plan() {
        let shape = Shape::of(&puts(30, 10, Nanos::secs(20)));
        assert_eq!((shape.stores, shape.regions, shape.replicas, shape.proposals), (30, 10, 3, 20_000));
    }
}
