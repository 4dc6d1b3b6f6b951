//! Where a store listens, as the placement driver knows it, believed for a while.
//!
//! "Not found" is not a tombstone: a store that starts late is not registered yet, and one whose record was deleted looks
//! the same. Whoever it was asked for, a missing store is asked about again only after a pause that grows, and said to be
//! missing once a minute. Only a definite tombstone is believed for ever: its id never returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use failpoints::defect;
use parking_lot::Mutex;

use super::fact::lifecycle::Fact;
use crate::{
    defects,
    env::{Env, Instant},
    pd::Client,
    region::StoreId,
    wire::placement::{Reason, StoreState},
};

/// How often at most it is said of one store that it is missing.
pub const SAID_EVERY: Duration = Duration::from_secs(60);

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

/// How a resolver takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long an address is believed.
    pub lifetime: Duration,
    /// The first pause after a store was not found.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
}

/// Addresses of stores. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    pd: Client,
    pace: Pace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<StoreId, (Arc<str>, Instant)>,
    missing: BTreeMap<StoreId, Missing>,
    tombstones: BTreeSet<StoreId>,
}

#[derive(Default)]
struct Missing {
    /// How often it was not found in a row.
    times: u32,
    /// It is not asked about before.
    until: Instant,
    said: Option<Instant>,
}

impl Resolver {
    /// Asks `pd`.
    pub fn new(pd: Client, pace: Pace) -> Resolver {
        Resolver { pd, pace, state: Arc::default() }
    }

    /// A store's address.
    pub async fn address(&self, env: &Env, store: StoreId) -> Result<Arc<str>, Unresolved> {
        let now = env.now();
        {
            let state = self.state.lock();
            if state.tombstones.contains(&store) {
                return Err(Unresolved::Tombstone);
            }
            if let Some((address, at)) = state.known.get(&store)
                && now.since(*at) < self.pace.lifetime
            {
                return Ok(address.clone());
            }
            if state.missing.get(&store).is_some_and(|missing| now < missing.until) {
                return Err(Unresolved::NotFound);
            }
        }
        env.state(Fact::ResolveAsked { store });
        let answer = match self.pd.get_store(store).await {
            Ok(found) if found.state() != StoreState::Tombstone => {
                let address: Arc<str> = found.address.into();
                let mut state = self.state.lock();
                state.missing.remove(&store);
                state.known.insert(store, (address.clone(), env.now()));
                return Ok(address);
            }
            Ok(_) => Unresolved::Tombstone,
            Err(error) => match error.reason() {
                Some(Reason::StoreTombstone) => Unresolved::Tombstone,
                Some(Reason::StoreNotFound) => Unresolved::NotFound,
                _ => Unresolved::Unreachable,
            },
        };
        env.state(Fact::ResolveFailed { store, reason: answer.name().into() });
        let unresolved = if answer == Unresolved::NotFound { self.not_found(env, store).await } else { answer };
        if unresolved == Unresolved::Tombstone {
            self.state.lock().tombstones.insert(store);
        }
        Err(unresolved)
    }

    /// The placement driver knows no such store: what that is taken for.
    async fn not_found(&self, env: &Env, store: StoreId) -> Unresolved {
        // One defect does not know this answer from a broken connection; the remedy for that was another one.
        if defect!(env.points, defects::TIKV_17875) {
            env.state(Fact::LogLine { about: "request-failed".into(), store });
            if !self.pd.reconnect("not found").await {
                env.state(Fact::LogLine { about: "reconnection-cancelled".into(), store });
            }
            return Unresolved::Unreachable;
        }
        if defect!(env.points, defects::TIKV_19980) {
            return Unresolved::Tombstone;
        }
        let now = env.now();
        let says = {
            let mut state = self.state.lock();
            let missing = state.missing.entry(store).or_default();
            let pause = self.pace.backoff.saturating_mul(1 << missing.times.min(16)).min(self.pace.backoff_max);
            missing.times += 1;
            missing.until = now + pause;
            let says = missing.said.is_none_or(|said| now.since(said) >= SAID_EVERY);
            if says {
                missing.said = Some(now);
            }
            says
        };
        if says {
            env.state(Fact::LogLine { about: "store-not-found".into(), store });
        }
        Unresolved::NotFound
    }

    /// An address did not work.
    pub fn forget(&self, store: StoreId) {
        self.state.lock().known.remove(&store);
    }
}
