//! The engine against redb, over random operations and crashes.
//!
//! The engine lives on one simulated disk and redb on another, and both lose power together. redb holds what has to be there; what
//! was written to the engine and never synced is kept as a list of batches. After a crash the engine has to hold what redb
//! holds and some prefix of that list, no less than was acknowledged as durable, and redb goes on from there.

#[path = "engine/bench.rs"]
mod bench;

use std::{
    fmt, io,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use node::engine::{Engine, Family, Options, Snapshot, WriteBatch, table::Writer};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use sim::{
    End, Latency, Room, Seed, World,
    disk::{CrashKeep, DiskConfig},
};

#[derive(Clone, Debug)]
enum Change {
    Put(u8, u16, u16),
    Delete(u8, u16),
    DeleteRange(u8, u16, u16),
}

#[derive(Clone, Debug)]
enum Op {
    Write {
        changes: Vec<Change>,
        sync: bool,
    },
    Sync,
    Flush,
    Compact {
        family: u8,
    },
    Ingest {
        family: u8,
        keys: Vec<u16>,
        twice: bool,
    },
    Get {
        family: u8,
        key: u16,
    },
    First {
        family: u8,
        start: u16,
        end: u16,
    },
    Pin,
    Compare,
    Reopen,
    /// Many writes, a flush and an ingestion are under way when the power goes.
    CrashDuring {
        micros: u32,
        keep: CrashKeep,
    },
    Kill,
    Crash {
        keep: CrashKeep,
    },
}

/// What draws operations has no state: any operation is possible at any time.
struct Operations;

fn keep() -> impl Strategy<Value = CrashKeep> {
    prop_oneof![
        Just(CrashKeep::Nothing),
        Just(CrashKeep::Prefix),
        Just(CrashKeep::Sectors),
        Just(CrashKeep::Everything),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let (family, key) = (0..4u8, 0..60u16);
    prop_oneof![
        8 => (family.clone(), key.clone(), 0..900u16).prop_map(|(family, key, len)| Change::Put(family, key, len)),
        3 => (family.clone(), key.clone()).prop_map(|(family, key)| Change::Delete(family, key)),
        1 => (family, key.clone(), key).prop_map(|(family, start, end)| Change::DeleteRange(family, start, end)),
    ]
}

impl ReferenceStateMachine for Operations {
    type State = ();
    type Transition = Op;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions(_: &()) -> BoxedStrategy<Op> {
        let (family, key) = (0..4u8, 0..60u16);
        prop_oneof![
            12 => (prop::collection::vec(change(), 1..8), any::<bool>()).prop_map(|(changes, sync)| Op::Write { changes, sync }),
            1 => Just(Op::Sync),
            2 => Just(Op::Flush),
            2 => family.clone().prop_map(|family| Op::Compact { family }),
            2 => (family.clone(), prop::collection::btree_set(key.clone(), 0..12), any::<bool>())
                .prop_map(|(family, keys, twice)| Op::Ingest { family, keys: keys.into_iter().collect(), twice }),
            3 => (family.clone(), key.clone()).prop_map(|(family, key)| Op::Get { family, key }),
            3 => (family, key.clone(), key).prop_map(|(family, start, end)| Op::First { family, start, end }),
            1 => Just(Op::Pin),
            2 => Just(Op::Compare),
            1 => Just(Op::Reopen),
            1 => (0..6_000u32, keep()).prop_map(|(micros, keep)| Op::CrashDuring { micros, keep }),
            1 => Just(Op::Kill),
            1 => keep().prop_map(|keep| Op::Crash { keep }),
        ]
        .boxed()
    }

    fn apply((): (), _: &Op) {}
}

fn key(number: u16) -> Bytes {
    format!("key{number:03}").into()
}

/// Values are unique, so that an old one is not taken for a new one.
fn value(serial: &mut u64, len: u16) -> Bytes {
    *serial += 1;
    let mut value = format!("{serial}:").into_bytes();
    value.resize(value.len() + usize::from(len), *serial as u8);
    value.into()
}

/// Changes with the values that they put; `None` deletes a range.
#[derive(Clone, Debug)]
enum Step {
    Put(Family, Bytes, Bytes),
    Delete(Family, Bytes),
    DeleteRange(Family, Bytes, Bytes),
}

fn steps(changes: &[Change], serial: &mut u64) -> Vec<Step> {
    let family = |number: u8| Family::ALL[usize::from(number)];
    let mut steps = Vec::new();
    for change in changes {
        steps.push(match *change {
            Change::Put(of, number, len) => Step::Put(family(of), key(number), value(serial, len)),
            Change::Delete(of, number) => Step::Delete(family(of), key(number)),
            Change::DeleteRange(of, start, end) => Step::DeleteRange(family(of), key(start), key(end)),
        });
    }
    steps
}

fn batch(steps: &[Step]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for step in steps.iter().cloned() {
        match step {
            Step::Put(family, key, value) => batch.put(family, key, value),
            Step::Delete(family, key) => batch.delete(family, key),
            Step::DeleteRange(family, start, end) => batch.delete_range(family, start, end),
        }
    }
    batch
}

/// A redb file on a simulated disk whose calls take no time.
struct Backend(sim::disk::File);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

/// A call without latency is done at once; one of a process that died never is.
fn at_once<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::Error::other("the process is dead")),
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        at_once(self.0.len())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = at_once(self.0.read_at(offset, out.len()))?;
        if bytes.len() < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.copy_from_slice(&bytes);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        at_once(self.0.truncate(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        at_once(self.0.sync())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        at_once(self.0.write_at(offset, data))
    }
}

const TABLES: [TableDefinition<&[u8], &[u8]>; 4] = [
    TableDefinition::new("default"),
    TableDefinition::new("write"),
    TableDefinition::new("lock"),
    TableDefinition::new("raft"),
];

type Content = [std::collections::BTreeMap<Bytes, Bytes>; 4];

fn apply(content: &mut Content, steps: &[Step]) {
    for step in steps.iter().cloned() {
        match step {
            Step::Put(family, key, value) => drop(content[family as usize].insert(key, value)),
            Step::Delete(family, key) => drop(content[family as usize].remove(&key)),
            Step::DeleteRange(family, start, end) => {
                content[family as usize].retain(|key, _| !(start <= *key && *key < end));
            }
        }
    }
}

/// What has to be there: redb, which knows nothing of memtables and tables.
struct Oracle(Database);

impl Oracle {
    async fn open(handle: &sim::Handle) -> Oracle {
        let disk = handle.disk();
        let file = disk.open("redb", sim::disk::Open::Create).await.expect("the oracle's disk is sound");
        disk.sync_dir("").await.expect("the oracle's disk is sound");
        Oracle(Database::builder().create_with_backend(Backend(file)).expect("redb recovers"))
    }

    /// Makes steps durable.
    fn commit(&self, batches: &[Vec<Step>]) {
        let transaction = self.0.begin_write().expect("redb writes");
        {
            let mut tables = TABLES.map(|table| transaction.open_table(table).expect("redb opens its tables"));
            for step in batches.iter().flatten() {
                match step {
                    Step::Put(family, key, value) => {
                        tables[*family as usize].insert(&key[..], &value[..]).expect("redb inserts");
                    }
                    Step::Delete(family, key) => {
                        tables[*family as usize].remove(&key[..]).expect("redb removes");
                    }
                    Step::DeleteRange(family, start, end) => {
                        tables[*family as usize]
                            .retain(|key, _| !(&start[..] <= key && key < &end[..]))
                            .expect("redb retains");
                    }
                }
            }
        }
        transaction.commit().expect("redb commits");
    }

    fn content(&self) -> Content {
        let transaction = self.0.begin_read().expect("redb reads");
        TABLES.map(|table| {
            let table = transaction.open_table(table).expect("redb opens its tables");
            let pairs = table.iter().expect("redb iterates").map(|pair| {
                let (key, value) = pair.expect("redb reads on");
                (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()))
            });
            pairs.collect()
        })
    }
}

