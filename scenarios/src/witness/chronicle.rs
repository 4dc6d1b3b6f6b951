//! What happened in a run, in a few lines for people: the plan's steps as they took effect, and what changed who is there, who
//! leads, and where a region's data is.
//!
//! Kept as it comes, from the moment when clients begin, and made text only when somebody was accused. Of a long run the end
//! is kept.
//!
//! Not here: the last events one by one (`ring`), which tell of the last milliseconds.

use std::{cmp::Reverse, collections::VecDeque};

use node::fact::Fact;
use serde_json::Value;

use super::Accusation;
use crate::{
    event::{Body, Event, Exit, RoomEvent},
    plan::Action,
};

/// So many lines are kept.
const KEPT: usize = 40;

/// A line is cut here.
const WIDTH: usize = 150;

/// Facts that belong to the story of any failure.
const TOLD: &[&str] = &[
    "elected",
    "leader-transfer-started",
    "peer-created",
    "peer-destroyed",
    "split-applied",
    "conf-changed",
    "merge-prepared",
    "merge-committed",
    "merge-rolled-back",
    "merge-source-destroyed",
    "snapshot-generated",
    "snapshot-apply-started",
    "snapshot-applied",
    "cache-transition",
    "force-leader-entered",
    "voters-demoted",
    "empty-region-created",
    "recovery-begun",
    "recovery-stage",
    "recovery-ended",
    "placement-started",
    "placement-store-deleted",
    "operator-created",
    "engine-corruption",
    "format-refused",
    "release-refused",
    "store-failed",
];

/// Fields of a fact that say nothing to a person.
const SILENT: &[&str] = &["room", "fact", "event", "instance", "digest"];

pub(super) struct Chronicle {
    nodes: Vec<String>,
    /// By room and number, as [`Fact::place`] has it.
    is_told: [Vec<bool>; 10],
    /// When clients began; nothing is kept before.
    began_ns: Option<u64>,
    entries: VecDeque<(u64, Entry)>,
    left_out: u64,
}

enum Entry {
    Step(usize, Action),
    Event(Event),
}

impl Chronicle {
    pub(super) fn new(nodes: Vec<String>) -> Self {
        let is_told = Fact::rooms().map(|specs| specs.iter().map(|spec| TOLD.contains(&spec.name)).collect());
        Self { nodes, is_told, began_ns: None, entries: VecDeque::new(), left_out: 0 }
    }

    pub(super) fn begin(&mut self, now_ns: u64) {
        self.began_ns = Some(now_ns);
    }

    /// The step of this position takes effect.
    pub(super) fn step(&mut self, time_ns: u64, position: usize, action: &Action) {
        self.keep(time_ns, Entry::Step(position, action.clone()));
    }

    /// Something happened; `is_awaited` when a step waited for it.
    #[inline]
    pub(super) fn on(&mut self, event: &Event, is_awaited: bool) {
        let is_told = match &event.body {
            Body::Node(fact) => {
                let (room, number) = fact.place();
                is_awaited || self.is_told[room][number]
            }
            Body::Room(RoomEvent::ProcessStarted { .. } | RoomEvent::ProcessExited { .. }) => {
                self.nodes.get(usize::from(event.node)).is_some_and(|name| !name.starts_with("client-"))
            }
            Body::Room(RoomEvent::Healed {}) => true,
            _ => false,
        };
        if is_told {
            self.keep(event.time_ns, Entry::Event(event.clone()));
        }
    }

    fn keep(&mut self, time_ns: u64, entry: Entry) {
        if self.began_ns.is_none() {
            return;
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
            self.left_out += 1;
        }
        self.entries.push_back((time_ns, entry));
    }

    /// Time since clients began, and what happened; at last, who accuses.
    pub(super) fn lines(&self, accusation: &Accusation) -> Vec<String> {
        let rest = (self.left_out > 0).then(|| format!("{} earlier lines are left out", self.left_out));
        let told = self.entries.iter().map(|(time_ns, entry)| self.line(*time_ns, &self.text(entry)));
        let Accusation { violation, time_ns, .. } = accusation;
        let end = self.line(*time_ns, &format!("{}: {}", violation.check, violation.headline()));
        rest.into_iter().chain(told).chain([end]).collect()
    }

    fn line(&self, time_ns: u64, text: &str) -> String {
        let millis = time_ns.saturating_sub(self.began_ns.unwrap_or_default()) / 1_000_000;
        let mut line = format!("{:>4}.{:03}s  {text}", millis / 1_000, millis % 1_000);
        if let Some((cut, _)) = line.char_indices().nth(WIDTH) {
            line.truncate(cut);
            line.push('…');
        }
        line
    }

    fn text(&self, entry: &Entry) -> String {
        let event = match entry {
            Entry::Step(position, action) => {
                let mut text = format!("step {}: {}", position + 1, action.kind());
                action.write(&mut text);
                return text;
            }
            Entry::Event(event) => event,
        };
        let node = self.nodes.get(usize::from(event.node)).map_or("room", String::as_str);
        match &event.body {
            Body::Room(RoomEvent::ProcessStarted { release }) => format!("{node} starts as {release}"),
            Body::Room(RoomEvent::ProcessExited { cause }) => match cause {
                Exit::Stopped => format!("{node} stops, as it was told"),
                Exit::Killed => format!("{node} is killed"),
                Exit::Exited(why) => format!("{node} ends: {why}"),
                Exit::Panicked { message, .. } => format!("{node} panics: {message}"),
            },
            Body::Room(_) => "everything is healed".to_owned(),
            Body::Node(fact) => format!("{node}: {}{}", fact.name(), fields(fact)),
            Body::Client(_) => format!("{node} is answered"),
        }
    }
}

/// What a fact says, as far as it fits a line: numbers, words, and of greater things their ids. Whom it is about comes first.
fn fields(fact: &Fact) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(fact) else { return String::new() };
    let mut text = String::new();
    let mut fields: Vec<_> = fields.iter().filter(|(name, _)| !SILENT.contains(&name.as_str())).collect();
    fields.sort_by_key(|(name, _)| Reverse((*name == "region", *name == "peer")));
    for (name, value) in fields {
        let said = match value {
            Value::Number(number) => number.to_string(),
            Value::String(words) if words.is_empty() => continue,
            Value::String(words) => words.clone(),
            Value::Bool(true) => String::new(),
            Value::Object(of) => match of.get("id") {
                Some(id) => id.to_string(),
                None => continue,
            },
            _ => continue,
        };
        let comma = if text.is_empty() { "" } else { "," };
        text.push_str(format!("{comma} {name} {said}").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_that_is_told_is_one() {
        let unknown: Vec<_> = TOLD.iter().filter(|told| Fact::specs().all(|spec| spec.name != **told)).collect();
        assert!(unknown.is_empty(), "no facts: {unknown:?}");
    }
}
