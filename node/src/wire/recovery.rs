//! Unsafe recovery on the wire: what stores report of their peers, and what the placement driver has them do.
//!
//! Plans travel in the answers to store heartbeats, reports in the heartbeats themselves. Each carries the number of the
//! step it belongs to; a step's number never returns, so that what is late is known to be late.

use super::placement::Store;
use crate::region::{Peer, PeerId, Region, RegionId, StoreId};

/// Asks the placement driver to give stores up for good, and to recover the regions that lost their majority with them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveFailedStores {
    /// The stores. They are down, and never come back.
    #[prost(uint64, repeated, tag = "1")]
    pub stores: Vec<StoreId>,
    /// How long recovery may take, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub timeout_ms: u64,
}

/// How far the newest recovery is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Progress {
    /// Its stage, as facts write it; `idle` before the first one.
    #[prost(string, tag = "1")]
    pub stage: String,
    /// Its step.
    #[prost(uint64, tag = "2")]
    pub step: u64,
    /// Why it failed, or is about to.
    #[prost(string, tag = "3")]
    pub cause: String,
}

/// The answer to a store's heartbeat.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Heard {
    /// The safe point in force.
    #[prost(uint64, tag = "1")]
    pub safe_point: u64,
    /// What the store is to do for a recovery; an empty plan asks for a report, and has force leaders step down.
    #[prost(message, optional, tag = "2")]
    pub plan: Option<Plan>,
    /// Whether a recovery is under way: heartbeats are to come quickly.
    #[prost(bool, tag = "3")]
    pub recovering: bool,
}

/// One store's part of one step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Plan {
    /// The step.
    #[prost(uint64, tag = "1")]
    pub step: u64,
    /// Regions to lead without a majority. Present and empty, it leaves force leaders as they are.
    #[prost(message, optional, tag = "2")]
    pub force_leader: Option<ForceLeader>,
    /// Peers to demote.
    #[prost(message, repeated, tag = "3")]
    pub demotes: Vec<Demote>,
    /// Regions whose peer here is to be destroyed.
    #[prost(uint64, repeated, tag = "4")]
    pub tombstones: Vec<RegionId>,
    /// Empty regions to create, each with one peer here.
    #[prost(message, repeated, tag = "5")]
    pub creates: Vec<Region>,
}

/// Regions to lead without a majority.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForceLeader {
    /// The regions.
    #[prost(uint64, repeated, tag = "1")]
    pub regions: Vec<RegionId>,
    /// The stores whose voters are taken to agree.
    #[prost(uint64, repeated, tag = "2")]
    pub failed_stores: Vec<StoreId>,
    /// Voters of the regions that were removed, and are gone from their stores: whoever lags counts on them, and they are
    /// taken to agree, too.
    #[prost(uint64, repeated, tag = "3")]
    pub gone: Vec<PeerId>,
}

/// Peers of one region that are lost: voters become learners, learners go.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Demote {
    /// The region.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// The peers; without any, only a joint configuration is left.
    #[prost(message, repeated, tag = "2")]
    pub failed: Vec<Peer>,
}

/// What a store has, as of a step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// The step.
    #[prost(uint64, tag = "1")]
    pub step: u64,
    /// Its peers, by region.
    #[prost(message, repeated, tag = "2")]
    pub peers: Vec<PeerReport>,
    /// Peers that it had and that will never be here again, the newest of each region.
    #[prost(message, repeated, tag = "3")]
    pub gone: Vec<Gone>,
}

/// A peer that its store no longer has, nor any of the region with a smaller id.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Gone {
    /// Its region.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// The peer.
    #[prost(uint64, tag = "2")]
    pub peer: PeerId,
}

/// How one peer stands.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerReport {
    /// Its region as of what it applied; without peers when it has had no snapshot yet.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// The peer.
    #[prost(message, required, tag = "2")]
    pub peer: Peer,
    /// The last entry's term.
    #[prost(uint64, tag = "3")]
    pub last_term: u64,
    /// The last entry.
    #[prost(uint64, tag = "4")]
    pub last_index: u64,
    /// The last entry known to be committed.
    #[prost(uint64, tag = "5")]
    pub commit: u64,
    /// The last entry applied.
    #[prost(uint64, tag = "6")]
    pub applied: u64,
    /// Whether it leads without a majority.
    #[prost(bool, tag = "7")]
    pub is_force_leader: bool,
    /// Whether its log holds a commit of a merge that is not applied.
    #[prost(bool, tag = "8")]
    pub has_commit_merge: bool,
}

impl PeerReport {
    /// Whether the peer has a range.
    pub fn is_initialized(&self) -> bool {
        self.region.is_initialized()
    }
}

/// Whether a store's engine is a columnar one, which holds learners only.
pub fn is_columnar(store: &Store) -> bool {
    store.labels.iter().any(|label| label.key == "engine" && label.value == "tiflash")
}