async fn content_of(snapshot: &Snapshot) -> Content {
    let mut content = Content::default();
    for family in Family::ALL {
        let mut iter = snapshot.iter(family, Bytes::new(), Bytes::new());
        let mut last: Option<Bytes> = None;
        while let Some((key, value)) = iter.next().await.expect("the disk is sound") {
            assert!(last.is_none_or(|last| last < key), "a walk goes in key order");
            last = Some(key.clone());
            content[family as usize].insert(key, value);
        }
    }
    content
}

fn small() -> Options {
    Options {
        memtable_bytes: 4 << 10,
        level_zero_files: 2,
        level_zero_stall: 6,
        level_base_bytes: 8 << 10,
        level_ratio: 3,
        table_bytes: 4 << 10,
        block_bytes: 512,
        cache_bytes: 8 << 10,
        blob_bytes_min: 300,
        blob_file_bytes: 3 << 10,
        blob_dead_per_million: 300_000,
        ..Options::default()
    }
}

struct Test {
    room: Room,
    engine_process: sim::Process,
    oracle_process: sim::Process,
    handle: sim::Handle,
    engine: Engine,
    oracle: Oracle,
    stated: bench::Stated,
    /// Written to the engine, not to redb.
    loose: Vec<Vec<Step>>,
    /// How many of these were acknowledged as durable.
    durable: usize,
    pinned: Vec<(Snapshot, Content)>,
    serial: u64,
    external: u64,
}

