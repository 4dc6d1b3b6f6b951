//! Stores leave a cluster and join it: drained, buried, forgotten; late; or dead with everything still on them.
//!
//! To the others, a store that was forgotten looks like one that is not registered yet, and both were mistaken for
//! something else upstream, the second mistake being the remedy for the first. The placement driver has to know what
//! is still on a store, and which of two copies that are behind is the one to keep. Four upstream issues lie there.
//!
//! A seed without a history removes, buries and forgets freely, with faults.

use sim::Stream;

use super::{
    GenerateOptions, History, Scenario,
    draw::{Draft, key_in, on, point},
};
use crate::plan::{Action, End, FactValue, Keep, Nanos, Node, On, Plan, Sides, knobs};

/// The row of the catalog.
pub const STORE_REMOVAL: Scenario = Scenario {
    name: "store-removal",
    doc: "Stores are drained, buried and forgotten, register late, or die with everything still on them.",
    histories: &[
        History {
            name: "tikv-17875",
            doc: "A store is drained, buried and forgotten before those that had a connection to it resolve it again.",
            check: "retries-are-bounded",
            trigger: &["deleted-store-asked-for"],
        },
        History {
            name: "tikv-19980",
            doc: "A store is sent messages before it has registered itself.",
            check: "registered-stores-are-reachable",
            trigger: &["registered-after-it-was-asked-for"],
        },
        History {
            name: "pd-3664",
            doc: "A dead store is buried with its peers, and tombstones' records are deleted.",
            check: "peers-have-stores",
            trigger: &["placement-tombstone-has-peers"],
        },
        History {
            name: "pd-4045",
            doc: "A columnar replica moves to a store that cannot be reached, and the move is given up half-way.",
            check: "last-copy-stays",
            trigger: &["placement-surplus-of-unhealthy"],
        },
    ],
    generate,
};

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&STORE_REMOVAL, seed, options, 6);
    let mut stream = draft.stream("story");
    // Three replicas on three stores, and a fourth store to go to.
    draft.plan.cluster.stores = 3;
    draft.plan.cluster.spare = 1;
    draft.plan.knobs.set(knobs::PD_TICK, Nanos::millis(200));
    draft.plan.knobs.set(knobs::PD_STORE_HEARTBEAT, Nanos::millis(200));
    draft.plan.knobs.set(knobs::PD_REGION_HEARTBEAT, Nanos::millis(200));
    match draft.plan.history.as_deref() {
        Some("tikv-17875") => forgotten(&mut draft, &mut stream),
        Some("tikv-19980") => late(&mut draft, &mut stream),
        Some("pd-3664") => forgotten_with_peers(&mut draft, &mut stream),
        Some("pd-4045") => half_moved(&mut draft, &mut stream),
        _ => return free(draft, stream),
    }
    draft.company();
    draft.plan
}

/// Waits for a store to become a tombstone.
fn buried() -> On {
    let fields = [("state".to_owned(), FactValue::Text("tombstone".to_owned()))].into();
    On { within: Nanos::secs(20), fields, ..on("placement-store-put") }
}

/// The store that is there to go to.
fn spare(draft: &Draft) -> Node {
    Draft::store(draft.plan.cluster.stores + 1)
}

fn forgotten(draft: &mut Draft, stream: &mut Stream) {
    let victim = Draft::store(stream.range(1..=3));
    let fresh = spare(draft);
    draft.at(Nanos::millis(100), Action::Restart { node: fresh, release: None, prepared: true });
    let from = Nanos::millis(stream.range(300..=1_500));
    draft.at(from, Action::RemoveStore { node: victim.clone(), destroyed: false });
    draft.on(buried(), Action::RemoveTombstone {});
    // Whoever had a connection finds it broken, and looks the address up again.
    let deleted = On { within: Nanos::secs(20), ..on("placement-store-deleted") };
    let deleted = draft.on(deleted, Action::Note {});
    let wait = Nanos::millis(stream.range(10..=800));
    let end = match stream.below(3) {
        0 => Action::Stop { node: victim },
        1 => Action::Crash { node: victim, keep: Keep::Seeded },
        _ => Action::Bounce { node: victim, keep: Keep::Seeded, down: Nanos::millis(stream.range(500..=2_000)) },
    };
    draft.after(deleted, wait, end);
}

fn late(draft: &mut Draft, stream: &mut Stream) {
    let node = spare(draft);
    let late_ms = stream.range(2_500..=5_000);
    draft.at(Nanos::millis(50), point(&node, "before-store-register", format!("1*sleep({late_ms}ms)")));
    draft.at(Nanos::millis(100), Action::Restart { node: node.clone(), release: None, prepared: true });
    let key = key_in(stream.below(draft.plan.workload.keys));
    let learner = stream.ratio(1, 2);
    let asked = Nanos::millis(stream.range(600..=1_500));
    draft.at(asked, Action::AddPeer { key, store: node.clone(), learner });
    if stream.ratio(1, 2) {
        // Afterwards it is needed.
        let leaving = Draft::store(stream.range(1..=3));
        let later = Nanos::millis(late_ms + stream.range(500..=1_500));
        draft.at(later, Action::RemoveStore { node: leaving, destroyed: false });
    }
}

