//! Triggers: what has to come about for a run to prove anything, counted.
//!
//! A trigger is the name of a fact, or of an order of events that one fact cannot tell. Each is reached by the sound
//! node too: it says that the dangerous place was visited, not that something went wrong there.
//!
//! Not here: which history needs which trigger; the catalog says so.

mod order;

use crate::event::{Body, Event};

pub use order::{ORDERS, Order, OrderEntry};

/// The triggers of one plan.
pub struct Triggers {
    watched: Vec<Watched>,
}

struct Watched {
    name: String,
    count: u64,
    order: Option<Box<dyn Order>>,
}

impl Triggers {
    /// Watches for triggers by name: orders of this table, everything else is a fact.
    pub fn new(names: &[String]) -> Self {
        let watch = |name: &String| {
            let entry = ORDERS.iter().find(|entry| entry.name == name.as_str());
            Watched { name: name.clone(), count: 0, order: entry.map(|entry| (entry.make)()) }
        };
        Self { watched: names.iter().map(watch).collect() }
    }

    /// Takes an event in.
    #[inline]
    pub fn on(&mut self, event: &Event) {
        for watched in &mut self.watched {
            let reached = match (&mut watched.order, &event.body) {
                (Some(order), _) => order.on(event),
                (None, Body::Node(fact)) => fact.name() == watched.name,
                (None, _) => false,
            };
            watched.count += u64::from(reached);
        }
    }

    /// How often each was reached.
    pub fn counts(&self) -> Vec<(String, u64)> {
        self.watched.iter().map(|watched| (watched.name.clone(), watched.count)).collect()
    }
}
