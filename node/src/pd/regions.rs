//! Where every key lives: the newest region known for each part of the key space.
//!
//! Regions report themselves, late and out of order. The newest epoch wins: a report that is older than what is known,
//! of the same region or of a region that it overlaps, is stale; a newer one displaces what it overlaps.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;

use crate::{
    region::{Peer, PeerId, Region, RegionId, StoreId},
    wire::placement::DownPeer,
};

/// A region as it was last heard of.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub region: Arc<Region>,
    /// None until a leader has reported itself.
    pub leader: Option<Peer>,
    pub term: u64,
    pub down: Vec<DownPeer>,
    pub pending: Vec<PeerId>,
    pub size: u64,
    pub keys: u64,
}

impl Known {
    /// A region of which nothing but its description is known.
    pub(super) fn described(region: Arc<Region>) -> Known {
        Known { region, leader: None, term: 0, down: vec![], pending: vec![], size: 0, keys: 0 }
    }
}

/// What a report changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The report is older than what is known.
    Stale,
    /// Nothing that has to be kept or stated.
    Same,
    /// Only the leader or its term.
    Leader,
    /// The region itself; these regions are no longer known.
    Changed { displaced: Vec<RegionId> },
}

/// All regions known.
#[derive(Debug, Default)]
pub(super) struct Regions {
    by_id: BTreeMap<RegionId, Known>,
    by_start: BTreeMap<Bytes, RegionId>,
}

