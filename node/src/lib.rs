//! A complete store of TiKV's architecture and its placement driver.
//!
//! Bird's-eye view: clients and peer stores reach a [`store`] over [`wire`] frames; its raft loop drives one peer a
//! region; the [`raftlog`] holds all logs, the storage [`engine`] all data; the placement driver [`pd`] knows where
//! everything is. All of it touches the outside only through [`env`], and says what it does as [`fact`]s.
//!
//! Nothing here knows whether it is simulated.

pub mod cache;
pub mod client;
pub mod defects;
pub mod engine;
pub mod env;
pub mod fact;
pub mod key;
pub mod pd;
pub mod plants;
pub mod raftlog;
pub mod region;
pub mod release;
pub mod rpc;
pub mod store;
pub mod wire;

/// Every failpoint site and every switch for a defect that a node has.
pub const CATALOG: failpoints::Catalog = failpoints::Catalog {
    sites: &[
        cache::site::TABLE,
        engine::site::TABLE,
        raftlog::site::TABLE,
        store::site::TABLE,
        store::snapshot::site::TABLE,
    ],
    defects: &[defects::TABLE, plants::TABLE],
};
