//! What a store states of snapshots and their files. A snapshot's key is (region, term, index).

use crate::{
    fact::Text,
    region::{PeerId, RegionId, StoreId},
};

crate::facts! { room "snapshot" wraps Snapshot;
    /// A snapshot of the engine was asked of apply while `pending` applied entries had not been written to it.
    AskedBeforeFlush "snapshot-asked-before-flush" { region: RegionId, peer: PeerId, pending: u64 }
    /// The region worker begins to build a snapshot from the engine as of `index`.
    Generating "snapshot-generating" { region: RegionId, peer: PeerId, term: u64, index: u64, attempt: u64 }
    /// A snapshot's files are complete.
    Generated "snapshot-generated" { region: RegionId, peer: PeerId, term: u64, index: u64, bytes: u64 }
    /// Building failed; it is counted and tried again.
    GenerateFailed "snapshot-generate-failed" { region: RegionId, peer: PeerId, attempt: u64, cause: Text }
    /// After so many attempts the store stops asking for this snapshot until it is wanted anew.
    GaveUp "snapshot-gave-up" { region: RegionId, peer: PeerId, attempts: u64 }
    /// The task's I/O statistics could not be read while building.
    StatisticsUnreadable "snapshot-statistics-unreadable" { region: RegionId, cause: Text }
    /// A file was gone between listing and building or reading.
    FileVanished "snapshot-file-vanished" { region: RegionId, path: Text }
    /// Sending to a store began.
    Sending "snapshot-sending" { region: RegionId, term: u64, index: u64, to_store: StoreId }
    /// The receiver confirmed the whole snapshot.
    Sent "snapshot-sent" { region: RegionId, term: u64, index: u64, to_store: StoreId }
    /// Sending failed.
    SendFailed "snapshot-send-failed" { region: RegionId, term: u64, index: u64, to_store: StoreId, cause: Text }
    /// The first chunk of a snapshot arrived.
    Receiving "snapshot-receiving" { region: RegionId, term: u64, index: u64, from_store: StoreId }
    /// All files of a snapshot are here and durable.
    Received "snapshot-received" { region: RegionId, term: u64, index: u64 }
    /// Receiving failed.
    ReceiveFailed "snapshot-receive-failed" { region: RegionId, term: u64, index: u64, cause: Text }
    /// The peer's durable state is Applying, and the region worker begins.
    ApplyStarted "snapshot-apply-started" { region: RegionId, peer: PeerId, term: u64, index: u64 }
    /// The files are in the engine and the durable state is Normal.
    Applied "snapshot-applied" { region: RegionId, peer: PeerId, term: u64, index: u64 }
    /// Applying failed.
    ApplyFailed "snapshot-apply-failed" { region: RegionId, peer: PeerId, term: u64, index: u64, cause: Text }
    /// The manager's registry gained an entry: `generating`, `sending`, `receiving`, `applying`.
    Registered "snapshot-registered" { region: RegionId, term: u64, index: u64, purpose: Text }
    /// The manager's registry lost an entry.
    Deregistered "snapshot-deregistered" { region: RegionId, term: u64, index: u64, purpose: Text }
    /// A snapshot's file is about to be removed: `collected`, `stale`, `size-limit`, `leftover`, `after-apply`, `after-send`, `failed`.
    RemovingFile "snapshot-file-removing" { region: RegionId, term: u64, index: u64, path: Text, reason: Text }
    /// The collector looked over idle snapshots and removed some.
    Collected "snapshots-collected" { idle: u64, removed: u64 }
    /// The collector removed a snapshot while a peer's state said it was to be applied from it, or refused to.
    CollectWhileApplying "snapshot-collect-while-applying" { region: RegionId, term: u64, index: u64, removed: bool }
    /// The same, stated before anything is removed.
    MetWhileApplying "snapshot-met-while-applying" { region: RegionId, term: u64, index: u64 }
    /// The collector's rule says that a snapshot may go; it stays when it is `registered`.
    CollectWanted "snapshot-collect-wanted" { region: RegionId, term: u64, index: u64, reason: Text, registered: bool }
    /// A snapshot of the same key was still here and is used again.
    Reused "snapshot-reused" { region: RegionId, peer: PeerId, term: u64, index: u64 }
}
