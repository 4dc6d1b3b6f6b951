//! Which region holds which key, as far as a client has heard.
//!
//! What is known may be stale; stores say so, and the cache learns from what they say. The newest epoch wins.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;

use crate::region::{Peer, Region, RegionId, Role, StoreId};

/// A region and whom to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    pub region: Arc<Region>,
    /// The leader, when somebody named it.
    pub leader: Option<Peer>,
    /// How many peers were tried since a leader was last known.
    tried: usize,
}

impl Cached {
    pub(super) fn new(region: Arc<Region>, leader: Option<Peer>) -> Cached {
        Cached { region, leader, tried: 0 }
    }

    /// The peer to ask next: the leader, or the voters in turn.
    pub(super) fn peer(&self) -> Option<Peer> {
        let count = self.voters().count();
        self.leader.or_else(|| self.voters().nth(self.tried.checked_rem(count)?).copied())
    }

    fn voters(&self) -> impl Iterator<Item = &Peer> {
        self.region.peers.iter().filter(|peer| peer.role() != Role::Learner)
    }

    /// A peer picked by a number: any will do for a read by a replica.
    pub(super) fn any_peer(&self, number: u64) -> Option<Peer> {
        let peers = &self.region.peers;
        peers.get(usize::try_from(number.checked_rem(peers.len() as u64)?).ok()?).copied()
    }
}

/// Regions by their first key; no two overlap.
#[derive(Debug, Default)]
pub(super) struct Cache(BTreeMap<Bytes, Cached>);

impl Cache {
    /// The region that holds a key, if it is known.
    pub(super) fn at(&self, key: &[u8]) -> Option<&Cached> {
        let (_, cached) = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        cached.region.contains(key).then_some(cached)
    }

    /// Takes a region, unless something newer is known of its range.
    pub(super) fn learn(&mut self, region: Region, leader: Option<Peer>) {
        let overlapped: Vec<_> = self.0.values().filter(|cached| cached.region.overlaps(&region)).collect();
        if overlapped.iter().any(|cached| is_newer(&cached.region, &region)) {
            return;
        }
        // A region that changed is likely to be led from the same store as before.
        let store = overlapped.iter().find_map(|cached| cached.leader.map(|leader| leader.store));
        let leader = leader.or_else(|| region.peer_on(store?).copied());
        let starts: Vec<_> = overlapped.iter().map(|cached| cached.region.start.clone()).collect();
        for start in starts {
            self.0.remove(&start);
        }
        self.0.insert(region.start.clone(), Cached::new(Arc::new(region), leader));
    }

    /// Forgets a region: it has to be looked up again.
    pub(super) fn forget(&mut self, id: RegionId) {
        self.0.retain(|_, cached| cached.region.id != id);
    }

    /// A region's leader was named by a store.
    pub(super) fn lead(&mut self, id: RegionId, leader: Peer) {
        if let Some(cached) = self.0.values_mut().find(|cached| cached.region.id == id) {
            cached.leader = Some(leader);
            cached.tried = 0;
        }
    }

    /// The peer that was asked is not the one, or is not there: another one is next. Once all were asked in vain, the
    /// region is forgotten, for it may have moved to other stores altogether.
    pub(super) fn pass_over(&mut self, id: RegionId, store: StoreId) {
        let Some(cached) = self.0.values_mut().find(|cached| cached.region.id == id) else { return };
        if cached.peer().is_none_or(|peer| peer.store != store) {
            return;
        }
        cached.leader = None;
        cached.tried += 1;
        if cached.tried > cached.voters().count() {
            self.forget(id);
        }
    }
}

fn is_newer(known: &Region, told: &Region) -> bool {
    let (known_epoch, told_epoch) = (known.epoch, told.epoch);
    known_epoch.version > told_epoch.version || (known.id == told.id && known_epoch.conf_ver > told_epoch.conf_ver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Epoch;

    fn region(id: RegionId, start: &'static str, end: &'static str, version: u64, stores: &[StoreId]) -> Region {
        let peers = stores.iter().map(|&store| Peer { id: id * 10 + store, store, role: 0 }).collect();
        Region { id, start: start.into(), end: end.into(), epoch: Epoch { conf_ver: 1, version }, peers }
    }

    fn at(cache: &Cache, key: &str) -> Option<(RegionId, StoreId)> {
        let cached = cache.at(key.as_bytes())?;
        Some((cached.region.id, cached.peer()?.store))
    }

    #[test]
    fn a_split_is_learnt_from_the_store_that_knows_it() {
        let mut cache = Cache::default();
        assert_eq!(at(&cache, "a"), None);
        let whole = region(1, "", "", 1, &[1, 2, 3]);
        cache.learn(whole.clone(), whole.peer_on(2).copied());
        assert_eq!(at(&cache, "a"), Some((1, 2)));
        cache.learn(region(2, "", "m", 2, &[1, 2, 3]), None);
        assert_eq!((at(&cache, "a"), at(&cache, "m")), (Some((2, 2)), None), "led from the same store; a hole");
        cache.learn(whole, None);
        assert_eq!(at(&cache, "m"), None, "what is older is not learnt");
        cache.forget(2);
        assert_eq!(at(&cache, "a"), None);
    }

    #[test]
    fn peers_are_tried_in_turn_until_a_leader_is_named() {
        let mut cache = Cache::default();
        cache.learn(region(1, "", "", 1, &[1, 2, 3]), None);
        let mut asked = vec![];
        while let Some((_, store)) = at(&cache, "a") {
            asked.push(store);
            cache.pass_over(1, store);
        }
        assert_eq!(asked, [1, 2, 3, 1], "and then it is forgotten");
        cache.learn(region(1, "", "", 1, &[1, 2, 3]), None);
        cache.lead(1, Peer { id: 13, store: 3, role: 0 });
        cache.pass_over(1, 2);
        assert_eq!(at(&cache, "a"), Some((1, 3)), "a late failure of another peer changes nothing");
    }
}
