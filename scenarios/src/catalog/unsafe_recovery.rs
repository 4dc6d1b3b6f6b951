//! Stores are lost for good, and with them majorities: unsafe recovery has to bring back all that is left.
//!
//! Four to six stores, some of them columnar; two or more are lost at one moment, and a little later the operator asks for
//! the recovery. Six upstream issues lie on that road, from the learner that nobody removes to the plan that makes force
//! leaders step down again.
//!
//! A seed without a history loses stores in the middle of splits, membership changes, crashes and partitions.

use std::collections::BTreeMap;

use sim::Stream;

use super::{
    GenerateOptions, History, Scenario,
    draw::{Draft, key_in, on, point},
};
use crate::plan::{Action, End, FactValue, Keep, Key, Nanos, Node, Nodes, On, Plan, Sides, knobs};

/// The row of the catalog.
pub const UNSAFE_RECOVERY: Scenario = Scenario {
    name: "unsafe-recovery",
    doc: "Stores are lost for good with the majority of some regions, which unsafe recovery brings back.",
    histories: &[
        History {
            name: "tikv-18458",
            doc: "A majority is lost together with a columnar store, and then the table's replica count is changed.",
            check: "finished-means-covered",
            trigger: &["demotion-names-a-learner"],
        },
        History {
            name: "pd-9624",
            doc: "The voter that is left is behind the only columnar learner, which recovery therefore destroys.",
            check: "table-replicas-become-available",
            trigger: &["newest-learner-destroyed"],
        },
        History {
            name: "tikv-18197",
            doc: "The force leader's region still names the learner that recovery has destroyed.",
            check: "force-leader-commits",
            trigger: &["newest-learner-destroyed"],
        },
        History {
            name: "pd-6859",
            doc: "A snapshot of a region whose voters are all lost arrives while an empty region is created in its place.",
            check: "finished-means-covered",
            trigger: &["empty-region-refused"],
        },
        History {
            name: "pd-5085",
            doc: "One peer does not become a force leader at the first try, while those on other stores do.",
            check: "force-leaders-stay",
            trigger: &["force-leader-refused-beside-another"],
        },
        History {
            name: "tikv-12644",
            doc: "Stores are lost in the middle of a joint change, and the demotion comes right behind its end.",
            check: "recovery-ends",
            trigger: &["demotion-given-up"],
        },
    ],
    generate,
};

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&UNSAFE_RECOVERY, seed, options, 7);
    let mut stream = draft.stream("story");
    draft.plan.cluster.stores = stream.range(4..=6);
    draft.plan.cluster.regions = stream.range(2..=6);
    draft.plan.knobs.set(knobs::PD_STORE_DISCONNECTED, Nanos::millis(1_500));
    match draft.plan.history.as_deref() {
        Some("tikv-18458") => lost_learner(&mut draft, &mut stream),
        Some("pd-9624" | "tikv-18197") => newest_learner(&mut draft, &mut stream),
        Some("pd-6859") => snapshot_into_the_hole(&mut draft, &mut stream),
        Some("pd-5085") => second_try(&mut draft, &mut stream),
        Some("tikv-12644") => lost_in_a_joint_change(&mut draft, &mut stream),
        _ => return free(draft, stream),
    }
    draft.plan
}

/// Some stores, drawn.
fn some_stores(draft: &Draft, stream: &mut Stream, count: u64) -> Vec<Node> {
    let mut left: Vec<u64> = (1..=draft.plan.cluster.stores).collect();
    let draw = |_| left.remove(stream.below(left.len() as u64) as usize);
    (0..count).map(draw).map(Draft::store).collect()
}

fn others(draft: &Draft, stores: &[Node]) -> Vec<Node> {
    (1..=draft.plan.cluster.stores).map(Draft::store).filter(|node| !stores.contains(node)).collect()
}

/// Asks for the recovery of what these stores take with them.
fn recover(stores: &[Node]) -> Action {
    Action::UnsafeRecover { stores: Nodes(stores.to_vec()), timeout: Nanos::secs(40) }
}

