//! Metrics of a real process, derived from the facts that it states.
//!
//! There is no second account of what a node does: each metric is a row of one table that names the fact it follows, and
//! a test holds the table against the facts that exist. Labels are fields with few values, never ids or keys.
//!
//! Not here: how the metrics are asked for, which is HTTP and stands in `scrape`.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    env::Facts,
    fact::{Fact, Value},
};

/// One metric and the facts that it follows.
struct Row {
    name: &'static str,
    help: &'static str,
    /// Fields of the fact that become labels.
    labels: &'static [&'static str],
    follows: Follows,
}

enum Follows {
    /// Counts a fact.
    Count(&'static str),
    /// Counts the first fact up and each of the others down: how many there are now.
    Between(&'static str, &'static [&'static str]),
}

use Follows::{Between, Count};

const fn row(name: &'static str, help: &'static str, labels: &'static [&'static str], follows: Follows) -> Row {
    Row { name, help, labels, follows }
}

/// All metrics beside `facts`.
const TABLE: &[Row] = &[
    row("raft_role_changes", "Changes of a peer's role", &["role"], Count("role-changed")),
    row("raft_elections_won", "Elections won", &[], Count("elected")),
    row("requests_refused", "Requests refused, by reason", &["reason"], Count("request-refused")),
    row("region_transitions", "Changes of a region's range, epoch or peers", &["reason"], Count("region-changed")),
    row("region_splits", "Splits applied", &[], Count("split-applied")),
    row(
        "snapshots_building",
        "Snapshots being built",
        &[],
        Between("snapshot-generating", &["snapshot-generated", "snapshot-generate-failed"]),
    ),
    row("snapshots_built", "Snapshots built", &[], Count("snapshot-generated")),
    row("snapshots_applied", "Snapshots applied", &[], Count("snapshot-applied")),
    row("snapshot_build_failures", "Failed attempts to build a snapshot", &[], Count("snapshot-generate-failed")),
    row("snapshot_send_failures", "Failed attempts to send a snapshot", &[], Count("snapshot-send-failed")),
    row("snapshot_receive_failures", "Snapshots not received whole", &[], Count("snapshot-receive-failed")),
    row("snapshot_apply_failures", "Snapshots that could not be applied", &[], Count("snapshot-apply-failed")),
    row("snapshot_files_removed", "Snapshot files removed, by reason", &["reason"], Count("snapshot-file-removing")),
    row("resolves", "Questions for a store's address", &[], Count("resolve-asked")),
    row("resolve_failures", "Failed resolutions of a store's address", &["reason"], Count("resolve-failed")),
    row("stores_blocked", "Stores taken to be gone for good", &[], Count("store-blocked")),
    row("placement_reconnections", "New connections to the placement driver", &[], Count("placement-reconnected")),
    row("store_records", "Records of stores written, by the state in them", &["state"], Count("placement-store-put")),
    row("placement_unreachable", "Failed calls of the placement driver", &[], Count("placement-unreachable")),
    row("engine_flushes", "Memtables written to tables", &["family"], Count("engine-flushed")),
    row("engine_compactions", "Compactions", &["family"], Count("engine-compacted")),
    row("engine_corruptions", "Corruptions found", &[], Count("engine-corruption")),
    row("cache_transitions", "Changes of a cached region's state", &["from", "to"], Count("cache-transition")),
    row("cache_loads", "Regions loaded into the cache", &[], Count("cache-loaded")),
    row("cache_load_failures", "Loads that ended without success", &["cause"], Count("cache-load-failed")),
    row(
        "cache_unexpected_states",
        "Regions evicted for a state that should not be",
        &["at"],
        Count("cache-unexpected-state"),
    ),
    row("operators", "Operators under way, by kind", &["kind"], Between("operator-created", &["operator-ended"])),
    row("operators_ended", "Operators that ended", &["kind", "outcome"], Count("operator-ended")),
    row("recovery_stages", "Stages of unsafe recoveries, by the stage entered", &["stage"], Count("recovery-stage")),
];

type Labels = Vec<(&'static str, String)>;

enum Metric {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, Gauge>),
}

struct Follower {
    labels: &'static [&'static str],
    metric: Metric,
    /// What one fact adds.
    step: i64,
}

/// Counts facts. One for each process.
pub struct Metrics {
    registry: Mutex<Registry>,
    facts: Family<Labels, Counter>,
    followers: BTreeMap<&'static str, Vec<Follower>>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("reenact");
        let facts = Family::<Labels, Counter>::default();
        registry.register("facts", "Facts stated, by name", facts.clone());
        let mut followers: BTreeMap<_, Vec<Follower>> = BTreeMap::new();
        for &Row { name, help, labels, ref follows } in TABLE {
            let mut follow = |fact, metric, step| {
                followers.entry(fact).or_default().push(Follower { labels, metric, step });
            };
            match *follows {
                Count(fact) => {
                    let family = Family::<Labels, Counter>::default();
                    registry.register(name, help, family.clone());
                    follow(fact, Metric::Counter(family), 1);
                }
                Between(from, ends) => {
                    let family = Family::<Labels, Gauge>::default();
                    registry.register(name, help, family.clone());
                    follow(from, Metric::Gauge(family.clone()), 1);
                    for end in ends {
                        follow(end, Metric::Gauge(family.clone()), -1);
                    }
                }
            }
        }
        Metrics { registry: Mutex::new(registry), facts, followers }
    }

