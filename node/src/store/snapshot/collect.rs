//! The collection of idle snapshots.
//!
//! A generated snapshot goes when its entry was compacted away or when it is old; a received one when the peer is past
//! it. What a peer is, in memory, is asked of the store; what it is *durably*, the manager knows: after a crash a peer
//! whose durable state is Applying needs its files, although it may have been cancelled or finished in memory.

use std::{sync::Arc, time::Duration};

use failpoints::{defect, point};

use super::{Error, Key, Listed, Manager, Side, site};
use crate::{defects, fact::Text, region::RegionId, store::fact::snapshot::Fact};

/// What a peer is in memory, as far as snapshots care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    /// The index up to which its log is compacted.
    pub compacted_index: u64,
    /// That entry's term.
    pub compacted_term: u64,
    /// The snapshot (term, index) that it is applying.
    pub applying: Option<(u64, u64)>,
    /// Whether it is about to be destroyed.
    pub pending_remove: bool,
    /// Whether it has its range's content.
    pub has_content: bool,
}

/// The peers of a store.
pub trait PeerView: Send + Sync {
    /// The peer of a region; `None` when there is none.
    fn state(&self, region: RegionId) -> Option<PeerState>;
}

/// Whether a snapshot may go, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep,
    /// It stays because a peer's durable state needs it, although memory does not.
    Needed,
    /// It goes.
    Remove(&'static str),
}

/// The rule for one idle snapshot. `durable` is what the region's durable state wants applied.
pub fn decide(listed: &Listed, peer: Option<PeerState>, durable: Option<Key>, age_limit: Duration) -> Decision {
    let Key { term, index, .. } = listed.key;
    if !listed.complete {
        return Decision::Remove("leftover");
    }
    let Some(peer) = peer else {
        // The peer may be about to be created by the message that comes with the snapshot.
        return if listed.age > age_limit { guarded(listed, durable, "stale") } else { Decision::Keep };
    };
    match listed.side {
        Side::Generated if index < peer.compacted_index || term < peer.compacted_term => Decision::Remove("stale"),
        Side::Generated if listed.age > age_limit => Decision::Remove("collected"),
        Side::Generated => Decision::Keep,
        Side::Received if index < peer.compacted_index || term < peer.compacted_term => {
            guarded(listed, durable, "stale")
        }
        Side::Received if index == peer.compacted_index && peer.applying != Some((term, index)) => {
            if peer.pending_remove { Decision::Needed } else { guarded(listed, durable, "collected") }
        }
        Side::Received => Decision::Keep,
    }
}

fn guarded(listed: &Listed, durable: Option<Key>, reason: &'static str) -> Decision {
    if durable == Some(listed.key) { Decision::Needed } else { Decision::Remove(reason) }
}

/// Looks over the snapshots once; answers how many went.
pub async fn collect(manager: &Manager, view: &dyn PeerView) -> Result<u64, Error> {
    let env = &manager.inner.env;
    if point!(env.points, site::BEFORE_COLLECT).await.is_some() {
        return Ok(0);
    }
    let age_limit = manager.inner.options.age_limit;
    let (mut idle, mut removed) = (0, 0);
    for listed in manager.list().await? {
        let Key { region, term, index } = listed.key;
        let mut decision = decide(&listed, view.state(region), manager.durable_applying(region), age_limit);
        if listed.registered {
            if let Decision::Remove(reason) = decision {
                let (reason, registered) = (Text::from(reason), true);
                env.state(Fact::CollectWanted { region, term, index, reason, registered });
            }
            continue;
        }
        idle += 1;
        let needed = decision == Decision::Needed;
        if needed && defect!(env.points, defects::TIKV_11746) {
            decision = Decision::Remove("collected");
        }
        if needed {
            env.state(Fact::MetWhileApplying { region, term, index });
        }
        if let Decision::Remove(reason) = decision {
            env.state(Fact::CollectWanted { region, term, index, reason: reason.into(), registered: false });
            removed += u64::from(manager.delete(listed.side, listed.key, false, reason).await?);
        }
        if needed {
            let removed = decision != Decision::Needed;
            env.state(Fact::CollectWhileApplying { region, term, index, removed });
        }
    }
    removed += shrink(manager).await?;
    env.state(Fact::Collected { idle, removed });
    Ok(removed)
}

/// Brings the total size under its limit, the oldest idle generated snapshot first.
async fn shrink(manager: &Manager) -> Result<u64, Error> {
    let mut removed = 0;
    if manager.total_bytes() <= manager.inner.options.size_limit_bytes {
        return Ok(0);
    }
    for listed in manager.list_idle().await? {
        if manager.total_bytes() <= manager.inner.options.size_limit_bytes {
            break;
        }
        if listed.side == Side::Generated {
            removed += u64::from(manager.delete(listed.side, listed.key, false, "size-limit").await?);
        }
    }
    Ok(removed)
}

/// Collects every `gc_tick` until the process ends. A failed round is left to the next one.
pub async fn run(manager: Manager, view: Arc<dyn PeerView>) {
    loop {
        manager.inner.env.sleep(manager.inner.options.gc_tick).await;
        if let Err(error) = collect(&manager, &*view).await {
            tracing::warn!(%error, "snapshot collection failed");
        }
    }
}
