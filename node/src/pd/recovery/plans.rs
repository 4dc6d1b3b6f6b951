//! What each stage has stores do, read off a survey. A stage without work has no plan and is skipped.

use std::collections::BTreeMap;

use super::survey::{Destroyed, Found, Survey};
use crate::{
    region::{Epoch, Peer, PeerId, Region, RegionId, StoreId},
    wire::recovery::{Demote, ForceLeader, Plan},
};

/// One step's plans by store.
pub(super) type Plans = BTreeMap<StoreId, Plan>;

/// Why a stage cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// No peer of the region has a log.
    #[error("no peer of region {0} is left")]
    NobodyLeft(RegionId),
    /// A store has a peer where nothing should be.
    #[error("the hole to be filled overlaps region {region} on store {store}")]
    Overlap {
        /// The region.
        region: RegionId,
        /// The store.
        store: StoreId,
    },
    /// No store could take a new region.
    #[error("no store is left for new regions")]
    NoStore,
    /// The ids for new regions were refused.
    #[error("no ids for new regions")]
    NoIds,
}

/// The newest regions that nobody leads and nobody can be elected in, each with its best peer.
fn leaderless<'s, 'a: 's>(survey: &'s Survey<'a>) -> impl Iterator<Item = Result<(&'a Region, Found<'a>), Error>> + 's {
    let regions = survey.newest.iter().map(Found::region);
    let without =
        regions.filter(move |region| !survey.can_elect(region, false) && survey.force_leader(region.id).is_none());
    without.map(move |region| Ok((region, survey.best(region).ok_or(Error::NobodyLeft(region.id))?)))
}

/// Learners on columnar stores whose log is the newest: they cannot lead, and nobody else would be elected beside them.
pub(super) fn tombstone_learners(survey: &Survey<'_>) -> Result<Plans, Error> {
    let mut plans = Plans::new();
    for leaderless in leaderless(survey) {
        let (region, best) = leaderless?;
        if survey.is_columnar(best.store) {
            plans.entry(best.store).or_default().tombstones.push(region.id);
        }
    }
    Ok(plans)
}

/// Regions to lead without a majority: first those with a merge to finish. Whoever has none keeps its force leaders,
/// unless `forgetful` (the defect pd-5085) leaves its plan empty.
pub(super) fn force_leaders(
    survey: &Survey<'_>,
    failed: &[StoreId],
    live: impl Iterator<Item = StoreId>,
    for_commit_merge: bool,
    forgetful: impl FnOnce() -> bool,
) -> Result<Plans, Error> {
    let mut plans = Plans::new();
    for leaderless in leaderless(survey) {
        let (region, best) = leaderless?;
        if for_commit_merge && !best.report.has_commit_merge {
            continue;
        }
        let none = || ForceLeader { failed_stores: failed.to_vec(), ..ForceLeader::default() };
        let force_leader = plans.entry(best.store).or_default().force_leader.get_or_insert_with(none);
        force_leader.regions.push(region.id);
        let gone = best.region().peers.iter().filter(|peer| survey.is_gone(region.id, peer));
        force_leader.gone.extend(gone.map(|peer| peer.id));
    }
    if !plans.is_empty() && !forgetful() {
        for store in live {
            plans.entry(store).or_default().force_leader.get_or_insert_with(ForceLeader::default);
        }
    }
    Ok(plans)
}

/// Lost peers to demote, and stale peers to destroy.
pub(super) fn demotions(survey: &Survey<'_>, destroyed: &Destroyed, with_orphans: impl FnOnce() -> bool) -> Plans {
    let mut plans = Plans::new();
    let with_orphans = with_orphans();
    for found in &survey.newest {
        let region = found.region();
        if survey.can_elect(region, false) {
            continue;
        }
        // A region that was just split off may not have one yet: the next look finds it.
        let Some(leader) = survey.force_leader(region.id) else { continue };
        let failed = survey.lost_peers(leader.region(), destroyed, with_orphans);
        let demote = Demote { region: region.id, failed };
        plans.entry(leader.store).or_default().demotes.push(demote);
    }
    // One without a range is left alone: its region may be younger than the reports, or have its snapshot on the way. It
    // asks for its region once the recovery has ended, like every newcomer without a leader.
    for found in survey.peers.values().flatten().filter(|found| found.report.is_initialized()) {
        let region = found.region();
        // Newer regions have taken its range, and it cannot move on by itself.
        let is_stuck = !survey.can_elect(region, false);
        if is_stuck && !survey.is_newest(found) && !survey.is_wanted(found) {
            plans.entry(found.store).or_default().tombstones.push(region.id);
        }
    }
    plans
}

/// Empty regions where none is left; nothing while a peer that will move on covers a hole: what its log splits off may be
/// what is missing. `ids` gives a region's and its peer's.
pub(super) fn empty_regions(
    survey: &Survey<'_>,
    stores: &[StoreId],
    mut ids: impl FnMut() -> Option<(RegionId, PeerId)>,
) -> Result<Option<Plans>, Error> {
    let mut regions = Vec::new();
    for (start, end, near) in survey.holes() {
        // A columnar store takes no region of its own.
        let near = near.filter(|store| stores.contains(store));
        let store = near.or(stores.first().copied()).ok_or(Error::NoStore)?;
        let epoch = Epoch { conf_ver: 1, version: 1 };
        regions.push((store, Region { id: 0, start, end, epoch, peers: Vec::new() }));
    }
    let covering: Vec<Found<'_>> = regions.iter().flat_map(|(_, region)| survey.overlapping(region)).collect();
    if let Some(other) = covering.iter().find(|found| !survey.moves_on(found)) {
        return Err(Error::Overlap { region: other.region().id, store: other.store });
    }
    if !covering.is_empty() {
        return Ok(None);
    }
    let mut plans = Plans::new();
    for (store, mut region) in regions {
        let (id, peer) = ids().ok_or(Error::NoIds)?;
        region.id = id;
        region.peers.push(Peer { id: peer, store, role: 0 });
        plans.entry(store).or_default().creates.push(region);
    }
    Ok(Some(plans))
}

/// Empty plans for whoever has a force leader: it steps down.
pub(super) fn exits(survey: &Survey<'_>) -> Plans {
    let leaders = survey.peers.values().flatten().filter(|found| found.report.is_force_leader);
    leaders.map(|found| (found.store, Plan::default())).collect()
}
