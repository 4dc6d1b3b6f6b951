//! Stores change their release under load: forward and back, one after the other or all at once, and not always to the end.
//!
//! What one release writes another has to read, and nobody finds out before a file of the new kind is there: so values are
//! large enough for blob files, and memtables small enough for flushes. Four upstream issues lie on that road, three about
//! blob files and their notes in the manifest, one about the raft log's directory.
//!
//! A seed without a history takes stores up and down freely, with faults of all kinds, crashes in the middle of moving a
//! raft log among them.

use std::ops::RangeInclusive;

use node::release::{RELEASES, Release as Row};
use sim::Stream;

use super::{
    GenerateOptions, History, Scenario,
    draw::{Draft, key_in, on, point, stores},
};
use crate::plan::{Action, FactValue, Keep, Nanos, On, Plan, Ratio, Release, Size, knobs};

/// The row of the catalog.
pub const UPGRADE_ROLLBACK: Scenario = Scenario {
    name: "upgrade-rollback",
    doc: "Stores go to later releases and back under load, rolling or whole, and not always to the end.",
    histories: &[
        History {
            name: "titan-323",
            doc: "A release that may be rolled back writes blob files, and is rolled back.",
            check: "written-is-readable",
            trigger: &["blob-file-noted-with-a-way-back"],
        },
        History {
            name: "titan-329",
            doc: "A release that writes an older header meets files with a newer one, which its predecessor had shipped.",
            check: "opened-is-readable",
            trigger: &["newer-blob-file-met"],
        },
        History {
            name: "titan-221",
            doc: "A release that writes longer headers meets files with the shortest one.",
            check: "opened-is-readable",
            trigger: &["oldest-blob-file-met"],
        },
        History {
            name: "tikv-12045",
            doc: "A rollback without exporting the raft log is refused, and the later release starts again.",
            check: "acknowledged-is-durable",
            trigger: &["started-again-after-a-refused-rollback"],
        },
    ],
    generate,
};

/// Releases that a store may go through, each to the next and back where the table says so.
const ROADS: &[&[&str]] = &[
    &["4.0.16", "5.4.0", "6.1.0", "8.1.0", "8.1.2"],
    &["5.4.0", "6.1.0"],
    &["6.1.0", "7.5.6"],
    &["7.5.5", "7.5.6"],
    &["8.1.0", "8.1.2-pre", "8.1.2", "8.5.0"],
    &["8.1.2", "8.5.0"],
];

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&UPGRADE_ROLLBACK, seed, options, 6);
    let mut stream = draft.stream("story");
    large_values(&mut draft, &mut stream);
    match draft.plan.history.as_deref() {
        Some("titan-323") => rolled_back(&mut draft, &mut stream),
        Some("titan-329") => met(&mut draft, &mut stream, "7.5.5", "7.5.6"),
        Some("titan-221") => met(&mut draft, &mut stream, "4.0.16", "5.4.0"),
        Some("tikv-12045") => forgotten_export(&mut draft, &mut stream),
        _ => return free(draft, stream),
    }
    draft.company();
    draft.plan
}

/// Values that go to blob files, and memtables that are flushed soon.
fn large_values(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.workload.value_bytes = *stream.pick(&[[300, 1_200], [256, 4_096], [16, 2_000]]).expect("a list");
    draft.plan.workload.rate = stream.range(60..=160);
    let knobs = &mut draft.plan.knobs;
    knobs.set(knobs::ENGINE_BLOB_THRESHOLD, Size(stream.range(256..=800)));
    knobs.set(knobs::ENGINE_MEMTABLE, Size::kib(*stream.pick(&[8, 16, 32]).expect("a list")));
    knobs.set(knobs::ENGINE_BLOB_FILE, Size::kib(*stream.pick(&[8, 64, 1_024]).expect("a list")));
    knobs.set(knobs::ENGINE_BLOB_GC_RATIO, Ratio::percent(*stream.pick(&[20, 50, 80]).expect("a list")));
}

fn release(name: &str) -> Release {
    Release::new(name)
}

/// All stores go to a release, one after the other or all at once, from a time on that lies between these milliseconds.
fn everyone(draft: &mut Draft, stream: &mut Stream, between: RangeInclusive<u64>, to: &str) {
    let at = Nanos::millis(stream.range(between));
    let every = stream.ratio(2, 3).then(|| Nanos::millis(stream.range(200..=700)));
    draft.at(at, Action::Upgrade { release: release(to), every, stores: None });
}

/// Everything in memory goes to files, on every store.
fn flush(draft: &mut Draft, at: Nanos) {
    for node in stores(draft) {
        draft.at(at, Action::Flush { node });
    }
}

fn rolled_back(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.release = release("8.1.0");
    everyone(draft, stream, 300..=1_000, "8.1.2-pre");
    flush(draft, Nanos::millis(stream.range(4_000..=4_500)));
    everyone(draft, stream, 5_000..=6_000, "8.1.0");
}

fn met(draft: &mut Draft, stream: &mut Stream, from: &str, to: &str) {
    draft.plan.cluster.release = release(from);
    flush(draft, Nanos::millis(stream.range(1_500..=2_500)));
    everyone(draft, stream, 3_000..=4_500, to);
    if stream.ratio(1, 2) {
        for node in stores(draft) {
            draft.at(Nanos::millis(stream.range(6_000..=7_000)), Action::Compact { node });
        }
    }
}

