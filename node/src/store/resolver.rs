//! Where a store listens, as the placement driver knows it, believed for a while.
//!
//! "Not found" is not a tombstone: a store that starts late is not registered yet. Whoever asks again does so after its
//! own pause.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    env::{Env, Instant},
    pd::Client,
    region::StoreId,
    wire::placement::{Reason, StoreState},
};

/// Why there is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The placement driver knows no such store.
    NotFound,
    /// The store is gone for good.
    Tombstone,
    /// The placement driver did not answer.
    Unreachable,
}

impl Unresolved {
    /// As facts write it.
    pub fn name(self) -> &'static str {
        match self {
            Unresolved::NotFound => "not-found",
            Unresolved::Tombstone => "tombstone",
            Unresolved::Unreachable => "unreachable",
        }
    }
}

type Known = BTreeMap<StoreId, (Arc<str>, Instant)>;

/// Addresses of stores. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    pd: Client,
    lifetime: Duration,
    known: Arc<Mutex<Known>>,
}

impl Resolver {
    /// Asks `pd`, and believes an answer for `lifetime`.
    pub fn new(pd: Client, lifetime: Duration) -> Resolver {
        Resolver { pd, lifetime, known: Arc::default() }
    }

    /// A store's address.
    pub async fn address(&self, env: &Env, store: StoreId) -> Result<Arc<str>, Unresolved> {
        if let Some((address, at)) = self.known.lock().get(&store)
            && env.now().since(*at) < self.lifetime
        {
            return Ok(address.clone());
        }
        let found = self.pd.get_store(store).await.map_err(|error| match error.reason() {
            Some(Reason::StoreNotFound) => Unresolved::NotFound,
            Some(Reason::StoreTombstone) => Unresolved::Tombstone,
            _ => Unresolved::Unreachable,
        })?;
        if found.state() == StoreState::Tombstone {
            return Err(Unresolved::Tombstone);
        }
        let address: Arc<str> = found.address.into();
        self.known.lock().insert(store, (address.clone(), env.now()));
        Ok(address)
    }

    /// An address did not work.
    pub fn forget(&self, store: StoreId) {
        self.known.lock().remove(&store);
    }
}
