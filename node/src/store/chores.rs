//! What a store does for itself from time to time, on request: flush, compact, collect snapshots, stop.
//!
//! For operators and tests. A chore that fails leaves its store failed, which the store states itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{
    mail::{Mail, Mailbox, Round},
    raft_loop::View,
    snapshot::{self, Manager},
};
use crate::engine::{self, Engine, Family};

/// The chores of one running store. Cheap to clone.
#[derive(Clone)]
pub struct Chores {
    pub(super) engine: Engine,
    pub(super) manager: Manager,
    pub(super) view: Arc<View>,
    pub(super) mailbox: Mailbox,
    pub(super) retired: Arc<AtomicBool>,
}

impl Chores {
    /// Writes all memtables out.
    pub async fn flush(&self) -> Result<(), engine::Error> {
        self.engine.flush().await
    }

    /// Compacts every family as a whole.
    pub async fn compact(&self) -> Result<(), engine::Error> {
        for family in Family::ALL {
            self.engine.compact(family, Bytes::new(), Bytes::new()).await?;
        }
        Ok(())
    }

    /// Looks over idle snapshots once; how many went.
    pub async fn collect_snapshots(&self) -> Result<u64, snapshot::Error> {
        snapshot::collect::collect(&self.manager, &*self.view).await
    }

    /// Has the region of a key loaded into this store's cache, whoever leads it, or evicted. Without a cache nothing happens.
    pub fn cache(&self, key: Bytes, load: bool) {
        self.mailbox.send(Mail::Cache(key, load));
    }

    /// Whether the store has learned that it was removed from its cluster: nobody has to start it again.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Has every peer without a leader stand for election: what stores that are being restored wait for.
    pub fn campaign(&self) {
        self.mailbox.send(Mail::Round(Round::Campaign));
    }

    /// Lets [`Store::run`](super::Store::run) return.
    pub fn stop(&self) {
        self.mailbox.send(Mail::Stop);
    }
}
