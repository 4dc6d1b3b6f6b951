//! Placement rules, and how far a table's replicas have come.

use bytes::Bytes;

use super::Label;
use crate::region::Role;

/// How many columnar replicas a table should have; none takes its rule away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TiflashReplica {
    /// The table.
    #[prost(uint64, tag = "1")]
    pub table: u64,
    /// The first of its keys.
    #[prost(bytes = "bytes", tag = "2")]
    pub start: Bytes,
    /// Their end, exclusive; empty means the end of the key space.
    #[prost(bytes = "bytes", tag = "3")]
    pub end: Bytes,
    /// How many replicas.
    #[prost(uint64, tag = "4")]
    pub count: u64,
}

/// What every region of a range should have.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Rule {
    /// Whose rule it is: `pd` or `tiflash`.
    #[prost(string, tag = "1")]
    pub group: String,
    /// Its name in the group: `default`, `table-7-r`.
    #[prost(string, tag = "2")]
    pub id: String,
    /// The first key that it is about.
    #[prost(bytes = "bytes", tag = "3")]
    pub start: Bytes,
    /// Their end, exclusive; empty means the end of the key space.
    #[prost(bytes = "bytes", tag = "4")]
    pub end: Bytes,
    /// The role of the replicas.
    #[prost(enumeration = "Role", tag = "5")]
    pub role: i32,
    /// How many replicas.
    #[prost(uint64, tag = "6")]
    pub count: u64,
    /// What their stores are labelled; without any, as the row stores are.
    #[prost(message, repeated, tag = "7")]
    pub labels: Vec<Label>,
}

impl Rule {
    /// The group of the rules that are about columnar replicas.
    pub const TIFLASH: &str = "tiflash";

    /// The table whose columnar replicas the rule is about, if it is about such.
    pub fn table(&self) -> Option<u64> {
        let table = self.id.strip_prefix("table-")?.strip_suffix("-r")?;
        table.parse().ok().filter(|_| self.group == Rule::TIFLASH)
    }
}

/// Rules, by group and id.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rules {
    /// The rules.
    #[prost(message, repeated, tag = "1")]
    pub rules: Vec<Rule>,
}

/// How far the columnar replicas of a table have come: `peers / (regions * count)` of them are there, and
/// `available / regions` of the table can be read.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Progress {
    /// The table.
    #[prost(uint64, tag = "1")]
    pub table: u64,
    /// How many replicas it should have.
    #[prost(uint64, tag = "2")]
    pub count: u64,
    /// Its regions, as the placement driver knows them.
    #[prost(uint64, tag = "3")]
    pub regions: u64,
    /// Peers that have caught up, as columnar stores report them.
    #[prost(uint64, tag = "4")]
    pub peers: u64,
    /// Regions that have at least one of those.
    #[prost(uint64, tag = "5")]
    pub available: u64,
    /// Columnar stores that could hold a replica.
    #[prost(uint64, tag = "6")]
    pub stores: u64,
}
