//! The engine on a disk that fails: what it survives, what stops it, what it never serves.
//!
//! Also here, because they need a whole engine: collection of versions, and the planted defect.

#[path = "engine/bench.rs"]
mod bench;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use node::{
    engine::{
        Engine, Error, Family, Options, WriteBatch,
        record::{INLINE_BYTES_MAX, Record},
    },
    key::{data_key, version_key, versions_end},
};
use sim::{
    End, Room, Seed, World,
    disk::{CrashKeep, Fault, FaultRule},
    event::DiskOp,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// An engine on one process, and what it stated.
struct Bench {
    process: sim::Process,
    handle: sim::Handle,
    stated: bench::Stated,
    engine: Engine,
}

impl Bench {
    async fn new(room: &Room) -> Bench {
        let process = room.process("engine");
        let (handle, stated) = (bench::start(&process).await, bench::Stated::default());
        let engine = open(&handle, &stated, failpoints::Points::default()).await.expect("an empty disk");
        Bench { process, handle, stated, engine }
    }

    async fn put(&self, number: u64, sync: bool) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.put(Family::Lock, number.to_be_bytes().to_vec(), vec![number as u8; 100]);
        self.engine.write(batch, sync).await
    }

    async fn count(&self) -> Result<usize, Error> {
        let mut iter = self.engine.snapshot().iter(Family::Lock, Bytes::new(), Bytes::new());
        let mut count = 0;
        while iter.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    fn has_stated(&self, name: &str) -> bool {
        self.stated.lock().iter().any(|fact| fact.name() == name)
    }

    async fn reopen(&mut self) -> Result<(), Error> {
        self.handle = bench::start(&self.process).await;
        self.engine = open(&self.handle, &self.stated, failpoints::Points::default()).await?;
        Ok(())
    }

    fn paths(&self, end: &str) -> Vec<String> {
        let paths = self.process.disk().visible_paths();
        paths.iter().filter(|path| path.ends_with(end)).map(|path| path.to_string()).collect()
    }
}

async fn open(handle: &sim::Handle, stated: &bench::Stated, points: failpoints::Points) -> Result<Engine, Error> {
    // Nothing is cached, so that every read is a read of the disk; nothing is merged unasked.
    let options = Options { cache_bytes: 0, level_zero_files: 100, level_zero_stall: 200, ..Options::default() };
    Engine::open(bench::env(handle, stated, points), "engine", options).await
}

fn run<Fut: Future<Output = ()> + Send + 'static>(body: impl FnOnce(Room) -> Fut + Send + 'static) {
    let outcome = World::new(Seed::new(1)).time_limit(Duration::from_secs(3600)).run(body);
    assert!(matches!(outcome.end, End::Finished(())), "{:?}", outcome.end);
}

/// A fault on writes or syncs stops the engine; what was acknowledged is there after the restart.
fn check_stops(op: DiskOp, errno: i32, paths: &'static str, flush: bool) {
    run(move |room| async move {
        let mut bench = Bench::new(&room).await;
        for number in 0..20 {
            bench.put(number, true).await.expect("no fault yet");
        }
        bench.process.disk().inject(FaultRule::new(paths, Fault::Error(errno)).on(&[op]).at_most(1)).keep();
        let failed = if flush { bench.engine.flush().await } else { bench.put(20, true).await };
        assert!(matches!(failed, Err(Error::Io { .. })), "{op:?} on {paths}: {failed:?}");
        // The fault is over, and still nothing more is written.
        assert!(bench.put(21, true).await.is_err());
        assert!(bench.engine.failed().is_some() && bench.has_stated("engine-stopped"));
        assert_eq!(bench.count().await.expect("reads go on"), 20);
        bench.process.crash(CrashKeep::Nothing);
        bench.reopen().await.expect("the disk is sound again");
        assert_eq!(bench.count().await.expect("the disk is sound again"), 20);
    });
}

#[test]
fn failed_writes_and_syncs_stop_the_engine_and_lose_nothing() {
    check_stops(DiskOp::Sync, EIO, "*.log", false);
    check_stops(DiskOp::Write, ENOSPC, "*.log", false);
    check_stops(DiskOp::Write, EIO, "*.table", true);
    check_stops(DiskOp::Sync, EIO, "*.table", true);
    check_stops(DiskOp::Sync, EIO, "*MANIFEST*", true);
    check_stops(DiskOp::SyncDir, EIO, "engine", true);
}

