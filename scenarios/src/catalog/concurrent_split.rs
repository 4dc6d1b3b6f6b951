//! Regions split and merge while everything around them moves: leaders, members, lagging replicas, stores that crash.
//!
//! A replica that applies a split late meets peers of the child that others have already spoken to; a leader that is
//! new, or believes to be one still, meets readers. A replica that lags behind a merge gets a snapshot of the target, and
//! still has the source; a peer that was removed before it got anything leaves hardly a trace. Votes are lost or withheld, a
//! leader removes itself, a lease is too long. Eleven upstream issues lie there.
//!
//! A seed without a history mixes splits, merges, moves, membership changes and faults freely.

use sim::Stream;

use super::{
    GenerateOptions, History, Scenario,
    draw::{Draft, key_in, on, point, stores},
};
use crate::plan::{
    Action, End, FactValue, Keep, Key, Keys, Mix, Nanos, Node, On, Plan, Sides,
    knobs::{self, Between},
};

/// The row of the catalog.
pub const CONCURRENT_SPLIT: Scenario = Scenario {
    name: "concurrent-split",
    doc: "Regions split and merge while leaders change, members come and go, replicas lag and stores crash.",
    histories: &[
        History {
            name: "tikv-8783",
            doc: "A late replica applies a split whose child has a newer peer here already, and leaves it alone.",
            check: "region-maps-agree",
            trigger: &["split-child-left-alone"],
        },
        History {
            name: "tikv-17469",
            doc: "A split replaces a peer without a range that has mail waiting.",
            check: "closed-peer-handles-no-message",
            trigger: &["mail-left-behind"],
        },
        History {
            name: "tikv-9208",
            doc: "Reads ask a leader that has not committed in its own term yet.",
            check: "linearizable",
            trigger: &["read-index-asked-early"],
        },
        History {
            name: "tikv-15035",
            doc: "A follower that has just restarted is asked for its vote while the old leader's lease holds.",
            check: "one-lease",
            trigger: &["restarted-store-asked-to-vote-early"],
        },
        History {
            name: "tikv-994",
            doc: "Appends are acknowledged while syncs are slow.",
            check: "acknowledged-is-durable",
            trigger: &["fresh-append-acknowledged"],
        },
        History {
            name: "tikv-7002",
            doc: "A store restarts while it applies a snapshot that contains a merge whose source it still had.",
            check: "one-owner-per-key",
            trigger: &["restarted-after-a-snapshot-took-its-sources"],
        },
        History {
            name: "tikv-10533",
            doc: "A replica without a range is destroyed where an older one was removed, whom an isolated peer still asks for votes.",
            check: "removed-peer-never-returns",
            trigger: &["removed-peer-asked-after-a-newcomer-went"],
        },
        History {
            name: "tikv-9579",
            doc: "A replica that has got nothing yet votes, restarts, and is asked for its vote again in that term.",
            check: "election-safety",
            trigger: &["newcomer-asked-again-in-its-term"],
        },
        History {
            name: "tikv-10595",
            doc: "Of two replicas the one that is to be removed comes to lead, and applies its removal while the other hears nothing.",
            check: "converges",
            trigger: &["leader-removed-with-one-voter-left"],
        },
        History {
            name: "tikv-15296",
            doc: "The cluster is restored from snapshots of its volumes, and votes are asked for right after the restart.",
            check: "converges",
            trigger: &["restoring-store-asked-to-vote"],
        },
        History {
            name: "tikv-9728",
            doc: "The lease is set as long as the election timeout; the leader's clock is slow and it is cut off.",
            check: "one-lease",
            trigger: &["elected-within-a-lease-too-long"],
        },
    ],
    generate,
};

