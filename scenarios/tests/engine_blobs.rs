//! Blob files: which formats each release writes and reads, what it does about those that it does not, and collection.

#[path = "engine/bench.rs"]
mod bench;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use node::{
    engine::{Engine, Error, Family, Options, WriteBatch, fact::Fact as EngineFact},
    fact::Fact,
    release::{RELEASES, Release},
};
use sim::{
    End, Room, Seed, World,
    disk::{CrashKeep, Fault, FaultRule},
};

const LONG: usize = 600;

struct Bench {
    process: sim::Process,
    handle: sim::Handle,
    stated: bench::Stated,
}

impl Bench {
    async fn new(room: &Room) -> Bench {
        let process = room.process("engine");
        let handle = bench::start(&process).await;
        Bench { process, handle, stated: bench::Stated::default() }
    }

    async fn open(&self, release: &str) -> Result<Engine, Error> {
        let options = Options {
            release: Release::parse(release).expect("tests name releases of the table"),
            blob_bytes_min: 300,
            blob_file_bytes: 4 << 10,
            level_zero_files: 100,
            level_zero_stall: 200,
            cache_bytes: 0,
            ..Options::default()
        };
        Engine::open(bench::env(&self.handle, &self.stated, failpoints::Points::default()), "engine", options).await
    }

    /// Kills the process, whose next life finds the disk as it is.
    async fn restart(&mut self) {
        self.process.kill();
        self.handle = bench::start(&self.process).await;
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.process.disk();
        let paths = disk.visible_paths().into_iter();
        paths.filter_map(|path| Some((path.to_string(), disk.read(&path)?.to_vec()))).collect()
    }

    fn blobs(&self) -> Vec<String> {
        self.files().into_keys().filter(|path| path.ends_with(".blob")).collect()
    }

    fn stated(&self, name: &str) -> Vec<EngineFact> {
        let stated = self.stated.lock();
        let of_engine = stated.iter().filter_map(|fact| match fact {
            Fact::Engine(fact) if fact.name() == name => Some(fact.clone()),
            _ => None,
        });
        of_engine.collect()
    }
}

fn run<Fut: Future<Output = ()> + Send + 'static>(body: impl FnOnce(Room) -> Fut + Send + 'static) {
    let outcome = World::new(Seed::new(1)).time_limit(Duration::from_secs(3600)).run(body);
    assert!(matches!(outcome.end, End::Finished(())), "{:?}", outcome.end);
}

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn value(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(3) { 20 } else { LONG };
    (0..len).map(|at| (number * 31 + at as u64) as u8).collect()
}

async fn write(engine: &Engine, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        let mut batch = WriteBatch::new();
        batch.put(Family::Default, key(number), value(number));
        engine.write(batch, false).await.expect("no fault");
    }
    engine.flush().await.expect("no fault");
}

async fn check_content(engine: &Engine, numbers: std::ops::Range<u64>) {
    for number in numbers.clone() {
        let found = engine.get(Family::Default, &key(number)).await.expect("no fault");
        assert_eq!(found.as_deref(), Some(&value(number)[..]), "key {number}");
    }
    let mut iter = engine.snapshot().iter(Family::Default, Bytes::new(), Bytes::new());
    for number in numbers {
        assert_eq!(iter.next().await.expect("no fault"), Some((key(number), value(number).into())));
    }
    assert_eq!(iter.next().await.expect("no fault"), None);
}

#[test]
fn each_release_opens_what_it_reads_and_leaves_alone_what_it_does_not() {
    for writer in RELEASES {
        run(move |room| async move {
            let mut bench = Bench::new(&room).await;
            let engine = bench.open(writer.name).await.expect("an empty disk");
            write(&engine, 0..20).await;
            engine.stop().await.expect("no fault");
            let header = writer.blob_header_written;
            let start = bench.files()[&bench.blobs()[0]][..8].to_vec();
            assert_eq!(start[4..], u32::from(header).to_le_bytes(), "{writer}");
            let written = bench.stated("manifest-edit-written").len();
            assert!(written > 0, "{writer} notes its blob files");
            for reader in RELEASES {
                bench.restart().await;
                let before = bench.files();
                let opened = bench.open(reader.name).await;
                if reader.reads_blobs_of(writer) {
                    let engine = opened.unwrap_or_else(|error| panic!("{writer} to {reader}: {error}"));
                    check_content(&engine, 0..20).await;
                    // Back to the notes of the writer, for the next reader.
                    engine.stop().await.expect("no fault");
                    bench.restart().await;
                    let again = bench.open(writer.name).await;
                    if !writer.reads_blobs_of(reader) {
                        assert!(matches!(again, Err(Error::Refused { .. })), "{reader} back to {writer}");
                        bench.restart().await;
                        bench.open(reader.name).await.expect("it was not touched").stop().await.expect("no fault");
                        return;
                    }
                    again.expect("both read what the other writes").stop().await.expect("no fault");
                } else {
                    let error = opened.err().unwrap_or_else(|| panic!("{reader} opened what {writer} wrote"));
                    let Error::Refused { path, version, release, .. } = &error else { panic!("{error}") };
                    let tag = u64::from(writer.manifest_tag_written);
                    assert!(path.starts_with("engine/") && *release == reader.name && *version == tag, "{error}");
                    assert!(before == bench.files(), "{reader} has changed what {writer} wrote");
                }
            }
        });
    }
}

