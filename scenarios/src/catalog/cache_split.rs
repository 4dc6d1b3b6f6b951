//! Regions are held in memory beside the engine while they are split, replaced by snapshots, merged and collected.
//!
//! Everything that changes a region's range, epoch or data has to reach the cache, also on a replica that only expects to
//! lead; what is loaded has to miss nothing that is on its way to the engine; and what somebody still reads has to stay.
//! Five upstream issues lie there, two of them behind one and the same assertion.
//!
//! A seed without a history mixes loads, evictions, splits and moves with faults of all kinds.

use sim::Stream;

use super::{
    GenerateOptions, History, Scenario,
    draw::{Draft, key_in, on, point, stores},
};
use crate::plan::{Action, FactValue, Key, Mix, Nanos, Node, On, Plan, Size, knobs};

/// The row of the catalog.
pub const CACHE_SPLIT: Scenario = Scenario {
    name: "cache-split",
    doc: "Regions are held in memory while they are split, replaced, merged, and their old versions collected.",
    histories: &[
        History {
            name: "tikv-17405",
            doc: "A follower that was told to load its region falls behind a split and gets a snapshot.",
            check: "cache-epoch-current",
            trigger: &["snapshot-meets-cached-region"],
        },
        History {
            name: "tikv-18008",
            doc: "A region is loaded after it was prepared for a merge, and the merge is rolled back.",
            check: "cache-epoch-current",
            trigger: &["rollback-meets-cached-region"],
        },
        History {
            name: "tikv-17403",
            doc: "A region is split after its load was scheduled and before it has begun.",
            check: "pending-regions-load",
            trigger: &["split-before-load-begins"],
        },
        History {
            name: "tikv-17645",
            doc: "A region is to be loaded while apply has writes of it that are not in the engine yet.",
            check: "cache-content-equals-engine",
            trigger: &["load-scheduled-before-flush"],
        },
        History {
            name: "tikv-17282",
            doc: "A region is split under a reader, and old versions of its parts are collected before the reader is done.",
            check: "cache-snapshot-reads-engine",
            trigger: &["collection-held-by-history"],
        },
    ],
    generate,
};

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&CACHE_SPLIT, seed, options, 6);
    let mut stream = draft.stream("story");
    draft.plan.knobs.set(knobs::CACHE_ENABLED, true);
    draft.plan.knobs.set(knobs::CACHE_TICK, Nanos::millis(stream.range(100..=800)));
    if draft.plan.history.is_some() {
        draft.plan.cluster.stores = 3;
    }
    match draft.plan.history.as_deref() {
        Some("tikv-17405") => snapshot_over_a_cached_region(&mut draft, &mut stream),
        Some("tikv-18008") => rolled_back_merge(&mut draft, &mut stream),
        Some("tikv-17403") => split_before_the_load(&mut draft, &mut stream),
        Some("tikv-17645") => load_before_the_flush(&mut draft, &mut stream),
        Some("tikv-17282") => collected_under_a_reader(&mut draft, &mut stream),
        _ => return free(draft, stream),
    }
    draft.company();
    draft.plan
}

/// A region's state in a store's cache, waited for.
fn becomes(node: &Node, state: &str) -> On {
    let fields = [("to".to_owned(), FactValue::Text(state.to_owned()))].into();
    On { node: Some(node.clone()), fields, ..on("cache-transition") }
}

/// The key in the middle, where a split makes a child of the left half.
fn middle(draft: &Draft) -> Key {
    key_in(draft.plan.workload.keys / 2)
}