async fn open_engine(handle: &sim::Handle, stated: &bench::Stated) -> Engine {
    let env = bench::env(handle, stated, failpoints::Points::default());
    Engine::open(env, "data/engine", small()).await.expect("the engine recovers")
}

impl Test {
    async fn new(room: Room) -> Test {
        let (engine_process, oracle_process) = (room.process("engine"), room.process("oracle"));
        engine_process.disk().set_config(DiskConfig {
            names: Latency::between(1_000, 50_000),
            read: Latency::between(1_000, 50_000),
            write: Latency::between(1_000, 100_000),
            sync: Latency::between(10_000, 500_000),
            ..DiskConfig::default()
        });
        let (handle, stated) = (bench::start(&engine_process).await, bench::Stated::default());
        let oracle_handle = bench::start(&oracle_process).await;
        let engine = open_engine(&handle, &stated).await;
        let oracle = Oracle::open(&oracle_handle).await;
        oracle.commit(&[]);
        Test {
            room,
            engine_process,
            oracle_process,
            handle,
            engine,
            oracle,
            stated,
            loose: Vec::new(),
            durable: 0,
            pinned: Vec::new(),
            serial: 0,
            external: 0,
        }
    }

    fn expected(&self) -> Content {
        let mut content = self.oracle.content();
        self.loose.iter().for_each(|steps| apply(&mut content, steps));
        content
    }

    /// Everything so far is durable.
    fn settle(&mut self) {
        self.oracle.commit(&std::mem::take(&mut self.loose));
        self.durable = 0;
    }

    async fn write_external(&mut self, steps: &[Step]) -> String {
        self.external += 1;
        let path = format!("external{}", self.external);
        let env = bench::env(&self.handle, &self.stated, failpoints::Points::default());
        let mut writer = Writer::create(&*env.disk, &path).await.expect("the disk is sound");
        for step in steps {
            if let Step::Put(_, key, value) = step {
                writer.add(key.clone(), value).await.expect("the disk is sound");
            }
        }
        let summary = writer.finish().await.expect("the disk is sound");
        let reader = node::engine::table::Reader::open(&env, &path).await.expect("it was just written");
        reader.verify(&summary).await.expect("it was just written");
        path
    }

    /// Power fails, or the process is killed; then the engine holds a prefix of what was written.
    async fn recover(&mut self, crash: Option<CrashKeep>) {
        self.pinned.clear();
        match crash {
            Some(keep) => {
                self.engine_process.crash(keep);
                self.oracle_process.crash(keep);
                let oracle_handle = bench::start(&self.oracle_process).await;
                self.oracle = Oracle::open(&oracle_handle).await;
            }
            None => self.engine_process.kill(),
        }
        self.handle = bench::start(&self.engine_process).await;
        self.engine = open_engine(&self.handle, &self.stated).await;
        let found = content_of(&self.engine.snapshot()).await;
        let mut expected = self.oracle.content();
        let mut prefix = None;
        for count in 0..=self.loose.len() {
            if count > 0 {
                apply(&mut expected, &self.loose[count - 1]);
            }
            // A process that died without its machine has lost nothing that was acknowledged.
            if count >= self.durable && found == expected {
                prefix = Some(count);
            }
        }
        let Some(prefix) = prefix else {
            panic!("after {crash:?} the engine holds no prefix: {} of {} durable", self.durable, self.loose.len());
        };
        self.loose.truncate(prefix);
        self.settle();
    }

