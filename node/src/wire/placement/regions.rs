//! What the placement driver is told of regions, and what it has their leaders do.

use bytes::Bytes;

use crate::{
    region::{Epoch, Peer, PeerId, Region, RegionId},
    wire::command::PeerChange,
};

/// How a region stands, as its leader sees it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegionHeartbeat {
    /// Range, epoch and peers.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// The leader.
    #[prost(message, required, tag = "2")]
    pub leader: Peer,
    /// Its term.
    #[prost(uint64, tag = "3")]
    pub term: u64,
    /// Peers that the leader has not heard from for a while.
    #[prost(message, repeated, tag = "4")]
    pub down: Vec<DownPeer>,
    /// Peers whose log is behind what the leader still has, or that wait for a snapshot.
    #[prost(uint64, repeated, tag = "5")]
    pub pending: Vec<PeerId>,
    /// About how many bytes the region holds.
    #[prost(uint64, tag = "6")]
    pub approximate_size: u64,
    /// About how many keys the region holds.
    #[prost(uint64, tag = "7")]
    pub approximate_keys: u64,
}

/// A peer that its leader does not hear from.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct DownPeer {
    /// The peer.
    #[prost(uint64, tag = "1")]
    pub peer: PeerId,
    /// For how long, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub down_ms: u64,
}

/// Ids for splitting a region.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AskSplit {
    /// The region as the asking leader knows it.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// How many new regions.
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// Regions in key order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Regions {
    /// The regions.
    #[prost(message, repeated, tag = "1")]
    pub regions: Vec<Region>,
}

/// A region and who leads it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Located {
    /// The region.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// Its leader when last heard of.
    #[prost(message, optional, tag = "2")]
    pub leader: Option<Peer>,
}

/// Ids of the regions that a split makes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SplitIds {
    /// One a new region.
    #[prost(message, repeated, tag = "1")]
    pub children: Vec<ChildIds>,
}

/// Ids of one new region.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChildIds {
    /// The region's id.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// Its peers' ids, in the order of the parent's peers.
    #[prost(uint64, repeated, tag = "2")]
    pub peers: Vec<PeerId>,
}

/// Regions as a store has them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Versions {
    /// Each with what it is known by.
    #[prost(message, repeated, tag = "1")]
    pub regions: Vec<Version>,
}

/// A region and the epoch in which it is known.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Version {
    /// The region.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its epoch.
    #[prost(message, required, tag = "2")]
    pub epoch: Epoch,
}

/// What a region's leader should do next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Next {
    /// The epoch for which the step is meant; at another the leader ignores it.
    #[prost(message, required, tag = "1")]
    pub epoch: Epoch,
    /// The step.
    #[prost(oneof = "Step", tags = "2, 3, 4, 5")]
    pub step: Option<Step>,
}

/// One step of an operator.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Step {
    /// Change the membership.
    #[prost(message, tag = "2")]
    ChangePeers(ChangePeers),
    /// Hand leadership over.
    #[prost(message, tag = "3")]
    TransferLeader(Peer),
    /// Split.
    #[prost(message, tag = "4")]
    Split(SplitKeys),
    /// Merge into a neighbour.
    #[prost(message, tag = "5")]
    Merge(MergeInto),
}

/// Into which neighbour a region is to merge.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MergeInto {
    /// The neighbour, at the epoch at which its peers were last known to match.
    #[prost(message, required, tag = "1")]
    pub target: Region,
}

/// A membership change; more than one change goes through a joint configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangePeers {
    /// The changes.
    #[prost(message, repeated, tag = "1")]
    pub changes: Vec<PeerChange>,
}

/// Where to split.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SplitKeys {
    /// Keys inside the region; none lets the leader choose its middle.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
}
