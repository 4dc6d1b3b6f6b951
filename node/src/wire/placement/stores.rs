//! What the placement driver is told of stores, and tells of them.

use crate::{
    region::{Region, RegionId, StoreId},
    wire::recovery,
};

/// The first store and the first region, which spans everything.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bootstrap {
    /// The store.
    #[prost(message, required, tag = "1")]
    pub store: Store,
    /// The region, with one peer on that store.
    #[prost(message, required, tag = "2")]
    pub region: Region,
}

/// A store's record.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Store {
    /// The store's id.
    #[prost(uint64, tag = "1")]
    pub id: StoreId,
    /// Where it listens.
    #[prost(string, tag = "2")]
    pub address: String,
    /// A [`StoreState`]; the placement driver decides it, whoever registers leaves it at `Up`.
    #[prost(enumeration = "StoreState", tag = "3")]
    pub state: i32,
    /// The release it runs as.
    #[prost(string, tag = "4")]
    pub release: String,
    /// What rules may ask for, such as `engine=tiflash`; by key.
    #[prost(message, repeated, tag = "5")]
    pub labels: Vec<Label>,
    /// Its disk is gone: a store that is being drained and has none cannot come back. The placement driver decides it.
    #[prost(bool, tag = "6")]
    pub is_destroyed: bool,
    /// When it was buried, by the placement driver's wall clock in nanoseconds; 0 before.
    #[prost(uint64, tag = "7")]
    pub buried_ns: u64,
}

/// One label of a store.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The life of a store's record. After the tombstone, the record can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum StoreState {
    /// In service.
    Up = 0,
    /// Being drained of regions.
    Offline = 1,
    /// Gone for good; its id never returns.
    Tombstone = 2,
}

impl StoreState {
    /// As facts and people write it.
    pub fn name(self) -> &'static str {
        match self {
            StoreState::Up => "up",
            StoreState::Offline => "offline",
            StoreState::Tombstone => "tombstone",
        }
    }
}

/// A store lives.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoreHeartbeat {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: StoreId,
    /// Peers on it.
    #[prost(uint64, tag = "2")]
    pub regions: u64,
    /// Bytes that its data takes.
    #[prost(uint64, tag = "3")]
    pub used_bytes: u64,
    /// Snapshots that it sends or receives.
    #[prost(uint64, tag = "4")]
    pub snapshots: u64,
    /// Whether it is too busy for more.
    #[prost(bool, tag = "5")]
    pub is_busy: bool,
    /// Regions whose peer here has its content. Only columnar stores say so.
    #[prost(uint64, repeated, tag = "6")]
    pub caught_up: Vec<RegionId>,
    /// What it has, if a recovery asked for that.
    #[prost(message, optional, tag = "9")]
    pub report: Option<recovery::Report>,
}

/// Stores' records.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stores {
    /// By id.
    #[prost(message, repeated, tag = "1")]
    pub stores: Vec<Store>,
}

/// Takes a store out of service.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct RemoveStore {
    /// The store.
    #[prost(uint64, tag = "1")]
    pub store: StoreId,
    /// Whether its disk is gone, so that it cannot come back.
    #[prost(bool, tag = "2")]
    pub is_destroyed: bool,
}

/// Ids of stores or of regions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ids {
    /// In order.
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<StoreId>,
}
