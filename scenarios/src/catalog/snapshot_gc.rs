//! A follower needs a snapshot while everything that may take it away is at work.
//!
//! It has fallen behind a compacted log, came back from a crash, or was added anew; meanwhile stores compact, collect
//! snapshots, split and crash. Five upstream issues lie on that road, from the statistics that cannot be read while a
//! snapshot is built to the raft log that a crash leaves beyond one.
//!
//! A seed without a history mixes the same ingredients freely.

use sim::Stream;

use super::{
    GenerateOptions, History, Scenario,
    draw::{Draft, key_in, on, point, stores},
};
use crate::plan::{Action, End, FactValue, Keep, Key, Mix, Nanos, Node, On, Plan, Sides, knobs};

/// The row of the catalog.
pub const SNAPSHOT_GC: Scenario = Scenario {
    name: "snapshot-gc",
    doc: "A follower needs a snapshot while logs are compacted, snapshots collected, regions split and stores crash.",
    histories: &[
        History {
            name: "tikv-18030",
            doc: "While a snapshot is built, the account of the task's disk traffic cannot be read.",
            check: "no-panic",
            trigger: &["snapshot-statistics-unreadable"],
        },
        History {
            name: "tikv-2923",
            doc: "An earlier snapshot's files are found, and the collector comes before they are opened.",
            check: "no-panic",
            trigger: &["collection-wanted-while-building"],
        },
        History {
            name: "tikv-11746",
            doc: "A snapshot is applied, the Normal state is written and not yet durable, and its files are in the way.",
            check: "durable-applying-has-files",
            trigger: &["snapshot-met-while-applying"],
        },
        History {
            name: "tikv-4716",
            doc: "A snapshot is asked for while applied entries are still on their way to the engine.",
            check: "snapshot-equals-state",
            trigger: &["snapshot-asked-before-flush"],
        },
        History {
            name: "tikv-12618",
            doc: "A store with a stale log longer than a snapshot crashes after the engine was told of it and before the log was.",
            check: "log-terms-agree-with-snapshot",
            trigger: &["restarted-while-applying-a-snapshot"],
        },
    ],
    generate,
};

/// A key behind all those of the workload: its region is idle.
const IDLE_KEY: &str = "z";

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&SNAPSHOT_GC, seed, options, 6);
    let mut stream = draft.stream("story");
    if draft.plan.history.is_some() {
        // Every region has a replica on the store that falls behind, and snapshots are wanted because a plan says so.
        draft.plan.cluster.stores = 3;
        draft.plan.knobs.set(knobs::RAFT_LOG_GC_ENTRIES, 1_000_000);
    }
    // What is replaced by a snapshot may be in a cache.
    let mut cache = draft.stream("cache");
    if cache.ratio(1, 4) {
        draft.plan.knobs.set(knobs::CACHE_ENABLED, true);
        draft.plan.knobs.set(knobs::CACHE_MANUAL, true);
    }
    match draft.plan.history.as_deref() {
        Some("tikv-18030") => unreadable_statistics(&mut draft, &mut stream),
        Some("tikv-2923") => collected_while_building(&mut draft, &mut stream),
        Some("tikv-11746") => files_of_an_applied_snapshot(&mut draft, &mut stream),
        Some("tikv-4716") => snapshot_before_flush(&mut draft, &mut stream),
        Some("tikv-12618") => crash_between_engine_and_log(&mut draft, &mut stream),
        _ => return free(draft, stream),
    }
    draft.company();
    draft.plan
}

/// A store misses what is written for a while, and the others drop their logs before it is back. Returns the store,
/// and when it is back.
fn fall_behind(draft: &mut Draft, stream: &mut Stream) -> (Node, Nanos) {
    let victim = Draft::store(stream.range(1..=draft.plan.cluster.stores));
    let from = Nanos::millis(stream.range(300..=900));
    fall_behind_at(draft, stream, victim, from)
}

