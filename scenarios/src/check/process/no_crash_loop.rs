//! No process ends again and again soon after its start.
//!
//! The supervisor counts; what it calls a loop is a loop, unless the plan left a fault on that process's disk which a
//! sound store answers by stopping (a full disk, a failing sync): then it stops each time, as it should.
//!
//! Source: tikv#18003 (a rollback that could not open its data).

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
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
    make: || Box::new(NoCrashLoop { faulty: Vec::new(), starts: 0, last_exit: String::new() }),
};

struct NoCrashLoop {
    faulty: Vec<u16>,
    starts: u64,
    last_exit: String,
}

impl Check for NoCrashLoop {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Room(room) = &event.body else { return Ok(()) };
        match room {
            RoomEvent::ProcessStarted { .. } => self.starts += 1,
            RoomEvent::ProcessExited { cause } => self.last_exit = format!("{cause:?}"),
            RoomEvent::DiskFault { .. } => self.faulty.push(event.node),
            RoomEvent::Healed {} => self.faulty.clear(),
            RoomEvent::CrashLoop { restarts } if !self.faulty.contains(&event.node) => {
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
