//! The map from end key to region: which region of the store holds a range.

use std::ops::Bound;

use super::RaftLoop;
use crate::{
    region::{End, Region, RegionId},
    store::{fact::region, peer::Peer},
};

pub(super) fn end_of(region: &Region) -> End {
    End::of(&region.end)
}

impl RaftLoop {
    /// The other regions on this store whose ranges share a key with this one.
    pub(super) fn overlapping(&self, region: &Region) -> Vec<RegionId> {
        let mut found = Vec::new();
        let from = (Bound::Excluded(End::Key(region.start.clone())), Bound::Unbounded);
        for (_, id) in self.ranges.range(from) {
            if let Some(peer) = self.peers.get(id)
                && *id != region.id
            {
                if peer.region.overlaps(region) {
                    found.push(*id);
                }
                if end_of(region) <= End::Key(peer.region.start.clone()) {
                    break;
                }
            }
        }
        found
    }

    /// Whether a range that is arriving shares a key with this one.
    pub(super) fn meets_arriving(&self, region: &Region) -> bool {
        self.arriving.iter().any(|(id, other)| {
            let waiting = self.peers.get(id).is_some_and(Peer::has_snapshot_waiting);
            waiting && *id != region.id && other.overlaps(region)
        })
    }

    /// The region of this store that holds a key.
    pub(super) fn holder(&self, key: &bytes::Bytes) -> Option<crate::region::RegionId> {
        let (_, id) = self.ranges.range((Bound::Excluded(End::Key(key.clone())), Bound::Unbounded)).next()?;
        self.peers.get(id).filter(|peer| peer.region.contains(key)).map(|_| *id)
    }

    pub(super) fn insert_range(&mut self, region: &Region) {
        self.maps_changed = true;
        let fact = region::Fact::RangeInserted { region: region.id, end: region.end.clone() };
        self.turn.env.state(fact);
        self.ranges.insert(end_of(region), region.id);
    }

    pub(super) fn remove_range(&mut self, region: &Region) {
        if self.ranges.get(&end_of(region)) == Some(&region.id) {
            self.maps_changed = true;
            self.ranges.remove(&end_of(region));
            let fact = region::Fact::RangeRemoved { region: region.id, end: region.end.clone() };
            self.turn.env.state(fact);
        }
    }
}
