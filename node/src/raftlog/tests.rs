//! The log against crashes, torn ends, rot, and a plain model.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use raft::eraftpb::Entry;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{
    Error, Fetch, HardState, LogBatch, Options, RaftLog, Recovered, mark,
    room::{Room, run},
};
use crate::fact::Mark;

fn entry(index: u64, term: u64, data: &str) -> Entry {
    Entry { index, term, data: data.to_owned().into(), ..Entry::default() }
}

fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    range.map(|index| entry(index, term, &format!("data of {index} in {term}"))).collect()
}

fn small() -> Options {
    Options { segment_bytes: 600, cache_bytes: 200, rewrite_bytes: 400, ..Options::default() }
}

async fn open(room: &Room) -> Result<(RaftLog, BTreeMap<u64, Recovered>), Error> {
    RaftLog::open(room.env(), "", small()).await
}

fn append(region: u64, entries: Vec<Entry>) -> LogBatch {
    let mut batch = LogBatch::new();
    batch.append(region, region * 10, entries);
    batch
}

#[test]
fn what_was_written_is_read_back_and_appending_replaces() {
    run(async {
        let room = Room::default();
        let (log, found) = open(&room).await.unwrap();
        assert!(found.is_empty());
        let mut batch = append(1, entries(1..6, 1));
        batch.hard_state(1, 10, 1, 12, 3);
        batch.start(2, 20, 5, 5);
        log.write(batch, false).await.unwrap();
        log.write(append(1, entries(4..8, 2)), true).await.unwrap();
        let check = |log: &RaftLog| {
            assert_eq!((log.first_index(1), log.last_index(1)), (Some(1), Some(7)));
            assert_eq!([3, 4, 7, 8].map(|index| log.term(1, index)), [Some(1), Some(2), Some(2), None]);
            assert_eq!((log.first_index(2), log.last_index(2), log.term(2, 5)), (Some(6), Some(5), Some(5)));
            assert_eq!(log.last_index(3), None);
        };
        check(&log);
        let (log, found) = open(&room).await.unwrap();
        check(&log);
        assert_eq!(found[&1].hard_state, HardState { term: 1, vote: 12, commit: 3 });
        let expected: Vec<_> = entries(1..4, 1).iter().chain(&entries(4..8, 2)).map(mark).collect();
        assert_eq!(found[&1].entries, expected);
        assert_eq!((found[&2].truncated, found[&2].first_index), ((5, Some(5)), 6));
        assert_eq!(room.facts.count("log-recovered"), 2);
    });
}

#[test]
fn memory_answers_what_it_holds_and_the_rest_is_fetched() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        log.write(append(1, entries(1..60, 1)), true).await.unwrap();
        assert!(log.cached_bytes() <= 200);
        assert_eq!(log.entries(1, 1, 5, u64::MAX), Fetch::Cold);
        assert_eq!(log.entries(1, 58, 60, u64::MAX), Fetch::Ready(entries(58..60, 1)));
        assert_eq!(log.fetch(1, 1, 60, u64::MAX).await.unwrap(), entries(1..60, 1));
        assert_eq!(log.fetch(1, 1, 60, 1).await.unwrap().len(), 1, "at least one");
        assert_eq!(log.fetch(1, 1, 60, 100).await.unwrap().len(), 2);
        assert_eq!(log.entries(1, 58, 61, u64::MAX), Fetch::Missing);
        let mut batch = LogBatch::new();
        batch.compact(1, 10, 20);
        log.write(batch, false).await.unwrap();
        assert_eq!(log.entries(1, 20, 22, u64::MAX), Fetch::Compacted);
        assert_eq!((log.term(1, 20), log.term(1, 19)), (Some(1), None));
    });
}

#[test]
fn staged_changes_are_visible_at_once_and_outlive_the_cache() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        let mut batch = append(1, entries(1..60, 1));
        log.stage(&mut batch);
        assert_eq!(log.entries(1, 1, 60, u64::MAX), Fetch::Ready(entries(1..60, 1)));
        assert_eq!(room.facts.count("log-appended"), 0);
        log.write(batch, true).await.unwrap();
        assert_eq!(log.entries(1, 1, 60, u64::MAX), Fetch::Cold);
    });
}

