//! Snapshots from building to applying, the registry's rules, the collector's table, and what a crash leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Error, Files, Key, Listed, Manager, Options, Side, Use,
    apply::{Applying, apply, recover_applying},
    build::{Built, build},
    collect::{Decision, PeerState, PeerView, collect, decide},
    content::hash,
    file, receive,
    send::{Send, send},
};
use crate::{
    engine::{self, Engine, Family, WriteBatch, record::Record},
    env::Open,
    key,
    raftlog::{
        self, HardState, LogBatch, RaftLog,
        room::{Room, run},
    },
    region::{Epoch, Peer, Region},
    rpc,
};

const KEY: Key = Key { region: 7, term: 6, index: 12 };

fn region() -> Region {
    Region {
        id: 7,
        start: Bytes::from_static(b"b"),
        end: Bytes::from_static(b"y"),
        epoch: Epoch { conf_ver: 1, version: 1 },
        peers: vec![Peer { id: 70, store: 1, role: 0 }],
    }
}

async fn manager(room: &Room, options: Options) -> Manager {
    Manager::open(room.env(), options).await.unwrap()
}

async fn engine(room: &Room) -> Engine {
    Engine::open(room.env(), "db", engine::Options::default()).await.unwrap()
}

/// Keys inside and outside the region, some large, some deleted, some with older versions.
async fn fill(engine: &Engine, count: u64) {
    let mut batch = WriteBatch::new();
    let mut put = |user: &str, timestamp: u64, value: Option<Bytes>| {
        let at = key::version_key(user.as_bytes(), timestamp);
        let record = Record::of(value.as_ref());
        if let (Record::Indirect, Some(value)) = (&record, value) {
            batch.put(Family::Default, at.clone(), value);
        }
        batch.put(Family::Write, at, record.encode());
    };
    put("a-outside", 1, Some(Bytes::from_static(b"no")));
    put("z-outside", 1, Some(Bytes::from_static(b"no")));
    for number in 0..count {
        let user = format!("k{number:04}");
        put(&user, 10 + number, Some(Bytes::from(vec![number as u8; if number % 3 == 0 { 700 } else { 20 }])));
        match number % 4 {
            0 => put(&user, 1000 + number, None),
            1 => put(&user, 1000 + number, Some(Bytes::from_static(b"newer"))),
            _ => {}
        }
    }
    engine.write(batch, true).await.unwrap();
}

async fn built(manager: &Manager, engine: &Engine) -> Result<Built, Error> {
    build(manager, &region(), KEY, &engine.snapshot(), &AtomicBool::new(false)).await
}

fn normal() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(Family::Raft, key::region_state(7), Bytes::from_static(b"normal"));
    batch
}

