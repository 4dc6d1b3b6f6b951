//! Replaces a region's data by a received snapshot, and repairs what a crash in between leaves.
//!
//! The order is what makes it safe: the peer's durable state is Applying before anything here begins; the range is
//! cleaned; *copies* of the files are taken in by the engine; one write makes the state Normal; only once that is durable
//! do the files go. A crash anywhere before finds the state Applying and all files, and applies again.

use std::sync::{Arc, atomic::AtomicBool};

use failpoints::{defect, point};

use super::{Error, FAMILIES, Files, Key, Manager, Meta, Side, Use, build, content, fails, file, site};
use crate::{
    defects,
    engine::{Engine, WriteBatch},
    env::{Env, Open},
    fact::Digest,
    key,
    raftlog::{HardState, LogBatch, Recovered},
    region::{PeerId, Region, RegionId},
    store::{
        fact::{apply, region, snapshot::Fact},
        state::SnapshotRaftState,
    },
};

/// Applies the received snapshot `key`. `state` makes the peer's state Normal, in one write with nothing else.
pub async fn apply(
    manager: &Manager,
    engine: &Engine,
    region: &Region,
    peer: PeerId,
    key: Key,
    state: WriteBatch,
    abort: &AtomicBool,
) -> Result<(), Error> {
    let env = &manager.inner.env;
    let Key { region: id, term, index } = key;
    let registration = manager.register(key, Use::Applying)?;
    env.state(Fact::ApplyStarted { region: id, peer, term, index });
    fails(point!(env.points, site::BEFORE_APPLY).await)?;
    let files = manager.files(Side::Received, key);
    let meta = manager.meta(&files).await?;
    build::verify(manager, &files, &meta).await?;
    build::wanted(abort)?;

    engine.write(clean(&region.start, &region.end), false).await?;
    let copies = copy(manager, &files, &meta).await?;
    let _ = point!(env.points, site::BEFORE_INGEST).await;
    if let Err(error) = build::wanted(abort) {
        for (_, path) in &copies {
            manager.remove_file(key, path, "failed").await?;
        }
        return Err(error);
    }
    engine.ingest(copies).await?;
    let content = content::hash(&engine.snapshot(), region).await?;
    let why = "snapshot".into();
    env.state(apply::Fact::Hashed { region: id, peer, index, digest: content.digest, keys: content.keys, why });
    if content.digest != Digest(meta.digest) {
        let detail = format!("its content has the digest {}, the engine found {}", meta.digest, content.digest.0);
        return Err(Error::Corrupt { path: files.meta(), detail });
    }
    let _ = point!(env.points, site::BEFORE_NORMAL).await;
    engine.write(state, false).await?;
    let (whole, name) = (Arc::new(region.clone()), "normal".into());
    env.state(region::Fact::StateWritten { region: whole, peer, state: name, index: 0, term: 0 });
    // From here on memory says Normal and a crash may still say Applying.
    drop(registration);
    let hasty = defect!(env.points, defects::TIKV_11746);
    env.state(Fact::MetWhileApplying { region: id, term, index });
    let mut removed = false;
    if hasty {
        removed = manager.delete(Side::Received, key, false, "after-apply").await?;
    }
    env.state(Fact::CollectWhileApplying { region: id, term, index, removed });
    let _ = point!(env.points, site::BEFORE_NORMAL_SYNC).await;
    engine.sync().await?;
    manager.set_durable_applying(id, None);
    env.state(Fact::Applied { region: id, peer, term, index });
    if !hasty {
        // Left to the collector when somebody holds it.
        manager.delete(Side::Received, key, false, "after-apply").await?;
    }
    Ok(())
}

/// Removes all data of the user keys `start..end`.
pub fn clean(start: &[u8], end: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for family in FAMILIES {
        batch.delete_range(family, key::range_start(start), key::range_end(end));
    }
    batch
}

/// Copies the tables, for the engine moves what it takes in. Of an empty one there is no copy: the engine would not move
/// it, and whether and when it removes a file that it has no use for is its own affair.
async fn copy(manager: &Manager, files: &Files, meta: &Meta) -> Result<Vec<(crate::engine::Family, String)>, Error> {
    let mut copies = Vec::with_capacity(FAMILIES.len());
    for (family, table) in FAMILIES.into_iter().zip(&meta.tables) {
        if table.entries == 0 {
            continue;
        }
        let path = files.table(family);
        let target = file::clone(&path);
        let bytes = manager.read(&path).await?;
        let failed = |error| Error::io("copy to", &target, error);
        let file = manager.inner.env.disk.open(&target, Open::Truncate).await.map_err(failed)?;
        file.append(bytes).await.map_err(failed)?;
        file.sync().await.map_err(failed)?;
        copies.push((family, target));
    }
    Ok(copies)
}

/// What the engine says about a snapshot that is being applied, under `key::snapshot_raft_state` and `key::region_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applying {
    /// The snapshot.
    pub key: Key,
    /// The peer.
    pub peer: PeerId,
    /// The hard state that was to reach the raft log with the snapshot.
    pub hard_state: HardState,
}

impl Applying {
    /// From what is stored under `key::snapshot_raft_state`.
    pub fn of(region: RegionId, peer: PeerId, stored: &SnapshotRaftState) -> Applying {
        let SnapshotRaftState { term, vote, commit, snapshot_term } = *stored;
        let key = Key { region, term: snapshot_term, index: commit };
        Applying { key, peer, hard_state: HardState { term, vote, commit } }
    }
}

/// What has to be written to the raft log at start for a peer whose durable state is Applying, if anything.
///
/// The engine and the raft log are two writes. When the first one says that a snapshot is being applied and the second
/// does not begin at the snapshot, a crash came between them: the entries in the log are from before the snapshot, even
/// those with larger indexes, and the engine's word counts.
pub fn recover_applying(env: &Env, applying: &Applying, log: Option<&Recovered>) -> Option<LogBatch> {
    let Applying { key, peer, hard_state } = *applying;
    let settled = log.is_some_and(|log| log.peer == peer && log.truncated == (key.index, Some(key.term)));
    // The defect keeps a log that seems to go on past the snapshot.
    let beyond = log.is_some_and(|log| log.peer == peer && log.last_index >= key.index);
    if settled || defect!(env.points, defects::TIKV_12618, beyond) {
        return None;
    }
    let found = log.filter(|log| log.peer == peer).map_or(HardState::default(), |log| log.hard_state);
    // A vote that reached the log must not be forgotten, whichever write was first.
    let mut hard = if found.term > hard_state.term || (found.term == hard_state.term && found.vote != 0) {
        found
    } else {
        hard_state
    };
    hard.commit = key.index;
    let mut batch = LogBatch::new();
    batch.start(key.region, peer, key.index, key.term);
    batch.hard_state(key.region, peer, hard.term, hard.vote, hard.commit);
    Some(batch)
}
