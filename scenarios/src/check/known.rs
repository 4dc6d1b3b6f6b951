//! What all checks know together: the header, the clocks of the room, and the reference content of the regions.
//!
//! Brought up to date before any check hears an event. Only what more than one check needs, and nothing that a single
//! check could keep for itself.

use node::env::Instant;

use crate::event::{Body, Event, Header, NodeId, RoomEvent, Witness};

/// Knowledge shared by the checks.
pub struct Known {
    header: Header,
    clocks: Vec<Vec<Segment>>,
}

#[derive(Clone, Copy)]
struct Segment {
    true_ns: u64,
    local_ns: u64,
    rate_ppm: i64,
}

impl Known {
    pub(super) fn new(header: Header) -> Known {
        Known { clocks: vec![Vec::new(); header.nodes.len()], header }
    }

    pub(super) fn on(&mut self, event: &Event) {
        if let Body::Room(RoomEvent::ClockChanged { true_ns, local_ns, rate_ppm }) = &event.body {
            let segment = Segment { true_ns: *true_ns, local_ns: *local_ns, rate_ppm: *rate_ppm };
            let node = usize::from(event.node);
            if self.clocks.len() <= node {
                self.clocks.resize(node + 1, Vec::new());
            }
            self.clocks[node].push(segment);
        }
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

    /// When in true time the process's monotonic clock shows `local`, by what is known of its rate so far. None when
    /// the room has said nothing of that clock, or when it stands still and will not get there.
    pub fn true_time(&self, node: NodeId, local: Instant) -> Option<u64> {
        let segments = self.clocks.get(usize::from(node))?;
        let segment = segments.iter().rev().find(|segment| segment.local_ns <= local.0).or(segments.first())?;
        let rate = 1_000_000 + i128::from(segment.rate_ppm);
        if rate <= 0 {
            return None;
        }
        let ahead = i128::from(local.0) - i128::from(segment.local_ns);
        u64::try_from(i128::from(segment.true_ns) + ahead * 1_000_000 / rate).ok()
    }

    /// What the process's monotonic clock shows at true time `true_ns`.
    pub fn local_time(&self, node: NodeId, true_ns: u64) -> Option<Instant> {
        let segments = self.clocks.get(usize::from(node))?;
        let segment = segments.iter().rev().find(|segment| segment.true_ns <= true_ns).or(segments.first())?;
        let ahead = i128::from(true_ns) - i128::from(segment.true_ns);
        let local = i128::from(segment.local_ns) + ahead * (1_000_000 + i128::from(segment.rate_ppm)) / 1_000_000;
        u64::try_from(local).ok().map(Instant)
    }
}