#[test]
fn a_file_that_is_mostly_dead_is_collected_once_no_snapshot_needs_it() {
    run(|room| async move {
        let mut bench = Bench::new(&room).await;
        let engine = bench.open("8.5.0").await.expect("an empty disk");
        write(&engine, 0..20).await;
        let first = bench.blobs();
        let before = engine.snapshot();
        write(&engine, 0..20).await;
        engine.compact(Family::Default, Bytes::new(), Bytes::new()).await.expect("no fault");
        write(&engine, 4..20).await;
        engine.compact(Family::Default, Bytes::new(), Bytes::new()).await.expect("no fault");
        room.sleep(Duration::from_secs(1)).await;
        assert!(first.iter().all(|path| bench.blobs().contains(path)), "a snapshot keeps what it saw");
        assert_eq!(before.get(Family::Default, &key(1)).await.expect("no fault").as_deref(), Some(&value(1)[..]));
        drop(before);
        room.sleep(Duration::from_secs(1)).await;
        assert!(first.iter().all(|path| !bench.blobs().contains(path)), "nothing needs it any more");
        assert!(!bench.stated("blob-gc").is_empty(), "a file with something alive in it was collected");
        check_content(&engine, 0..20).await;
        engine.stop().await.expect("no fault");
        bench.restart().await;
        check_content(&bench.open("8.5.0").await.expect("no fault"), 0..20).await;
    });
}

#[test]
fn compaction_moves_large_values_of_ingested_tables_out_of_them() {
    run(|room| async move {
        let bench = Bench::new(&room).await;
        let engine = bench.open("8.1.0").await.expect("an empty disk");
        let disk = bench::env(&bench.handle, &bench.stated, failpoints::Points::default()).disk;
        let mut writer = node::engine::table::Writer::create(&*disk, "outside").await.expect("no fault");
        for number in 0..20 {
            writer.add(key(number), &value(number)).await.expect("no fault");
        }
        writer.finish().await.expect("no fault");
        engine.ingest(vec![(Family::Default, "outside".to_owned())]).await.expect("no fault");
        assert_eq!(bench.blobs(), [""; 0]);
        engine.compact(Family::Default, Bytes::new(), Bytes::new()).await.expect("no fault");
        assert!(!bench.blobs().is_empty());
        check_content(&engine, 0..20).await;
    });
}

#[test]
fn rot_in_a_blob_file_is_detected_and_never_served() {
    run(|room| async move {
        let bench = Bench::new(&room).await;
        let engine = bench.open("8.5.0").await.expect("an empty disk");
        write(&engine, 0..3).await;
        bench.process.disk().inject(FaultRule::new("*.blob", Fault::RotAt { offset: 100, len: 1 })).keep();
        let found = engine.get(Family::Default, &key(1)).await;
        assert!(matches!(&found, Err(Error::Corruption { path, .. }) if path.ends_with(".blob")), "{found:?}");
        assert!(!bench.stated("engine-corruption").is_empty());
        let small = engine.get(Family::Default, &key(0)).await.expect("it lies in the table");
        assert_eq!(small.as_deref(), Some(&value(0)[..]));
    });
}

#[test]
fn a_crash_leaves_no_blob_file_that_the_manifest_does_not_know() {
    run(|room| async move {
        let mut bench = Bench::new(&room).await;
        let engine = bench.open("8.1.0").await.expect("an empty disk");
        write(&engine, 0..20).await;
        let known = bench.blobs();
        bench.process.disk().inject(FaultRule::new("*MANIFEST*", Fault::Error(5)).at_most(1)).keep();
        let mut batch = WriteBatch::new();
        batch.put(Family::Default, key(20), value(20));
        engine.write(batch, true).await.expect("the log has no fault");
        engine.flush().await.expect_err("the manifest has one");
        assert!(bench.blobs().len() > known.len());
        bench.process.crash(CrashKeep::Everything);
        bench.process.disk().heal();
        bench.handle = bench::start(&bench.process).await;
        let engine = bench.open("8.1.0").await.expect("the disk is sound again");
        assert_eq!(bench.blobs(), known);
        check_content(&engine, 0..21).await;
    });
}
