//! Stories of processes, and of convergence.

use node::{engine::fact as engine, store::fact::lifecycle};
use scenarios::event::{Exit, RoomEvent};

use super::{Case, accuse, pass};

pub fn cases() -> Vec<Case> {
    let exited = |cause: Exit| RoomEvent::ProcessExited { cause };
    vec![
        accuse("no-panic", "panicked", "task", |s| {
            let message = "called `Result::unwrap()` on an `Err` value".into();
            s.room(2, exited(Exit::Panicked { message, location: "node/src/store/snapshot.rs:227:9".into() }));
        }),
        pass("no-panic", "killed-and-stopped", |s| {
            s.kill(1).start(1).room(2, exited(Exit::Stopped));
        }),
        accuse("no-crash-loop", "crash-loop", "after-restart", |s| {
            s.kill(2).start(2).room(2, exited(Exit::Killed)).room(2, RoomEvent::CrashLoop { restarts: 5 });
        }),
        pass("no-crash-loop", "the-last-life-met-an-error", |s| {
            s.start(2).room(2, failed_sync()).room(2, exited(Exit::Exited("the disk failed".into())));
            s.room(2, RoomEvent::CrashLoop { restarts: 5 });
        }),
        accuse("no-crash-loop", "crash-loop", "an-earlier-life-met-an-error", |s| {
            s.start(2).room(2, failed_sync()).room(2, exited(Exit::Exited("the disk failed".into())));
            s.start(2).room(2, exited(Exit::Killed)).room(2, RoomEvent::CrashLoop { restarts: 5 });
        }),
        pass("no-crash-loop", "full-disk", |s| {
            s.room(2, RoomEvent::DiskFault { kind: "no-space".into(), path: "".into() });
            s.room(
                2,
                RoomEvent::DiskError {
                    op: "write".into(),
                    path: "db/1.log".into(),
                    kind: "storage-full".into(),
                    injected: true,
                },
            );
            s.room(2, exited(Exit::Exited("the disk is full".into()))).room(2, RoomEvent::CrashLoop { restarts: 5 });
        }),
        accuse("errors-match-faults", "exit-without-fault", "exit", |s| {
            s.room(2, exited(Exit::Exited("sync failed".into())));
        }),
        pass("errors-match-faults", "format-refused", |s| {
            let refused = lifecycle::Fact::FormatRefused {
                path: "engine/000007.blob".into(),
                format: "blob-header".into(),
                version: 3,
                release: "8.1.0".into(),
            };
            s.fact(2, refused).fact(2, lifecycle::Fact::Failed { store: 0, cause: "a header of version 3".into() });
            s.room(2, exited(Exit::Exited("a header of version 3".into())));
        }),
        accuse("errors-match-faults", "corruption-without-fault", "corruption", |s| {
            s.room(2, RoomEvent::DiskFault { kind: "rot".into(), path: "db/000004.sst".into() });
            s.fact(2, engine::Fact::Corruption { path: "db/000007.sst".into(), detail: "checksum".into() });
        }),
        accuse("errors-match-faults", "error-without-fault", "write", |s| {
            s.room(
                2,
                RoomEvent::DiskError {
                    op: "write".into(),
                    path: "db/1.log".into(),
                    kind: "other".into(),
                    injected: false,
                },
            );
        }),
        pass("errors-match-faults", "injected", |s| {
            s.room(
                1,
                RoomEvent::DiskError {
                    op: "open".into(),
                    path: "CURRENT".into(),
                    kind: "not-found".into(),
                    injected: false,
                },
            );
            s.room(2, RoomEvent::DiskFault { kind: "rot".into(), path: "db/000004.sst".into() });
            s.fact(2, engine::Fact::Corruption { path: "db/000004.sst".into(), detail: "checksum".into() });
            s.fact(2, lifecycle::Fact::Failed { store: 2, cause: "corrupt data".into() });
            s.room(2, exited(Exit::Exited("corrupt data".into())));
        }),
        accuse("converges", "not-converged", "no-leader", |s| {
            let reasons = vec!["no leader: region 4".into(), "replicas differ: region 2".into()];
            s.room(0, RoomEvent::Healed {})
                .room(0, RoomEvent::ConvergeStarted {})
                .room(0, RoomEvent::ConvergeEnded { reasons });
        }),
        pass("converges", "at-rest", |s| {
            s.room(0, RoomEvent::Healed {}).room(0, RoomEvent::ConvergeStarted {});
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
    ]
}

fn failed_sync() -> RoomEvent {
    RoomEvent::DiskError { op: "sync".into(), path: "db/1.log".into(), kind: "other".into(), injected: true }
}
