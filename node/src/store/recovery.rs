//! What a store reads back at start: every peer from the engine's region states and the raft log.
//!
//! Engine and raft log are two writes. Where a crash came between them:
//! * a split or a founding has its region state and no log yet: the log begins where every region's does;
//! * a snapshot that is being applied has its state and the old log still: the engine's word counts (`recover_applying`);
//! * a log was dropped up to an index that the engine had durably applied: nothing is missing;
//! * a peer went and another one has come in its place, and the log is still the first one's: it goes now;
//! * a tombstone is written and the log or the data is still there: both go now.

use std::{collections::BTreeMap, sync::Arc};

use raft::eraftpb::HardState;

use super::{
    Error,
    fact::region::Fact,
    peer::{log::Log, membership},
    raft_loop::{Found, Tomb},
    region_worker::Destroy,
    snapshot::{self, Key},
    state::{
        ApplyState, INIT_INDEX, INIT_TERM, RegionState, SnapshotRaftState, Sources, Stage, decode_apply, decode_region,
        decode_snapshot_raft, decode_sources,
    },
};
use crate::{
    engine::{Engine, Family},
    env::Env,
    key,
    raftlog::{self, LogBatch, RaftLog, Recovered as Logged},
    region::{PeerId, Region, RegionId},
};

/// Everything read back.
pub(super) struct Recovered {
    pub raftlog: RaftLog,
    pub peers: Vec<Found>,
    pub gone: BTreeMap<RegionId, PeerId>,
    /// What is remembered of peers that are gone.
    pub tombs: BTreeMap<RegionId, Tomb>,
    /// Ranges of removed peers whose data may still be there.
    pub leftovers: Vec<Destroy>,
}

#[derive(Default)]
struct States {
    region: Option<RegionState>,
    apply: Option<ApplyState>,
    snapshot: Option<SnapshotRaftState>,
    newcomer: Option<RegionState>,
    sources: Option<Sources>,
}

impl States {
    /// The state that counts, and the peer that is gone if a newer one has taken its place.
    ///
    /// A newcomer's record stays behind when its peer gets a range or goes, and is older than the region's state then.
    fn settle(&mut self) -> (Option<RegionState>, Option<PeerId>) {
        match (self.region.take(), self.newcomer.take()) {
            (Some(region), Some(newcomer)) if newcomer.peer.id > region.peer.id => {
                (Some(newcomer), Some(region.peer.id))
            }
            (Some(region), _) => (Some(region), None),
            (None, newcomer) => (newcomer, None),
        }
    }
}

/// Reads everything back.
pub(super) async fn recover(env: &Env, engine: &Engine, options: raftlog::Options) -> Result<Recovered, Error> {
    let states = read_states(engine).await?;
    let (raftlog, mut logs) = RaftLog::open(env.clone(), "", options).await?;
    let mut fixes = LogBatch::new();
    let (mut gone, mut tombs) = (BTreeMap::new(), BTreeMap::new());
    let mut tombstones = Vec::new();
    let mut living = Vec::new();
    for (id, mut states) in states {
        let (state, displaced) = states.settle();
        gone.extend(displaced.map(|peer| (id, peer)));
        let Some(state) = state else { continue };
        if let Some(log) = logs.get(&id).filter(|log| log.peer != state.peer.id) {
            fixes.clear(id, log.peer);
            logs.remove(&id);
        }
        let stage = state.stage();
        env.state(Fact::StateRecovered {
            region: Arc::new(state.region.clone()),
            peer: state.peer.id,
            state: stage.name().into(),
            index: state.index,
            term: state.term,
        });
        if stage == Stage::Tombstone {
            gone.insert(id, state.peer.id);
            if logs.remove(&id).is_some() {
                fixes.clear(id, state.peer.id);
            }
            tombs.insert(id, Tomb { epoch: state.region.epoch, merged: state.merge });
            tombstones.push(state.region);
            continue;
        }
        living.push((id, state, states.apply, states.snapshot, states.sources));
    }
    // Logs without a region belong to peers that a crash has taken before their state was written.
    for (&id, log) in &logs {
        if !living.iter().any(|(known, ..)| *known == id) {
            fixes.clear(id, log.peer);
        }
    }
    let mut rewritten = BTreeMap::new();
    for (id, state, apply, snapshot, _) in &living {
        let log = logs.get(id);
        if state.stage() == Stage::Applying {
            let raft = snapshot.ok_or_else(|| Error::State(format!("region {id} is applying without a raft state")))?;
            let hard_state = raftlog::HardState { term: raft.term, vote: raft.vote, commit: raft.commit };
            let key = Key { region: *id, term: state.term, index: state.index };
            let applying = snapshot::apply::Applying { key, peer: state.peer.id, hard_state };
            if let Some(batch) = snapshot::apply::recover_applying(env, &applying, log) {
                fixes.extend(batch);
                rewritten.insert(*id, (state.index, state.term));
            }
        } else if state.region.is_initialized() && log.is_none_or(|log| log.last_index < INIT_INDEX) {
            // Founded or split off, and the log does not know yet. A vote that the place has cast stays cast.
            let apply = apply.as_ref().ok_or_else(|| Error::State(format!("region {id} has no apply state")))?;
            if apply.applied_index > INIT_INDEX {
                return Err(Error::State(format!("region {id} has applied {} and lost its log", apply.applied_index)));
            }
            let old = log.map(|log| log.hard_state).unwrap_or_default();
            let (term, vote) = if old.term < INIT_TERM { (INIT_TERM, 0) } else { (old.term, old.vote) };
            fixes.start(*id, state.peer.id, INIT_INDEX, INIT_TERM);
            fixes.hard_state(*id, state.peer.id, term, vote, INIT_INDEX);
            rewritten.insert(*id, (INIT_INDEX, INIT_TERM));
        }
    }
    if !fixes.is_empty() {
        raftlog.write(fixes, true).await?;
    }
    let mut peers = Vec::with_capacity(living.len());
    for (id, state, apply, _, sources) in living {
        let apply = apply.unwrap_or_default();
        let logged = logs.get(&id).filter(|_| !rewritten.contains_key(&id));
        let log = read_log(&raftlog, &state, apply, logged, rewritten.get(&id).copied()).await?;
        peers.push(Found { state, apply, log, sources: sources.unwrap_or_default() });
    }
    let mut leftovers = Vec::new();
    for tombstone in tombstones.into_iter().filter(Region::is_initialized) {
        for (start, end) in outside(&tombstone, peers.iter().map(|peer| &peer.state.region)) {
            leftovers.push(Destroy { region: tombstone.id, start, end, after: None, reply: None });
        }
    }
    Ok(Recovered { raftlog, peers, gone, tombs, leftovers })
}