fn generate(seed: u64, options: &GenerateOptions) -> Plan {
    let mut draft = Draft::of(&CONCURRENT_SPLIT, seed, options, 6);
    let mut stream = draft.stream("story");
    match draft.plan.history.as_deref() {
        Some("tikv-8783") => child_left_alone(&mut draft, &mut stream),
        Some("tikv-17469") => replaced_with_mail(&mut draft, &mut stream),
        Some("tikv-9208") => early_reads(&mut draft, &mut stream),
        Some("tikv-15035") => early_vote(&mut draft, &mut stream),
        Some("tikv-994") => slow_syncs(&mut draft, &mut stream),
        Some("tikv-7002") => snapshot_over_sources(&mut draft, &mut stream),
        Some("tikv-10533") => nameless_tombstone(&mut draft, &mut stream),
        Some("tikv-9579") => forgotten_vote(&mut draft, &mut stream),
        Some("tikv-10595") => leader_removed(&mut draft, &mut stream),
        Some("tikv-15296") => restored(&mut draft, &mut stream),
        Some("tikv-9728") => long_lease(&mut draft, &mut stream),
        _ => return free(draft, stream),
    }
    draft.company();
    draft.plan
}

/// Splits in the middle of the key space; the child is to the left.
fn middle(draft: &Draft) -> (Key, Key) {
    let keys = draft.plan.workload.keys;
    (key_in(0), key_in(keys / 2))
}

fn child_left_alone(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    draft.plan.cluster.regions = 1;
    draft.plan.workload.lasting = Nanos::secs(10);
    let late = stream.range(1..=3);
    let victim = Draft::store(late);
    let (left, split) = middle(draft);
    // The late replica does not lead, and does not apply the split before the child has changed its members.
    let leader = Draft::store(1 + late % 3);
    draft.at(Nanos::millis(100), Action::TransferLeader { key: left.clone(), to: leader });
    let late_ms = stream.range(3_500..=4_500);
    draft.at(Nanos::millis(600), point(&victim, "before-split-apply", format!("1*sleep({late_ms}ms)")));
    let split = draft.at(Nanos::millis(stream.range(700..=900)), Action::Split { key: split });
    draft.after(split, Nanos::millis(stream.range(600..=900)), Action::RemovePeer { key: left, store: victim });
}

fn replaced_with_mail(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    draft.plan.cluster.regions = 1;
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    let late = stream.range(1..=3);
    let victim = Draft::store(late);
    let leader = Draft::store(1 + late % 3);
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key_in(0), to: leader });
    let (slow_ms, turn_ms) = (stream.range(150..=400), stream.range(40..=90));
    draft.at(Nanos::millis(600), point(&victim, "before-split-apply", format!("sleep({slow_ms}ms)")));
    draft.at(Nanos::millis(600), point(&victim, "before-raft-turn", format!("sleep({turn_ms}ms)")));
    const PARTS: u64 = 4;
    let keys = draft.plan.workload.keys;
    let mut at = 800;
    for part in 0..PARTS {
        let base = keys * part / PARTS;
        let mut cuts: Vec<Key> = (1..=4).map(|cut| key_in(base + (keys / PARTS) * cut / 5 + 1)).collect();
        cuts.dedup();
        draft.at(Nanos::millis(at), Action::BatchSplit { keys: Keys(cuts) });
        at += stream.range(1_000..=1_500);
    }
}

fn early_reads(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    draft.plan.cluster.regions = stream.range(1..=2);
    let workload = &mut draft.plan.workload;
    (workload.clients, workload.rate, workload.keys) = (12, 500, 4);
    workload.mix = Mix { read: 30, read_index: 20, follower_read: 0, put: 45, cas: 0, delete: 5, scan: 0, batch: 0 };
    workload.lasting = Nanos::secs(12);
    draft.plan.knobs.set(knobs::RAFT_TICK, Nanos::millis(100));
    draft.plan.knobs.set(knobs::RAFT_LEASE, Nanos::millis(800));
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.plan.knobs.set(knobs::CLIENT_TIMEOUT, Nanos::millis(200));
    let old = stream.range(1..=3);
    let (b, c) = (1 + old % 3, 1 + (old + 1) % 3);
    let old = Draft::store(old);
    for key in [0, 2] {
        draft.at(Nanos::millis(100), Action::TransferLeader { key: key_in(key), to: old.clone() });
    }
    // Whoever leads next takes long to commit its first entry.
    let delay = Nanos::millis(stream.range(250..=400));
    let end = |number| End::new(Draft::store(number).as_str());
    for to in [b, c] {
        // Followers learn late what the old leader has answered for already.
        let delay = Nanos::millis(stream.range(40..=100));
        let from = End::new(old.as_str());
        draft.at(Nanos::millis(800), Action::SlowLink { from, to: end(to), delay, lasting: Some(Nanos::secs(9)) });
    }
    for (from, to) in [(b, c), (c, b)] {
        draft.at(
            Nanos::millis(800),
            Action::SlowLink { from: end(from), to: end(to), delay, lasting: Some(Nanos::secs(9)) },
        );
    }
    // The last writes are answered, and the followers do not know yet that they are committed.
    let nth = stream.range(100..=300);
    let wait = On { node: Some(old.clone()), nth, ..on("entry-applied") };
    draft.on(wait, Action::Bounce { node: old, keep: Keep::Seeded, down: Nanos::secs(6) });
}