fn snapshot_over_a_cached_region(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.regions = 1;
    draft.plan.knobs.set(knobs::RAFT_LOG_GC_ENTRIES, 1_000_000);
    let number = stream.range(1..=3);
    let (victim, leader) = (Draft::store(number), Draft::store(1 + number % 3));
    let key = key_in(0);
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key.clone(), to: leader.clone() });
    if stream.ratio(1, 3) {
        // The leader hands over to a peer that cannot say that it has everything, and gives up after a while.
        draft.at(Nanos::millis(500), Action::CacheLoad { node: Some(leader.clone()), key: key.clone() });
        draft.at(Nanos::millis(800), point(&victim, "before-log-sync", "sleep(1500ms)"));
        draft.at(Nanos::millis(900), Action::TransferLeader { key: key.clone(), to: victim.clone() });
        draft.at(Nanos::millis(1_500), point(&victim, "before-log-sync", "off"));
    } else {
        let at = Nanos::millis(stream.range(600..=1_200));
        draft.at(at, Action::CacheLoad { node: Some(victim.clone()), key: key.clone() });
    }
    let away_ms = stream.range(2_200..=3_000);
    let lasting = Some(Nanos::millis(away_ms));
    let gone = draft.on(becomes(&victim, "active"), Action::Isolate { node: victim.clone(), lasting });
    draft.after(gone, Nanos::millis(stream.range(300..=1_200)), Action::Split { key: middle(draft) });
    let drop_ms = away_ms - stream.range(100..=400);
    for node in stores(draft).into_iter().filter(|node| *node != victim) {
        draft.after(gone, Nanos::millis(drop_ms), Action::CompactLog { node, key: None });
    }
    // What the cache believes is asked for again.
    draft.after(
        gone,
        Nanos::millis(away_ms + stream.range(800..=1_500)),
        Action::Split { key: key_in(draft.plan.workload.keys * 3 / 4) },
    );
}

fn rolled_back_merge(draft: &mut Draft, stream: &mut Stream) {
    // The target gains a replica, or loses a part, before it is asked to take the source in.
    let gains = stream.ratio(1, 2);
    draft.plan.cluster.stores = if gains { 4 } else { 3 };
    draft.plan.cluster.regions = 2;
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    let keys = draft.plan.workload.keys;
    let (left, right) = (key_in(0), key_in(keys - 1));
    let slow_ms = stream.range(1_200..=2_000);
    for node in stores(draft) {
        draft.at(Nanos::millis(200), point(&node, "before-merge-scheduled", format!("sleep({slow_ms}ms)")));
    }
    let merge = Action::Merge { key: left.clone(), into: Some(right.clone()) };
    draft.at(Nanos::millis(stream.range(700..=1_200)), merge);
    let prepared = draft.on(on("merge-prepared"), Action::Note {});
    for node in stores(draft) {
        let wait = Nanos::millis(stream.range(60..=200));
        draft.after(prepared, wait, Action::CacheLoad { node: Some(node), key: left.clone() });
    }
    let wait = Nanos::millis(stream.range(100..=300));
    if gains {
        for node in stores(draft) {
            draft.after(prepared, wait, Action::AddPeer { key: right.clone(), store: node, learner: true });
        }
    } else {
        draft.after(prepared, wait, Action::Split { key: right });
    }
    // What the cache believes is asked for again.
    draft.after(prepared, Nanos::millis(slow_ms + 1_500), Action::Split { key: key_in(1) });
}

fn split_before_the_load(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.regions = 1;
    let slow_ms = stream.range(500..=900);
    for node in stores(draft) {
        draft.at(Nanos::millis(100), point(&node, "cache-before-load", format!("sleep({slow_ms}ms)")));
    }
    let node = stream.ratio(1, 2).then(|| Draft::store(stream.range(1..=3)));
    draft.at(Nanos::millis(stream.range(600..=1_500)), Action::CacheLoad { node, key: key_in(0) });
    let split = Action::Split { key: middle(draft) };
    draft.on(on("cache-load-scheduled"), split);
}

fn load_before_the_flush(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.regions = stream.range(1..=2);
    let workload = &mut draft.plan.workload;
    (workload.clients, workload.rate) = (12, stream.range(300..=500));
    workload.keys = workload.keys.max(64);
    workload.mix = Mix { put: 80, batch: 10, read: 10, read_index: 0, follower_read: 0, cas: 0, delete: 0, scan: 0 };
    let key = key_in(0);
    for round in 0..4 {
        let start = 700 + round * 1_400 + stream.range(0..=300);
        let node = Draft::store(1 + round % 3);
        // Apply is slow between two tasks of one write, and the load is asked for in the middle.
        let slow_ms = stream.range(8..=20);
        draft.at(Nanos::millis(start), point(&node, "cache-before-prepare", format!("sleep({slow_ms}ms)")));
        let load = Action::CacheLoad { node: Some(node.clone()), key: key.clone() };
        draft.at(Nanos::millis(start + stream.range(60..=200)), load);
        draft.at(Nanos::millis(start + 350), point(&node, "cache-before-prepare", "off"));
        draft.at(Nanos::millis(start + 1_000), Action::CacheEvict { node: Some(node), key: key.clone() });
    }
}

