//! A snapshot on its way from store to store, over an ordered connection of its own.
//!
//! The sender says [`Header`], then [`Chunk`]s table by table in order, then [`Finish`]; the receiver answers once, with an
//! [`Ack`]. The raft message that announces the snapshot travels in the header, so that it reaches the raft loop only
//! when the files are there.

use bytes::Bytes;

use crate::{
    region::{Peer, Region, StoreId},
    store::snapshot::Meta,
};

/// One frame of the sender.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// What it is.
    #[prost(oneof = "Part", tags = "1, 2, 3")]
    pub part: Option<Part>,
}

/// What a frame of the sender is.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Part {
    /// The first frame.
    #[prost(message, tag = "1")]
    Header(Header),
    /// A piece of a table.
    #[prost(message, tag = "2")]
    Chunk(Chunk),
    /// All was sent.
    #[prost(message, tag = "3")]
    Finish(Finish),
}

/// Which snapshot comes, and what it announces.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    /// The sending store.
    #[prost(uint64, tag = "1")]
    pub from_store: StoreId,
    /// The store it is meant for.
    #[prost(uint64, tag = "2")]
    pub to_store: StoreId,
    /// The term of the snapshot's entry.
    #[prost(uint64, tag = "3")]
    pub term: u64,
    /// The snapshot's index.
    #[prost(uint64, tag = "4")]
    pub index: u64,
    /// Region, tables and their checksums.
    #[prost(message, required, tag = "5")]
    pub meta: Meta,
    /// What the store's raft loop gets once the files are complete: opaque here.
    #[prost(bytes = "bytes", tag = "6")]
    pub message: Bytes,
}

/// A piece of a table.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// The table's place in the header's list.
    #[prost(uint32, tag = "1")]
    pub table: u32,
    /// Where the piece begins.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

/// All was sent.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Finish {}

/// The receiver's only answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ack {
    /// Why the snapshot was refused; empty when it is complete and durable.
    #[prost(string, tag = "1")]
    pub refusal: String,
}

/// The data of a raft snapshot: what a peer needs to know before it has the files.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotData {
    /// The region as of the snapshot's index.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// Bytes of its tables.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// For whom it was made; none when for anyone.
    #[prost(message, optional, tag = "3")]
    pub to: Option<Peer>,
}
