//! The room's steps as what a check may see of them, and as faults that are counted.
//!
//! Frames and timers are no events: they name a divergence and judge nothing.

use crate::{
    event::{Exit, RoomEvent},
    room::{
        Step,
        event::{Cause, ClockChange, DiskEvent, DiskOp, Event as Seen, Fate, ProcessEvent},
    },
};

/// Whether a step is neither a fault nor an event: nearly all are such, or are facts, which come by themselves.
pub(super) fn says_nothing(step: &Step) -> bool {
    match &step.event {
        Seen::Fact(_) | Seen::Timer { .. } | Seen::Connection(_) => true,
        Seen::Frame(frame) => frame.fate == Fate::Delivered,
        Seen::Disk(disk) => {
            let moves_bytes = matches!(disk.op, DiskOp::Read | DiskOp::Write | DiskOp::Append);
            moves_bytes && !disk.faulted && disk.errno == 0
        }
        Seen::Process(_) | Seen::Clock(_) => false,
    }
}

/// The kind of fault that this step shows to have taken effect.
pub(super) fn fault(step: &Step) -> Option<&'static str> {
    match &step.event {
        Seen::Disk(disk) if disk.faulted => Some(match disk.op {
            DiskOp::Read => "disk-read",
            DiskOp::Write | DiskOp::Append => "disk-write",
            DiskOp::Sync | DiskOp::SyncDir => "disk-sync",
            _ => "disk-name",
        }),
        Seen::Frame(frame) => match frame.fate {
            Fate::Delivered => None,
            Fate::Dropped => Some("frame-dropped"),
            Fate::Duplicated => Some("frame-duplicated"),
            Fate::Stalled => Some("frame-stalled"),
            Fate::Delayed => Some("frame-delayed"),
            Fate::Reset => Some("connection-reset"),
        },
        _ => None,
    }
}

/// What a check sees of this step.
pub(super) fn room_event(step: &Step) -> Option<RoomEvent> {
    match &step.event {
        Seen::Disk(disk) => disk_event(disk),
        Seen::Process(process) => process_event(process),
        Seen::Clock(clock) => {
            let segment = &clock.segment;
            let wall_only = clock.change == ClockChange::WallStep;
            (!wall_only).then(|| RoomEvent::ClockChanged {
                true_ns: segment.true_ns,
                local_ns: segment.mono_ns,
                rate_ppm: i64::from(segment.drift_ppm),
            })
        }
        Seen::Frame(_) | Seen::Connection(_) | Seen::Timer { .. } | Seen::Fact(_) => None,
    }
}

fn process_event(process: &ProcessEvent) -> Option<RoomEvent> {
    Some(match process {
        // The release is known to whoever started the process, and stated there.
        ProcessEvent::Started { .. } | ProcessEvent::StopRequested | ProcessEvent::DiskCrashed => return None,
        ProcessEvent::Paused => RoomEvent::Paused {},
        ProcessEvent::Resumed => RoomEvent::Resumed {},
        ProcessEvent::CrashLoop { exits } => RoomEvent::CrashLoop { restarts: u64::from(*exits) },
        ProcessEvent::Exited(cause) => RoomEvent::ProcessExited {
            cause: match cause {
                Cause::Done => Exit::Stopped,
                Cause::Failed(why) => Exit::Exited(why.clone().into()),
                Cause::Panicked { message, location } => {
                    Exit::Panicked { message: message.clone().into(), location: location.clone().into() }
                }
                Cause::Killed => Exit::Killed,
                Cause::StopOverdue => Exit::Exited("asked to stop and did not in time".into()),
            },
        },
    })
}

fn disk_event(disk: &DiskEvent) -> Option<RoomEvent> {
    let path = || disk.path.clone().into();
    if disk.errno != 0 {
        return Some(RoomEvent::DiskError {
            op: op_name(disk.op).into(),
            path: path(),
            kind: kind_name(disk.errno).into(),
            injected: disk.faulted,
        });
    }
    Some(match disk.op {
        DiskOp::Create => RoomEvent::FileCreated { path: path() },
        DiskOp::Sync => RoomEvent::FileSynced { path: path(), durable: disk.durable_len },
        DiskOp::Truncate => RoomEvent::FileTruncated { path: path(), len: disk.len },
        DiskOp::Remove => RoomEvent::FileRemoved { path: path() },
        DiskOp::SyncDir => RoomEvent::DirSynced { path: path() },
        DiskOp::Rename => RoomEvent::FileRenamed { from: path(), to: disk.target.clone()?.into() },
        DiskOp::Open
        | DiskOp::CreateDir
        | DiskOp::Read
        | DiskOp::Write
        | DiskOp::Append
        | DiskOp::List
        | DiskOp::Metadata => return None,
    })
}

fn op_name(op: DiskOp) -> &'static str {
    match op {
        DiskOp::Open => "open",
        DiskOp::Create => "create",
        DiskOp::CreateDir => "create-dir",
        DiskOp::Read => "read",
        DiskOp::Write | DiskOp::Append => "write",
        DiskOp::Truncate => "truncate",
        DiskOp::Sync => "sync",
        DiskOp::SyncDir => "sync-dir",
        DiskOp::Rename => "rename",
        DiskOp::Remove => "remove",
        DiskOp::List => "list",
        DiskOp::Metadata => "stat",
    }
}

fn kind_name(errno: i32) -> &'static str {
    use std::io::ErrorKind;
    match std::io::Error::from_raw_os_error(errno).kind() {
        ErrorKind::NotFound => "not-found",
        ErrorKind::AlreadyExists => "already-exists",
        ErrorKind::StorageFull => "storage-full",
        ErrorKind::DirectoryNotEmpty => "directory-not-empty",
        ErrorKind::InvalidInput => "invalid-input",
        _ => "other",
    }
}
