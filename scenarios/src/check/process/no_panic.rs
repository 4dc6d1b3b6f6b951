//! No process ends by a panic.
//!
//! A store that must not go on states its cause and exits. A panic is a state that its authors held to be impossible, and
//! whatever the plan did to the process, no fault of the table excuses one. The site is the panic's place and words.
//!
//! Source: tikv#18030, tikv#2923.

use super::{
    super::{Check, Entry, Judged, Known, Violation},
    file_of,
};
use crate::{
    event::{Body, Event, Exit, Hall, RoomEvent},
    verdict::{self, Class},
};

/// The check's row.
pub const NO_PANIC: Entry = Entry {
    name: "no-panic",
    family: "process",
    class: Class::Crash,
    property: "no process ends by a panic",
    source: "tikv#18030, tikv#2923",
    hears: &[Hall::Process],
    make: || Box::new(NoPanic { exits: 0 }),
};

struct NoPanic {
    exits: u64,
}

impl Check for NoPanic {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Room(RoomEvent::ProcessExited { cause }) = &event.body else { return Ok(()) };
        self.exits += 1;
        let Exit::Panicked { message, location } = cause else { return Ok(()) };
        Err(Violation::new("panicked", format!("{} panicked at {location}: {message}", known.name(event.node)))
            .at(&format!("{} {}", file_of(location.as_str()), verdict::cause(message.as_str()))))
    }

    fn reached(&self) -> u64 {
        self.exits
    }
}