#[test]
fn travels_from_one_store_to_another_and_becomes_its_content() {
    run(async {
        let (here, there) = (Room::default(), Room::default());
        let (source, target) = (engine(&here).await, engine(&there).await);
        fill(&source, 300).await;
        let options = Options { chunk_bytes: 1000, ..Options::default() };
        let (from, to) = (manager(&here, options.clone()).await, manager(&there, options).await);
        let built = built(&from, &source).await.unwrap();
        let content = hash(&source.snapshot(), &region()).await.unwrap();
        assert_eq!((built.meta.digest, built.meta.keys), (content.digest.0, 225));

        let delivered = Arc::new(Mutex::new(Vec::new()));
        let mut listener = here.env().net.listen("there").await.unwrap();
        let (manager_there, heard) = (to.clone(), delivered.clone());
        let serving = there.env().spawn("serve", async move {
            let mut connection = listener.accept().await.unwrap();
            let first = rpc::parse(connection.receiver.recv().await.unwrap()).unwrap();
            assert_eq!(first.service, rpc::SNAPSHOT);
            let check = manager_there.clone();
            let deliver: receive::Deliver = Arc::new(move |header| {
                assert_eq!(check.uses(KEY), [Use::Receiving]);
                heard.lock().push(header.message);
                true
            });
            receive::session(manager_there, first.body, connection, deliver).await;
        });
        let message = Bytes::from_static(b"raft");
        let job = Send { key: KEY, from_store: 1, to_store: 2, address: "there".to_owned(), message: message.clone() };
        send(&from, &job).await.unwrap();
        drop(serving);
        assert_eq!(*delivered.lock(), [message]);
        assert!(!from.exists(Side::Generated, KEY).await.unwrap(), "what was sent goes");
        assert!(to.exists(Side::Received, KEY).await.unwrap());
        there.disk.crash(0);
        assert!(to.exists(Side::Received, KEY).await.unwrap(), "what was confirmed is durable");

        fill(&target, 5).await;
        let mut stale = WriteBatch::new();
        stale.put(Family::Write, key::version_key(b"left over", 9999), Record::Tombstone.encode());
        target.write(stale, true).await.unwrap();
        to.set_durable_applying(7, Some(KEY));
        apply(&to, &target, &region(), 70, KEY, normal(), &AtomicBool::new(false)).await.unwrap();
        assert_eq!(hash(&target.snapshot(), &region()).await.unwrap(), content);
        assert_eq!(target.get(Family::Raft, &key::region_state(7)).await.unwrap().unwrap(), "normal");
        let outside = key::version_key(b"a-outside", 1);
        assert!(target.get(Family::Write, &outside).await.unwrap().is_some(), "only the range is replaced");
        assert_eq!(to.durable_applying(7), None);
        assert!(to.list().await.unwrap().is_empty(), "what was applied goes");
        assert!(!there.disk.paths().iter().any(|path| path.starts_with("snap/")), "{:?}", there.disk.paths());
        assert_eq!(there.facts.count("content-hashed"), 1);
    });
}

#[test]
fn an_earlier_snapshot_of_the_same_key_is_used_again_unless_it_is_damaged() {
    run(async {
        let room = Room::default();
        let (store, manager) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        assert!(!built(&manager, &store).await.unwrap().reused);
        assert!(built(&manager, &store).await.unwrap().reused);
        let table = manager.files(Side::Generated, KEY).table(Family::Write);
        room.disk.damage(&table, 3);
        assert!(matches!(built(&manager, &store).await, Err(Error::Corrupt { .. })));
        assert!(!built(&manager, &store).await.unwrap().reused, "the damaged one is gone");
        room.disk.erase(&table);
        assert!(!built(&manager, &store).await.unwrap().reused, "half a snapshot is none");
        assert!(manager.uses(KEY).is_empty());
    });
}

#[test]
fn a_failed_build_leaves_nothing_and_a_lock_keeps_the_second_builder_out() {
    run(async {
        let room = Room::default();
        let (store, manager) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        let cancelled = AtomicBool::new(true);
        let result = build(&manager, &region(), KEY, &store.snapshot(), &cancelled).await;
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert!(!room.disk.paths().iter().any(|path| path.starts_with("snap/")), "{:?}", room.disk.paths());
        let lock = file::temporary(&manager.files(Side::Generated, KEY).meta());
        room.env().disk.open(&lock, Open::CreateNew).await.unwrap();
        assert!(matches!(built(&manager, &store).await, Err(Error::BuildLocked { .. })));
        // A start breaks the lock of a dead builder.
        let manager = Manager::open(room.env(), Options::default()).await.unwrap();
        assert!(built(&manager, &store).await.is_ok());
    });
}

#[test]
fn unreadable_statistics_are_told_and_tolerated() {
    run(async {
        let room = Room::default();
        let (store, manager) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        room.stats_fail.store(true, SeqCst);
        assert!(built(&manager, &store).await.is_ok());
        assert_eq!(room.facts.count("snapshot-statistics-unreadable"), 1);
    });
}

#[test]
fn whoever_uses_a_snapshot_keeps_it() {
    run(async {
        let room = Room::default();
        let (store, manager) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        built(&manager, &store).await.unwrap();
        let delete = |check_entry| manager.delete(Side::Generated, KEY, check_entry, "collected");
        let mine = manager.register(KEY, Use::Sending).unwrap();
        assert!(!delete(false).await.unwrap(), "somebody uses it");
        let other = manager.register(KEY, Use::Generating).unwrap();
        assert!(!delete(true).await.unwrap(), "somebody else uses it");
        assert!(manager.list_idle().await.unwrap().is_empty());
        drop(other);
        let deleting = delete(true);
        let registering = async {
            // The removal has taken its first turn.
            tokio::task::yield_now().await;
            manager.register(KEY, Use::Sending).map(drop)
        };
        let (deleted, registered) = futures::join!(deleting, registering);
        assert!(deleted.unwrap());
        assert!(matches!(registered, Err(Error::BeingRemoved { .. })), "{registered:?}");
        drop(mine);
        assert!(manager.register(KEY, Use::Sending).is_ok());
    });
}

