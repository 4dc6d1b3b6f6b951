//! After all faults are lifted the cluster comes to rest in time.
//!
//! Every region gets a leader, replicas agree, the workload makes progress. The runner watches for that during the
//! second phase and says at its end what is missing, each reason as `what: detail`; this check turns the reasons into one
//! failure that is named by its first.
//!
//! Source: liveness after stabilisation (TigerBeetle's liveness mode, FoundationDB's QuietDatabase).

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const CONVERGES: Entry = Entry {
    name: "converges",
    family: "liveness",
    class: Class::Liveness,
    property: "after all faults are lifted the cluster comes to rest within its bound",
    source: "liveness after stabilisation",
    hears: &[Hall::Plan],
    make: || Box::new(Converges { ended: 0 }),
};

struct Converges {
    ended: u64,
}

impl Check for Converges {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        let Body::Room(RoomEvent::ConvergeEnded { reasons }) = &event.body else { return Ok(()) };
        self.ended += 1;
        let Some(first) = reasons.first() else { return Ok(()) };
        let what = first.as_str().split(':').next().unwrap_or_default();
        let all: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
        Err(Violation::new("not-converged", all.join("; ")).at(what))
    }

    fn reached(&self) -> u64 {
        self.ended
    }
}
