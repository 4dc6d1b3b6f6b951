//! All registries in one place: what `list` shows, and the vocabulary that plans are read with.
//!
//! Each registry stands with what it names; this file only joins them.

use crate::{
    catalog,
    plan::{FactSpec, FieldKind, Vocabulary},
};

/// A row of any registry as `list` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub doc: String,
    /// What else there is to know, as key and value.
    pub details: Vec<(String, String)>,
    /// A line to copy.
    pub line: String,
}

impl Entry {
    /// A row without details.
    pub fn new(name: impl Into<String>, doc: impl Into<String>, line: impl Into<String>) -> Self {
        Self { name: name.into(), doc: doc.into().trim().to_owned(), details: Vec::new(), line: line.into() }
    }

    /// The same with one more detail.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((key.into(), value.into()));
        self
    }
}

/// Planted bugs of this program, which only tests switch on: a worker that dies, hangs or panics.
pub const WORKER_PLANTS: &[&str] = &["worker-aborts", "worker-hangs", "worker-panics"];

/// Every name that a plan may use.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        facts: facts(),
        defects: Vec::new(),
        plants: WORKER_PLANTS.to_vec(),
        checks: Vec::new(),
        sites: Vec::new(),
        scenarios: catalog::all().iter().map(|scenario| scenario.name).chain(["hand-written"]).collect(),
        histories: catalog::all().iter().flat_map(|scenario| scenario.histories).map(|history| history.name).collect(),
        releases: vec!["8.1.0"],
        workloads: vec!["registers"],
        failpoint_action: Some(|text| {
            text.parse::<failpoints::Actions>().map(|_| ()).map_err(|error| error.to_string())
        }),
    }
}

fn facts() -> Vec<FactSpec> {
    let kind = |kind: &str| match kind {
        "text" | "key" => FieldKind::Text,
        "bool" => FieldKind::Flag,
        _ => FieldKind::Number,
    };
    let spec = |fact: &node::fact::FactSpec| FactSpec {
        name: fact.name,
        doc: fact.doc,
        fields: fact.fields.iter().map(|field| (field.name.trim_start_matches("r#"), kind(field.kind))).collect(),
    };
    node::fact::Fact::specs().map(spec).collect()
}

/// Facts, with the room that states them and their fields.
pub fn fact_entries() -> Vec<Entry> {
    node::fact::Fact::specs()
        .map(|fact| {
            let fields: Vec<String> =
                fact.fields.iter().map(|f| format!("{}: {}", f.name.trim_start_matches("r#"), f.kind)).collect();
            let line = format!("on = {{ fact = \"{}\", node = \"store-1\" }}, within = \"5s\"", fact.name);
            Entry::new(fact.name, fact.doc, line).with("room", fact.room).with("fields", fields.join(", "))
        })
        .collect()
}

/// Scenarios, with their histories.
pub fn scenario_entries() -> Vec<Entry> {
    catalog::all()
        .iter()
        .map(|scenario| {
            let entry = Entry::new(scenario.name, scenario.doc, format!("cargo reenact run {}", scenario.name));
            scenario.histories.iter().fold(entry, |entry, history| entry.with(history.name, history.doc))
        })
        .collect()
}

/// Historic defects, with the scenario that re-enacts each and the check that must catch it.
pub fn defect_entries() -> Vec<Entry> {
    catalog::all()
        .iter()
        .flat_map(|scenario| scenario.histories.iter().map(move |history| (scenario, history)))
        .map(|(scenario, history)| {
            Entry::new(history.name, history.doc, format!("cargo reenact run --defect {}", history.name))
                .with("scenario", scenario.name)
                .with("caught by", history.check)
        })
        .collect()
}

/// Kinds of step, with fields, units and defaults.
pub fn step_entries() -> Vec<Entry> {
    let entry = |kind: &crate::plan::action::Kind| {
        kind.fields.iter().fold(Entry::new(kind.name, kind.doc, kind.example), |entry, field| {
            let default = match field.default.map(|text| text()) {
                None => "required".to_owned(),
                Some(text) if text.is_empty() => "optional".to_owned(),
                Some(text) => format!("default {text}"),
            };
            entry.with(field.name, format!("{} ({default}): {}", field.unit, field.doc.trim()))
        })
    };
    crate::plan::action::KINDS.iter().map(entry).collect()
}

/// Knobs, with units, defaults and ranges.
pub fn knob_entries() -> Vec<Entry> {
    crate::plan::knobs::TABLE
        .iter()
        .map(|row| {
            Entry::new(row.name, row.doc, format!("knobs = {{ \"{}\" = {} }}", row.name, row.default))
                .with("unit", row.default.unit())
                .with("default", row.default.to_string())
                .with("range", row.range())
        })
        .collect()
}
