//! What processes say to each other: messages, as prost structs, in length-delimited frames.
//!
//! `command` is what lies in the raft log; `kv` is what clients ask of stores; `peer` is what stores send to stores;
//! `placement` is what everybody asks of the placement driver, `recovery` what it has stores do when majorities are lost;
//! `transfer` carries snapshots. A frame on an ordered
//! connection is an [`Envelope`].

pub mod command;
pub mod kv;
pub mod peer;
pub mod placement;
pub mod recovery;
pub mod transfer;

use bytes::Bytes;

/// One frame of a connection that carries requests and answers: many may be under way at once.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Envelope {
    /// Pairs an answer with its request; unique per connection.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Which service: 1 key-value, 2 placement, 3 snapshot transfer, 4 raft.
    #[prost(uint32, tag = "2")]
    pub service: u32,
    /// The service's own message.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}