fn collected_under_a_reader(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.regions = 1;
    let keys = *stream.pick(&[16, 32]).expect("a list");
    let workload = &mut draft.plan.workload;
    (workload.clients, workload.rate, workload.keys) = (10, stream.range(300..=400), keys);
    workload.mix = Mix { read: 5, read_index: 0, follower_read: 0, put: 60, cas: 0, delete: 5, scan: 30, batch: 0 };
    workload.value_bytes = [16, 64];
    let knobs = &mut draft.plan.knobs;
    knobs.set(knobs::CACHE_AUDIT, 1);
    knobs.set(knobs::CACHE_TICK, Nanos::millis(stream.range(50..=150)));
    knobs.set(knobs::PD_SAFE_POINT_RETENTION, Nanos::millis(stream.range(100..=300)));
    knobs.set(knobs::PD_STORE_HEARTBEAT, Nanos::millis(stream.range(50..=150)));
    let leader = Draft::store(stream.range(1..=3));
    let key = key_in(0);
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key.clone(), to: leader.clone() });
    draft.at(Nanos::millis(600), Action::CacheLoad { node: Some(leader.clone()), key });
    let slow_ms = stream.range(1_500..=2_200);
    let cached =
        draft.on(becomes(&leader, "active"), point(&leader, "cache-during-scan", format!("sleep({slow_ms}ms)")));
    draft.after(cached, Nanos::millis(stream.range(150..=250)), Action::Split { key: middle(draft) });
    draft.after(cached, Nanos::millis(400), point(&leader, "cache-during-scan", "off"));
}

/// No history on purpose: loads and evictions among splits, moves and changes, with faults of all kinds.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    let stores = stores(&draft);
    let last_ms = draft.plan.workload.lasting.0 / 1_000_000;
    if stream.ratio(1, 2) {
        draft.plan.knobs.set(knobs::CACHE_MANUAL, true);
    }
    if stream.ratio(1, 3) {
        draft.plan.knobs.set(knobs::CACHE_MEMORY, Size::kib(*stream.pick(&[8, 32, 128]).expect("a list")));
    }
    if stream.ratio(1, 3) {
        draft.plan.knobs.set(knobs::CACHE_HOT_READS, stream.range(1..=20));
    }
    if stream.ratio(1, 2) {
        draft.plan.knobs.set(knobs::PD_SAFE_POINT_RETENTION, Nanos::millis(stream.range(100..=2_000)));
    }
    for site in
        ["cache-before-load", "cache-during-load", "cache-before-active", "cache-before-delete", "cache-during-scan"]
    {
        if stream.ratio(1, 4) {
            let node = stream.pick(&stores).expect("there are stores").clone();
            let action = format!("30%sleep({}ms)", stream.range(5..=400));
            draft.at(Nanos::millis(stream.range(100..=last_ms / 2)), point(&node, site, action));
        }
    }
    for _ in 0..stream.range(6..=14) {
        let at = Nanos::millis(stream.range(200..=last_ms));
        let node = stream.pick(&stores).expect("there are stores").clone();
        let key = key_in(stream.below(draft.plan.workload.keys));
        let action = match stream.below(10) {
            0..=2 => Action::CacheLoad { node: stream.ratio(1, 2).then_some(node), key },
            3 => Action::CacheEvict { node: stream.ratio(1, 2).then_some(node), key },
            4 | 5 => Action::Split { key },
            6 | 7 => Action::TransferLeader { key, to: node },
            8 => Action::RemovePeer { key, store: node },
            _ => Action::CompactLog { node, key: None },
        };
        draft.at(at, action);
    }
    draft.free_faults();
    draft.plan
}