/// These stores are lost, and a little later recovery is asked for. Returns when that is.
fn lose(draft: &mut Draft, stream: &mut Stream, stores: &[Node], at: Nanos) -> Nanos {
    for node in stores {
        draft.at(at, Action::Lose { node: node.clone() });
    }
    let asked = Nanos(at.0 + Nanos::millis(stream.range(200..=1_500)).0);
    draft.at(asked, recover(stores));
    asked
}

/// The whole key space is a table with so many columnar replicas.
fn table(count: u64) -> Action {
    Action::SetTiflashReplica { table: 1, start: None, end: None, count }
}

/// A text field of a fact.
fn text(name: &str, value: &str) -> BTreeMap<String, FactValue> {
    [(name.to_owned(), FactValue::Text(value.to_owned()))].into()
}

fn lost_learner(draft: &mut Draft, stream: &mut Stream) {
    // All stores but one: every region loses its majority, and has a voter left.
    let plan = &mut draft.plan;
    (plan.cluster.stores, plan.cluster.tiflash) = (3, 2);
    plan.workload.lasting = Nanos::secs(10);
    draft.at(Nanos::millis(100), table(2));
    let mut lost = some_stores(draft, stream, draft.plan.cluster.stores - 1);
    lost.push(Node::new(format!("tiflash-{}", stream.range(1..=2))));
    let at = Nanos::millis(stream.range(4_000..=5_500));
    lose(draft, stream, &lost, at);
    // As in the incident the table's count is changed once all is over.
    let over = draft.on(On { within: Nanos::secs(30), ..on("recovery-ended") }, Action::Note {});
    draft.after(over, Nanos::millis(stream.range(100..=1_000)), table(3));
}

fn newest_learner(draft: &mut Draft, stream: &mut Stream) {
    let plan = &mut draft.plan;
    (plan.cluster.stores, plan.cluster.tiflash) = (3, 1);
    plan.workload.lasting = Nanos::secs(10);
    plan.workload.rate = stream.range(150..=300);
    plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    plan.knobs.set(knobs::RAFT_TICK, Nanos::millis(50));
    plan.knobs.set(knobs::RAFT_LEASE, Nanos::millis(400));
    draft.at(Nanos::millis(100), table(1));
    let lost = some_stores(draft, stream, 2);
    let left = others(draft, &lost);
    // The store that will be left hears nothing of what the others write.
    let cut = Nanos::millis(stream.range(3_500..=4_000));
    let end = |node: &Node| End::new(node.as_str());
    let mut rest: Vec<End> = lost.iter().map(end).collect();
    rest.push(End::new("tiflash-1"));
    let sides = Sides(vec![left.iter().map(end).collect(), rest]);
    let away = Nanos::millis(stream.range(2_600..=3_200));
    draft.at(cut, Action::Partition { sides, symmetric: true, lasting: Some(away) });
    lose(draft, stream, &lost, Nanos(cut.0 + Nanos::millis(2_500).0));
}

fn snapshot_into_the_hole(draft: &mut Draft, stream: &mut Stream) {
    // Everything lies on three stores; a fourth comes, and the replicas that it gets are still on their way.
    let plan = &mut draft.plan;
    (plan.cluster.stores, plan.cluster.spare) = (3, 1);
    plan.cluster.regions = stream.range(2..=5);
    plan.knobs.set(knobs::PD_REPLICAS, 4);
    let late = Draft::store(4);
    draft.at(Nanos::millis(50), point(&late, "snapshot-before-deliver", "pause"));
    draft.at(
        Nanos::millis(stream.range(500..=1_500)),
        Action::Restart { node: late.clone(), release: None, prepared: true },
    );
    let received = draft.on(On { node: Some(late.clone()), ..on("snapshot-received") }, Action::Note {});
    let lost: Vec<Node> = (1..=3).map(Draft::store).collect();
    let gone = Nanos::millis(stream.range(50..=600));
    for node in &lost {
        draft.after(received, gone, Action::Lose { node: node.clone() });
    }
    draft.after(received, Nanos(gone.0 + Nanos::millis(stream.range(100..=800)).0), recover(&lost));
    // They arrive when the hole has been seen and is about to be filled.
    let wait = On { fields: text("stage", "create-empty-region"), within: Nanos::secs(20), ..on("recovery-stage") };
    draft.on(wait, point(&late, "snapshot-before-deliver", "off"));
}

