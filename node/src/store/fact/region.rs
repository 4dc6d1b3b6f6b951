//! What a store states of ranges, epochs, and its two region maps.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    fact::Text,
    region::{PeerId, Region, RegionId},
};

crate::facts! { room "region" wraps Region;
    /// A peer's region is now this one, by `create`, `recover`, `split`, `conf-change`, `snapshot`, `prepare-merge`, `merge` or `rollback-merge`; `index` is the entry or snapshot that made it so.
    Changed "region-changed" { region: Arc<Region>, peer: PeerId, reason: Text, index: u64 }
    /// A split was applied: `source` keeps its id, `count` regions exist now where one was.
    SplitApplied "split-applied" { region: RegionId, peer: PeerId, index: u64, count: u64 }
    /// A child of a split: its peer was created, or replaced an uninitialised one (`replaced`), or was already there and left alone.
    SplitChild "split-child" { region: RegionId, peer: PeerId, source: RegionId, outcome: Text }
    /// The membership change at `index` took effect.
    ConfChanged "conf-changed" { region: Arc<Region>, peer: PeerId, index: u64, removed: PeerId, added: PeerId }
    /// The store's map from id to peer gained a region.
    RegionInserted "region-map-inserted" { region: RegionId, peer: PeerId }
    /// The store's map from id to peer lost a region.
    RegionRemoved "region-map-removed" { region: RegionId, peer: PeerId }
    /// The store's map from end key to region gained a range.
    RangeInserted "range-map-inserted" { region: RegionId, end: Bytes }
    /// The store's map from end key to region lost a range.
    RangeRemoved "range-map-removed" { region: RegionId, end: Bytes }
    /// The store has finished one turn that changed its maps: they have to agree now.
    MapsSettled "region-maps-settled" { regions: u64, ranges: u64 }
    /// A region is prepared to merge into `target`: it takes no proposal but the one that undoes it. Entries from `min_index` on stay in the log.
    MergePrepared "merge-prepared" { region: RegionId, peer: PeerId, target: RegionId, index: u64, min_index: u64 }
    /// A store where a region is prepared and its target leads has proposed to the target to take it in, with so many entries for those who lag.
    MergeScheduled "merge-scheduled" { region: RegionId, peer: PeerId, target: RegionId, entries: u64 }
    /// Apply of `region` waits until `source` has applied its log up to `commit` here.
    MergeWaits "merge-waits" { region: RegionId, peer: PeerId, source: RegionId, commit: u64 }
    /// A source that lags was given the entries that came with the commit of its merge; `appended` of them were new to it.
    CatchUp "merge-catch-up" { region: RegionId, peer: PeerId, commit: u64, appended: u64 }
    /// `region` has taken in `source`, whose peer here is gone with the same write.
    MergeCommitted "merge-committed" { region: RegionId, peer: PeerId, source: RegionId, source_peer: PeerId, index: u64, commit: u64 }
    /// A peer of a prepared region holds that its merge cannot happen: `sure`, or only since the target is not here any more.
    RollbackWanted "merge-rollback-wanted" { region: RegionId, peer: PeerId, target: RegionId, sure: bool }
    /// A prepared region goes on alone.
    MergeRolledBack "merge-rolled-back" { region: RegionId, peer: PeerId, target: RegionId, index: u64 }
    /// The peer of a region that was merged away goes: by its target's `commit`, by a `snapshot` of its target that contains the merge, or as `stale`.
    SourceDestroyed "merge-source-destroyed" { region: RegionId, peer: PeerId, target: RegionId, by: Text }
    /// A peer's state was written to the engine: `normal`, `applying`, `merging`, `tombstone`; `index` and `term` are the snapshot's while applying.
    StateWritten "region-state-written" { region: Arc<Region>, peer: PeerId, state: Text, index: u64, term: u64 }
    /// A peer's state as read back at start.
    StateRecovered "region-state-recovered" { region: Arc<Region>, peer: PeerId, state: Text, index: u64, term: u64 }
    /// A range that belongs to no peer any more is about to be cleaned.
    RangeDestroyed "range-destroyed" { region: RegionId, start: Bytes, end: Bytes }
}
