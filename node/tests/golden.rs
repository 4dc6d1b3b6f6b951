//! Directories that each release has written, opened by every release.
//!
//! They lie in `tests/golden/<release>/` and are what keeps a change of ours from breaking a format unseen. A release
//! opens what the table says it reads, and finds everything there; it refuses everything else, by name, and changes not a
//! byte of it. `REENACT_REWRITE=1` writes the directories again, which is right only for a format that nobody has yet.

#![expect(clippy::disallowed_methods, reason = "golden directories lie on the real disk")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use node::{
    engine::{self, Engine, Family, WriteBatch},
    env::{Env, real},
    raftlog::{self, HardState, Layout, LogBatch, RaftLog},
    release::{RELEASES, RaftLogLayout, Release},
};
use raft::eraftpb::Entry;

const KEYS: u64 = 12;
/// Keys from here on are only in the write-ahead log.
const FLUSHED: u64 = 9;
const REGION: u64 = 2;
const PEER: u64 = 3;
const ENTRIES: std::ops::RangeInclusive<u64> = 6..=20;

fn folder(release: &Release) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(release.name)
}

fn options(release: &'static Release) -> engine::Options {
    engine::Options { release, blob_bytes_min: 256, compress_from: usize::MAX, ..engine::Options::default() }
}

fn log_options(release: &Release) -> raftlog::Options {
    raftlog::Options { layout: Layout::of(release), ..raftlog::Options::default() }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key-{number:02}"))
}

/// Every third one is small.
fn value(number: u64) -> Bytes {
    let len = if number.is_multiple_of(3) { 10 } else { 300 };
    (0..len).map(|at| (number * 7 + at) as u8).collect::<Vec<_>>().into()
}

fn entry(index: u64) -> Entry {
    Entry { term: 5 + index / 10, index, data: value(index % KEYS), ..Entry::default() }
}

fn root(dir: &Path) -> Env {
    real::env(dir, None).expect("the directory can be used")
}

async fn write(release: &'static Release, dir: &Path) {
    let env = root(dir);
    let engine = Engine::open(env.clone(), "engine", options(release)).await.expect("an empty directory");
    for number in 0..KEYS {
        let mut batch = WriteBatch::new();
        batch.put(Family::Default, key(number), value(number));
        batch.put(Family::Write, key(number), Bytes::from_static(b"L"));
        engine.write(batch, true).await.expect("it can be written");
        if number + 1 == FLUSHED {
            engine.flush().await.expect("it can be written");
        }
    }
    engine.stop().await.expect("it can be written");
    let (log, _) = RaftLog::open(env, "", log_options(release)).await.expect("an empty directory");
    let mut batch = LogBatch::new();
    batch.start(REGION, PEER, ENTRIES.start() - 1, 5);
    batch.append(REGION, PEER, ENTRIES.map(entry).collect());
    batch.hard_state(REGION, PEER, 7, PEER, 19);
    log.write(batch, true).await.expect("it can be written");
}

/// Opens a directory as a store of this release does, and checks that all of it is there.
async fn open(release: &'static Release, dir: &Path) -> Result<(), String> {
    let env = root(dir);
    raftlog::check(&env, "", release).await.map_err(|error| error.to_string())?;
    let engine = Engine::open(env.clone(), "engine", options(release)).await.map_err(|error| error.to_string())?;
    for number in 0..KEYS {
        let found = engine.get(Family::Default, &key(number)).await.expect("it can be read");
        assert_eq!(found, Some(value(number)), "key {number}");
        let found = engine.get(Family::Write, &key(number)).await.expect("it can be read");
        assert_eq!(found.as_deref(), Some(&b"L"[..]), "key {number}");
    }
    engine.stop().await.expect("it can be written");
    raftlog::take_over(&env, "", release, &log_options(release)).await.map_err(|error| error.to_string())?;
    let (log, regions) = RaftLog::open(env, "", log_options(release)).await.map_err(|error| error.to_string())?;
    let found = &regions[&REGION];
    assert_eq!((found.peer, found.first_index, found.last_index), (PEER, *ENTRIES.start(), *ENTRIES.end()));
    assert_eq!(found.hard_state, HardState { term: 7, vote: PEER, commit: 19 });
    assert_eq!(found.truncated, (ENTRIES.start() - 1, Some(5)));
    let entries = log.fetch(REGION, *ENTRIES.start(), ENTRIES.end() + 1, u64::MAX).await.expect("it can be read");
    assert_eq!(entries, ENTRIES.map(entry).collect::<Vec<_>>());
    Ok(())
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for item in fs::read_dir(dir).expect("a directory") {
        let path = item.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).expect("readable");
            found.insert(path, Some(bytes));
        }
    }
    found
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a directory for the test");
    for (path, bytes) in files(from) {
        let target = to.path().join(path.strip_prefix(from).expect("it lies there"));
        fs::create_dir_all(target.parent().expect("it lies in a directory")).expect("it can be made");
        match bytes {
            Some(bytes) => fs::write(target, bytes).expect("it can be written"),
            None => fs::create_dir_all(target).expect("it can be made"),
        }
    }
    to
}

/// Whether a release reads everything that the other one wrote.
fn reads(reader: &Release, writer: &Release) -> bool {
    let old = |release: &Release| release.raft_log == RaftLogLayout::Old;
    let log = match reader.raft_log {
        RaftLogLayout::Old => old(writer),
        RaftLogLayout::New => !old(writer),
        RaftLogLayout::NewImportingOld => true,
    };
    reader.reads_blobs_of(writer) && log
}

#[tokio::test]
async fn every_directory_is_opened_by_who_reads_it_and_left_alone_by_who_does_not() {
    let rewrite = std::env::var_os("REENACT_REWRITE").is_some();
    for writer in RELEASES {
        let golden = folder(writer);
        if rewrite {
            if golden.exists() {
                fs::remove_dir_all(&golden).expect("it can be removed");
            }
            fs::create_dir_all(&golden).expect("it can be made");
            write(writer, &golden).await;
        }
        for reader in RELEASES {
            let dir = copy(&golden);
            let before = files(dir.path());
            let opened = open(reader, dir.path()).await;
            assert_eq!(opened.is_ok(), reads(reader, writer), "{writer} to {reader}: {opened:?}");
            if let Err(error) = opened {
                assert!(error.contains(reader.name) && error.contains("version"), "{writer} to {reader}: {error}");
                assert!(files(dir.path()) == before, "{reader} has changed what {writer} wrote");
            }
        }
    }
}

#[tokio::test]
async fn a_raft_log_goes_back_to_the_old_directory_and_forward_again() {
    let [old, new] = ["5.4.0", "6.1.0"].map(|name| Release::parse(name).expect("it is in the table"));
    let dir = tempfile::tempdir().expect("a directory for the test");
    write(old, dir.path()).await;
    for _ in 0..2 {
        open(new, dir.path()).await.expect("it imports the old log");
        assert!(!dir.path().join(Layout::Old.directory()).exists());
        let before = files(dir.path());
        let refused = open(old, dir.path()).await.expect_err("the log is not where it looks for it");
        assert!(refused.contains(Layout::New.directory()) && files(dir.path()) == before, "{refused}");
        for _ in 0..2 {
            let done = raftlog::export(&root(dir.path()), "", new, &log_options(new)).await;
            done.expect("once or twice");
        }
        open(old, dir.path()).await.expect("its log is back");
    }
}