fn early_vote(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    // Each region stands for election at a time of its own, which is one more chance to meet the window.
    draft.plan.cluster.regions = stream.range(4..=6);
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.plan.knobs.set(knobs::RAFT_TICK, Nanos::millis(50));
    draft.plan.knobs.set(knobs::RAFT_LEASE, Nanos::millis(400));
    draft.plan.knobs.set(knobs::NET_DELAY, Between::new(Nanos::micros(100), Nanos::millis(1)));
    let rounds = 8;
    // Readers keep leases up; writers would leave store 3 with too old a log to be elected.
    draft.plan.workload.mix =
        Mix { read: 70, read_index: 25, follower_read: 5, put: 2, cas: 0, delete: 0, scan: 0, batch: 0 };
    draft.plan.workload.rate = stream.range(60..=150);
    draft.plan.workload.lasting = Nanos::secs(2 * rounds + 1);
    let end = |number| End::new(Draft::store(number).as_str());
    let borders: Vec<Key> = (0..draft.plan.cluster.regions)
        .map(|part| key_in(draft.plan.workload.keys * part / draft.plan.cluster.regions + 1))
        .collect();
    for round in 0..rounds {
        let start = 2_000 * round + 100;
        for (number, key) in borders.iter().enumerate() {
            // The heartbeats of the one that store 3 leads connect it with store 2 again as soon as that is back.
            let to = Draft::store(if number == 0 { 3 } else { 1 });
            draft.at(Nanos::millis(start), Action::TransferLeader { key: key.clone(), to });
        }
        // Store 3 and the leader hear no more of each other, and store 3 stands for election half an election timeout to a whole one later.
        let cut = start + 400;
        let lasting = Some(Nanos::millis(1_100));
        let sides = Sides(vec![vec![end(1)], vec![end(3)]]);
        draft.at(Nanos::millis(cut), Action::Partition { sides, symmetric: true, lasting });
        // Shortly before, store 2, which holds the leader's lease up, restarts and hears no more of it either.
        let restart = cut + stream.range(480..=580);
        let lasting = Some(Nanos::millis(1_500 - (restart - start)));
        draft.at(Nanos::millis(restart), Action::Clog { from: end(1), to: end(2), lasting });
        let down = Nanos::millis(stream.range(1..=5));
        draft.at(Nanos::millis(restart), Action::Bounce { node: Draft::store(2), keep: Keep::Seeded, down });
    }
}

fn slow_syncs(draft: &mut Draft, stream: &mut Stream) {
    let most = Nanos::millis(stream.range(2..=20));
    draft.plan.knobs.set(knobs::DISK_SYNC, Between::new(Nanos::millis(1), most));
    for node in stores(draft) {
        if stream.ratio(1, 2) {
            let action = format!("20%sleep({}ms)", stream.range(5..=60));
            draft.at(Nanos::millis(stream.range(100..=1_000)), point(&node, "before-log-sync", action));
        }
    }
    let (_, split) = middle(draft);
    draft.at(Nanos::millis(stream.range(500..=2_000)), Action::Split { key: split });
    let node = Draft::store(stream.range(1..=draft.plan.cluster.stores));
    let wait = On {
        nth: stream.range(5..=60),
        node: Some(node.clone()),
        fields: [("kind".to_owned(), FactValue::Text("normal".to_owned()))].into(),
        ..on("proposed")
    };
    let down = Nanos::millis(stream.range(50..=1_500));
    draft.on(wait, Action::Bounce { node, keep: Keep::Nothing, down });
}