    async fn run(&mut self, op: &Op) {
        match op {
            Op::Write { changes, sync } => {
                let steps = steps(changes, &mut self.serial);
                self.engine.write(batch(&steps), *sync).await.expect("the disk is sound");
                self.loose.push(steps);
                if *sync {
                    self.durable = self.loose.len();
                }
            }
            Op::Sync => {
                self.engine.sync().await.expect("the disk is sound");
                self.settle();
            }
            Op::Flush => {
                self.engine.flush().await.expect("the disk is sound");
                self.settle();
            }
            Op::Compact { family } => {
                let family = Family::ALL[usize::from(*family)];
                self.engine.compact(family, Bytes::new(), Bytes::new()).await.expect("the disk is sound");
                self.settle();
            }
            Op::Ingest { family, keys, twice } => {
                let changes: Vec<Change> = keys.iter().map(|&key| Change::Put(*family, key, 40)).collect();
                let steps = steps(&changes, &mut self.serial);
                let family = Family::ALL[usize::from(*family)];
                let cut = if *twice { steps.len() / 2 } else { 0 };
                let mut files = vec![(family, self.write_external(&steps[cut..]).await)];
                if *twice {
                    files.push((family, self.write_external(&steps[..cut]).await));
                }
                self.engine.ingest(files.clone()).await.expect("the disk is sound");
                self.loose.push(steps);
                self.settle();
                self.room.sleep(Duration::from_millis(5)).await;
                for (_, path) in files {
                    assert!(!self.engine_process.disk().exists(&path).0, "{path} was moved");
                }
            }
            Op::Get { family, key: number } => {
                let found = self.engine.get(Family::ALL[usize::from(*family)], &key(*number)).await;
                let expected = self.expected()[usize::from(*family)].get(&key(*number)).cloned();
                assert_eq!(found.expect("the disk is sound"), expected);
            }
            Op::First { family, start, end } => {
                let (start, end) = (key(*start), key(*end));
                let found = self.engine.first(Family::ALL[usize::from(*family)], &start, &end).await;
                let content = self.expected();
                let mut range = content[usize::from(*family)].iter().filter(|(key, _)| start <= **key && **key < end);
                let expected = range.next().map(|(key, value)| (key.clone(), value.clone()));
                assert_eq!(found.expect("the disk is sound"), expected);
            }
            Op::Pin => self.pinned.push((self.engine.snapshot(), self.expected())),
            Op::Compare => self.compare().await,
            Op::Reopen => {
                self.compare().await;
                self.pinned.clear();
                self.engine.stop().await.expect("the disk is sound");
                self.settle();
                self.engine = open_engine(&self.handle, &self.stated).await;
            }
            Op::CrashDuring { micros, keep } => self.crash_during(*micros, *keep).await,
            Op::Kill => {
                // What a killed process wrote is in the page cache.
                self.durable = self.loose.len();
                self.recover(None).await;
            }
            Op::Crash { keep } => self.recover(Some(*keep)).await,
        }
    }

    async fn crash_during(&mut self, micros: u32, keep: CrashKeep) {
        let before = self.loose.len();
        let puts: Vec<Change> = (0..40).map(|number| Change::Put(1, number, 300)).collect();
        for _ in 0..3 {
            let steps = steps(&puts, &mut self.serial);
            self.loose.push(steps);
        }
        let ingested = steps(&puts[..9], &mut self.serial);
        let path = self.write_external(&ingested).await;
        self.loose.push(ingested);
        let acknowledged = Arc::new(std::sync::atomic::AtomicUsize::new(self.durable));
        let (engine, count) = (self.engine.clone(), acknowledged.clone());
        let batches: Vec<WriteBatch> = self.loose[before..before + 3].iter().map(|steps| batch(steps)).collect();
        let work = async move {
            for (index, batch) in batches.into_iter().enumerate() {
                engine.write(batch, true).await.expect("the disk is sound");
                count.store(before + index + 1, SeqCst);
            }
            engine.ingest(vec![(Family::Write, path)]).await.expect("the disk is sound");
            count.store(before + 4, SeqCst);
            engine.compact(Family::Write, Bytes::new(), Bytes::new()).await.expect("the disk is sound");
        };
        let _ = self.handle.clock().timeout(Duration::from_micros(micros.into()), work).await;
        self.durable = acknowledged.load(SeqCst);
        self.recover(Some(keep)).await;
    }

    async fn compare(&mut self) {
        assert_eq!(content_of(&self.engine.snapshot()).await, self.expected());
        for (snapshot, then) in &self.pinned {
            assert_eq!(&content_of(snapshot).await, then, "a snapshot sees what was there when it was taken");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_holds_what_redb_holds(
        ((), ops, seen) in Operations::sequential_strategy(1..60),
        seed in any::<u64>(),
    ) {
        let outcome = World::new(Seed::new(seed)).time_limit(Duration::from_secs(600)).run(move |room| async move {
            let mut test = Test::new(room).await;
            for op in &ops {
                if let Some(seen) = &seen {
                    seen.fetch_add(1, SeqCst);
                }
                test.run(op).await;
            }
            test.compare().await;
            test.engine.stop().await.expect("the disk is sound");
            assert_eq!(test.engine.failed().map(|error| error.to_string()), None);
        });
        prop_assert!(matches!(outcome.end, End::Finished(())), "{:?}", outcome.end);
    }
}