async fn read_states(engine: &Engine) -> Result<BTreeMap<RegionId, States>, Error> {
    let mut all: BTreeMap<RegionId, States> = BTreeMap::new();
    let (start, end) = key::all_region_states();
    let snapshot = engine.snapshot();
    let mut stored = snapshot.iter(Family::Raft, start, end);
    while let Some((key, value)) = stored.next().await? {
        let Some((id, kind)) = key::parse_local(&key) else { continue };
        let states = all.entry(id).or_default();
        let damaged = |error| Error::State(format!("a state of region {id}: {error}"));
        match kind {
            1 => states.region = Some(decode_region(&value).map_err(damaged)?),
            2 => states.apply = Some(decode_apply(&value).map_err(damaged)?),
            3 => states.snapshot = Some(decode_snapshot_raft(&value).map_err(damaged)?),
            4 => states.newcomer = Some(decode_region(&value).map_err(damaged)?),
            5 => states.sources = Some(decode_sources(&value).map_err(damaged)?),
            _ => {}
        }
    }
    Ok(all)
}

/// One peer's log in memory: all terms, and the entries that are not applied yet.
async fn read_log(
    raftlog: &RaftLog,
    state: &RegionState,
    apply: ApplyState,
    logged: Option<&Logged>,
    rewritten: Option<(u64, u64)>,
) -> Result<Log, Error> {
    let id = state.region.id;
    let mut hard = HardState::default();
    if let Some(stored) = raftlog.hard_state(id) {
        (hard.term, hard.vote, hard.commit) = (stored.term, stored.vote, stored.commit);
    }
    let conf = membership::conf_state(&state.region);
    let Some(logged) = logged else {
        return Ok(Log::new(hard, conf, rewritten.unwrap_or_default()));
    };
    // The log may not know yet what apply let it drop, and then still has those entries; or it begins later, when
    // dropping was durable there first.
    let truncated = match logged.truncated {
        (index, Some(term)) => (index, term),
        (0, None) => (0, 0),
        (index, None) if index == apply.truncated_index => (index, apply.truncated_term),
        (index, None) => return Err(Error::State(format!("region {id}: the term of entry {index} is unknown"))),
    };
    let mut log = Log::new(hard.clone(), conf.clone(), truncated);
    for mark in &logged.entries {
        log.push_term(mark.term);
    }
    let last = log.last_index();
    if last < apply.applied_index {
        return Err(Error::State(format!(
            "region {id} has applied {} and its log ends at {last}",
            apply.applied_index
        )));
    }
    // The commit index may have been lost although what it says is applied.
    hard.commit = hard.commit.max(apply.applied_index).min(last);
    let mut whole = Log::new(hard, conf, truncated);
    for mark in &logged.entries {
        whole.push_term(mark.term);
    }
    if last > apply.applied_index {
        let entries = raftlog.fetch(id, apply.applied_index + 1, last + 1, u64::MAX).await?;
        whole.load(entries);
    }
    Ok(whole)
}

/// The parts of a range that no living region holds.
fn outside<'a>(range: &Region, living: impl Iterator<Item = &'a Region>) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let mut pieces = vec![(range.start.clone(), range.end.clone())];
    for other in living.filter(|region| region.is_initialized()) {
        let mut rest = Vec::new();
        for (start, end) in pieces {
            let piece = Region { start: start.clone(), end: end.clone(), ..Region::default() };
            if !piece.overlaps(other) {
                rest.push((start, end));
                continue;
            }
            if start < other.start {
                rest.push((start, other.start.clone()));
            }
            if !other.end.is_empty() && (end.is_empty() || other.end < end) {
                rest.push((other.end.clone(), end));
            }
        }
        pieces = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_living_regions_leave_of_a_removed_one() {
        let region = |start: &'static str, end: &'static str| Region {
            start: start.into(),
            end: end.into(),
            peers: vec![crate::region::Peer::default()],
            ..Region::default()
        };
        let left = |living: &[Region]| {
            let pieces = outside(&region("b", "y"), living.iter());
            pieces
                .iter()
                .map(|(start, end)| format!("{}-{}", String::from_utf8_lossy(start), String::from_utf8_lossy(end)))
                .collect::<Vec<_>>()
        };
        assert_eq!(left(&[]), ["b-y"]);
        assert_eq!(left(&[region("a", "c"), region("m", "p")]), ["c-m", "p-y"]);
        assert_eq!(left(&[region("", "")]), [""; 0]);
        assert_eq!(left(&[region("y", "")]), ["b-y"]);
    }
}
