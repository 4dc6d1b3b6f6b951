//! What all checks know together: the header, the clocks of the room, the reference content of the regions, and where
//! unsafe recovery has cut their histories.
//!
//! Brought up to date before any check hears an event. Only what more than one check needs, and nothing that a single
//! check could keep for itself.

pub mod cuts;
pub mod files;
pub mod ledger;

use node::{env::Instant, fact::Fact};

use super::reference::Reference;
use crate::event::{Body, Event, Header, NodeId, RoomEvent, Witness};

pub use cuts::Cuts;
pub use files::Files;
pub use ledger::Ledger;

/// Knowledge shared by the checks.
pub struct Known {
    header: Header,
    clocks: Vec<Option<Segment>>,
    files: Files,
    ledger: Ledger,
    cuts: Cuts,
    /// None when no check of the run needs it.
    reference: Option<Reference>,
}

#[derive(Clone, Copy)]
struct Segment {
    true_ns: u64,
    local_ns: u64,
    rate_ppm: i64,
}

impl Known {
    pub(super) fn new(header: Header, with_content: bool) -> Known {
        let reference = with_content.then(|| Reference::new(header.whole));
        Known {
            clocks: vec![None; header.nodes.len()],
            files: Files::default(),
            ledger: Ledger::default(),
            cuts: Cuts::default(),
            reference,
            header,
        }
    }

    #[inline]
    pub(super) fn on(&mut self, event: &Event) {
        match &event.body {
            Body::Node(Fact::Apply(node::store::fact::apply::Fact::Applied {
                region,
                index,
                term,
                kind,
                command,
                ..
            })) => {
                if let Some(reference) = &mut self.reference {
                    reference.apply(*region, *index, *term, kind.as_str(), command);
                }
            }
            Body::Node(Fact::Region(node::store::fact::region::Fact::Changed { region, reason, .. }))
                if reason.as_str() == "create" && region.is_initialized() =>
            {
                if let Some(reference) = &mut self.reference {
                    reference.create(region.id, region.epoch);
                }
            }
            Body::Room(RoomEvent::ClockChanged { true_ns, local_ns, rate_ppm }) => {
                let segment = Segment { true_ns: *true_ns, local_ns: *local_ns, rate_ppm: *rate_ppm };
                let node = usize::from(event.node);
                if self.clocks.len() <= node {
                    self.clocks.resize(node + 1, None);
                }
                self.clocks[node] = Some(segment);
            }
            Body::Client(client) => self.ledger.on(event.seq, client),
            Body::Room(room) => self.files.on(event.node, room),
            _ => {}
        }
        self.cuts.on(event, self.reference.as_mut());
    }

    /// The reference content of the regions.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// Where unsafe recovery has cut histories.
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// What clients asked and got.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The files of the processes.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Whether a witness speaks in this history.
    pub fn has(&self, witness: Witness) -> bool {
        self.header.has(witness)
    }

    /// Whether the history begins with a new cluster.
    pub fn is_whole(&self) -> bool {
        self.header.whole
    }

    /// A process's name.
    pub fn name(&self, node: NodeId) -> &str {
        self.header.nodes.get(usize::from(node)).map_or("?", String::as_str)
    }

    /// How many processes there are.
    pub fn nodes(&self) -> usize {
        self.header.nodes.len()
    }

    /// What the process's monotonic clock shows at true time `true_ns`, not before the last change of its rate. None
    /// when the room has said nothing of that clock.
    pub fn local_time(&self, node: NodeId, true_ns: u64) -> Option<Instant> {
        let segment = self.clocks.get(usize::from(node))?.as_ref()?;
        if segment.rate_ppm == 0 {
            // Few clocks drift, and the division of wide numbers is slow.
            return (segment.local_ns + true_ns).checked_sub(segment.true_ns).map(Instant);
        }
        let ahead = i128::from(true_ns) - i128::from(segment.true_ns);
        let local = i128::from(segment.local_ns) + ahead * (1_000_000 + i128::from(segment.rate_ppm)) / 1_000_000;
        u64::try_from(local).ok().map(Instant)
    }
}

/// Whether a check judges by the reference content.
pub(super) fn needs_content(check: &str) -> bool {
    matches!(check, "content-equals-reference" | "snapshot-equals-state" | "acknowledged-writes-survive")
}
