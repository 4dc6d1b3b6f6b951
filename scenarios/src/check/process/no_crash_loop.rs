//! No process ends again and again soon after its start.
//!
//! The supervisor counts; what it calls a loop is a loop, unless the plan left a fault on that process's disk which a
//! sound store answers by stopping (a full disk, a failing sync): then it stops each time, as it should. The fault is
//! known from its being laid, or from the error that the last of these lives met.
//!
//! Source: tikv#18003 (a rollback that could not open its data).

use std::collections::BTreeMap;

use super::{
    super::{Check, Entry, Judged, Known, Violation},
    file_of,
};
use crate::{
    event::{Body, Event, Exit, Hall, NodeId, RoomEvent},
    verdict::{Class, cause},
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
    /// The lives that met an injected error last, and that ended last and how, by process.
    hurt: BTreeMap<NodeId, u32>,
    ended: BTreeMap<NodeId, (u32, Exit)>,
    starts: u64,
}

impl NoCrashLoop {
    fn has_fault(&self, node: NodeId) -> bool {
        let life = self.ended.get(&node).map(|(life, _)| life);
        self.faulty.contains(&node) || life.is_some() && life == self.hurt.get(&node)
    }
}

impl Check for NoCrashLoop {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Room(room) = &event.body else { return Ok(()) };
        match room {
            RoomEvent::ProcessStarted { .. } => self.starts += 1,
            RoomEvent::ProcessExited { cause } => {
                self.ended.insert(event.node, (event.incarnation, cause.clone()));
            }
            RoomEvent::DiskError { injected: true, .. } => {
                self.hurt.insert(event.node, event.incarnation);
            }
            RoomEvent::DiskFault { .. } => self.faulty.push(event.node),
            RoomEvent::Healed {} => self.faulty.clear(),
            RoomEvent::CrashLoop { restarts } if !self.has_fault(event.node) => {
                let last = self.ended.get(&event.node).map(|(_, exit)| exit);
                let (how, site) = last.map_or_else(Default::default, |exit| match exit {
                    Exit::Stopped => ("stopped".to_owned(), "stopped".to_owned()),
                    Exit::Killed => ("killed".to_owned(), "killed".to_owned()),
                    Exit::Exited(why) => (why.to_string(), cause(why.as_str())),
                    Exit::Panicked { message, location } => {
                        (format!("panicked at {location}: {message}"), file_of(location.as_str()))
                    }
                });
                let detail = format!("{} ended {restarts} times in a row, at last: {how}", known.name(event.node));
                return Err(Violation::new("crash-loop", detail).at(&site));
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.starts
    }
}