#[test]
fn unfinished_files_go_at_start_and_finished_ones_stay() {
    run(async {
        let room = Room::default();
        let (store, open) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        built(&open, &store).await.unwrap();
        let files = open.files(Side::Received, KEY);
        for path in [file::temporary(&files.meta()), file::clone(&files.table(Family::Lock))] {
            room.env().disk.open(&path, Open::Create).await.unwrap();
        }
        room.env().disk.sync_dir("snap").await.unwrap();
        room.disk.crash(0);
        let open = manager(&room, Options::default()).await;
        let mut expected = Files::new("snap", Side::Generated, KEY).all();
        expected.sort();
        let left: Vec<_> = room.disk.paths().into_iter().filter(|path| path.starts_with("snap/")).collect();
        assert_eq!(left, expected);
        assert!(open.total_bytes() > 0);
    });
}

#[test]
fn over_the_size_limit_the_oldest_idle_generated_snapshot_goes_first() {
    struct Nobody;
    impl PeerView for Nobody {
        fn state(&self, _: u64) -> Option<PeerState> {
            Some(PeerState::default())
        }
    }
    run(async {
        let room = Room::default();
        let store = engine(&room).await;
        fill(&store, 20).await;
        let open = manager(&room, Options::default()).await;
        let keys = [12, 13, 14].map(|index| Key { index, ..KEY });
        for key in keys {
            build(&open, &region(), key, &store.snapshot(), &AtomicBool::new(false)).await.unwrap();
        }
        let one = open.total_bytes() / 3;
        let limited = Manager::open(room.env(), Options { size_limit_bytes: 5 * one / 2, ..Options::default() }).await;
        let limited = limited.unwrap();
        // Reading the directory anew, the oldest is the smallest key; it is in use.
        let used = limited.register(keys[0], Use::Sending).unwrap();
        assert_eq!(collect(&limited, &Nobody).await.unwrap(), 1);
        let left: Vec<_> = limited.list().await.unwrap().into_iter().map(|listed| listed.key).collect();
        assert_eq!(left, [keys[0], keys[2]]);
        drop(used);
    });
}

#[test]
fn the_collector_follows_its_table() {
    use Decision::{Keep, Needed, Remove};
    use Side::{Generated, Received};
    let limit = Duration::from_secs(100);
    let peer = |compacted_index, applying, pending_remove| {
        Some(PeerState { compacted_index, compacted_term: 6, applying, pending_remove, has_content: true })
    };
    let (none, durable) = (None, Some(KEY));
    let now_applying = Some((6, 12));
    for (line, side, age, complete, peer, durable, expected) in [
        ("a half one", Generated, 0, false, peer(1, None, false), none, Remove("leftover")),
        ("fresh", Generated, 0, true, peer(12, None, false), none, Keep),
        ("old", Generated, 101, true, peer(12, None, false), none, Remove("collected")),
        ("compacted", Generated, 0, true, peer(13, None, false), none, Remove("stale")),
        ("no peer", Generated, 0, true, None, none, Keep),
        ("no peer, old", Generated, 101, true, None, none, Remove("stale")),
        ("awaited", Received, 101, true, peer(5, None, false), none, Keep),
        ("overtaken", Received, 0, true, peer(13, None, false), none, Remove("stale")),
        ("overtaken, durably applying", Received, 0, true, peer(13, None, false), durable, Needed),
        ("applying", Received, 0, true, peer(12, now_applying, false), durable, Keep),
        ("applied", Received, 0, true, peer(12, None, false), none, Remove("collected")),
        ("applied, not durably", Received, 0, true, peer(12, None, false), durable, Needed),
        ("cancelled", Received, 0, true, peer(12, None, true), none, Needed),
        ("cancelled, durably applying", Received, 0, true, peer(12, None, true), durable, Needed),
        ("no peer, durably applying", Received, 101, true, None, durable, Needed),
    ] {
        let age = Duration::from_secs(age);
        let listed = Listed { side, key: KEY, complete, bytes: 1, age, registered: false };
        assert_eq!(decide(&listed, peer, durable, limit), expected, "{line}");
    }
}

