//! What all reports of a step add up to: the newest regions in key order, who can elect a leader, and who should be one.
//!
//! A pure reading of the reports. What is to be done about it stands in `plans`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    region::{Peer, PeerId, Region, RegionId, Role, StoreId, has_majority},
    wire::recovery::{PeerReport, Report},
};

/// One peer and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub store: StoreId,
    pub report: &'a PeerReport,
}

impl<'a> Found<'a> {
    pub(super) fn region(&self) -> &'a Region {
        &self.report.region
    }

    fn epoch(&self) -> (u64, u64) {
        (self.region().epoch.version, self.region().epoch.conf_ver)
    }

    /// Whether it has a range and its region still counts on it: a leader that was removed may stay for a while.
    fn is_member(&self) -> bool {
        self.report.is_initialized() && self.region().peer(self.report.peer.id).is_some()
    }
}

/// Who is lost, and which stores hold learners only.
#[derive(Clone, Debug, Default)]
pub(super) struct Stores {
    pub failed: BTreeSet<StoreId>,
    pub columnar: BTreeSet<StoreId>,
}

/// Learners that the recovery has destroyed, by region.
pub(super) type Destroyed = BTreeMap<RegionId, Vec<Peer>>;

/// All reports together.
pub(super) struct Survey<'a> {
    stores: &'a Stores,
    /// Every peer by region.
    pub peers: BTreeMap<RegionId, Vec<Found<'a>>>,
    /// The newest regions, in key order; no two overlap.
    pub newest: Vec<Found<'a>>,
    /// Learners on live stores that a force leader counts on and their store does not have.
    orphans: BTreeSet<PeerId>,
    /// The newest peer of a region that a store had and has no more.
    gone: BTreeMap<(RegionId, StoreId), PeerId>,
}

impl<'a> Survey<'a> {
    /// Reads the reports of all live stores.
    pub(super) fn of(reports: impl Iterator<Item = (StoreId, &'a Report)>, stores: &'a Stores) -> Survey<'a> {
        let mut peers: BTreeMap<RegionId, Vec<Found<'a>>> = BTreeMap::new();
        let mut gone = BTreeMap::new();
        for (store, report) in reports {
            gone.extend(report.gone.iter().map(|gone| ((gone.region, store), gone.peer)));
            for report in &report.peers {
                // A store has one peer of a region at a time, each with a greater id than those before.
                let before = report.peer.id.saturating_sub(1);
                let known = gone.entry((report.region.id, store)).or_insert(before);
                *known = before.max(*known);
                peers.entry(report.region.id).or_default().push(Found { store, report });
            }
        }
        let mut survey = Survey { stores, peers, newest: Vec::new(), orphans: BTreeSet::new(), gone };
        survey.newest = survey.newest_regions();
        survey.orphans = survey.find_orphans();
        survey
    }