#[test]
fn a_torn_end_is_cut_wherever_it_tears() {
    run(async {
        let mut kept = Vec::new();
        for keep in 0.. {
            let room = Room::default();
            let (log, _) = open(&room).await.unwrap();
            log.write(append(1, entries(1..3, 1)), true).await.unwrap();
            log.write(append(1, entries(3..4, 1)), false).await.unwrap();
            log.write(append(1, entries(2..5, 2)), false).await.unwrap();
            let path = &room.disk.paths()[0];
            let len = room.disk.len(path);
            room.disk.crash(keep);
            let whole = room.disk.len(path) == len;
            let (log, found) = open(&room).await.unwrap();
            kept.push(found[&1].entries.iter().map(|mark| (mark.index, mark.term)).collect::<Vec<_>>());
            // And it goes on from there.
            let next = found[&1].last_index + 1;
            log.write(append(1, entries(next..next + 1, 9)), true).await.unwrap();
            room.disk.crash(0);
            assert_eq!(open(&room).await.unwrap().1[&1].last_index, next);
            if whole {
                break;
            }
        }
        kept.dedup();
        let whole_batches = [vec![(1, 1), (2, 1)], vec![(1, 1), (2, 1), (3, 1)], vec![(1, 1), (2, 2), (3, 2), (4, 2)]];
        assert_eq!(kept, whole_batches);
    });
}

#[test]
fn rot_in_what_was_synced_refuses_to_open() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        log.write(append(1, entries(1..3, 1)), true).await.unwrap();
        let path = room.disk.paths()[0].clone();
        let len = room.disk.len(&path);
        log.write(append(1, entries(3..4, 1)), true).await.unwrap();
        for at in 0..len {
            room.disk.damage(&path, at);
            assert!(matches!(open(&room).await, Err(Error::Corrupt { .. })), "byte {at}");
            room.disk.damage(&path, at);
        }
        assert!(open(&room).await.is_ok());
    });
}

#[test]
fn rot_is_noticed_when_a_cold_entry_is_read() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        log.write(append(1, entries(1..60, 1)), true).await.unwrap();
        let path = room.disk.paths()[0].clone();
        room.disk.damage(&path, 120);
        assert!(matches!(log.fetch(1, 1, 60, u64::MAX).await, Err(Error::Corrupt { .. })));
    });
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        log.write(append(1, entries(1..3, 1)), true).await.unwrap();
        room.disk.fail_sync.store(true, SeqCst);
        assert!(matches!(log.write(append(1, entries(3..4, 1)), true).await, Err(Error::Io { action: "sync", .. })));
        room.disk.fail_sync.store(false, SeqCst);
        assert!(matches!(log.write(append(1, entries(3..4, 1)), true).await, Err(Error::Stopped(_))));
        assert!(matches!(log.sync().await, Err(Error::Stopped(_))));
    });
}

#[test]
fn an_abandoned_write_stops_the_log() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        let write = Box::pin(log.write(append(1, entries(1..3, 1)), true));
        assert!(futures::FutureExt::now_or_never(write).is_none(), "the disk takes a turn");
        assert!(matches!(log.write(append(1, entries(1..3, 1)), true).await, Err(Error::Abandoned { .. })));
    });
}

/// What one region's log is to be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    base: (u64, u64),
    entries: Vec<Entry>,
    hard: HardState,
}

type Models = BTreeMap<u64, Model>;

/// Draws one change, for the log and for the model.
fn change(rng: &mut Xoshiro256PlusPlus, models: &mut Models, term: &mut u64) -> LogBatch {
    let mut batch = LogBatch::new();
    for _ in 0..rng.random_range(1..3) {
        let region = rng.random_range(1..4_u64);
        let peer = region * 10;
        let fresh = !models.contains_key(&region);
        let model = models.entry(region).or_default();
        let last = model.base.0 + model.entries.len() as u64;
        match if fresh { 9 } else { rng.random_range(0..10) } {
            0..5 => {
                *term += 1;
                let back = rng.random_range(0..3).min(model.entries.len() as u64);
                let from = last + 1 - back;
                let new = entries(from..from + rng.random_range(1..4), *term);
                model.entries.truncate((from - model.base.0 - 1) as usize);
                model.entries.extend(new.iter().cloned());
                batch.append(region, peer, new);
            }
            5 | 6 => {
                model.hard = HardState { term: *term, vote: rng.next_u64() % 9, commit: last };
                batch.hard_state(region, peer, *term, model.hard.vote, last);
            }
            7 if !model.entries.is_empty() => {
                let count = rng.random_range(1..=model.entries.len());
                let dropped = model.entries.drain(..count).next_back().unwrap();
                model.base = (dropped.index, dropped.term);
                batch.compact(region, peer, dropped.index);
            }
            8 => {
                models.remove(&region);
                batch.clear(region, peer);
            }
            _ => {
                *term += 1;
                model.base = (last + 10, *term);
                model.entries.clear();
                batch.start(region, peer, last + 10, *term);
            }
        }
    }
    batch
}

