//! A step of the plan that waits for a fact.

use node::fact::{Fact, Value};

use crate::{
    event::NodeId,
    plan::{FactValue, On},
};

/// One waiting step.
#[derive(Clone, Debug)]
pub struct Arm {
    position: usize,
    on: On,
    node: Option<NodeId>,
    /// True time until which it waits; `None` before it is armed.
    until_ns: Option<u64>,
    seen: u64,
    done: bool,
}

impl Arm {
    /// The step of this position in the plan waits for a fact of `node` (any without). It arms with
    /// [`Arm::begin`] or with the step that it comes after.
    pub fn new(position: usize, on: On, node: Option<NodeId>) -> Self {
        Self { position, on, node, until_ns: None, seen: 0, done: false }
    }

    /// Which step it is.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Chaos begins: a step that comes after none is armed.
    pub fn begin(&mut self, now_ns: u64) {
        if self.on.after.is_none() {
            self.until_ns = Some(now_ns + self.on.within.0);
        }
    }

    /// The step of this position has taken effect: one that comes after it is armed.
    pub fn earlier_step_done(&mut self, position: usize, now_ns: u64) {
        if self.on.after == Some(position as u64 + 1) && self.until_ns.is_none() {
            self.until_ns = Some(now_ns + self.on.within.0);
        }
    }

    /// Whether it may still take effect.
    pub fn is_waiting(&self, now_ns: u64) -> bool {
        !self.done && self.until_ns.is_some_and(|until_ns| now_ns <= until_ns)
    }

    /// Whether this fact sets it off.
    pub fn hears(&mut self, node: NodeId, fact: &Fact, now_ns: u64) -> bool {
        if !self.is_waiting(now_ns) || fact.name() != self.on.fact || self.node.is_some_and(|wanted| wanted != node) {
            return false;
        }
        if !self.on.fields.iter().all(|(name, wanted)| fact.field(name).is_some_and(|found| equal(wanted, &found))) {
            return false;
        }
        self.seen += 1;
        self.done = self.seen == self.on.nth;
        self.done
    }
}

fn equal(wanted: &FactValue, found: &Value<'_>) -> bool {
    match (wanted, found) {
        (FactValue::Number(wanted), Value::Number(found)) => wanted == found,
        (FactValue::Text(wanted), Value::Text(found)) => wanted == found,
        (FactValue::Flag(wanted), Value::Bool(found)) => wanted == found,
        _ => false,
    }
}
