//! What the region cache states of itself.

use crate::{
    fact::{Digest, Text},
    region::{PeerId, RegionId},
};

crate::facts! { room "cache" wraps Cache;
    /// A region in the cache changed from one state to another, now as of epoch version `version`: `none`, `pending`, `loading`, `active`, `loading-canceled`, `pending-evict`, `evicting`, `removed`. A split leaves the state as it is.
    Transition "cache-transition" { region: RegionId, from: Text, to: Text, version: u64, cause: Text }
    /// A cached region was split into `count` regions, which are what it was; with `historical` it lives on for its snapshots alone.
    Split "cache-split" { region: RegionId, version: u64, state: Text, count: u64, historical: bool }
    /// A region that lived on for its snapshots is gone with the last of them.
    HistoricalRemoved "cache-historical-removed" { region: RegionId, version: u64 }
    /// An event that ends the caching of a region met one that is cached: `apply-snapshot`, `prepare-merge`, `commit-merge`, `rollback-merge`, `delete-range`, `destroy-peer`, `become-follower`.
    Met "cache-met-event" { region: RegionId, event: Text, state: Text, version: u64 }
    /// Apply found a region that is to be loaded while `pending` of its keys had not been written to the engine.
    LoadScheduled "cache-load-scheduled" { region: RegionId, peer: PeerId, version: u64, pending: u64 }
    /// The load of a region began in the background.
    LoadStarted "cache-load-started" { region: RegionId, load: u64 }
    /// A load put everything into the cache that the engine had as of its snapshot.
    Loaded "cache-loaded" { region: RegionId, load: u64, versions: u64, buffered: u64 }
    /// A load ended without success.
    LoadFailed "cache-load-failed" { region: RegionId, load: u64, cause: Text }
    /// A load was asked for and refused.
    LoadRefused "cache-load-refused" { region: RegionId, version: u64, cause: Text, why: Text }
    /// A leader told the peer that is to follow it to load the region.
    PreloadSent "cache-preload-sent" { region: RegionId, peer: PeerId, to: PeerId }
    /// A peer was told to load its region, since it is to lead it.
    PreloadAsked "cache-preload-asked" { region: RegionId, peer: PeerId }
    /// Reads of a region were served from the cache.
    ReadsServed "cache-reads-served" { region: RegionId, version: u64, reads: u64 }
    /// Old versions up to `until` were dropped from the cache.
    Collected "cache-collected" { region: RegionId, until: u64, dropped: u64 }
    /// Live snapshots need versions at `held`, so that nothing above is dropped: those of the region itself (`own`), or of a region that was split (`historical`).
    CollectionHeld "cache-collection-held" { region: RegionId, wanted: u64, held: u64, by: Text }
    /// A region's content was compared with the engine's, as of one moment: when it was loaded (`load`), or in a round (`round`).
    CrossChecked "cache-cross-checked" { region: RegionId, version: u64, cached: Digest, cached_keys: u64, engine: Digest, engine_keys: u64, why: Text }
    /// A scan of a cache snapshot was compared with the same scan of the engine.
    ScanCompared "cache-scan-compared" { region: RegionId, version: u64, cached: Digest, cached_keys: u64, engine: Digest, engine_keys: u64 }
    /// A region's data is gone from the cache.
    RangeDeleted "cache-range-deleted" { region: RegionId, versions: u64 }
    /// The cache met a region in a state that it should not be in: it is evicted, and loaded again.
    Unexpected "cache-unexpected-state" { region: RegionId, at: Text, state: Text, cached_version: u64, version: u64, count: u64 }
}
