//! What a store states of ranges, epochs, and its two region maps.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    fact::Text,
    region::{PeerId, Region, RegionId},
};

crate::facts! { room "region" wraps Region;
    /// A peer's region is now this one, by `create`, `recover`, `split`, `conf-change`, `snapshot` or `merge`; `index` is the entry or snapshot that made it so.
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
    /// A peer's state was written to the engine: `normal`, `applying`, `tombstone`; `index` and `term` are the snapshot's while applying.
    StateWritten "region-state-written" { region: Arc<Region>, peer: PeerId, state: Text, index: u64, term: u64 }
    /// A peer's state as read back at start.
    StateRecovered "region-state-recovered" { region: Arc<Region>, peer: PeerId, state: Text, index: u64, term: u64 }
    /// A range that belongs to no peer any more is about to be cleaned.
    RangeDestroyed "range-destroyed" { region: RegionId, start: Bytes, end: Bytes }
}