fn forgotten_with_peers(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.knobs.set(knobs::PD_STORE_DISCONNECTED, Nanos::secs(1));
    draft.plan.converge_within = Nanos::secs(30);
    let victim = Draft::store(stream.range(1..=3));
    let fresh = spare(draft);
    draft.at(Nanos::millis(100), Action::Restart { node: fresh, release: None, prepared: true });
    let dead = stream.range(500..=1_500);
    draft.at(Nanos::millis(dead), Action::Crash { node: victim.clone(), keep: Keep::Seeded });
    let buried_ms = dead + stream.range(1_400..=2_500);
    draft.at(Nanos::millis(buried_ms), Action::BuryStore { node: victim });
    draft.on(buried(), Action::RemoveTombstone {});
    // Once its replicas are elsewhere, it may be forgotten.
    draft.at(Nanos::millis(buried_ms + stream.range(3_000..=5_000)), Action::RemoveTombstone {});
}

fn half_moved(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.spare = 0;
    draft.plan.cluster.tiflash = 2;
    draft.plan.knobs.set(knobs::PD_STORE_DISCONNECTED, Nanos::secs(1));
    draft.plan.knobs.set(knobs::PD_OPERATOR_TIMEOUT, Nanos::secs(1));
    draft.plan.workload.lasting = Nanos::secs(11);
    let number = stream.range(1..=2);
    let tiflash = |number: u64| Node::new(format!("tiflash-{number}"));
    let (old, new) = (tiflash(number), tiflash(3 - number));
    // The table's replicas are on the one columnar store that is there.
    draft.at(Nanos::millis(50), Action::Crash { node: new.clone(), keep: Keep::Seeded });
    let asked = stream.range(1_400..=1_800);
    draft.at(Nanos::millis(asked), Action::SetTiflashReplica { table: 1, start: None, end: None, count: 1 });
    let back = asked + stream.range(1_500..=2_000);
    draft.at(Nanos::millis(back), Action::Restart { node: new.clone(), release: None, prepared: true });
    // They are to move to the other one, which hears the placement driver and no store.
    let end = |node: &Node| End::new(node.as_str());
    let rows = (1..=3).map(|number| end(&Draft::store(number))).collect();
    let sides = Sides(vec![rows, vec![end(&new)]]);
    let lasting = Some(Nanos::millis(stream.range(3_500..=5_000)));
    draft.at(Nanos::millis(back + 100), Action::Partition { sides, symmetric: true, lasting });
    let leaving = back + stream.range(600..=1_000);
    draft.at(Nanos::millis(leaving), Action::RemoveStore { node: old.clone(), destroyed: false });
    if stream.ratio(1, 3) {
        draft.at(Nanos::millis(leaving + stream.range(2_500..=3_500)), Action::UpStore { node: old });
    }
}

/// No history on purpose: one store leaves, another joins, and faults of all kinds.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    draft.plan.cluster.stores = stream.range(4..=5);
    draft.plan.cluster.tiflash = stream.below(3);
    if stream.ratio(1, 2) {
        draft.plan.knobs.set(knobs::PD_BALANCE_LEADERS, true);
    }
    let last_ms = draft.plan.workload.lasting.0 / 1_000_000;
    let fresh = spare(&draft);
    draft.at(Nanos::millis(stream.range(50..=2_000)), Action::Restart { node: fresh, release: None, prepared: true });
    // Of five or six stores, three always remain.
    let victim = Draft::store(stream.range(1..=draft.plan.cluster.stores));
    let from = stream.range(200..=2_000);
    draft.at(Nanos::millis(from), Action::RemoveStore { node: victim.clone(), destroyed: stream.ratio(1, 4) });
    if stream.ratio(1, 3) {
        draft.at(Nanos::millis(from + stream.range(100..=3_000)), Action::UpStore { node: victim.clone() });
    }
    if stream.ratio(1, 3) {
        draft.at(Nanos::millis(from + stream.range(500..=5_000)), Action::BuryStore { node: victim });
    }
    for _ in 0..stream.range(1..=3) {
        draft.at(Nanos::millis(stream.range(from..=last_ms)), Action::RemoveTombstone {});
    }
    if draft.plan.cluster.tiflash > 0 {
        for _ in 0..stream.range(1..=3) {
            let half = draft.plan.workload.keys / 2;
            let end = stream.ratio(1, 2).then(|| key_in(half));
            let count = stream.below(3);
            let at = Nanos::millis(stream.range(200..=last_ms));
            draft.at(at, Action::SetTiflashReplica { table: 1, start: None, end, count });
        }
    }
    for _ in 0..stream.range(0..=4) {
        let at = Nanos::millis(stream.range(200..=last_ms));
        let key = key_in(stream.below(draft.plan.workload.keys));
        let node = Draft::store(stream.range(1..=draft.plan.cluster.stores));
        let action = match stream.below(3) {
            0 => Action::Split { key },
            1 => Action::TransferLeader { key, to: node },
            _ => Action::RemovePeer { key, store: node },
        };
        draft.at(at, action);
    }
    draft.free_faults();
    draft.plan
}
