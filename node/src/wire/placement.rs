//! What stores and clients ask of the placement driver, and what it answers.
//!
//! Every request may be repeated: asking twice for ids wastes some, everything else has the same effect once or twice.
//!
//! The requests and answers themselves stand here; what they are about has a file each: `stores`, `regions`, `rules`.

mod regions;
mod rules;
mod stores;

use bytes::Bytes;

use super::recovery;
pub use regions::{
    AskSplit, ChangePeers, ChildIds, DownPeer, Located, MergeInto, Next, RegionHeartbeat, Regions, SplitIds, SplitKeys,
    Step, Version, Versions,
};
pub use rules::{Progress, Rule, Rules, TiflashReplica};
pub use stores::{Bootstrap, Ids, Label, RemoveStore, Store, StoreHeartbeat, StoreState, Stores};

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// What is asked.
    #[prost(
        oneof = "Ask",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 26, 27, 31, 40, 41"
    )]
    pub ask: Option<Ask>,
}

/// What may be asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// Whether the cluster exists.
    #[prost(message, tag = "1")]
    IsBootstrapped(Nothing),
    /// Founds the cluster.
    #[prost(message, tag = "2")]
    Bootstrap(Bootstrap),
    /// Ids that were never given out; answered by `Range`.
    #[prost(message, tag = "3")]
    AllocIds(Count),
    /// Timestamps above all that were given out before; answered by `Range`.
    #[prost(message, tag = "4")]
    Timestamps(Count),
    /// Registers a store, or its new address or release.
    #[prost(message, tag = "5")]
    PutStore(Store),
    /// One store's record.
    #[prost(message, tag = "6")]
    GetStore(Id),
    /// All stores' records.
    #[prost(message, tag = "7")]
    AllStores(Nothing),
    /// A store lives.
    #[prost(message, tag = "8")]
    StoreHeartbeat(StoreHeartbeat),
    /// A region's leader says how things stand.
    #[prost(message, tag = "9")]
    RegionHeartbeat(RegionHeartbeat),
    /// The region that holds a key.
    #[prost(message, tag = "10")]
    GetRegion(Key),
    /// A region by its id.
    #[prost(message, tag = "11")]
    GetRegionById(Id),
    /// Ids for a split.
    #[prost(message, tag = "12")]
    AskSplit(AskSplit),
    /// The regions that a split made.
    #[prost(message, tag = "13")]
    ReportSplit(Regions),
    /// The safe point.
    #[prost(message, tag = "14")]
    GetSafePoint(Nothing),
    /// Raises the safe point; answered by the one in force.
    #[prost(message, tag = "15")]
    AdvanceSafePoint(SafePoint),
    /// Takes a store out of service: it is drained, and buried when it is empty.
    #[prost(message, tag = "16")]
    RemoveStore(RemoveStore),
    /// Takes a store that is being drained back into service.
    #[prost(message, tag = "17")]
    UpStore(Id),
    /// Deletes the records of tombstones on which no region has a peer; answered by `Ids`.
    #[prost(message, tag = "18")]
    RemoveTombstones(Nothing),
    /// How many columnar replicas a table should have.
    #[prost(message, tag = "19")]
    SetTiflashReplica(TiflashReplica),
    /// All rules.
    #[prost(message, tag = "20")]
    AllRules(Nothing),
    /// How far the columnar replicas of the table of this id have come.
    #[prost(message, tag = "21")]
    TableProgress(Id),
    /// Makes a store that nothing was heard of for a while a tombstone, whatever is still on it.
    #[prost(message, tag = "22")]
    BuryStore(Id),
    /// Stores are lost for good: recover what lost its majority with them.
    #[prost(message, tag = "26")]
    RemoveFailedStores(recovery::RemoveFailedStores),
    /// How far the newest recovery is.
    #[prost(message, tag = "27")]
    ShowRecovery(Nothing),
    /// Whether the store at this address may run as this release.
    #[prost(message, tag = "31")]
    CheckRelease(Store),
    /// Merges a region into a neighbour; its replicas move to the neighbour's stores first.
    #[prost(message, tag = "40")]
    Merge(MergeRegions),
    /// Which of these regions are no longer as a store that hears nothing of them has them; answered by `Ids`.
    #[prost(message, tag = "41")]
    Outdated(Versions),
}