/// In the caller's own task a write may be left in the middle: its log has it, its memtable has not.
#[test]
fn a_write_left_in_the_middle_is_the_last() {
    run(|room| async move {
        let mut bench = Bench::new(&room).await;
        let put = |number: u64| {
            let mut batch = WriteBatch::new();
            batch.put(Family::Lock, number.to_be_bytes().to_vec(), vec![1; 100]);
            batch
        };
        bench.engine.write_to_the_end(put(0), true).await.expect("nobody leaves");
        let stall = Fault::Stall(Duration::from_secs(1));
        let guard = bench.process.disk().inject(FaultRule::new("*.log", stall).on(&[DiskOp::Sync]));
        {
            let left = std::pin::pin!(bench.engine.write_to_the_end(put(1), true));
            assert!(futures::poll!(left).is_pending(), "its sync takes a second");
        }
        guard.lift();
        assert!(matches!(bench.engine.write_to_the_end(put(2), true).await, Err(Error::Stopped)));
        assert!(matches!(bench.put(3, true).await, Err(Error::Stopped)));
        assert_eq!(bench.count().await.expect("reads go on"), 1);
        bench.engine.stop().await.expect("its tasks end");
        bench.process.crash(CrashKeep::Everything);
        bench.reopen().await.expect("the disk is sound");
        assert_eq!(bench.count().await.expect("no fault"), 2, "the log has the write that was left");
    });
}

#[test]
fn failed_and_short_reads_are_survived() {
    run(|room| async move {
        let bench = Bench::new(&room).await;
        for number in 0..200 {
            bench.put(number, false).await.expect("no fault");
        }
        bench.engine.flush().await.expect("no fault");
        let disk = bench.process.disk();
        disk.inject(FaultRule::new("*.table", Fault::ShortRead).in_ratio(1, 2)).keep();
        disk.inject(FaultRule::new("*.table", Fault::Error(EIO)).on(&[DiskOp::Read]).in_ratio(1, 5)).keep();
        assert_eq!(bench.count().await.expect("reads are tried again"), 200);
        disk.heal();
        disk.inject(FaultRule::new("*.table", Fault::Error(EIO)).on(&[DiskOp::Read])).keep();
        assert!(bench.count().await.is_err_and(|error| error.is_read()));
        disk.heal();
        assert_eq!(bench.count().await.expect("healed"), 200);
        assert!(bench.engine.failed().is_none(), "a failed read changes nothing");
    });
}

#[test]
fn rot_in_a_table_is_detected_and_never_served() {
    run(|room| async move {
        let bench = Bench::new(&room).await;
        for number in 0..200 {
            bench.put(number, false).await.expect("no fault");
        }
        bench.engine.flush().await.expect("no fault");
        bench.process.disk().inject(FaultRule::new("*.table", Fault::RotAt { offset: 0, len: 1 })).keep();
        let found = bench.engine.get(Family::Lock, &0u64.to_be_bytes()).await;
        assert!(matches!(found, Err(Error::Corruption { .. })), "{found:?}");
        assert!(bench.has_stated("engine-corruption"));
    });
}

#[test]
fn rot_in_synced_log_records_is_corruption_and_a_torn_tail_is_not() {
    run(|room| async move {
        let mut bench = Bench::new(&room).await;
        for number in 0..20 {
            bench.put(number, true).await.expect("no fault");
        }
        bench.process.kill();
        let disk = bench.process.disk();
        let log = bench.paths(".log").pop().expect("there is a log");
        let len = disk.read(&log).expect("it can be read").len() as u64;
        disk.inject(FaultRule::new("*.log", Fault::RotAt { offset: 30, len: 4 })).keep();
        assert!(matches!(bench.reopen().await, Err(Error::Corruption { .. })));
        disk.heal();
        // Nothing behind the last record vouches for it: it may as well be the tail of a crash.
        disk.inject(FaultRule::new("*.log", Fault::RotAt { offset: len - 10, len: 4 })).keep();
        bench.reopen().await.expect("a torn tail is cut off");
        assert_eq!(bench.count().await.expect("no fault"), 19);
    });
}

#[test]
fn a_manifest_tag_of_another_release_is_named() {
    run(|room| async move {
        let mut bench = Bench::new(&room).await;
        bench.put(1, true).await.expect("no fault");
        bench.engine.flush().await.expect("no fault");
        bench.engine.stop().await.expect("no fault");
        let path = bench.paths("").into_iter().find(|path| path.contains("MANIFEST")).expect("there is a manifest");
        let number: u64 = path.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("it has a number");
        let file = bench.handle.disk().open(&path, sim::disk::Open::Write).await.expect("no fault");
        let offset = file.len().await.expect("no fault");
        file.append(record(number, offset, &[15, 1])).await.expect("no fault");
        file.sync().await.expect("no fault");
        bench.process.kill();
        let error = bench.reopen().await.expect_err("tag 15 is not known");
        assert!(matches!(&error, Error::UnknownFormat { path: of, what } if *of == path && what.contains("tag 15")));
    });
}

/// A record of a log file, as another release would write it.
fn record(id: u64, offset: u64, payload: &[u8]) -> Vec<u8> {
    let mut covered = (payload.len() as u32).to_le_bytes().to_vec();
    covered.extend_from_slice(&offset.to_le_bytes());
    covered.extend_from_slice(payload);
    let seed = [id.to_le_bytes(), offset.to_le_bytes()].concat();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&seed), &covered);
    [&0x5243_a11e_u32.to_le_bytes()[..], &sum.to_le_bytes(), &covered].concat()
}