#[test]
fn an_aborted_apply_keeps_the_files_and_leaves_no_copies() {
    run(async {
        let room = Room::default();
        let (store, manager) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        received(&room, &manager, &store).await;
        let abort = AtomicBool::new(true);
        let result = apply(&manager, &store, &region(), 70, KEY, normal(), &abort).await;
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert!(manager.exists(Side::Received, KEY).await.unwrap());
        assert!(!room.disk.paths().iter().any(|path| path.ends_with(".clone")));
        assert!(manager.uses(KEY).is_empty());
    });
}

/// Builds a snapshot and gives it the names of a received one.
async fn received(room: &Room, manager: &Manager, store: &Engine) {
    built(manager, store).await.unwrap();
    let pairs = manager.files(Side::Generated, KEY).all().into_iter().zip(manager.files(Side::Received, KEY).all());
    for (from, to) in pairs {
        room.env().disk.rename(&from, &to).await.unwrap();
    }
    room.env().disk.sync_dir("snap").await.unwrap();
}

#[test]
fn a_crash_while_applying_finds_the_files_or_the_normal_state() {
    run(async {
        // At every turn that applying takes, the process ends and the disk forgets.
        let mut finished = false;
        for turns in 0.. {
            let room = Room::default();
            let store = engine(&room).await;
            let snapshots = manager(&room, Options::default()).await;
            fill(&store, 20).await;
            let content = hash(&store.snapshot(), &region()).await.unwrap();
            received(&room, &snapshots, &store).await;
            let mut applying = WriteBatch::new();
            applying.put(Family::Raft, key::region_state(7), Bytes::from_static(b"applying"));
            snapshots.set_durable_applying(7, Some(KEY));
            store.write(applying, true).await.unwrap();
            let abort = AtomicBool::new(false);
            {
                let region = region();
                let mut work = Box::pin(apply(&snapshots, &store, &region, 70, KEY, normal(), &abort));
                for _ in 0..turns {
                    if futures::poll!(&mut work).is_ready() {
                        finished = true;
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            let room = room.crashed();
            let store = engine(&room).await;
            let snapshots = manager(&room, Options::default()).await;
            let state = store.get(Family::Raft, &key::region_state(7)).await.unwrap().unwrap();
            if state == "applying" {
                assert!(snapshots.exists(Side::Received, KEY).await.unwrap(), "after {turns} turns");
                apply(&snapshots, &store, &region(), 70, KEY, normal(), &abort).await.unwrap();
            }
            assert_eq!(hash(&store.snapshot(), &region()).await.unwrap(), content, "after {turns} turns");
            if finished {
                assert_eq!(state, "normal");
                break;
            }
        }
    });
}

#[test]
fn recovery_lets_the_engine_decide_where_the_log_begins() {
    run(async {
        let room = Room::default();
        let applying = Applying { key: KEY, peer: 70, hard_state: HardState { term: 6, vote: 0, commit: 12 } };
        let (log, found) = RaftLog::open(room.env(), "", raftlog::Options::default()).await.unwrap();
        let repair = recover_applying(&room.env(), &applying, found.get(&7)).expect("an empty log is no log");
        drop(repair);
        // Entries of an older term, beyond the snapshot, and a vote in its term.
        let entry = |index| raft::eraftpb::Entry { index, term: 3, ..Default::default() };
        let mut batch = LogBatch::new();
        batch.append(7, 70, (1..20).map(entry).collect());
        batch.hard_state(7, 70, 6, 71, 4);
        log.write(batch, true).await.unwrap();
        let (log, found) = RaftLog::open(room.env(), "", raftlog::Options::default()).await.unwrap();
        let repair = recover_applying(&room.env(), &applying, found.get(&7)).expect("the log is stale");
        log.write(repair, true).await.unwrap();
        let (_, found) = RaftLog::open(room.env(), "", raftlog::Options::default()).await.unwrap();
        assert_eq!((found[&7].truncated, found[&7].last_index), ((12, Some(6)), 12));
        assert_eq!(found[&7].hard_state, HardState { term: 6, vote: 71, commit: 12 }, "the vote is kept");
        assert!(recover_applying(&room.env(), &applying, found.get(&7)).is_none(), "nothing to repair twice");
    });
}

#[test]
fn the_worker_counts_failures_and_gives_up_in_the_end() {
    use crate::store::region_worker::{Destroy, Generate, RegionWorker, Task};
    run(async {
        let room = Room::default();
        let (store, manager) = (engine(&room).await, manager(&room, Options::default()).await);
        fill(&store, 20).await;
        let worker = RegionWorker::start(&room.env(), manager.clone(), store.clone(), None);
        for attempt in 1..=super::ATTEMPTS_MAX {
            let (reply, result) = tokio::sync::oneshot::channel();
            let cancelled = Arc::new(AtomicBool::new(true));
            let view = store.snapshot();
            worker.ask(Task::Generate(Generate {
                region: region(),
                peer: 70,
                term: 6,
                index: 12,
                view,
                attempt,
                cancelled,
                reply,
            }));
            assert!(matches!(result.await.unwrap(), Err(Error::Cancelled)));
            assert_eq!(room.facts.count("snapshot-gave-up"), usize::from(attempt == super::ATTEMPTS_MAX));
        }
        let (reply, result) = tokio::sync::oneshot::channel();
        worker.ask(Task::Generate(Generate {
            region: region(),
            peer: 70,
            term: 6,
            index: 12,
            view: store.snapshot(),
            attempt: 1,
            cancelled: Arc::default(),
            reply,
        }));
        let built = result.await.unwrap().unwrap();
        let content = hash(&store.snapshot(), &region()).await.unwrap();
        assert_eq!((built.meta.digest, built.meta.keys), (content.digest.0, content.keys));
        assert_eq!(room.facts.count("content-hashed"), 1);
        let (reply, result) = tokio::sync::oneshot::channel();
        let Region { id, start, end, .. } = region();
        worker.ask(Task::Destroy(Destroy { region: id, start, end, after: None, reply: Some(reply) }));
        result.await.unwrap().unwrap();
        assert_eq!(hash(&store.snapshot(), &region()).await.unwrap().keys, 0);
        assert!(store.get(Family::Write, &key::version_key(b"z-outside", 1)).await.unwrap().is_some());
    });
}

/// Each historic defect against the same story in the sound node.
#[cfg(feature = "points")]
mod defects {
    use std::panic::AssertUnwindSafe;

    use failpoints::{Catalog, Points, Timer};
    use futures::FutureExt as _;

    use super::*;
    use crate::{defects, store::snapshot::site};

    struct Never;

    impl Timer for Never {
        fn sleep(&self, _: Duration) -> failpoints::BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn points(carried: Option<&'static failpoints::Defect>) -> Points {
        let catalog = Catalog { sites: &[site::TABLE], defects: &[defects::TABLE] };
        let points = Points::new(catalog, 1, Arc::new(Never), Arc::new(()));
        if let Some(defect) = carried {
            points.carry(defect).unwrap();
        }
        points
    }

    #[test]
    fn of_an_empty_family_there_is_no_copy_to_be_left() {
        run(async {
            let catalog = Catalog { sites: &[site::TABLE, engine::site::TABLE], defects: &[] };
            let points = Points::new(catalog, 1, Arc::new(Never), Arc::new(()));
            let room = Room::default();
            let env = room.env_with(points.clone());
            let store = Engine::open(env.clone(), "db", engine::Options::default()).await.unwrap();
            fill(&store, 20).await;
            let manager = Manager::open(env, Options::default()).await.unwrap();
            received(&room, &manager, &store).await;
            // The engine may leave what it has no use for to its next start.
            points.set("engine-before-remove", "return").unwrap();
            apply(&manager, &store, &region(), 70, KEY, normal(), &AtomicBool::new(false)).await.unwrap();
            store.stop().await.unwrap();
            assert!(!room.disk.paths().iter().any(|path| path.ends_with(".clone")), "{:?}", room.disk.paths());
        });
    }

    #[test]
    fn tikv_18030_a_missing_statistics_file_kills() {
        run(async {
            for carried in [None, Some(&defects::TIKV_18030)] {
                let room = Room::default();
                let store = engine(&room).await;
                fill(&store, 20).await;
                let manager = Manager::open(room.env_with(points(carried)), Options::default()).await.unwrap();
                room.stats_fail.store(true, SeqCst);
                let result = AssertUnwindSafe(built(&manager, &store)).catch_unwind().await;
                assert_eq!(result.is_err(), carried.is_some());
            }
        });
    }

    #[test]
    fn tikv_2923_a_file_vanishes_between_listing_and_building() {
        run(async {
            for carried in [None, Some(&defects::TIKV_2923)] {
                let room = Room::default();
                let store = engine(&room).await;
                fill(&store, 20).await;
                let points = points(carried);
                let manager = Manager::open(room.env_with(points.clone()), Options::default()).await.unwrap();
                built(&manager, &store).await.unwrap();
                points.set("snapshot-after-listing", "pause").unwrap();
                let build = AssertUnwindSafe(built(&manager, &store)).catch_unwind();
                let collect = async {
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                    let removed = manager.delete(Side::Generated, KEY, false, "collected").await.unwrap();
                    points.all_off();
                    removed
                };
                let (result, removed) = futures::join!(build, collect);
                assert_eq!((result.is_err(), removed), (carried.is_some(), carried.is_some()));
            }
        });
    }

    #[test]
    fn tikv_11746_files_go_while_the_durable_state_is_applying() {
        run(async {
            for carried in [None, Some(&defects::TIKV_11746)] {
                let room = Room::default();
                let store = engine(&room).await;
                fill(&store, 20).await;
                let points = points(carried);
                let snapshots = Manager::open(room.env_with(points.clone()), Options::default()).await.unwrap();
                received(&room, &snapshots, &store).await;
                let mut applying = WriteBatch::new();
                applying.put(Family::Raft, key::region_state(7), Bytes::from_static(b"applying"));
                snapshots.set_durable_applying(7, Some(KEY));
                store.write(applying, true).await.unwrap();
                points.set("snapshot-before-normal-sync", "pause").unwrap();
                let (region, abort) = (region(), AtomicBool::new(false));
                let mut work = Box::pin(apply(&snapshots, &store, &region, 70, KEY, normal(), &abort));
                while room.facts.count("snapshot-collect-while-applying") == 0 {
                    assert!(futures::poll!(&mut work).is_pending());
                    tokio::task::yield_now().await;
                }
                let room = room.crashed();
                let store = engine(&room).await;
                let state = store.get(Family::Raft, &key::region_state(7)).await.unwrap().unwrap();
                assert_eq!(state, "applying");
                let snapshots = manager(&room, Options::default()).await;
                assert_eq!(snapshots.exists(Side::Received, KEY).await.unwrap(), carried.is_none());
            }
        });
    }

    #[test]
    fn tikv_12618_recovery_believes_the_log() {
        let applying = Applying { key: KEY, peer: 70, hard_state: HardState { term: 6, vote: 0, commit: 12 } };
        run(async {
            for carried in [None, Some(&defects::TIKV_12618)] {
                let env = Room::default().env_with(points(carried));
                let stale = |last_index| crate::raftlog::Recovered {
                    peer: 70,
                    hard_state: HardState { term: 5, vote: 0, commit: 9 },
                    truncated: (5, Some(5)),
                    first_index: 6,
                    last_index,
                    entries: Vec::new(),
                };
                let repaired = |log: Option<&_>| recover_applying(&env, &applying, log).is_some();
                assert!(repaired(None) && repaired(Some(&stale(KEY.index - 1))), "a gap is mended in any case");
                assert_eq!(repaired(Some(&stale(KEY.index + 3))), carried.is_none());
            }
        });
    }
}
