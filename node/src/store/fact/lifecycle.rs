//! What a store states of itself as a process, and of its connections to others.

use crate::{fact::Text, region::StoreId};

crate::facts! { room "store" wraps Store;
    /// The store serves.
    Started "store-started" { store: StoreId, release: Text, peers: u64 }
    /// The store was restored from a snapshot of its volume, like all others: until it is told, none of its peers stands for election.
    Restoring "store-restoring" { store: StoreId }
    /// The lease that the settings want is longer than is safe: the second one is, by the store's own clock.
    LeaseTooLong "lease-too-long" { store: StoreId, wanted_ns: u64, safe_ns: u64 }
    /// The store ended in good order.
    Stopped "store-stopped" { store: StoreId }
    /// The store ends because it must not go on: a failed sync, a full disk, corrupt data.
    Failed "store-failed" { store: StoreId, cause: Text }
    /// The store knows its id: it is on disk, and nobody else has heard of it yet.
    Identified "store-identified" { store: StoreId }
    /// The store has learned that it was removed, and ends.
    Retired "store-retired" { store: StoreId }
    /// The placement driver is asked for a peer store's address.
    ResolveAsked "resolve-asked" { store: StoreId }
    /// A peer store's address could not be had. The placement driver's answer, whatever it is taken for: `not-found`,
    /// `tombstone`; `unreachable` without an answer.
    ResolveFailed "resolve-failed" { store: StoreId, reason: Text }
    /// A connection to a peer store is up.
    Connected "store-connected" { store: StoreId }
    /// A connection to a peer store broke or could not be made; the next attempt comes after a pause.
    Disconnected "store-disconnected" { store: StoreId, cause: Text }
    /// A peer store is taken to be gone for good: nothing is sent there any more.
    Blocked "store-blocked" { store: StoreId }
    /// A line that people read in the log, about a peer store: `store-not-found`, `request-failed`, `reconnection-cancelled`.
    LogLine "log-line" { about: Text, store: StoreId }
    /// A new connection to the placement driver is begun, and why the last one is not used any more.
    PlacementReconnected "placement-reconnected" { address: Text, cause: Text }
    /// The placement driver could not be reached.
    PlacementUnreachable "placement-unreachable" { cause: Text }
    /// A file is of a format that the release does not read: `blob-header`, `manifest-tag`, or `raft-log`, whose versions are
    /// 1 for the old layout and 2 for the new one. The store ends without having changed anything.
    FormatRefused "format-refused" { path: Text, format: Text, version: u64, release: Text }
    /// The placement driver wants no store of this release here. The store ends without having looked at its directory.
    ReleaseRefused "release-refused" { release: Text, cause: Text }
    /// A peer store has greeted: frames to it are of this version of the wire from now on.
    WireNegotiated "wire-negotiated" { store: StoreId, version: u64 }
    /// A frame came of a version of the wire that this release does not speak: so many messages are lost.
    FrameNotUnderstood "frame-not-understood" { messages: u64 }
}