    fn newest_regions(&self) -> Vec<Found<'a>> {
        let newest = |peers: &Vec<Found<'a>>| {
            let known = peers.iter().filter(|found| found.is_member());
            known.max_by_key(|found| (found.epoch(), self.worth(found))).copied()
        };
        let mut all: Vec<Found<'a>> = self.peers.values().filter_map(newest).collect();
        // Stable, so that regions of one epoch stay in the order of their ids.
        all.sort_by_key(|found| std::cmp::Reverse(found.epoch()));
        let mut tree: BTreeMap<&[u8], Found<'a>> = BTreeMap::new();
        for found in all {
            let region = &found.report.region;
            let before = tree.range::<&[u8], _>(..=&region.start[..]).next_back();
            let after = tree.range::<&[u8], _>(&region.start[..]..).next();
            let taken = before.into_iter().chain(after).any(|(_, other)| other.region().overlaps(region));
            if !taken {
                tree.insert(&region.start, found);
            }
        }
        tree.into_values().collect()
    }

    fn find_orphans(&self) -> BTreeSet<PeerId> {
        let leaders = self.peers.values().flatten().filter(|found| found.report.is_force_leader);
        let lost = |peer: &&Peer, region: RegionId| {
            let there = |found: &Found<'_>| found.store == peer.store && found.report.peer.id == peer.id;
            peer.role() == Role::Learner && !self.is_lost(region, peer) && !self.peers[&region].iter().any(there)
        };
        let of = |leader: &Found<'a>| {
            let region = leader.region();
            region.peers.iter().filter(|peer| lost(peer, region.id)).map(|peer| peer.id).collect::<Vec<_>>()
        };
        leaders.flat_map(of).collect()
    }

    /// How much a peer's log is worth: what a force leader is chosen by.
    ///
    /// The term is the last entry's: a peer whose hard state is ahead of its log would be refused by every voter whose
    /// log is newer.
    fn worth(&self, found: &Found<'_>) -> (u64, u64, u64, u64, bool) {
        let report = found.report;
        let reached = report.last_index.max(report.applied);
        (report.last_term, reached, report.last_index, report.commit, !self.is_columnar(found.store))
    }

    pub(super) fn is_columnar(&self, store: StoreId) -> bool {
        self.stores.columnar.contains(&store)
    }

    fn is_failed(&self, peer: &Peer) -> bool {
        self.stores.failed.contains(&peer.store)
    }

    /// Whether a voter was removed from its region and from its store. Those who have not heard of that count on it.
    pub(super) fn is_gone(&self, region: RegionId, peer: &Peer) -> bool {
        let gone = self.gone.get(&(region, peer.store));
        peer.role() != Role::Learner && gone.is_some_and(|&gone| peer.id <= gone)
    }

    fn is_lost(&self, region: RegionId, peer: &Peer) -> bool {
        self.is_failed(peer) || self.is_gone(region, peer)
    }

    /// Whether a peer with a range is of a region among the newest. One that its region no longer names is not.
    pub(super) fn is_newest(&self, peer: &Found<'_>) -> bool {
        let newest = self.newest.iter().find(|found| found.region().id == peer.region().id);
        newest.is_some_and(|newest| newest.region().peer(peer.report.peer.id).is_some())
    }

    /// Whether a newer region that overlaps this peer's lags on the same store: it has taken this one in elsewhere, and
    /// will here, by its log, which needs this peer, or with a snapshot.
    pub(super) fn is_wanted(&self, stale: &Found<'_>) -> bool {
        let lags = |newest: &&Found<'_>| {
            let here = self.peers[&newest.region().id].iter().filter(|found| found.store == stale.store);
            // A peer that was removed from it gets nothing any more.
            let here = here.filter(|found| newest.region().peer(found.report.peer.id).is_some());
            here.map(Found::epoch).any(|(version, _)| version < newest.region().epoch.version)
        };
        let mut overlapping = self.newest.iter().filter(|newest| newest.region().overlaps(stale.region()));
        overlapping.any(|newest| lags(&newest))
    }

    /// Whether the voters that are left can elect a leader; of the incoming configuration alone, or of both.
    pub(super) fn can_elect(&self, region: &Region, only_incoming: bool) -> bool {
        has_majority(region, |peer| self.is_lost(region.id, peer), only_incoming)
    }

    /// The peer with the best log: of a region without a majority, who should lead.
    pub(super) fn best(&self, region: &Region) -> Option<Found<'a>> {
        let peers = self.peers.get(&region.id)?.iter();
        let members =
            peers.filter(|found| found.report.is_initialized() && region.peer(found.report.peer.id).is_some());
        members.max_by_key(|found| (self.worth(found), std::cmp::Reverse(found.store))).copied()
    }

    /// The peer that leads a region without a majority.
    pub(super) fn force_leader(&self, region: RegionId) -> Option<Found<'a>> {
        self.peers.get(&region)?.iter().find(|found| found.report.is_force_leader).copied()
    }

    /// The peers that a force leader has to get rid of; none when leaving a joint configuration is enough. Those that were
    /// `destroyed` are named also where it does not know of them: that may stand in its log, and not be applied.
    pub(super) fn lost_peers(&self, region: &Region, destroyed: &Destroyed, with_orphans: bool) -> Vec<Peer> {
        if self.can_elect(region, true) {
            return Vec::new();
        }
        let lost = |peer: &&Peer| self.is_lost(region.id, peer) || (with_orphans && self.orphans.contains(&peer.id));
        let known = region.peers.iter().filter(lost);
        let destroyed = destroyed.get(&region.id).filter(|_| with_orphans).into_iter().flatten();
        let unknown = destroyed.filter(|peer| region.peer(peer.id).is_none());
        known.chain(unknown).copied().collect()
    }

    /// The ranges that no newest region covers, each with the store of the region before or behind it.
    pub(super) fn holes(&self) -> Vec<(bytes::Bytes, bytes::Bytes, Option<StoreId>)> {
        let mut holes = Vec::new();
        let mut reached = Some(bytes::Bytes::new());
        let mut last = None;
        for found in &self.newest {
            let region = found.region();
            if let Some(from) = reached.filter(|from| *from != region.start) {
                holes.push((from, region.start.clone(), Some(found.store)));
            }
            reached = (!region.end.is_empty()).then(|| region.end.clone());
            last = Some(found.store);
        }
        if let Some(from) = reached {
            holes.push((from, bytes::Bytes::new(), last));
        }
        holes
    }

    /// The peers with a range that share a key with `region`.
    pub(super) fn overlapping<'s>(&'s self, region: &'s Region) -> impl Iterator<Item = Found<'a>> + 's {
        let known = self.peers.values().flatten().filter(|found| found.report.is_initialized());
        known.filter(|found| found.region().overlaps(region)).copied()
    }

    /// Whether a peer is behind on what its region's range is, and will hear of it: it belongs to its region, which can be led.
    pub(super) fn moves_on(&self, peer: &Found<'_>) -> bool {
        let newest = self.newest.iter().map(Found::region).find(|newest| newest.id == peer.region().id);
        newest.is_some_and(|newest| {
            newest.peer(peer.report.peer.id).is_some()
                && peer.region().epoch.version < newest.epoch.version
                && self.can_elect(newest, false)
        })
    }
}