/// The same for this store, from this time on.
fn fall_behind_at(draft: &mut Draft, stream: &mut Stream, victim: Node, from: Nanos) -> (Node, Nanos) {
    let away = Nanos::millis(stream.range(2_200..=3_000));
    let back = Nanos(from.0 + away.0);
    if stream.ratio(1, 2) {
        draft.at(from, Action::Isolate { node: victim.clone(), lasting: Some(away) });
    } else {
        draft.at(from, Action::Bounce { node: victim.clone(), keep: Keep::Seeded, down: away });
    }
    // Long enough before for the command to be applied, and late enough for a new leader to be there.
    let drop_at = Nanos(back.0 - Nanos::millis(stream.range(100..=400)).0);
    for node in stores(draft).into_iter().filter(|node| *node != victim) {
        draft.at(drop_at, Action::CompactLog { node, key: None });
    }
    (victim, back)
}

fn unreadable_statistics(draft: &mut Draft, stream: &mut Stream) {
    let (victim, back) = fall_behind(draft, stream);
    let from = Nanos(back.0 - Nanos::millis(100).0);
    for node in stores(draft).into_iter().filter(|node| *node != victim) {
        draft.at(from, Action::UnreadableStats { node, lasting: None });
    }
}

fn collected_while_building(draft: &mut Draft, stream: &mut Stream) {
    // The region behind all keys is idle, so that a second attempt asks for the same snapshot again.
    draft.plan.knobs.set(knobs::SNAPSHOT_GC_TICK, Nanos::secs(3_600));
    draft.plan.knobs.set(knobs::SNAPSHOT_GC_TIMEOUT, Nanos::millis(50));
    let victim = Draft::store(stream.range(1..=draft.plan.cluster.stores));
    draft.at(Nanos::millis(100), Action::Split { key: Key::new(IDLE_KEY) });
    // Not the leader, which cannot be taken out at once.
    let leader = stores(draft).into_iter().find(|node| *node != victim).expect("three stores");
    draft.at(Nanos::millis(500), Action::TransferLeader { key: Key::new(IDLE_KEY), to: leader });
    let slow = stream.range(250..=450);
    for node in stores(draft) {
        draft.at(Nanos::millis(2_300), point(&node, "snapshot-before-send", "1*return"));
        draft.at(Nanos::millis(2_300), point(&node, "snapshot-after-listing", format!("sleep({slow}ms)")));
    }
    // The safe point has been raised by now and will not be for a while: that would be an entry even of an idle region.
    draft.at(Nanos::millis(stream.range(2_600..=3_200)), Action::RemovePeer { key: Key::new(IDLE_KEY), store: victim });
    // The second attempt has found the files and not opened them yet.
    let second = draft.on(On { nth: 2, ..on("snapshot-generating") }, Action::Note {});
    for node in stores(draft) {
        draft.after(second, Nanos::millis(stream.range(60..=200)), Action::GcSnapshots { node });
    }
}

fn files_of_an_applied_snapshot(draft: &mut Draft, stream: &mut Stream) {
    let (victim, _) = fall_behind(draft, stream);
    draft.plan.knobs.set(knobs::SNAPSHOT_GC_TICK, Nanos::millis(stream.range(100..=500)));
    if stream.ratio(1, 2) {
        let wait = On { node: Some(victim.clone()), ..on("snapshot-collect-while-applying") };
        let down = Nanos::millis(stream.range(50..=500));
        draft.on(wait, Action::Bounce { node: victim, keep: Keep::Nothing, down });
    }
}

fn snapshot_before_flush(draft: &mut Draft, stream: &mut Stream) {
    // Writes and little else, so that entries wait whenever apply is slow.
    draft.plan.workload.rate = stream.range(600..=900);
    draft.plan.workload.clients = 16;
    draft.plan.workload.mix = Mix {
        put: 80,
        batch: 10,
        read: 10,
        ..Mix { read_index: 0, follower_read: 0, cas: 0, delete: 0, scan: 0, ..Mix::default() }
    };
    draft.plan.cluster.regions = 3;
    // Twice, since it takes luck to meet entries on their way.
    draft.plan.workload.lasting = Nanos::secs(11);
    let number = stream.range(1..=3);
    let slow = stream.range(40..=80);
    for (round, number) in [(0, number), (1, 1 + number % 3)] {
        let from = Nanos::millis(stream.range(300..=700) + round * 5_000);
        let (victim, back) = fall_behind_at(draft, stream, Draft::store(number), from);
        for node in stores(draft).into_iter().filter(|node| *node != victim) {
            draft.at(Nanos(back.0 - Nanos::millis(50).0), point(&node, "before-apply", format!("sleep({slow}ms)")));
            draft.at(Nanos(back.0 + Nanos::millis(1_200).0), point(&node, "before-apply", "off"));
        }
    }
}

