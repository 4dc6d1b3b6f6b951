//! What a store states, room by room.

/// Entries reaching the engine.
pub mod apply;
/// The store as a process.
pub mod lifecycle;
/// Consensus.
pub mod raft;
/// Unsafe recovery.
pub mod recovery;
/// Ranges, epochs, maps.
pub mod region;
/// Snapshots and their files.
pub mod snapshot;