/// A store is cut off; two regions merge without it; it needs a snapshot of what they became, and crashes when that begins.
fn snapshot_over_sources(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    draft.plan.cluster.regions = 2;
    draft.plan.knobs.set(knobs::RAFT_LOG_GC_ENTRIES, stream.range(8..=32));
    draft.plan.workload.lasting = Nanos::secs(9);
    draft.plan.workload.rate = stream.range(40..=120);
    let late = stream.range(1..=3);
    let victim = Draft::store(late);
    let (left, right) = (key_in(0), key_in(draft.plan.workload.keys - 1));
    let others = [1 + late % 3, 1 + (late + 1) % 3].map(Draft::store);
    for key in [&left, &right] {
        let to = stream.pick(&others).expect("two stores").clone();
        draft.at(Nanos::millis(100), Action::TransferLeader { key: key.clone(), to });
    }
    let cut = stream.range(700..=1_000);
    let lasting = stream.range(3_000..=4_000);
    draft.at(Nanos::millis(cut), Action::Isolate { node: victim.clone(), lasting: Some(Nanos::millis(lasting)) });
    // Soon enough for the store that is cut off to lack little.
    let (key, into) = if stream.ratio(1, 2) { (left, right) } else { (right, left) };
    let merge = draft.at(Nanos::millis(cut + stream.range(10..=200)), Action::Merge { key, into: Some(into) });
    for node in &others {
        for wait in [1_200, 2_000] {
            draft.after(merge, Nanos::millis(wait), Action::CompactLog { node: node.clone(), key: None });
        }
    }
    let slow = format!("sleep({}ms)", stream.range(300..=600));
    draft.at(Nanos::millis(cut + lasting - 200), point(&victim, "between-engine-and-log", slow));
    let fields = [("by".to_owned(), FactValue::Text("snapshot".to_owned()))].into();
    let wait = On { node: Some(victim.clone()), fields, ..on("merge-source-destroyed") };
    let begun = draft.on(wait, Action::Note {});
    let down = Nanos::millis(stream.range(50..=800));
    draft.after(
        begun,
        Nanos::millis(stream.range(120..=250)),
        Action::Bounce { node: victim.clone(), keep: Keep::Seeded, down },
    );
    draft.after(begun, Nanos::millis(1_500), point(&victim, "between-engine-and-log", "off"));
}

/// A replica is removed from a store; another one comes there, gets nothing, and is removed, too. Somebody who was cut off
/// all the while asks the first one for its vote.
fn nameless_tombstone(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 4;
    draft.plan.cluster.regions = 1;
    draft.plan.workload.lasting = Nanos::secs(9);
    draft.plan.knobs.set(knobs::PD_REPLICAS, 4);
    draft.plan.knobs.set(knobs::RAFT_TICK, Nanos::millis(50));
    draft.plan.knobs.set(knobs::RAFT_LEASE, Nanos::millis(400));
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.plan.knobs.set(knobs::RAFT_STALE_PEER_TICK, Nanos::millis(stream.range(200..=500)));
    let mut names: Vec<u64> = (1..=4).collect();
    stream.shuffle(&mut names);
    let [old, leader, place, other] = names[..] else { unreachable!("four stores") };
    let [old, leader, place, other] = [old, leader, place, other].map(Draft::store);
    let key = key_in(0);
    let end = |node: &Node| End::new(node.as_str());
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key.clone(), to: leader.clone() });
    // The newcomer gets no snapshot.
    for node in [&leader, &other] {
        draft.at(Nanos::millis(800), point(node, "snapshot-before-generate", "sleep(6s)"));
    }
    let cut = Nanos::millis(stream.range(900..=1_100));
    let lasting = Some(Nanos::secs(7));
    let sides = Sides(vec![vec![end(&old)], vec![end(&leader), end(&other)]]);
    draft.at(cut, Action::Partition { sides, symmetric: true, lasting });
    let removed = draft.at(
        Nanos(cut.0 + Nanos::millis(stream.range(20..=200)).0),
        Action::RemovePeer { key: key.clone(), store: place.clone() },
    );
    // The placement driver puts another replica there, which then hears nothing more and is removed.
    let fields = [("initialized".to_owned(), FactValue::Flag(false))].into();
    let wait = On { node: Some(place.clone()), fields, after: Some(removed), ..on("peer-created") };
    let sides = Sides(vec![vec![end(&place)], vec![end(&leader), end(&other)]]);
    let lasting = Some(Nanos::secs(5));
    let came = draft.on(wait, Action::Partition { sides, symmetric: true, lasting });
    draft.after(came, Nanos::millis(stream.range(50..=200)), Action::RemovePeer { key, store: place });
}

