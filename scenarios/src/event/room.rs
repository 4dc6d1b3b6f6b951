//! What the machine room states: the truth about processes, clocks and disks, and what the plan did.
//!
//! Paths are those of the process's own directory tree, as it names them.

use node::fact::Text;
use serde::{Deserialize, Serialize};

use super::Hall;

/// A truth that only the room knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RoomEvent {
    /// A process began to run; the event's incarnation is the new one.
    ProcessStarted {
        /// The release it runs as.
        release: Text,
    },
    /// A process ended; nothing of it runs afterwards.
    ProcessExited {
        /// How it came to that.
        cause: Exit,
    },
    /// The supervisor gave up on a process that kept ending soon after its start.
    CrashLoop {
        /// How often it was restarted in a row.
        restarts: u64,
    },
    /// A process stands still; its clocks run on.
    Paused {},
    /// A process runs on.
    Resumed {},
    /// From true time `true_ns` on, the process's monotonic clock shows
    /// `local_ns + (t - true_ns) * (1 + rate_ppm / 1,000,000)` at true time `t`. Stated at start and at each
    /// change of the drift; a pause changes nothing.
    ClockChanged {
        /// True time at which the segment begins.
        true_ns: u64,
        /// What the clock shows then.
        local_ns: u64,
        /// How much faster than true time it runs.
        rate_ppm: i64,
    },
    /// A name came into being, not durable before its directory is synced.
    FileCreated {
        /// Its path.
        path: Text,
    },
    /// All bytes of a file up to `durable` survive a crash from now on (if its name does). Stated for every sync
    /// that really happened.
    FileSynced {
        /// The file's path.
        path: Text,
        /// Length that is durable now.
        durable: u64,
    },
    /// A file was cut to a length.
    FileTruncated {
        /// Its path.
        path: Text,
        /// Its length now.
        len: u64,
    },
    /// A name is gone: removed by the node, or replaced.
    FileRemoved {
        /// Its path.
        path: Text,
    },
    /// A file has another name.
    FileRenamed {
        /// Its path before.
        from: Text,
        /// Its path now; a file that had it is gone.
        to: Text,
    },
    /// The names in a directory are durable as they are now.
    DirSynced {
        /// The directory; empty for the root.
        path: Text,
    },
    /// Power was lost. What is listed here changed; everything else on the disk is as it was. All of it is durable.
    DiskCrashed {
        /// Files that had pending bytes, with what is left.
        kept: Vec<Kept>,
        /// Names that are gone: created and not durable, or renamed away from.
        gone: Vec<Text>,
        /// Names that are back: removed or renamed, and not durably so.
        back: Vec<Text>,
    },
    /// The process's disk was wiped; it starts over under a new identity.
    DiskWiped {},
    /// A fault was laid on a file or on the whole disk and will be met from now on.
    DiskFault {
        /// The fault: `write-error`, `read-error`, `sync-error`, `no-space`, `rot`, ….
        kind: Text,
        /// The file; empty for all.
        path: Text,
    },
    /// A disk operation failed.
    DiskError {
        /// The operation: `read`, `write`, `sync`, ….
        op: Text,
        /// The path it was about.
        path: Text,
        /// The kind of the error as the node sees it: `not-found`, `storage-full`, `other`, ….
        kind: Text,
        /// Whether the plan wanted it.
        injected: bool,
    },
    /// The plan did something to this process or to the network: `crash`, `kill`, `partition`, `failpoint`, ….
    FaultInjected {
        /// What, by the step's name.
        kind: Text,
    },
    /// All faults are lifted: the chaos is over.
    Healed {},
    /// The second phase begins.
    ConvergeStarted {},
    /// The second phase has ended: nothing is missing when `reasons` is empty.
    ConvergeEnded {
        /// What has not come about, each as `what: detail`.
        reasons: Vec<Text>,
    },
    /// The run is at rest: every store was idle for a while, and no fault is left.
    AtRest {},
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// In good order, as it was told.
    Stopped,
    /// Killed by the plan, in the middle of whatever it did.
    Killed,
    /// By itself, for a stated cause.
    Exited(Text),
    /// A task panicked.
    Panicked {
        /// What the panic said.
        message: Text,
        /// Source file and line.
        location: Text,
    },
}

/// What a crash left of a file that had pending bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The file.
    pub path: Text,
    /// Its length now. Bytes that had been synced before are all there.
    pub len: u64,
}

impl RoomEvent {
    /// Where this event is heard.
    pub fn hall(&self) -> Hall {
        use RoomEvent::*;
        match self {
            ProcessStarted { .. } | ProcessExited { .. } | CrashLoop { .. } | Paused {} | Resumed {} => Hall::Process,
            ClockChanged { .. } => Hall::Clock,
            FileCreated { .. }
            | FileSynced { .. }
            | FileTruncated { .. }
            | FileRemoved { .. }
            | FileRenamed { .. }
            | DirSynced { .. }
            | DiskCrashed { .. }
            | DiskWiped {}
            | DiskFault { .. }
            | DiskError { .. } => Hall::Disk,
            FaultInjected { .. } | Healed {} | ConvergeStarted {} | ConvergeEnded { .. } | AtRest {} => Hall::Plan,
        }
    }

    /// The event's name as histories write it.
    pub fn name(&self) -> &'static str {
        use RoomEvent::*;
        match self {
            ProcessStarted { .. } => "process-started",
            ProcessExited { .. } => "process-exited",
            CrashLoop { .. } => "crash-loop",
            Paused {} => "paused",
            Resumed {} => "resumed",
            ClockChanged { .. } => "clock-changed",
            FileCreated { .. } => "file-created",
            FileSynced { .. } => "file-synced",
            FileTruncated { .. } => "file-truncated",
            FileRemoved { .. } => "file-removed",
            FileRenamed { .. } => "file-renamed",
            DirSynced { .. } => "dir-synced",
            DiskCrashed { .. } => "disk-crashed",
            DiskWiped {} => "disk-wiped",
            DiskFault { .. } => "disk-fault",
            DiskError { .. } => "disk-error",
            FaultInjected { .. } => "fault-injected",
            Healed {} => "healed",
            ConvergeStarted {} => "converge-started",
            ConvergeEnded { .. } => "converge-ended",
            AtRest {} => "at-rest",
        }
    }
}