    /// Takes a fact into account.
    fn count(&self, fact: &Fact) {
        self.facts.get_or_create(&vec![("fact", fact.name().to_owned())]).inc();
        for Follower { labels, metric, step } in self.followers.get(fact.name()).into_iter().flatten() {
            let labels: Labels = labels.iter().map(|&label| (label, say(fact.field(label)))).collect();
            match metric {
                Metric::Counter(family) => {
                    family.get_or_create(&labels).inc();
                }
                Metric::Gauge(family) => {
                    family.get_or_create(&labels).inc_by(*step);
                }
            }
        }
    }

    /// All metrics in Prometheus' text form.
    pub fn render(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock()).expect("a string takes all text");
        out
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

fn say(value: Option<Value<'_>>) -> String {
    match value {
        Some(Value::Text(text)) => text.into_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        None => String::new(),
    }
}

/// States facts to somebody else, and counts them on the way.
pub(super) struct Counted {
    pub metrics: Arc<Metrics>,
    pub to: Arc<dyn Facts>,
}

impl Facts for Counted {
    fn state(&self, fact: Fact) {
        self.metrics.count(&fact);
        self.to.state(fact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fact::FactSpec, pd, store::fact::snapshot};

    fn spec(name: &str) -> &'static FactSpec {
        Fact::specs().find(|spec| spec.name == name).unwrap_or_else(|| panic!("no fact is called `{name}`"))
    }

    #[test]
    fn every_row_follows_facts_that_have_its_labels() {
        for Row { name, labels, follows, .. } in TABLE {
            let facts = match *follows {
                Count(fact) => vec![fact],
                Between(from, ends) => [&[from], ends].concat(),
            };
            for fact in facts {
                let fields = spec(fact).fields;
                for label in *labels {
                    let field = fields.iter().find(|field| field.name == *label);
                    let kind = field.map(|field| field.kind);
                    assert!(matches!(kind, Some("text" | "bool")), "{name}: `{label}` of `{fact}` is {kind:?}");
                }
            }
        }
    }

    #[test]
    fn a_snapshot_that_could_not_be_built_is_not_being_built() {
        let metrics = Metrics::new();
        let (region, peer) = (1, 11);
        for attempt in 0..3 {
            metrics.count(&snapshot::Fact::Generating { region, peer, term: 5, index: 9, attempt }.into());
        }
        metrics.count(&snapshot::Fact::GenerateFailed { region, peer, attempt: 0, cause: "no".into() }.into());
        let text = metrics.render();
        assert!(text.lines().any(|line| line == "reenact_snapshots_building{} 2"), "{text}");
    }

    #[test]
    fn what_is_stated_is_counted_and_what_ends_is_counted_down() {
        let metrics = Metrics::new();
        let kind = || "repair".into();
        for region in 1..=3 {
            metrics.count(&pd::fact::Fact::OperatorCreated { region, kind: kind(), store: 1 }.into());
        }
        metrics.count(&pd::fact::Fact::OperatorEnded { region: 2, kind: kind(), outcome: "done".into() }.into());
        let text = metrics.render();
        for line in [
            "reenact_operators{kind=\"repair\"} 2",
            "reenact_operators_ended_total{kind=\"repair\",outcome=\"done\"} 1",
            "reenact_facts_total{fact=\"operator-created\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }
}
