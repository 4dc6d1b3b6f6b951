//! All registries in one place: what `list` shows, and the vocabulary that plans are read with.
//!
//! Each registry stands with what it names; this file only joins them.

use crate::{
    catalog, check,
    plan::{FactSpec, FieldKind, Vocabulary},
    swarm,
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

/// Planted bugs of this program, which only tests switch on: a worker that dies, hangs, panics, or takes all it can get.
pub const WORKER_PLANTS: &[&str] =
    &["worker-aborts", "worker-allocates", "worker-hangs", "worker-overflows-stack", "worker-panics"];

/// The kinds of workload.
const WORKLOADS: &[(&str, &str)] =
    &[("registers", "Clients read, write and compare single keys, whose values are all different.")];

/// The failpoints and historic defects of all rooms of the node.
fn points() -> failpoints::Catalog {
    node::CATALOG
}

/// Every site of every room of the node.
pub fn sites() -> impl Iterator<Item = &'static failpoints::Site> {
    points().sites.iter().flat_map(|table| table.iter().copied())
}

/// Bugs that only tests switch on: in the node, and in this program.
fn plants() -> Vec<&'static str> {
    let of_node = node::plants::TABLE.iter().map(|plant| plant.id());
    of_node.chain(WORKER_PLANTS.iter().copied()).collect()
}

/// Every name that a plan may use.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        facts: facts(),
        defects: node::defects::TABLE.iter().map(|defect| defect.id()).collect(),
        plants: plants(),
        checks: check::list().iter().map(|check| check.name).collect(),
        sites: sites().map(|site| site.name()).collect(),
        scenarios: catalog::all().iter().map(|scenario| scenario.name).chain([swarm::NAME, "hand-written"]).collect(),
        histories: catalog::all().iter().flat_map(|scenario| scenario.histories).map(|history| history.name).collect(),
        releases: node::release::RELEASES.iter().map(|release| release.name).collect(),
        triggers: crate::trigger::ORDERS.iter().map(|order| order.name).collect(),
        workloads: WORKLOADS.iter().map(|(name, _)| *name).collect(),
        failpoint_action: Some(|text| {
            text.parse::<failpoints::Actions>().map(|_| ()).map_err(|error| error.to_string())
        }),
    }
}

/// Every fact that nodes state.
pub fn facts() -> Vec<FactSpec> {
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
    let entry = |defect: &failpoints::Defect| {
        let entry = Entry::new(defect.id(), defect.doc(), format!("cargo reenact run --defect {}", defect.id()))
            .with("upstream", defect.upstream())
            .with("mechanism", defect.mechanism());
        match catalog::of_defect(defect.id()) {
            Some((scenario, history)) => entry.with("scenario", scenario.name).with("caught by", history.check),
            None => entry.with("scenario", "none re-enacts it"),
        }
    };
    points().defects.iter().flat_map(|table| table.iter()).map(|defect| entry(defect)).collect()
}

/// Sites of failpoints, with the room that has each.
pub fn point_entries() -> Vec<Entry> {
    let entry = |site: &failpoints::Site| {
        let line = format!(
            "{{ at = \"1s\", do = \"failpoint\", node = \"store-1\", site = \"{}\", action = \"1*yield\" }}",
            site.name()
        );
        Entry::new(site.name(), site.doc(), line)
            .with("room", site.room())
            .with("waiting actions", if site.waits() { "yes" } else { "no" })
    };
    points().sites.iter().flat_map(|table| table.iter()).map(|site| entry(site)).collect()
}

/// Checks, with family, property and source.
pub fn check_entries() -> Vec<Entry> {
    check::list()
        .iter()
        .map(|check| {
            Entry::new(check.name, check.property, format!("cargo reenact run --without-check {}", check.name))
                .with("family", check.family)
                .with("class", check.class.as_str())
                .with("source", check.source)
        })
        .collect()
}

/// Releases.
pub fn release_entries() -> Vec<Entry> {
    let line = |name: &str| format!("{{ at = \"3s\", do = \"restart\", node = \"store-2\", release = \"{name}\" }}");
    let lists = |numbers: &[u8]| numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
    let entry = |release: &node::release::Release| {
        let back = release.may_roll_back_to.join(", ");
        Entry::new(release.name, "A release that a process may run as.", line(release.name))
            .with("blob header written", release.blob_header_written.to_string())
            .with("blob headers read", lists(release.blob_headers_read))
            .with("manifest tag written", release.manifest_tag_written.to_string())
            .with("manifest tags read", lists(release.manifest_tags_read))
            .with(
                "raft log",
                match release.raft_log {
                    node::release::RaftLogLayout::Old => "old",
                    node::release::RaftLogLayout::New => "new",
                    node::release::RaftLogLayout::NewImportingOld => "new, imports old",
                },
            )
            .with("wire", release.wire.to_string())
            .with("may roll back to", if back.is_empty() { "none".to_owned() } else { back })
    };
    node::release::RELEASES.iter().map(entry).collect()
}

/// Kinds of workload.
pub fn workload_entries() -> Vec<Entry> {
    let line = |name: &str| format!("workload = {{ kind = \"{name}\", clients = 3, rate = 40, keys = 128 }}");
    WORKLOADS.iter().map(|(name, doc)| Entry::new(*name, *doc, line(name))).collect()
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
