//! What clients state: what they asked, under which timestamps, and what they got.
//!
//! A version is named by its timestamp, which the placement driver gives out once. Values are digests; every write of a
//! run has a value of its own. A write that is tried again after a definite conflict draws a new timestamp, and one that
//! is tried again after silence keeps its own, so an operation has a timestamp per *different* attempt. All edits of one
//! attempt carry the same timestamp.

use std::sync::Arc;

use bytes::Bytes;
use node::fact::Text;
use serde::{Deserialize, Serialize};

/// A client's step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ClientEvent {
    /// An operation begins.
    Invoked {
        /// The client.
        client: u32,
        /// The operation: unique in the run.
        op: u64,
        /// What it asks.
        ask: Ask,
    },
    /// The operation's next attempt will write versions at this timestamp. Stated before anything is sent.
    Stamped {
        /// The client.
        client: u32,
        /// The operation.
        op: u64,
        /// The timestamp.
        timestamp: u64,
    },
    /// The operation has ended for the client. One that never returns is unknown.
    Returned {
        /// The client.
        client: u32,
        /// The operation.
        op: u64,
        /// How.
        outcome: Outcome,
    },
}

/// What an operation asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// One key's newest version.
    Get {
        /// The key.
        key: Bytes,
        /// How it is to be current: `lease`, `read-index`, `replica`.
        by: Text,
    },
    /// The newest values of a range.
    Scan {
        /// First key, inclusive.
        start: Bytes,
        /// End, exclusive; empty for the end of all keys.
        end: Bytes,
        /// How it is to be current.
        by: Text,
    },
    /// An atomic write: put, delete, compare-and-swap, or several of them in one region.
    Write {
        /// At most one for a key.
        edits: Arc<[Edit]>,
    },
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The key.
    pub key: Bytes,
    /// The value's digest, as [`Seen::value`]; none for a deletion.
    pub value: Option<u64>,
    /// Compare-and-swap: the timestamp of the value that has to be there, 0 for no value.
    pub expect: Option<u64>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The write took effect at this timestamp, one of those stated for it; its other timestamps never will.
    Written {
        /// The timestamp.
        timestamp: u64,
    },
    /// A get's answer.
    Got(Seen),
    /// A scan's answer: one part for each region asked, each part atomic by itself. The parts need not cover the range.
    Scanned {
        /// The parts.
        parts: Arc<[Part]>,
    },
    /// Definitely without effect, now and for ever, for every timestamp of the operation.
    Failed {
        /// Why.
        reason: Text,
        /// For a compare-and-swap that was refused: the timestamp of the newest version that was there.
        found: Option<u64>,
    },
    /// It may or may not have taken effect, or may yet.
    Unknown,
}

/// A key's newest version as a read found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The key.
    pub key: Bytes,
    /// The version's timestamp; 0 when there is none. A tombstone has one too, until it is collected.
    pub timestamp: u64,
    /// The value's digest; none for a tombstone or when there is no version.
    pub value: Option<u64>,
}

/// What one region answered to a scan: every key of the range that has a value, and no other, has one there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The region.
    pub region: u64,
    /// First key that was looked at, inclusive.
    pub start: Bytes,
    /// Where it stopped, exclusive; empty for the end of all keys. After a limit was met: right behind the last key.
    pub end: Bytes,
    /// In key order.
    pub seen: Vec<Seen>,
}

/// The digest under which events name a value.
pub fn value_digest(value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value)
}
