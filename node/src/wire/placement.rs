//! What stores and clients ask of the placement driver, and what it answers.
//!
//! Every request may be repeated: asking twice for ids wastes some, everything else has the same effect once or twice.

use bytes::Bytes;

use super::command::PeerChange;
use crate::region::{Epoch, Peer, PeerId, Region, RegionId, StoreId};

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// What is asked.
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
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
}

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
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
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

/// Stores' records.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stores {
    /// By id.
    #[prost(message, repeated, tag = "1")]
    pub stores: Vec<Store>,
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

/// What a region's leader should do next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Next {
    /// The epoch for which the step is meant; at another the leader ignores it.
    #[prost(message, required, tag = "1")]
    pub epoch: Epoch,
    /// The step.
    #[prost(oneof = "Step", tags = "2, 3, 4")]
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
}
