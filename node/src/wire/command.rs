//! Commands: the data of raft log entries, and the rules by which they apply.
//!
//! The rules are part of the format, since every replica has to come to the same result:
//!
//! * A write is atomic. For each mutation let L be the newest version of its key (value or tombstone), 0 if none.
//!   If L is the mutation's own timestamp, the write was applied before and is a success without effect. If L is larger,
//!   or the timestamp is not above the region's safe point, the write fails with a conflict, without effect.
//! * A mutation with an expectation fails, without effect, unless the newest version is a value with that timestamp;
//!   an expected 0 means "no value": never written, or deleted.
//! * A command whose epoch version (for admin commands: and conf_ver) is not the region's own at apply time is skipped.
//! * A split into n new regions adds n to the epoch's version, and the new regions begin with the result.
//! * `PrepareMerge` adds one to the source's version and conf_ver; from then on only a `RollbackMerge` has an effect there,
//!   which adds one to its version. `CommitMerge` gives the target the source's range and content as of the `PrepareMerge`,
//!   and a version one above the larger of the two. Its epoch is the target's that the source was prepared for: when the
//!   target has changed since, it is skipped, and so it is always.
//! * A membership change adds one to conf_ver for each of its changes; one without changes (it leaves a joint
//!   configuration) adds one. Such an entry's data is raft-rs's ConfChangeV2, whose context is the command.
//! * `Collect` raises the region's safe point: versions below it that are not the newest may be dropped, tombstones too.

use bytes::Bytes;

use crate::region::{Epoch, Peer, PeerId, Region, RegionId};

/// The data of a normal entry, and the context of a membership change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// The region it was proposed to.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// The epoch under which it was proposed.
    #[prost(message, required, tag = "2")]
    pub epoch: Epoch,
    /// What to do.
    #[prost(oneof = "Body", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub body: Option<Body>,
}

/// What a command does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// Writes keys of one region.
    #[prost(message, tag = "3")]
    Write(Write),
    /// Splits the region into several.
    #[prost(message, tag = "4")]
    Split(Split),
    /// Drops the log up to an index.
    #[prost(message, tag = "5")]
    CompactLog(CompactLog),
    /// Every replica hashes its content as of this entry.
    #[prost(message, tag = "6")]
    ComputeHash(ComputeHash),
    /// Every replica compares an earlier hash.
    #[prost(message, tag = "7")]
    VerifyHash(VerifyHash),
    /// Raises the safe point.
    #[prost(message, tag = "8")]
    Collect(Collect),
    /// Changes the membership; only as the context of a membership change entry.
    #[prost(message, tag = "9")]
    ChangePeers(ChangePeers),
    /// The region begins to merge into a neighbour.
    #[prost(message, tag = "10")]
    PrepareMerge(PrepareMerge),
    /// The region takes in a neighbour that is prepared.
    #[prost(message, tag = "11")]
    CommitMerge(CommitMerge),
    /// The region goes on alone: the merge that it was prepared for can never happen.
    #[prost(message, tag = "12")]
    RollbackMerge(RollbackMerge),
}

/// An atomic write of keys of one region.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Write {
    /// At most one mutation a key.
    #[prost(message, repeated, tag = "1")]
    pub mutations: Vec<Mutation>,
}

/// One key's change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Mutation {
    /// The user key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The version's timestamp, from the placement driver; unique.
    #[prost(uint64, tag = "2")]
    pub timestamp: u64,
    /// The value; none for a deletion, which leaves a tombstone with the timestamp.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub value: Option<Bytes>,
    /// Compare-and-swap: the timestamp of the value that has to be there, 0 for no value.
    #[prost(uint64, optional, tag = "4")]
    pub expect: Option<u64>,
}

/// A batch split. The last region on the right keeps the old id; the new ones lie to its left, in order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Split {
    /// The new regions, by ascending split key.
    #[prost(message, repeated, tag = "1")]
    pub children: Vec<SplitChild>,
}

/// One new region of a split.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SplitChild {
    /// Where it ends, exclusive.
    #[prost(bytes = "bytes", tag = "1")]
    pub split_key: Bytes,
    /// Its id.
    #[prost(uint64, tag = "2")]
    pub region: RegionId,
    /// Its peers' ids, in the order of the parent's peers.
    #[prost(uint64, repeated, tag = "3")]
    pub peers: Vec<PeerId>,
}

/// Drops entries up to and including `index`, which has `term`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CompactLog {
    /// The last entry to drop.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// Asks each replica for the digest of its content as of this entry.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ComputeHash {}

/// Tells each replica what the leader found for the `ComputeHash` at `index`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct VerifyHash {
    /// The index of the `ComputeHash`.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The leader's digest.
    #[prost(uint64, tag = "2")]
    pub digest: u64,
}

/// Raises the region's safe point.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Collect {
    /// Versions below it that are not the newest may go.
    #[prost(uint64, tag = "1")]
    pub safe_point: u64,
}

/// The region begins to merge into a neighbour.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PrepareMerge {
    /// The neighbour, at the epoch at which it has to take the region in.
    #[prost(message, required, tag = "1")]
    pub target: Region,
    /// Every peer's log holds what is before this entry; the log keeps the rest until the merge has ended.
    #[prost(uint64, tag = "2")]
    pub min_index: u64,
}

/// The region takes in a neighbour.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CommitMerge {
    /// The neighbour as its `PrepareMerge` left it.
    #[prost(message, required, tag = "1")]
    pub source: Region,
    /// The index of that `PrepareMerge` in the neighbour's log.
    #[prost(uint64, tag = "2")]
    pub commit: u64,
    /// The neighbour's entries from the `min_index` of that `PrepareMerge` up to it, each as raft-rs encodes it.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub entries: Vec<Bytes>,
}

/// The region goes on alone.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct RollbackMerge {
    /// The index of the `PrepareMerge` that is undone.
    #[prost(uint64, tag = "1")]
    pub commit: u64,
}

/// A membership change, simple or joint.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangePeers {
    /// The changes; empty leaves a joint configuration.
    #[prost(message, repeated, tag = "1")]
    pub changes: Vec<PeerChange>,
}

/// One peer's change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerChange {
    /// What happens to it.
    #[prost(enumeration = "ChangeKind", tag = "1")]
    pub kind: i32,
    /// The peer, with the role it is to have.
    #[prost(message, required, tag = "2")]
    pub peer: Peer,
}

/// Kinds of peer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ChangeKind {
    /// Adds a voter, or makes a learner one.
    AddVoter = 0,
    /// Adds a learner, or makes a voter one.
    AddLearner = 1,
    /// Removes the peer.
    Remove = 2,
}
