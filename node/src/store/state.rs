//! What a store writes about its regions and itself in the engine's family `raft`, under the keys of `key`.
//!
//! Values and their encoding only. Who writes what: apply writes region and apply states of living peers; the log writer
//! writes the state that begins the applying of a snapshot; the region worker writes the one that ends it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::region::{Peer, Region, RegionId, StoreId};

/// The index at which the log of a region's first incarnation begins: everything up to it is in the initial state.
pub const INIT_INDEX: u64 = 5;
/// The term of the entry at [`INIT_INDEX`].
pub const INIT_TERM: u64 = 5;

/// What stage of its life a peer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Stage {
    /// In service.
    Normal = 0,
    /// A snapshot is being applied: the data range is in no defined state.
    Applying = 1,
    /// Removed for good; its id never returns.
    Tombstone = 2,
    /// Prepared for a merge: nothing is written until it is taken in or goes on alone.
    Merging = 3,
}

impl Stage {
    /// As facts and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Normal => "normal",
            Stage::Applying => "applying",
            Stage::Tombstone => "tombstone",
            Stage::Merging => "merging",
        }
    }
}

/// A region's state on one store, under `key::region_state`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegionState {
    /// Range, epoch, peers. Without peers for one that never had its first snapshot: then the epoch is the one that the peer
    /// was made for.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// The local peer. For a tombstone: the removed one.
    #[prost(message, required, tag = "2")]
    pub peer: Peer,
    /// A [`Stage`].
    #[prost(enumeration = "Stage", tag = "3")]
    pub stage: i32,
    /// While applying: the snapshot's index.
    #[prost(uint64, tag = "4")]
    pub index: u64,
    /// While applying: the snapshot's term.
    #[prost(uint64, tag = "5")]
    pub term: u64,
    /// While merging: with whom. For a tombstone: into whom, if it was merged.
    #[prost(message, optional, tag = "6")]
    pub merge: Option<MergeState>,
}

/// What a region is prepared for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MergeState {
    /// The region that is to take it in, at the epoch at which it has to.
    #[prost(message, required, tag = "1")]
    pub target: Region,
    /// Where the log may be dropped no further: every peer has what is before this entry.
    #[prost(uint64, tag = "2")]
    pub min_index: u64,
    /// The index of the `PrepareMerge`. For a tombstone: 0 when the peer went because it was told of a merge, not by one
    /// that its target had taken part in here.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// How many merged regions are remembered by name.
const SOURCES_MAX: usize = 64;

/// Which regions were merged into a region, under `key::merge_sources`; it travels with snapshots.
///
/// A replica that lags may get a snapshot that contains a merge which it has not applied. Nothing else says for certain
/// that the source here is superseded, or that it is not: the range may have been split off again since.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sources {
    /// The newest last.
    #[prost(message, repeated, tag = "1")]
    pub all: Vec<Source>,
    /// The largest version of those that are no longer named.
    #[prost(uint64, tag = "2")]
    pub forgotten: u64,
}

/// A region that was merged away.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Source {
    /// Its id, which never returns.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// The version of whoever took it in, right afterwards.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

impl Sources {
    /// Whether the region was merged in.
    pub fn names(&self, region: RegionId) -> bool {
        self.all.iter().any(|source| source.region == region)
    }

    /// Whether a merge into this region at or after this version would still be named.
    pub fn reaches(&self, version: u64) -> bool {
        self.forgotten <= version
    }

    /// Takes in a region, and whom that one had taken in; `version` is the one that the merge makes.
    pub fn take_in(&mut self, region: RegionId, its: &Sources, version: u64) {
        self.all.extend(its.all.iter().copied());
        self.all.push(Source { region, version });
        self.forgotten = self.forgotten.max(its.forgotten);
        let surplus = self.all.len().saturating_sub(SOURCES_MAX);
        for source in self.all.drain(..surplus) {
            self.forgotten = self.forgotten.max(source.version);
        }
    }
}

/// What a peer knows of merges of its region.
#[derive(Clone, Debug, Default)]
pub struct Merges {
    /// What the region is prepared for.
    pub prepared: Option<Arc<MergeState>>,
    /// Whom it has taken in.
    pub sources: Arc<Sources>,
}