/// Writes versions of keys: `None` deletes; long values lie in `default`.
async fn write_versions(engine: &Engine, versions: &[(&str, u64, Option<usize>)]) {
    for &(user_key, timestamp, len) in versions {
        let value = len.map(|len| Bytes::from(vec![timestamp as u8; len]));
        let record = Record::of(value.as_ref());
        let key = version_key(user_key.as_bytes(), timestamp);
        let mut batch = WriteBatch::new();
        if record == Record::Indirect {
            batch.put(Family::Default, key.clone(), value.expect("an indirect record has a value"));
        }
        batch.put(Family::Write, key, record.encode());
        engine.write(batch, false).await.expect("no fault");
        engine.flush().await.expect("no fault");
    }
}

async fn timestamps(engine: &Engine, family: Family, user_key: &str) -> Vec<u64> {
    let (start, end) = (data_key(user_key.as_bytes()), versions_end(user_key.as_bytes()));
    let mut iter = engine.snapshot().iter(family, start, end);
    let mut all = Vec::new();
    while let Some((key, _)) = iter.next().await.expect("no fault") {
        all.push(node::key::parse_version(&key).expect("a version").1);
    }
    all
}

#[test]
fn compaction_collects_versions_below_the_safe_point() {
    run(|room| async move {
        let bench = Bench::new(&room).await;
        let engine = &bench.engine;
        let long = Some(INLINE_BYTES_MAX + 1);
        write_versions(
            engine,
            &[
                ("a", 1, long),
                ("a", 3, long),
                ("a", 5, Some(1)),
                ("a", 9, long),
                ("b", 2, long),
                ("b", 4, None),
                ("c", 2, Some(3)),
                ("c", 8, None),
            ],
        )
        .await;
        let before = engine.snapshot();
        engine.set_safe_point(Arc::new(|user_key| if user_key == b"c" { 3 } else { 6 }));
        for family in [Family::Write, Family::Default] {
            engine.compact(family, Bytes::new(), Bytes::new()).await.expect("no fault");
        }
        assert_eq!(timestamps(engine, Family::Write, "a").await, [9, 5]);
        assert_eq!(timestamps(engine, Family::Default, "a").await, [9]);
        assert_eq!(timestamps(engine, Family::Write, "b").await, [0u64; 0]);
        assert_eq!(timestamps(engine, Family::Default, "b").await, [0u64; 0]);
        assert_eq!(timestamps(engine, Family::Write, "c").await, [8, 2]);
        let pinned = before.get(Family::Default, &version_key(b"a", 1)).await.expect("no fault");
        assert!(pinned.is_some(), "a snapshot keeps what it saw");
        let newest = engine.first(Family::Write, &data_key(b"a"), &versions_end(b"a")).await.expect("no fault");
        assert_eq!(newest.map(|(key, _)| key), Some(version_key(b"a", 9)));
    });
}

#[test]
fn a_deletion_stays_while_a_table_beside_the_compaction_has_an_older_version() {
    run(|room| async move {
        let bench = Bench::new(&room).await;
        let engine = &bench.engine;
        let compact = async |start, end| engine.compact(Family::Write, start, end).await.expect("no fault");
        write_versions(engine, &[("a", 2, Some(1))]).await;
        compact(Bytes::new(), Bytes::new()).await;
        write_versions(engine, &[("a", 5, None)]).await;
        engine.set_safe_point(Arc::new(|_| 6));
        // Only the newer table meets this range.
        compact(version_key(b"a", 5), version_key(b"a", 4)).await;
        assert_eq!(timestamps(engine, Family::Write, "a").await, [5, 2]);
        compact(Bytes::new(), Bytes::new()).await;
        assert_eq!(timestamps(engine, Family::Write, "a").await, [0u64; 0]);
    });
}

#[test]
fn the_planted_defect_loses_one_user_key() {
    run(|room| async move {
        let process = room.process("engine");
        let handle = bench::start(&process).await;
        let catalog = failpoints::Catalog { sites: &[], defects: &[node::plants::TABLE] };
        let points = failpoints::Points::new(catalog, 1, Arc::new(NoTimer), Arc::new(()));
        points.carry(&node::plants::COMPACTION_DROPS_A_KEY).expect("it is in the catalog");
        let engine = open(&handle, &bench::Stated::default(), points).await.expect("an empty disk");
        write_versions(&engine, &[("a", 4, None), ("b", 1, Some(1)), ("b", 2, Some(1)), ("c", 3, Some(1))]).await;
        engine.compact(Family::Write, Bytes::new(), Bytes::new()).await.expect("no fault");
        let mut left = Vec::new();
        for user_key in ["a", "b", "c"] {
            left.push(timestamps(&engine, Family::Write, user_key).await.len());
        }
        assert_eq!(left.iter().sum::<usize>() + 2, 4, "one key with its versions is gone: {left:?}");
        assert_eq!(left[1], 0);
    });
}

struct NoTimer;

impl failpoints::Timer for NoTimer {
    fn sleep(&self, _: Duration) -> failpoints::BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