/// Two replicas and a newcomer, who helps one after the other to lead in one term.
fn forgotten_vote(draft: &mut Draft, stream: &mut Stream) {
    let cluster = &mut draft.plan.cluster;
    (cluster.stores, cluster.spare, cluster.regions) = (2, 1, 1);
    draft.plan.workload.lasting = Nanos::secs(14);
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    let first = stream.range(1..=2);
    let (one, other, newcomer) = (Draft::store(first), Draft::store(3 - first), Draft::store(3));
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key_in(0), to: one.clone() });
    for node in [&one, &other] {
        draft.at(Nanos::millis(600), point(node, "snapshot-before-send", "return"));
    }
    let start = draft.at(Nanos::millis(700), Action::Restart { node: newcomer.clone(), release: None, prepared: true });
    let of = |fact: &str, node: &Node, after: u64| On { node: Some(node.clone()), after: Some(after), ..on(fact) };
    let add = Action::AddPeer { key: key_in(0), store: newcomer.clone(), learner: false };
    let added = draft.on(of("store-started", &newcomer, start), add);
    let created = draft.on(of("peer-created", &newcomer, added), Action::Note {});
    // The other one has applied that there are three of them, and hears no more.
    let apart = Nanos::millis(stream.range(400..=600));
    draft.after(created, apart, Action::Isolate { node: other, lasting: None });
    let down = Nanos::millis(stream.range(5..=100));
    let again = Action::Bounce { node: one.clone(), keep: Keep::Seeded, down };
    let again = draft.after(created, Nanos(apart.0 + 50_000_000), again);
    let elected = of("elected", &one, again);
    draft.on(elected.clone(), Action::Heal {});
    draft.on(elected.clone(), Action::Isolate { node: one, lasting: Some(Nanos::secs(7)) });
    let down = Nanos::millis(stream.range(5..=100));
    draft.on(elected, Action::Bounce { node: newcomer, keep: Keep::Seeded, down });
}

/// Two replicas; leadership goes to the one whose removal is under way.
fn leader_removed(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 2;
    draft.plan.cluster.regions = 1;
    draft.plan.knobs.set(knobs::PD_REPLICAS, 2);
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.plan.workload.lasting = Nanos::secs(12);
    let first = stream.range(1..=2);
    let (stays, goes) = (Draft::store(first), Draft::store(3 - first));
    let end = |node: &Node| End::new(node.as_str());
    let cut = |lasting| Action::Partition {
        sides: Sides(vec![vec![end(&goes)], vec![end(&stays)]]),
        symmetric: false,
        lasting,
    };
    draft.at(Nanos::millis(100), Action::TransferLeader { key: key_in(0), to: stays.clone() });
    let remove = Action::RemovePeer { key: key_in(0), store: goes.clone() };
    let remove = draft.at(Nanos::millis(stream.range(900..=1_500)), remove);
    // Its removal is in the log of both, and nobody knows that.
    let fields = [("kind".to_owned(), FactValue::Text("conf-change".to_owned()))].into();
    let proposed = On { node: Some(stays.clone()), fields, after: Some(remove), ..on("proposed") };
    let proposed = draft.on(proposed, cut(None));
    // The leader gives up. While it stands still, the other one asks for its vote.
    let fields = [("role".to_owned(), FactValue::Text("follower".to_owned()))].into();
    let gives_up = On { node: Some(stays.clone()), fields, after: Some(proposed), ..on("role-changed") };
    let healed = draft.on(gives_up.clone(), Action::Heal {});
    let pause = Nanos(draft.plan.knobs.get(knobs::RAFT_TICK).0 * 26);
    draft.on(gives_up, Action::Pause { node: stays.clone(), lasting: Some(pause) });
    let elected = draft.on(On { node: Some(goes.clone()), after: Some(healed), ..on("elected") }, Action::Note {});
    let committed = On { node: Some(goes.clone()), after: Some(elected), ..on("committed") };
    draft.on(committed, cut(Some(Nanos::millis(stream.range(1_500..=2_500)))));
}