/// Which region to merge, and into which.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct MergeRegions {
    /// The region that ends.
    #[prost(uint64, tag = "1")]
    pub source: u64,
    /// The neighbour that takes it in.
    #[prost(uint64, tag = "2")]
    pub target: u64,
}

/// No content.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

/// Names a store or a region.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Id {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// How many.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Count {
    /// At least one.
    #[prost(uint64, tag = "1")]
    pub count: u64,
}

/// A user key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Key {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

/// A point in the order of timestamps below which old versions may be collected.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SafePoint {
    /// The timestamp.
    #[prost(uint64, tag = "1")]
    pub timestamp: u64,
}

/// An answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// The answer or the error.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16")]
    pub answer: Option<Answer>,
}

/// What may be answered.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// It was not done.
    #[prost(message, tag = "1")]
    Refusal(Refusal),
    /// It was done.
    #[prost(message, tag = "2")]
    Done(Nothing),
    /// Yes or no.
    #[prost(message, tag = "3")]
    Truth(Truth),
    /// Ids or timestamps.
    #[prost(message, tag = "4")]
    Range(Range),
    /// A store.
    #[prost(message, tag = "5")]
    Store(Store),
    /// All stores, by id.
    #[prost(message, tag = "6")]
    Stores(Stores),
    /// A region and its leader.
    #[prost(message, tag = "7")]
    Region(Located),
    /// The safe point.
    #[prost(message, tag = "8")]
    SafePoint(SafePoint),
    /// Ids for a split.
    #[prost(message, tag = "9")]
    SplitIds(SplitIds),
    /// What a region's leader should do next, if anything.
    #[prost(message, tag = "10")]
    Next(Next),
    /// Ids of stores or of regions.
    #[prost(message, tag = "11")]
    Ids(Ids),
    /// Rules.
    #[prost(message, tag = "12")]
    Rules(Rules),
    /// How far a table's replicas have come.
    #[prost(message, tag = "13")]
    Progress(Progress),
    /// A store was heard.
    #[prost(message, tag = "15")]
    Heard(recovery::Heard),
    /// How far a recovery is.
    #[prost(message, tag = "16")]
    Recovery(recovery::Progress),
}

/// Yes or no.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Truth {
    /// The answer.
    #[prost(bool, tag = "1")]
    pub yes: bool,
}

/// Consecutive ids or timestamps.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Range {
    /// The first.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// Why a request was not served.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refusal {
    /// The reason, a [`Reason`].
    #[prost(enumeration = "Reason", tag = "1")]
    pub reason: i32,
    /// For people, and as upstream words it.
    #[prost(string, tag = "2")]
    pub detail: String,
}

/// Reasons of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    /// The request makes no sense.
    Invalid = 0,
    /// The cluster does not exist yet.
    NotBootstrapped = 1,
    /// The cluster exists already, founded by another.
    AlreadyBootstrapped = 2,
    /// No store has this id: never registered, or its record was deleted.
    StoreNotFound = 3,
    /// The store is gone for good.
    StoreTombstone = 4,
    /// Another store that is not gone has this address.
    DuplicateAddress = 5,
    /// No region covers the key, or has the id.
    RegionNotFound = 6,
    /// What is reported is older than what is known.
    StaleRegion = 7,
    /// The store was removed, or its disk destroyed: it cannot come back.
    StoreRemoved = 8,
    /// No rule names the table.
    TableNotFound = 9,
    /// The store lives.
    StoreIsUp = 10,
    /// An unsafe recovery is under way: nothing is scheduled, and no other one begins.
    Recovering = 13,
    /// The stores named as failed are not: one is unknown, or was heard of lately.
    NotFailed = 14,
    /// Some leaders were not heard of yet, or an unsafe recovery is under way: whether there is such a region, and what it is,
    /// cannot be said.
    RegionsUnknown = 15,
    /// The store's release does not fit its directory, or the other stores.
    ReleaseRefused = 11,
}