impl Regions {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: RegionId) -> Option<&Known> {
        self.by_id.get(&id)
    }

    /// All regions, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.by_id.values()
    }

    /// The region that holds a user key.
    pub(super) fn at(&self, key: &[u8]) -> Option<&Known> {
        let (_, id) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        self.by_id.get(id).filter(|known| known.region.contains(key))
    }

    /// Forgets everything; the ids of what was known.
    pub(super) fn forget(&mut self) -> Vec<RegionId> {
        let forgotten = std::mem::take(self);
        forgotten.by_id.into_keys().collect()
    }

    /// How many regions have a peer on a store.
    pub(super) fn count_on(&self, store: StoreId) -> usize {
        self.by_id.values().filter(|known| known.region.peer_on(store).is_some()).count()
    }

    /// Whether every key belongs to a region that is known.
    pub(super) fn cover_all(&self) -> bool {
        let mut end = Some(Bytes::new());
        for (start, id) in &self.by_start {
            if end.as_ref() != Some(start) {
                return false;
            }
            end = Some(self.by_id[id].region.end.clone()).filter(|end| !end.is_empty());
        }
        end.is_none() && !self.by_start.is_empty()
    }

    /// Whether every key belongs to a region whose leader was heard of.
    pub(super) fn are_heard(&self) -> bool {
        self.cover_all() && self.by_id.values().all(|known| known.leader.is_some())
    }

    /// Takes what a leader reports of its region.
    pub(super) fn heard(&mut self, report: Known) -> Put {
        let new = &report.region;
        let old = self.by_id.get(&new.id);
        if let Some(old) = old {
            let (was, is) = (old.region.epoch, new.epoch);
            if is.version < was.version || is.conf_ver < was.conf_ver || (is == was && report.term < old.term) {
                return Put::Stale;
            }
            if is == was {
                let put = if (old.leader, old.term) == (report.leader, report.term) { Put::Same } else { Put::Leader };
                let report = Known { region: Arc::clone(&old.region), ..report };
                self.by_id.insert(report.region.id, report);
                return put;
            }
        }
        self.replace(report)
    }

    /// Takes what somebody who is not the leader says of a region, such as the maker of a split.
    pub(super) fn told(&mut self, region: Arc<Region>) -> Put {
        match self.by_id.get(&region.id) {
            Some(old) => {
                let (was, is) = (old.region.epoch, region.epoch);
                if is.version < was.version || is.conf_ver < was.conf_ver {
                    return Put::Stale;
                }
                if is == was {
                    return Put::Same;
                }
                let report = Known { region, ..old.clone() };
                self.replace(report)
            }
            None => self.replace(Known::described(region)),
        }
    }

    fn replace(&mut self, report: Known) -> Put {
        let new = &report.region;
        let overlapped: Vec<_> = self.overlapped(new).collect();
        if overlapped.iter().any(|old| old.id != new.id && old.epoch.version > new.epoch.version) {
            return Put::Stale;
        }
        let displaced: Vec<_> = overlapped.iter().map(|old| old.id).filter(|&id| id != new.id).collect();
        for id in displaced.iter().chain([&new.id]) {
            if let Some(old) = self.by_id.remove(id) {
                self.by_start.remove(&old.region.start);
            }
        }
        self.by_start.insert(new.start.clone(), new.id);
        self.by_id.insert(new.id, report);
        Put::Changed { displaced }
    }

    /// The known regions that share a key with `region`, in key order.
    pub(super) fn overlapped(&self, region: &Region) -> impl Iterator<Item = Arc<Region>> {
        let start = &region.start[..];
        let before = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(start))).next_back();
        let within = self.by_start.range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
        let known = before.into_iter().chain(within).map(|(_, id)| Arc::clone(&self.by_id[id].region));
        let (start, end) = (region.start.clone(), region.end.clone());
        known
            .take_while(move |other| end.is_empty() || other.start < end)
            .filter(move |other| other.end.is_empty() || start < other.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Epoch;

    fn known(id: RegionId, start: &'static str, end: &'static str, version: u64, conf_ver: u64, term: u64) -> Known {
        let peer = Peer { id: id * 10, store: 1, role: 0 };
        let region =
            Region { id, start: start.into(), end: end.into(), epoch: Epoch { conf_ver, version }, peers: vec![peer] };
        Known { leader: Some(peer), term, ..Known::described(Arc::new(region)) }
    }

    fn map(regions: &Regions) -> String {
        let by_start = regions.by_start.iter().map(|(start, id)| {
            let region = &regions.by_id[id].region;
            assert_eq!(start, &region.start);
            format!("{id}:{}..{}", String::from_utf8_lossy(start), String::from_utf8_lossy(&region.end))
        });
        let text = by_start.collect::<Vec<_>>().join(" ");
        assert_eq!(regions.by_start.len(), regions.by_id.len(), "{text}");
        text
    }

    #[test]
    fn the_newest_epoch_wins_and_displaces_what_it_overlaps() {
        let changed = |displaced: &[RegionId]| Put::Changed { displaced: displaced.to_vec() };
        let cases = [
            ("the whole", known(1, "", "", 1, 1, 5), changed(&[]), "1:.."),
            ("again", known(1, "", "", 1, 1, 5), Put::Same, "1:.."),
            ("a new term", known(1, "", "", 1, 1, 6), Put::Leader, "1:.."),
            ("an old term", known(1, "", "", 1, 1, 5), Put::Stale, "1:.."),
            ("left child, before its parent", known(2, "", "m", 2, 1, 6), changed(&[1]), "2:..m"),
            ("the parent before the split", known(1, "", "", 1, 1, 9), Put::Stale, "2:..m"),
            ("the parent after it", known(1, "m", "", 2, 1, 6), changed(&[]), "2:..m 1:m.."),
            ("a smaller conf_ver", known(1, "m", "", 3, 0, 6), Put::Stale, "2:..m 1:m.."),
            ("a split of the right one", known(3, "m", "t", 3, 1, 6), changed(&[1]), "2:..m 3:m..t"),
            ("its older half", known(1, "s", "", 2, 2, 6), Put::Stale, "2:..m 3:m..t"),
            ("its other half", known(1, "t", "", 3, 1, 6), changed(&[]), "2:..m 3:m..t 1:t.."),
            ("a merge of the last two", known(1, "m", "", 4, 1, 7), changed(&[3]), "2:..m 1:m.."),
        ];
        let mut regions = Regions::default();
        for (name, report, put, after) in cases {
            assert_eq!((regions.heard(report), map(&regions).as_str()), (put, after), "{name}");
        }
        for (key, id) in [("", 2), ("a", 2), ("lzz", 2), ("m", 1), ("zz", 1)] {
            assert_eq!(regions.at(key.as_bytes()).map(|known| known.region.id), Some(id), "{key}");
        }
    }

    #[test]
    fn a_hole_belongs_to_nobody_and_a_tale_keeps_the_leader() {
        let mut regions = Regions::default();
        regions.heard(known(1, "a", "c", 1, 1, 5));
        regions.heard(known(2, "d", "", 1, 1, 5));
        let ids = ["", "b", "c", "d"].map(|key| regions.at(key.as_bytes()).map(|known| known.region.id));
        assert_eq!(ids, [None, Some(1), None, Some(2)]);
        assert!(!regions.cover_all());
        let grown = known(2, "d", "", 1, 2, 0).region;
        assert_eq!(regions.told(grown), Put::Changed { displaced: vec![] });
        assert_eq!(regions.get(2).and_then(|known| known.leader).map(|leader| leader.id), Some(20));
        assert_eq!(regions.told(known(2, "d", "", 1, 1, 0).region), Put::Stale);
        assert_eq!((regions.count_on(1), regions.count_on(2), regions.len()), (2, 0, 2));
    }
}
