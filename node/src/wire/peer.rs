//! What stores send each other: raft messages, and the few words that peers exchange beside raft.
//!
//! Messages to the same store share a frame. Frames travel one way on lossy connections: every message here may be
//! lost, doubled, delayed or overtaken, and whoever needs an answer asks again.

use bytes::Bytes;

use crate::region::{Epoch, Peer, Region, RegionId};

/// Messages of one store to another.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerFrame {
    /// In the order in which they were sent.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<PeerMessage>,
}

/// One message of a peer to a peer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerMessage {
    /// The region both belong to.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// Who sends it.
    #[prost(message, required, tag = "2")]
    pub from: Peer,
    /// For whom it is.
    #[prost(message, required, tag = "3")]
    pub to: Peer,
    /// The sender's epoch.
    #[prost(message, required, tag = "4")]
    pub epoch: Epoch,
    /// The sender's range.
    #[prost(bytes = "bytes", tag = "5")]
    pub start: Bytes,
    /// The range's end, exclusive; empty means the end of the key space.
    #[prost(bytes = "bytes", tag = "6")]
    pub end: Bytes,
    /// What it says.
    #[prost(oneof = "Say", tags = "7, 8, 9, 10, 11, 13, 14")]
    pub say: Option<Say>,
}

/// What a peer says to a peer.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Say {
    /// A raft message, as raft-rs encodes it.
    #[prost(bytes = "bytes", tag = "7")]
    Raft(Bytes),
    /// The peer addressed was removed from its region and is to destroy itself.
    #[prost(message, tag = "8")]
    Gone(Gone),
    /// A leader proposes to sleep: it is answered by a follower that has everything and sleeps from now on.
    #[prost(message, tag = "9")]
    Sleep(Sleep),
    /// A follower sleeps.
    #[prost(message, tag = "10")]
    Asleep(Sleep),
    /// A peer that hears nothing from its leader asks whether it still belongs to the region.
    #[prost(message, tag = "11")]
    Ask(Nothing),
    /// A peer that is prepared for a merge tells its leader that the merge cannot happen, as far as its store can say.
    #[prost(message, tag = "13")]
    WantRollback(WantRollback),
    /// The peer addressed belongs to a region that was merged away.
    #[prost(message, tag = "14")]
    Merged(Merged),
}

/// The peer addressed is gone from its region.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Gone {}

/// No content.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

/// The state in which a region sleeps.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sleep {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The last, committed and applied index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// What a store knows of the target of a merge that was prepared.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct WantRollback {
    /// The index of the `PrepareMerge`.
    #[prost(uint64, tag = "1")]
    pub commit: u64,
    /// The target has changed here without the merge; without it, the target is merely not here any more.
    #[prost(bool, tag = "2")]
    pub sure: bool,
}

/// The region was merged away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Merged {
    /// Into this one, at the epoch that the source was prepared for.
    #[prost(message, required, tag = "1")]
    pub target: Region,
}