fn second_try(draft: &mut Draft, stream: &mut Stream) {
    // One region moves a replica to a fourth store, so that two stores are left to lead without a majority.
    let plan = &mut draft.plan;
    (plan.cluster.stores, plan.cluster.spare) = (3, 1);
    plan.cluster.regions = stream.range(2..=5);
    // What ends chaos heals: the refusal has to stand until recovery has got so far.
    plan.workload.lasting = Nanos::secs(14);
    draft.at(Nanos::millis(50), Action::Restart { node: Draft::store(4), release: None, prepared: true });
    let mut lost = some_stores(draft, stream, 2);
    let stays = others(draft, &lost).remove(0);
    let key = move_replica(draft, stream, &lost[0], &stays);
    // Where it was nothing stays that could lead as well.
    draft.at(Nanos::millis(3_800), Action::RemovePeer { key, store: stays.clone() });
    let at = Nanos::millis(stream.range(5_000..=6_000));
    let shy = stream.pick(&[stays, Draft::store(4)]).expect("two are left").clone();
    draft.at(Nanos(at.0 - Nanos::millis(100).0), point(&shy, "before-force-leader", "1*return"));
    lost.sort();
    lose(draft, stream, &lost, at);
}

/// A region's replica moves from a store to the fourth one, by a joint change. Its leader is another one.
fn move_replica(draft: &mut Draft, stream: &mut Stream, leader: &Node, from: &Node) -> Key {
    let key = key_in(stream.below(draft.plan.workload.keys));
    draft.at(Nanos::millis(stream.range(600..=900)), Action::TransferLeader { key: key.clone(), to: leader.clone() });
    let at = Nanos::millis(stream.range(2_000..=2_500));
    draft.at(at, Action::ReplacePeer { key: key.clone(), from: from.clone(), to: Draft::store(4) });
    key
}

fn lost_in_a_joint_change(draft: &mut Draft, stream: &mut Stream) {
    // A fourth store comes; a replica moves there by a joint change, in the middle of which two old stores are lost.
    let plan = &mut draft.plan;
    (plan.cluster.stores, plan.cluster.spare) = (3, 1);
    // A leader leaves a joint configuration with its next tick.
    plan.knobs.set(knobs::RAFT_TICK, Nanos::millis(200));
    plan.knobs.set(knobs::RAFT_LEASE, Nanos::millis(1_600));
    plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.at(Nanos::millis(50), Action::Restart { node: Draft::store(4), release: None, prepared: true });
    let lost = some_stores(draft, stream, 2);
    let stays = others(draft, &lost).remove(0);
    move_replica(draft, stream, &lost[0], &stays);
    let changed = draft.on(on("conf-changed"), Action::Note {});
    let gone = Nanos::millis(stream.range(6..=12));
    for node in &lost {
        draft.after(changed, gone, Action::Lose { node: node.clone() });
    }
    draft.after(changed, Nanos(gone.0 + Nanos::millis(stream.range(100..=1_000)).0), recover(&lost));
}

/// No history on purpose: stores are lost while everything else happens, too.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    let count = if draft.plan.cluster.stores > 4 { stream.range(2..=3) } else { 2 };
    let lost = some_stores(&draft, &mut stream, count);
    let at = Nanos::millis(stream.range(1_500..=3_000));
    let living = others(&draft, &lost);
    if stream.ratio(1, 2) {
        draft.plan.cluster.tiflash = stream.range(1..=2);
        let count = stream.range(1..=draft.plan.cluster.tiflash);
        draft.at(Nanos::millis(stream.range(100..=1_000)), table(count));
    }
    // Regions part company: what is left of them differs.
    for _ in 0..stream.range(0..=4) {
        let key = key_in(stream.below(draft.plan.workload.keys));
        let pair = some_stores(&draft, &mut stream, 2);
        let at = Nanos::millis(stream.range(200..=1_200));
        draft.at(at, Action::ReplacePeer { key, from: pair[0].clone(), to: pair[1].clone() });
    }
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