fn forgotten_export(draft: &mut Draft, stream: &mut Stream) {
    // Every store has peers, and so a raft log to forget.
    draft.plan.cluster.stores = 3;
    if stream.ratio(1, 2) {
        draft.plan.cluster.release = release("5.4.0");
        everyone(draft, stream, 300..=900, "6.1.0");
    } else {
        draft.plan.cluster.release = release("6.1.0");
    }
    let node = Draft::store(stream.range(1..=draft.plan.cluster.stores));
    let at = stream.range(5_000..=6_000);
    draft.at(
        Nanos::millis(at),
        Action::Restart { node: node.clone(), release: Some(release("5.4.0")), prepared: false },
    );
    // Before the supervisor gives it up.
    let again = Nanos::millis(at + stream.range(150..=600));
    draft.at(again, Action::Restart { node, release: Some(release("6.1.0")), prepared: true });
}

/// No history on purpose: a road up and down, left at any point, with crashes on the way.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    if stream.ratio(1, 4) {
        // Nothing is large enough for a blob file.
        draft.plan.knobs.reset("engine.blob-threshold");
    }
    let road = *stream.pick(ROADS).expect("a list");
    let start = stream.below(road.len() as u64 - 1) as usize;
    draft.plan.cluster.release = release(road[start]);
    let mut here = start;
    let mut at = stream.range(400..=1_500);
    for _ in 0..stream.range(1..=3) {
        let up = road.get(here + 1).copied();
        let Some(next) = up else { break };
        // Half-way: some stores go on, and may come back.
        let count = stream.range(1..=draft.plan.cluster.stores);
        let partly = stream.ratio(1, 3);
        let every = stream.ratio(2, 3).then(|| Nanos::millis(stream.range(100..=500)));
        let some = partly.then_some(count);
        draft.at(Nanos::millis(at), Action::Upgrade { release: release(next), every, stores: some });
        at += stream.range(1_200..=2_500);
        if stream.ratio(1, 2) {
            flush(&mut draft, Nanos::millis(at - 300));
        }
        if may_go_back(next, road[here]) && (partly || stream.ratio(1, 2)) {
            draft.at(Nanos::millis(at), Action::Upgrade { release: release(road[here]), every, stores: some });
            at += stream.range(1_200..=2_000);
        } else if partly {
            draft.at(Nanos::millis(at), Action::Upgrade { release: release(next), every, stores: None });
            at += stream.range(1_200..=2_000);
            here += 1;
        } else {
            here += 1;
        }
    }
    let stores = stores(&draft);
    if stream.ratio(1, 3) {
        // Somebody mistakes the release; unless it fits, the store is refused and goes on as it was.
        let node = stream.pick(&stores).expect("there are stores").clone();
        let mistaken = stream.pick(RELEASES).expect("a table").name;
        let at = Nanos::millis(stream.range(500..=8_000));
        draft.at(at, Action::Restart { node, release: Some(release(mistaken)), prepared: true });
    }
    if stream.ratio(1, 2) {
        // Somebody loses power while its raft log is on its way.
        let node = stream.pick(&stores).expect("there are stores").clone();
        let site =
            *stream.pick(&["raft-log-while-moving", "raft-log-after-copy", "raft-log-before-clear"]).expect("a list");
        draft.at(Nanos::millis(100), point(&node, site, "1*sleep(400ms)"));
        let wait = On { node: Some(node.clone()), fields: Default::default(), ..on("raft-log-moving") };
        let moving = draft.on(wait, Action::Note {});
        let down = Nanos::millis(stream.range(10..=800));
        draft.after(moving, Nanos::millis(stream.range(1..=350)), Action::Bounce { node, keep: Keep::Seeded, down });
    }
    for _ in 0..stream.range(0..=4) {
        let at = Nanos::millis(stream.range(200..=9_000));
        let node = stream.pick(&stores).expect("there are stores").clone();
        let key = key_in(stream.below(draft.plan.workload.keys));
        let action = match stream.below(6) {
            0 => Action::Compact { node },
            1 => Action::Flush { node },
            2 => Action::CompactLog { node, key: None },
            3 => Action::Split { key },
            4 => Action::TransferLeader { key, to: node },
            _ => Action::ComputeHash { key },
        };
        draft.at(at, action);
    }
    if stream.ratio(1, 3) {
        // A crash while a blob file has been written and the manifest does not know it.
        let node = stream.pick(&stores).expect("there are stores").clone();
        let wait = On { nth: stream.range(1..=5), node: Some(node.clone()), ..on("blob-file-written") };
        let down = Nanos::millis(stream.range(10..=800));
        draft.on(wait, Action::Bounce { node, keep: Keep::Seeded, down });
    }
    if stream.ratio(1, 4) {
        let node = stream.pick(&stores).expect("there are stores").clone();
        let fields = [("tag".to_owned(), FactValue::Number(12))].into();
        let wait = On { node: Some(node.clone()), fields, ..on("manifest-edit-written") };
        let down = Nanos::millis(stream.range(10..=800));
        draft.on(wait, Action::Bounce { node, keep: Keep::Seeded, down });
    }
    draft.free_faults();
    draft.plan
}

fn may_go_back(from: &str, to: &str) -> bool {
    let row = |name| Row::parse(name).expect("roads are made of releases");
    row(from).may_roll_back_to(row(to))
}