/// How far a region is applied on one store, under `key::apply_state`. Written in one batch with the data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct ApplyState {
    /// The last applied entry.
    #[prost(uint64, tag = "1")]
    pub applied_index: u64,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub applied_term: u64,
    /// Everything up to here was dropped from the raft log.
    #[prost(uint64, tag = "3")]
    pub truncated_index: u64,
    /// The term of that entry.
    #[prost(uint64, tag = "4")]
    pub truncated_term: u64,
    /// The region's safe point.
    #[prost(uint64, tag = "5")]
    pub safe_point: u64,
    /// No version of a key of the region is newer than this; saves reads of the newest version.
    #[prost(uint64, tag = "6")]
    pub newest: u64,
}

impl ApplyState {
    /// The state with which every region begins.
    pub fn initial() -> ApplyState {
        ApplyState {
            applied_index: INIT_INDEX,
            applied_term: INIT_TERM,
            truncated_index: INIT_INDEX,
            truncated_term: INIT_TERM,
            safe_point: 0,
            newest: 0,
        }
    }
}

/// What the raft log will hold once the snapshot that is being applied is in it, under `key::snapshot_raft_state`.
///
/// Engine and raft log are not written atomically: after a crash between them this one is the truth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct SnapshotRaftState {
    /// The hard state's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The hard state's vote.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// The hard state's commit, which is the snapshot's index.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
    /// The snapshot's term.
    #[prost(uint64, tag = "4")]
    pub snapshot_term: u64,
}

/// Who a store is, under `key::store_ident`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct StoreIdent {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: StoreId,
    /// Whether the store is known to belong to a bootstrapped cluster.
    #[prost(bool, tag = "2")]
    pub joined: bool,
    /// The first region that this store proposed when it tried to found the cluster, with its only peer; 0 without.
    #[prost(uint64, tag = "3")]
    pub first_region: RegionId,
}

/// A state in its stored form.
pub fn encode(state: &impl prost::Message) -> Bytes {
    state.encode_to_vec().into()
}

/// A stored region state.
pub fn decode_region(stored: &Bytes) -> Result<RegionState, prost::DecodeError> {
    RegionState::decode(stored.clone())
}

/// A stored apply state.
pub fn decode_apply(stored: &Bytes) -> Result<ApplyState, prost::DecodeError> {
    ApplyState::decode(stored.clone())
}

/// What a raft snapshot carries beside its metadata; the data itself travels as files.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotData {
    /// The region as of the snapshot.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// Its safe point.
    #[prost(uint64, tag = "2")]
    pub safe_point: u64,
    /// Its newest version.
    #[prost(uint64, tag = "3")]
    pub newest: u64,
    /// Whom the region has taken in.
    #[prost(message, optional, tag = "4")]
    pub sources: Option<Sources>,
}

/// A stored raft state of a snapshot.
pub fn decode_snapshot_raft(stored: &Bytes) -> Result<SnapshotRaftState, prost::DecodeError> {
    SnapshotRaftState::decode(stored.clone())
}

/// Whom a region has taken in, as stored.
pub fn decode_sources(stored: &Bytes) -> Result<Sources, prost::DecodeError> {
    Sources::decode(stored.clone())
}

/// A stored ident.
pub fn decode_ident(stored: &Bytes) -> Result<StoreIdent, prost::DecodeError> {
    StoreIdent::decode(stored.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_merges_are_forgotten_and_known_to_be() {
        let mut sources = Sources::default();
        let mut its = Sources::default();
        its.take_in(7, &Sources::default(), 3);
        sources.take_in(8, &its, 5);
        assert!(sources.names(7) && sources.names(8) && !sources.names(9) && sources.reaches(0));
        for more in 0..SOURCES_MAX as u64 {
            sources.take_in(100 + more, &Sources::default(), 10 + more);
        }
        assert!(!sources.names(7) && !sources.names(8) && sources.names(100));
        assert!(!sources.reaches(4) && sources.reaches(5));
    }
}
