//! What the raft log states. File and end offset tell the room's witness which synced bytes hold the record.

use crate::{
    fact::{Marks, Text},
    region::{PeerId, RegionId},
};

crate::facts! { room "raft-log" wraps RaftLog;
    /// The log is open: regions found, records replayed, bytes cut off a torn end.
    Opened "raft-log-opened" { regions: u64, records: u64, torn: u64 }
    /// Entries were written (not yet synced) up to `end` of `file`; they replace what was at and behind the first one.
    Appended "log-appended" { region: RegionId, peer: PeerId, marks: Marks, file: Text, end: u64 }
    /// A hard state was written (not yet synced) up to `end` of `file`.
    HardStateWritten "hard-state-written" { region: RegionId, peer: PeerId, term: u64, vote: PeerId, commit: u64, file: Text, end: u64 }
    /// What was written up to `end` of `file` was synced, as the disk said.
    Synced "log-synced" { file: Text, end: u64 }
    /// Entries below `index` were dropped: the snapshot or the applied state covers them.
    Compacted "log-compacted" { region: RegionId, peer: PeerId, index: u64 }
    /// A region's log was emptied and goes on behind (`index`, `term`), as after a snapshot; written up to `end` of `file`.
    Restarted "log-restarted" { region: RegionId, peer: PeerId, index: u64, term: u64, file: Text, end: u64 }
    /// All of a region's records were dropped.
    Cleared "log-cleared" { region: RegionId, peer: PeerId }
    /// A region's log as read back at start.
    Recovered "log-recovered" { region: RegionId, peer: PeerId, first: u64, marks: Marks, term: u64, vote: PeerId, commit: u64 }
    /// The log is about to be moved from one directory to another.
    Moving "raft-log-moving" { from: Text, to: Text, release: Text }
    /// The log was moved; the directory that it was in is gone.
    Moved "raft-log-moved" { from: Text, to: Text, release: Text, regions: u64 }
    /// A segment that holds nothing alive is about to be removed.
    Removing "log-segment-removing" { path: Text }
}
