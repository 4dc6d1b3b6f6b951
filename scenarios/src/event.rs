//! Events: all that a check may see of a run.
//!
//! Three witnesses speak. A node states facts about itself. The room (disk, process, clock) states what was really
//! synced, exists, ended, and when in true time; where it knows the truth, checks believe it and not the node. Clients
//! state what they asked and got. An event is a plain value with its place in the order of the run, so that a history
//! can be written down, read back and judged again: `docs/events.md` describes the lines, [`schema`] reads and writes
//! them.
//!
//! Not here: frames, timers and disk calls. Those are steps of a trace, which names a divergence but judges nothing.

pub mod client;
pub mod room;
pub mod schema;

use node::{
    fact::Fact,
    raftlog::fact as raftlog,
    store::fact::{apply, raft},
};
use serde::{Deserialize, Serialize};

pub use client::{Ask, ClientEvent, Edit, Outcome, Part, Seen};
pub use room::{Exit, Kept, RoomEvent};
pub use schema::{Header, SchemaError, Witness};

/// A process of the run: a position in [`Header::nodes`].
pub type NodeId = u16;

/// Something that happened, by its place in the order of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Position in the run; grows by at least one from event to event.
    pub seq: u64,
    /// True time since the run began, which no process knows; never goes back.
    pub time_ns: u64,
    /// The process that it happened to, or the first one where that has no meaning.
    pub node: NodeId,
    /// Which life of that process: 1 for its first, 0 before it.
    pub incarnation: u32,
    /// What happened.
    pub body: Body,
}

/// What happened, by witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// A node's fact about itself.
    Node(Fact),
    /// The room's truth.
    Room(RoomEvent),
    /// What a client asked or got.
    Client(ClientEvent),
}

/// Where an event is heard: the rooms of the node, the parts of the machine room, and the clients. What is stated with
/// each entry has a hall of its own, since few checks want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hall {
    /// Facts of the storage engine.
    Engine,
    /// Facts of the raft log, but for those with halls of their own.
    RaftLog,
    /// Entries were appended to a raft log.
    Appended,
    /// A hard state was written.
    HardState,
    /// A raft log was synced.
    LogSynced,
    /// Facts of consensus, but for those with halls of their own.
    Raft,
    /// A peer handled messages.
    Handled,
    /// A peer's commit index rose.
    Committed,
    /// A peer acknowledged entries.
    Acknowledged,
    /// Facts of ranges, epochs and maps.
    Region,
    /// Facts of committed entries, but for those with halls of their own.
    Apply,
    /// An entry was applied.
    Applied,
    /// What was applied is in the engine.
    Persisted,
    /// Facts of snapshots.
    Snapshot,
    /// Facts of unsafe recovery.
    Recovery,
    /// Facts of a store as a process.
    Store,
    /// Facts of the region cache.
    Cache,
    /// Facts of the placement driver.
    Placement,
    /// The room: processes start, end, pause.
    Process,
    /// The room: clocks.
    Clock,
    /// The room: files.
    Disk,
    /// The room: the plan's faults, and the two phases of a run.
    Plan,
    /// Clients.
    Client,
}

impl Hall {
    /// How many there are.
    pub const COUNT: usize = Hall::Client as usize + 1;
}

impl Event {
    /// Where this event is heard.
    #[inline]
    pub fn hall(&self) -> Hall {
        match &self.body {
            Body::Node(fact) => match fact {
                Fact::Engine(_) => Hall::Engine,
                Fact::RaftLog(fact) => match fact {
                    raftlog::Fact::Appended { .. } => Hall::Appended,
                    raftlog::Fact::HardStateWritten { .. } => Hall::HardState,
                    raftlog::Fact::Synced { .. } => Hall::LogSynced,
                    _ => Hall::RaftLog,
                },
                Fact::Raft(fact) => match fact {
                    raft::Fact::MessagesHandled { .. } => Hall::Handled,
                    raft::Fact::Committed { .. } => Hall::Committed,
                    raft::Fact::Acknowledged { .. } => Hall::Acknowledged,
                    _ => Hall::Raft,
                },
                Fact::Region(_) => Hall::Region,
                Fact::Apply(fact) => match fact {
                    apply::Fact::Applied { .. } => Hall::Applied,
                    apply::Fact::Persisted { .. } => Hall::Persisted,
                    _ => Hall::Apply,
                },
                Fact::Snapshot(_) => Hall::Snapshot,
                Fact::Recovery(_) => Hall::Recovery,
                Fact::Store(_) => Hall::Store,
                Fact::Cache(_) => Hall::Cache,
                Fact::Placement(_) => Hall::Placement,
            },
            Body::Room(event) => event.hall(),
            Body::Client(_) => Hall::Client,
        }
    }
}
