//! No process ends again and again soon after its start.
//!
//! The supervisor counts; what it calls a loop is a loop, unless the plan left a fault on that process's disk which a
//! sound store answers by stopping (a full disk, a failing sync): then it stops each time, as it should. The fault is
//! known from its being laid, or from the error that the last of these lives met.
//!
//! Source: tikv#18003 (a rollback that could not open its data).

use std::collections::BTreeMap;

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const NO_CRASH_LOOP: Entry = Entry {
    name: "no-crash-loop",
    family: "process",
    class: Class::Crash,
    property: "no process ends again and again without a standing fault on its disk",
    source: "tikv#18003",
    hears: &[Hall::Process, Hall::Disk, Hall::Plan],
    make: || Box::new(NoCrashLoop::default()),
};

#[derive(Default)]
struct NoCrashLoop {
    faulty: Vec<u16>,
    /// The lives that met an injected error last, and that ended last, by process.
    hurt: BTreeMap<NodeId, u32>,
    ended: BTreeMap<NodeId, u32>,
    starts: u64,
    last_exit: String,
}

impl NoCrashLoop {
    fn has_fault(&self, node: NodeId) -> bool {
        let life = self.ended.get(&node);
        self.faulty.contains(&node) || life.is_some() && life == self.hurt.get(&node)
    }
}

impl Check for NoCrashLoop {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Room(room) = &event.body else { return Ok(()) };
        match room {
            RoomEvent::ProcessStarted { .. } => self.starts += 1,
            RoomEvent::ProcessExited { cause } => {
                self.ended.insert(event.node, event.incarnation);
                self.last_exit = format!("{cause:?}");
            }
            RoomEvent::DiskError { injected: true, .. } => {
                self.hurt.insert(event.node, event.incarnation);
            }
            RoomEvent::DiskFault { .. } => self.faulty.push(event.node),
            RoomEvent::Healed {} => self.faulty.clear(),
            RoomEvent::CrashLoop { restarts } if !self.has_fault(event.node) => {
                let detail = format!("{} ended {restarts} times in a row: {}", known.name(event.node), self.last_exit);
                return Err(Violation::new("crash-loop", detail).at(&self.last_exit));
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.starts
    }
}
