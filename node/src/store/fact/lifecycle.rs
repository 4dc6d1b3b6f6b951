//! What a store states of itself as a process, and of its connections to others.

use crate::{fact::Text, region::StoreId};

crate::facts! { room "store" wraps Store;
    /// The store serves.
    Started "store-started" { store: StoreId, release: Text, peers: u64 }
    /// The store ended in good order.
    Stopped "store-stopped" { store: StoreId }
    /// The store ends because it must not go on: a failed sync, a full disk, corrupt data.
    Failed "store-failed" { store: StoreId, cause: Text }
    /// A peer store's address could not be had: `not-found`, `tombstone`, `unreachable`.
    ResolveFailed "resolve-failed" { store: StoreId, reason: Text }
    /// A connection to a peer store is up.
    Connected "store-connected" { store: StoreId }
    /// A connection to a peer store broke or could not be made; the next attempt comes after a pause.
    Disconnected "store-disconnected" { store: StoreId, cause: Text }
    /// The placement driver could not be reached.
    PlacementUnreachable "placement-unreachable" { cause: Text }
}