/// A restore in the middle of the work.
fn restored(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    draft.at(Nanos::millis(stream.range(1_000..=4_000)), Action::Restore {});
}

/// Writers keep the lease of a leader with a slow clock up until it is cut off, again and again.
fn long_lease(draft: &mut Draft, stream: &mut Stream) {
    draft.plan.cluster.stores = 3;
    draft.plan.cluster.regions = 4;
    let tick = Nanos::millis(50);
    draft.plan.knobs.set(knobs::RAFT_HIBERNATE, false);
    draft.plan.knobs.set(knobs::RAFT_TICK, tick);
    draft.plan.knobs.set(knobs::RAFT_LEASE, Nanos(tick.0 * draft.plan.knobs.get(knobs::RAFT_ELECTION_TICKS)));
    draft.plan.knobs.set(knobs::NET_DELAY, Between::new(Nanos::micros(100), Nanos::millis(1)));
    let rounds = 8;
    let workload = &mut draft.plan.workload;
    (workload.clients, workload.rate, workload.keys) = (8, 400, 64);
    workload.mix = Mix { read: 10, read_index: 5, follower_read: 5, put: 80, cas: 0, delete: 0, scan: 0, batch: 0 };
    workload.lasting = Nanos::secs(2 * rounds + 1);
    for number in 1..=3 {
        // All of them within the bound up to which leases are safe.
        let drift = stream.range(30_000..=45_000) as i64;
        let drift_ppm = if number == 1 { -drift } else { drift };
        let wall_step = crate::plan::SignedNanos(0);
        draft.at(Nanos::millis(50), Action::Clock { node: Draft::store(number), drift_ppm, wall_step });
    }
    let end = |number| End::new(Draft::store(number).as_str());
    for round in 0..rounds {
        let start = 2_000 * round + 100;
        for part in 0..4 {
            let key = key_in(draft.plan.workload.keys * part / 4 + 1);
            draft.at(Nanos::millis(start), Action::TransferLeader { key, to: Draft::store(1) });
        }
        let sides = Sides(vec![vec![end(1)], vec![end(2), end(3)]]);
        let (cut, lasting) = (start + stream.range(800..=950), Some(Nanos::millis(750)));
        draft.at(Nanos::millis(cut), Action::Partition { sides, symmetric: true, lasting });
    }
}

/// No history on purpose: splits, moves and changes, with faults of all kinds.
fn free(mut draft: Draft, mut stream: Stream) -> Plan {
    let stores = stores(&draft);
    let last_ms = draft.plan.workload.lasting.0 / 1_000_000;
    for _ in 0..stream.range(3..=10) {
        let at = Nanos::millis(stream.range(200..=last_ms));
        let node = stream.pick(&stores).expect("there are stores").clone();
        let key = key_in(stream.below(draft.plan.workload.keys));
        let action = match stream.below(10) {
            0..=2 => Action::Split { key },
            3 => {
                let from = stream.below(draft.plan.workload.keys);
                let keys = (1..=stream.range(2..=4)).map(|step| key_in(from + step * 2)).collect();
                Action::BatchSplit { keys: Keys(keys) }
            }
            4 | 5 => Action::TransferLeader { key, to: node },
            6 => Action::RemovePeer { key, store: node },
            7 | 8 => Action::Merge { key, into: None },
            _ => Action::ComputeHash { key },
        };
        draft.at(at, action);
    }
    draft.free_faults();
    draft.plan
}
