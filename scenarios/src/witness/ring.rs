//! The last events of a run. They are kept as they are and made text only when someone looks.

use crate::event::{Body, Event};

/// How many are kept.
const KEPT: usize = 30;

/// A value's text is cut here: a command's bytes are not a story.
const WIDTH: usize = 220;

pub(super) struct Ring {
    nodes: Vec<String>,
    events: Vec<(u64, Event)>,
    /// The oldest one, once the ring is full.
    first: usize,
}

impl Ring {
    pub(super) fn new(nodes: Vec<String>) -> Self {
        Self { nodes, events: Vec::with_capacity(KEPT), first: 0 }
    }

    pub(super) fn push(&mut self, step: u64, event: Event) {
        if self.events.len() < KEPT {
            return self.events.push((step, event));
        }
        // Events are large and many: each is moved once.
        self.events[self.first] = (step, event);
        self.first = (self.first + 1) % KEPT;
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let (newer, older) = self.events.split_at(self.first);
        older.iter().chain(newer).map(|(step, event)| self.line(*step, event)).collect()
    }

    fn line(&self, step: u64, event: &Event) -> String {
        let node = self.nodes.get(usize::from(event.node)).map_or("room", String::as_str);
        let (secs, micros) = (event.time_ns / 1_000_000_000, event.time_ns % 1_000_000_000 / 1_000);
        let what = match &event.body {
            Body::Node(fact) => serde_json::to_string(fact),
            Body::Room(event) => serde_json::to_string(event),
            Body::Client(event) => serde_json::to_string(event),
        };
        let mut what = what.unwrap_or_else(|error| error.to_string());
        if let Some((cut, _)) = what.char_indices().nth(WIDTH) {
            what.truncate(cut);
            what.push('…');
        }
        format!("#{step} {secs}.{micros:06}s {node}.{} {what}", event.incarnation)
    }
}
