//! Connections to stores, one each, made when they are needed.
//!
//! A store's address is asked of the placement driver once and again after every failure: a store may come back
//! elsewhere. New connections to one store are made at most once an interval.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    env::{Env, Instant},
    pd,
    region::StoreId,
    rpc::{self, CallError, Caller},
};

/// Connections to stores.
pub(super) struct Lines {
    env: Env,
    pd: pd::Client,
    connect_limit: Duration,
    reconnect_min: Duration,
    stores: Mutex<BTreeMap<StoreId, Arc<AsyncMutex<Line>>>>,
}

#[derive(Default)]
struct Line {
    caller: Option<Caller>,
    begun: Option<Instant>,
    /// Why there is no connection.
    cause: String,
}

impl Lines {
    pub(super) fn new(env: &Env, pd: pd::Client, connect_limit: Duration, reconnect_min: Duration) -> Lines {
        Lines { env: env.clone(), pd, connect_limit, reconnect_min, stores: Mutex::default() }
    }

    /// Asks a store's key-value service.
    pub(super) async fn call(&self, store: StoreId, body: Bytes, limit: Duration) -> Result<Bytes, CallError> {
        let line = Arc::clone(self.stores.lock().entry(store).or_default());
        let caller = self.caller(store, &line).await.map_err(CallError::Refused)?;
        let answer = caller.call(rpc::KV, body, limit).await;
        if matches!(answer, Err(CallError::Timeout(_))) {
            // The connection may be stalled for good without anybody being told.
            let mut line = line.lock().await;
            if line.caller.as_ref().is_some_and(|current| current.is_same(&caller)) {
                line.caller = None;
            }
        }
        answer
    }

    /// Forgets the connection to a store: it is not the store that it was taken for.
    pub(super) fn forget(&self, store: StoreId) {
        self.stores.lock().remove(&store);
    }

    async fn caller(&self, store: StoreId, line: &AsyncMutex<Line>) -> Result<Caller, String> {
        let mut line = line.lock().await;
        if let Some(caller) = &line.caller
            && !caller.is_broken()
        {
            return Ok(caller.clone());
        }
        line.caller = None;
        let now = self.env.now();
        if line.begun.is_some_and(|begun| now.since(begun) < self.reconnect_min) {
            return Err(line.cause.clone());
        }
        line.begun = Some(now);
        match self.connect(store).await {
            Ok(caller) => {
                line.caller = Some(caller.clone());
                line.cause = format!("the connection to store {store} broke");
                Ok(caller)
            }
            Err(cause) => {
                line.cause = cause.clone();
                Err(cause)
            }
        }
    }

    async fn connect(&self, store: StoreId) -> Result<Caller, String> {
        let record = self.pd.get_store(store).await.map_err(|error| error.to_string())?;
        let connected = Caller::connect(&self.env, &record.address, self.connect_limit).await;
        connected.map_err(|error| format!("connecting to store {store} at {} failed: {error}", record.address))
    }
}