/// Position before the first entry, entries and hard state, by region.
type Contents = BTreeMap<u64, ((u64, Option<u64>), Vec<Mark>, HardState)>;

fn read_back(found: &BTreeMap<u64, Recovered>) -> Contents {
    found.iter().map(|(region, one)| (*region, (one.truncated, one.entries.clone(), one.hard_state))).collect()
}

fn expected(models: &Models) -> Contents {
    let one = |model: &Model| {
        ((model.base.0, Some(model.base.1)), model.entries.iter().map(mark).collect::<Vec<_>>(), model.hard)
    };
    models.iter().map(|(region, model)| (*region, one(model))).collect()
}

#[test]
fn recovers_to_a_written_state_not_older_than_the_last_sync() {
    run(async {
        let mut collected = 0;
        for seed in 0..150 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let room = Room::default();
            let (mut log, _) = open(&room).await.unwrap();
            let (mut models, mut term) = (Models::new(), 1);
            // Every state since the last sync.
            let mut possible = vec![models.clone()];
            for step in 0..120 {
                match rng.random_range(0..20) {
                    0 => {
                        room.disk.crash(rng.random_range(0..400));
                        let found;
                        (log, found) = open(&room).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                        let found = read_back(&found);
                        let at = possible.iter().rposition(|models| expected(models) == found);
                        let at = at.unwrap_or_else(|| panic!("seed {seed} step {step}: {found:#?} of {possible:#?}"));
                        models = possible[at].clone();
                        possible = vec![models.clone()];
                    }
                    1 | 2 => {
                        let removed = log.collect().await.unwrap();
                        collected += removed;
                        if removed > 0 {
                            possible = vec![models.clone()];
                        }
                    }
                    _ => {
                        let batch = change(&mut rng, &mut models, &mut term);
                        let sync = rng.random_range(0..4) == 0;
                        log.write(batch, sync).await.unwrap();
                        possible.push(models.clone());
                        if sync {
                            possible = vec![models.clone()];
                        }
                    }
                }
                for (region, model) in &models {
                    assert_eq!(log.first_index(*region), Some(model.base.0 + 1), "seed {seed} step {step}");
                    let (low, high) = (model.base.0 + 1, model.base.0 + 1 + model.entries.len() as u64);
                    let read = log.fetch(*region, low, high, u64::MAX).await;
                    let read = read.unwrap_or_else(|error| panic!("seed {seed} step {step}: {error}"));
                    assert_eq!(read, model.entries, "seed {seed} step {step}");
                }
            }
        }
        assert!(collected > 1000, "collection has work to do: {collected}");
    });
}

#[test]
fn a_segment_stays_while_a_staged_change_is_not_written() {
    run(async {
        let room = Room::default();
        let (log, _) = open(&room).await.unwrap();
        for index in 1..60 {
            log.write(append(1, entries(index..index + 1, 1)), true).await.unwrap();
        }
        let mut batch = append(1, entries(1..2, 2));
        log.stage(&mut batch);
        assert_eq!(log.collect().await.unwrap(), 0, "the disk still needs all of them");
        log.write(batch, true).await.unwrap();
        log.write(LogBatch::new(), true).await.unwrap();
        assert!(log.collect().await.unwrap() > 0);
        assert_eq!(log.first_index(1), Some(1));
        room.disk.crash(0);
        assert_eq!(open(&room).await.unwrap().1[&1].last_index, 1);
    });
}

#[test]
fn a_crash_while_segments_go_leaves_no_gap() {
    run(async {
        let mut interrupted = 0;
        for turns in 0.. {
            let room = Room::default();
            let (log, _) = open(&room).await.unwrap();
            for index in 1..60 {
                log.write(append(1, entries(index..index + 1, 1)), true).await.unwrap();
            }
            let mut batch = LogBatch::new();
            batch.compact(1, 10, 58);
            log.write(batch, true).await.unwrap();
            let mut collecting = Box::pin(log.collect());
            let done = (0..turns).any(|_| futures::FutureExt::now_or_never(&mut collecting).is_some());
            let left = room.disk.paths();
            room.disk.crash(0);
            let back: Vec<_> = room.disk.paths().into_iter().filter(|path| !left.contains(path)).collect();
            if let Some(newest) = back.last() {
                room.disk.erase(newest);
                interrupted += 1;
            }
            let found = open(&room).await.unwrap_or_else(|error| panic!("after {turns} turns: {error}")).1;
            assert_eq!(found[&1].last_index, 59);
            if done {
                break;
            }
        }
        assert!(interrupted > 1, "crashes meet segments that are on their way");
    });
}
