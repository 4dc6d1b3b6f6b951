//! What clients ask of stores, and what stores answer.

use bytes::Bytes;

use super::command::{PeerChange, Write};
use crate::region::{Epoch, Peer, PeerId, Region, RegionId, StoreId};

/// A request to one region.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// The region that the client believes to hold the keys.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// The epoch that the client knows.
    #[prost(message, required, tag = "2")]
    pub epoch: Epoch,
    /// The store that the client means to speak to.
    #[prost(uint64, tag = "3")]
    pub store: StoreId,
    /// What it asks.
    #[prost(oneof = "Ask", tags = "4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub ask: Option<Ask>,
}

/// What a client may ask.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// Reads one key.
    #[prost(message, tag = "4")]
    Get(Get),
    /// Reads a range.
    #[prost(message, tag = "5")]
    Scan(Scan),
    /// Writes keys of the region.
    #[prost(message, tag = "6")]
    Write(Write),
    /// Splits the region at keys; the leader asks the placement driver for ids.
    #[prost(message, tag = "7")]
    Split(SplitAt),
    /// Changes the membership.
    #[prost(message, tag = "8")]
    ChangePeers(Change),
    /// Hands leadership to a peer.
    #[prost(message, tag = "9")]
    TransferLeader(Transfer),
    /// Every replica hashes its content.
    #[prost(message, tag = "10")]
    ComputeHash(Nothing),
    /// Drops the applied part of the raft log now.
    #[prost(message, tag = "11")]
    CompactLog(Nothing),
    /// Merges the region into a neighbour, whose peers have to live on the same stores.
    #[prost(message, tag = "12")]
    Merge(MergeInto),
}

/// No content.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

/// How a read makes sure that it is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ReadBy {
    /// By the leader's lease; by a read index when it has none.
    Lease = 0,
    /// By a read index, even when there is a lease.
    ReadIndex = 1,
    /// By any replica, after a read index from the leader.
    Replica = 2,
}

/// Reads one key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Get {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The newest version at or below this timestamp; 0 for the newest.
    #[prost(uint64, tag = "2")]
    pub at: u64,
    /// How to be current.
    #[prost(enumeration = "ReadBy", tag = "3")]
    pub by: i32,
}

/// Reads the keys of a range within the region, in order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scan {
    /// First key, inclusive.
    #[prost(bytes = "bytes", tag = "1")]
    pub start: Bytes,
    /// End, exclusive; empty for the region's end.
    #[prost(bytes = "bytes", tag = "2")]
    pub end: Bytes,
    /// At most so many keys.
    #[prost(uint64, tag = "3")]
    pub limit: u64,
    /// As of this timestamp; 0 for the newest.
    #[prost(uint64, tag = "4")]
    pub at: u64,
    /// How to be current.
    #[prost(enumeration = "ReadBy", tag = "5")]
    pub by: i32,
}

/// Where to split.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SplitAt {
    /// Keys inside the region; none lets the region choose its middle.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
}

/// Which peers to change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    /// More than one change goes through a joint configuration.
    #[prost(message, repeated, tag = "1")]
    pub changes: Vec<PeerChange>,
}

/// To whom to hand leadership.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Transfer {
    /// The peer.
    #[prost(uint64, tag = "1")]
    pub to: PeerId,
}

/// Into which region to merge.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct MergeInto {
    /// The neighbour.
    #[prost(uint64, tag = "1")]
    pub target: RegionId,
}

/// An answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// The answer or the error.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5")]
    pub answer: Option<Answer>,
}

/// What a store may answer.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// It was not done, or it is unknown whether it was: see the error.
    #[prost(message, tag = "1")]
    Error(Refusal),
    /// One key.
    #[prost(message, tag = "2")]
    Got(Got),
    /// Keys of a range.
    #[prost(message, tag = "3")]
    Scanned(Scanned),
    /// A write's result.
    #[prost(message, tag = "4")]
    Written(Written),
    /// An admin command took effect; the regions that exist now where one was.
    #[prost(message, tag = "5")]
    Done(Done),
}

/// A key's newest version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Got {
    /// The version's timestamp; 0 when there is none. A tombstone has one too, until it is collected.
    #[prost(uint64, tag = "1")]
    pub timestamp: u64,
    /// The value; none for a tombstone or when there is no version.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
}

/// A range's keys that have a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scanned {
    /// In key order.
    #[prost(message, repeated, tag = "1")]
    pub pairs: Vec<Pair>,
}

/// A key and its newest version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pair {
    /// The user key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Its version.
    #[prost(message, required, tag = "2")]
    pub got: Got,
}

/// A write's result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Written {
    /// What came of it, an [`Outcome`].
    #[prost(enumeration = "Outcome", tag = "1")]
    pub outcome: i32,
    /// For a failed expectation: the timestamp of the newest version that was there.
    #[prost(uint64, tag = "2")]
    pub found: u64,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Outcome {
    /// Written, now or by an earlier attempt with the same timestamp.
    Ok = 0,
    /// A newer version exists, or the timestamp is not above the safe point: nothing was written by this attempt.
    Conflict = 1,
    /// The expectation did not hold: nothing was written by this attempt.
    Unexpected = 2,
}

/// The regions after an admin command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Done {
    /// In key order.
    #[prost(message, repeated, tag = "1")]
    pub regions: Vec<Region>,
}

/// Why a request was not served.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refusal {
    /// The reason, a [`Reason`].
    #[prost(enumeration = "Reason", tag = "1")]
    pub reason: i32,
    /// For `NotLeader`: the leader, if known.
    #[prost(message, optional, tag = "2")]
    pub leader: Option<Peer>,
    /// For `EpochNotMatch`: the regions that the store knows where the client's one was.
    #[prost(message, repeated, tag = "3")]
    pub regions: Vec<Region>,
    /// For people.
    #[prost(string, tag = "4")]
    pub detail: String,
}

/// Reasons of a refusal. All but `Unknown` say that this attempt had no effect and will have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    /// It may or may not take effect: the leader lost its role, or the store stops, with the entry under way.
    Unknown = 0,
    /// This peer does not lead.
    NotLeader = 1,
    /// The client's epoch is stale, or ahead of this peer.
    EpochNotMatch = 2,
    /// No peer of the region lives here.
    RegionNotFound = 3,
    /// The request was meant for another store.
    StoreNotMatch = 4,
    /// A key lies outside of the region.
    KeyNotInRegion = 5,
    /// Too much is queued.
    ServerIsBusy = 6,
    /// The request makes no sense here: an unknown peer, a split key at the border, a change that leaves no voter.
    Invalid = 7,
    /// Another admin command is under way.
    AdminUnderWay = 8,
    /// The read's timestamp lies below the safe point.
    Collected = 9,
    /// The region is about to merge into a neighbour; its keys are served by that one soon, or by this one again.
    Merging = 10,
}
