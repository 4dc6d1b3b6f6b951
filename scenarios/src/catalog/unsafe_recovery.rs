//! Stores are lost for good, and with them majorities: unsafe recovery has to bring back all that is left.
//!
//! Four to six stores, two or more of them lost at one moment; a little later the operator asks for the recovery. Six
//! upstream issues lie on that road.
//!
//! A seed without a history loses stores in the middle of splits, membership changes, crashes and partitions.

use sim::Stream;

use super::{
    GenerateOptions, Scenario,
    draw::{Draft, key_in},
};
use crate::plan::{Action, Keep, Nanos, Node, Nodes, Plan, knobs};

/// The row of the catalog.
pub const UNSAFE_RECOVERY: Scenario = Scenario {
    name: "unsafe-recovery",
    doc: "Stores are lost for good with the majority of some regions, which unsafe recovery brings back.",
    histories: &[],
    generate,
};

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&UNSAFE_RECOVERY, seed, options, 6);
    let mut stream = draft.stream("story");
    draft.plan.cluster.stores = stream.range(4..=6);
    draft.plan.cluster.regions = stream.range(2..=6);
    draft.plan.knobs.set(knobs::PD_STORE_DISCONNECTED, Nanos::millis(1_500));
    free(draft, stream)
}

/// Some stores, drawn.
fn some_stores(draft: &Draft, stream: &mut Stream, count: u64) -> Vec<Node> {
    let mut left: Vec<u64> = (1..=draft.plan.cluster.stores).collect();
    let draw = |_| left.remove(stream.below(left.len() as u64) as usize);
    (0..count).map(draw).map(Draft::store).collect()
}

/// These stores are lost, and a little later recovery is asked for. Returns when that is.
fn lose(draft: &mut Draft, stream: &mut Stream, stores: &[Node], at: Nanos) -> Nanos {
    for node in stores {
        draft.at(at, Action::Lose { node: node.clone() });
    }
    let asked = Nanos(at.0 + Nanos::millis(stream.range(200..=1_500)).0);
    let timeout = Nanos::secs(40);
    draft.at(asked, Action::UnsafeRecover { stores: Nodes(stores.to_vec()), timeout });
    asked
}

/// No history on purpose: stores are lost while everything else happens, too.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    let count = if draft.plan.cluster.stores > 4 { stream.range(2..=3) } else { 2 };
    let lost = some_stores(&draft, &mut stream, count);
    let at = Nanos::millis(stream.range(1_500..=3_000));
    let living: Vec<Node> =
        (1..=draft.plan.cluster.stores).map(Draft::store).filter(|node| !lost.contains(node)).collect();
    let asked = lose(&mut draft, &mut stream, &lost, at);
    for _ in 0..stream.range(0..=3) {
        let at = Nanos::millis(stream.range(200..=asked.0 / 1_000_000));
        let key = key_in(stream.below(draft.plan.workload.keys));
        let action = match stream.below(3) {
            0 => Action::Split { key },
            1 => Action::AddPeer { key, store: stream.pick(&living).expect("some live").clone(), learner: true },
            _ => Action::RemovePeer { key, store: stream.pick(&living).expect("some live").clone() },
        };
        draft.at(at, action);
    }
    if stream.ratio(1, 3) {
        let node = stream.pick(&living).expect("some live").clone();
        let at = Nanos(asked.0 + Nanos::millis(stream.range(0..=4_000)).0);
        draft.at(at, Action::Bounce { node, keep: Keep::Seeded, down: Nanos::millis(stream.range(50..=1_000)) });
    }
    draft.plan
}