fn crash_between_engine_and_log(draft: &mut Draft, stream: &mut Stream) {
    // A leader is cut off with its clients: its log grows by what will never be committed, past the others' snapshot.
    draft.plan.cluster.regions = 1;
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.plan.knobs.set(knobs::CLIENT_TIMEOUT, Nanos::millis(100));
    draft.plan.knobs.set(knobs::RAFT_TICK, Nanos::millis(100));
    draft.plan.knobs.set(knobs::RAFT_LEASE, Nanos::millis(800));
    let workload = &mut draft.plan.workload;
    (workload.clients, workload.rate) = (24, 600);
    workload.mix.put *= 3;
    let number = stream.range(1..=3);
    let victim = Draft::store(number);
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key_in(0), to: victim.clone() });
    let from = Nanos::millis(stream.range(900..=1_200));
    let away = Nanos::millis(stream.range(3_500..=4_500));
    let end = |name: String| End::new(name);
    let mut inside: Vec<End> = draft.plan.workload.client_names().map(end).collect();
    inside.push(End::new(victim.as_str()));
    let others: Vec<Node> = stores(draft).into_iter().filter(|node| *node != victim).collect();
    let outside = others.iter().map(|node| End::new(node.as_str())).collect();
    let sides = Sides(vec![inside, outside]);
    draft.at(from, Action::Partition { sides, symmetric: true, lasting: Some(away) });
    let back = Nanos(from.0 + away.0);
    // The others commit a few entries, so that there is something to drop.
    for step in 1..=2 {
        draft.at(Nanos(back.0 - Nanos::millis(150 * step + 100).0), Action::ComputeHash { key: key_in(0) });
    }
    for node in others {
        draft.at(Nanos(back.0 - Nanos::millis(100).0), Action::CompactLog { node, key: None });
    }
    // The engine is told of the snapshot, and the log writer is held up before it tells the log.
    let slow = stream.range(200..=400);
    draft.at(back, point(&victim, "between-engine-and-log", format!("sleep({slow}ms)")));
    let fields = [("state".to_owned(), FactValue::Text("applying".to_owned()))].into();
    let wait = On { node: Some(victim.clone()), fields, ..on("region-state-written") };
    let told = draft.on(wait, Action::Note {});
    let wait = Nanos::millis(stream.range(60..=150));
    let down = Nanos::millis(stream.range(50..=800));
    draft.after(told, wait, Action::Bounce { node: victim, keep: Keep::Everything, down });
}

/// No history on purpose: the ingredients, each in or out.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    if stream.ratio(2, 3) && draft.plan.cluster.stores == 3 {
        fall_behind(&mut draft, &mut stream);
    }
    let stores = stores(&draft);
    let last_ms = draft.plan.workload.lasting.0 / 1_000_000;
    for _ in 0..stream.range(1..=6) {
        let at = Nanos::millis(stream.range(200..=last_ms));
        let node = stream.pick(&stores).expect("there are stores").clone();
        let key = key_in(stream.below(draft.plan.workload.keys));
        let action = match stream.below(7) {
            0 => Action::Compact { node },
            1 => Action::Flush { node },
            2 => Action::GcSnapshots { node },
            3 => Action::CompactLog { node, key: None },
            4 => Action::Split { key },
            5 => Action::RemovePeer { key, store: node },
            _ => Action::ComputeHash { key },
        };
        draft.at(at, action);
    }
    draft.free_faults();
    draft.plan
}
