//! What the generators of all scenarios share: shape, pace, workload, and the faults that go with a history.
//!
//! Each part draws from a stream of its own, split by name, so that a new kind of fault leaves every older part of
//! every plan as it was. Faults that go along stay within what the node promises to survive, and end before chaos does.
//!
//! Not here: the steps that make a history; those are its scenario's.

use sim::{Seed, Stream};

use super::{GenerateOptions, History, Scenario};
use crate::plan::{
    Action, Cluster, DiskFault, End, Keep, Key, Knobs, Mix, Nanos, Node, On, Plan, PointAction, Ratio, Release, Sides,
    Site, Step, When, Workload,
    knobs::{self, Between},
};

/// The release that scenarios run, unless releases are what they are about.
const RELEASE: &str = "8.5.0";

/// A plan in the making.
pub(super) struct Draft {
    /// The plan so far.
    pub plan: Plan,
    seed: Seed,
}

impl Draft {
    /// A plan of this scenario and seed with its shape drawn, and no steps.
    fn new(scenario: &str, seed: u64, defects: &[String]) -> Self {
        let root = Seed::new(seed).split("plan").split(scenario);
        let mut shape = root.split("shape").stream();
        let cluster = Cluster {
            stores: *shape.pick(&[3, 3, 3, 4, 5]).expect("a list"),
            tiflash: 0,
            spare: 0,
            release: Release::new(RELEASE),
            regions: shape.range(1..=4),
        };
        let mut knobs = pace(&mut root.split("knobs").stream());
        blobs(&mut knobs, &mut root.split("blobs").stream());
        let plan = Plan {
            scenario: scenario.to_owned(),
            history: None,
            seed,
            defects: defects.to_vec(),
            plant: Vec::new(),
            cluster,
            knobs,
            workload: workload(&mut root.split("workload").stream()),
            trigger: Vec::new(),
            steps: Vec::new(),
            converge_within: Nanos::secs(60),
            recorded: None,
        };
        Self { plan, seed: root }
    }

    /// A plan of a scenario's seed with its shape and its history drawn; one seed in `free_in` re-enacts nothing.
    pub fn of(scenario: &Scenario, seed: u64, options: &GenerateOptions, free_in: u64) -> Self {
        let mut draft = Self::new(scenario.name, seed, &options.defects);
        if let Some(history) = draft.history(scenario.histories, free_in, &options.defects) {
            draft.plan.history = Some(history.name.to_owned());
            draft.plan.trigger = history.trigger.iter().map(|&trigger| trigger.to_owned()).collect();
        }
        draft
    }

    /// A stream of draws for one purpose.
    pub fn stream(&self, purpose: &str) -> Stream {
        self.seed.split(purpose).stream()
    }

    /// One of `histories` for this seed, or none in one of `free_in` seeds. Fixed by the defects, if there are any.
    fn history(&self, histories: &'static [History], free_in: u64, wanted: &[String]) -> Option<&'static History> {
        let mut stream = self.stream("history");
        let wanted: Vec<_> = histories.iter().filter(|history| wanted.iter().any(|id| id == history.name)).collect();
        if !wanted.is_empty() {
            return stream.pick(&wanted).copied();
        }
        if stream.ratio(1, free_in) { None } else { stream.pick(histories) }
    }

    /// Adds a step at a time since chaos began, and returns its number, counted from 1.
    pub fn at(&mut self, at: Nanos, action: Action) -> u64 {
        self.push(When::At(at), action)
    }

    /// Adds a step a while after the step of this number.
    pub fn after(&mut self, step: u64, wait: Nanos, action: Action) -> u64 {
        self.push(When::After { step, wait }, action)
    }

    /// Adds a step that takes effect when a fact is stated.
    pub fn on(&mut self, on: On, action: Action) -> u64 {
        self.push(When::On(on), action)
    }

    fn push(&mut self, when: When, action: Action) -> u64 {
        self.plan.steps.push(Step { when, action });
        self.plan.steps.len() as u64
    }

    /// A store's name.
    pub fn store(number: u64) -> Node {
        Node::new(format!("store-{number}"))
    }

    /// Adds faults of all kinds, each in or out with one half: for seeds that re-enact nothing on purpose.
    pub fn free_faults(&mut self) {
        let mut stream = self.stream("free-faults");
        let last = self.plan.workload.lasting;
        let mut time = |from: u64| Nanos::millis(stream.range(from..=(last.0 / 1_000_000).max(from + 1)));
        let times: Vec<Nanos> = (0..8).map(|_| time(500)).collect();
        for (kind, at) in times.into_iter().enumerate() {
            let mut stream = self.seed.split("free-fault").split(kind as u64).stream();
            if stream.ratio(1, 2) {
                continue;
            }
            let node = Self::store(stream.range(1..=self.plan.cluster.stores));
            let action = self.free_fault(kind, node, &mut stream);
            self.at(at, action);
        }
    }

    fn free_fault(&self, kind: usize, node: Node, stream: &mut Stream) -> Action {
        let stores = self.plan.cluster.stores;
        let lasting = Some(Nanos::millis(stream.range(200..=2_500)));
        let end = |node: &Node| End::new(node.as_str());
        let other = Self::store(1 + (stream.range(1..=stores) % stores));
        match kind {
            0 | 1 => {
                let keep = *stream.pick(&[Keep::Seeded, Keep::Nothing, Keep::Prefix, Keep::Sectors]).expect("a list");
                Action::Bounce { node, keep, down: Nanos::millis(stream.range(10..=3_000)) }
            }
            2 => {
                let rest = (1..=stores).map(Self::store).filter(|name| *name != node).map(|name| end(&name)).collect();
                let symmetric = stream.ratio(1, 2);
                Action::Partition { sides: Sides(vec![vec![end(&node)], rest]), symmetric, lasting }
            }
            3 => Action::Isolate { node, lasting },
            4 => Action::Pause { node, lasting },
            5 if other != node => Action::Lossy {
                from: end(&node),
                to: end(&other),
                drop: Ratio::percent(stream.range(1..=30) as u32),
                duplicate: Ratio::percent(stream.range(0..=20) as u32),
                reorder: Ratio::percent(stream.range(0..=20) as u32),
                lasting,
            },
            6 if other != node => {
                let delay = Nanos::millis(stream.range(5..=300));
                Action::SlowLink { from: end(&node), to: end(&other), delay, lasting }
            }
            _ => Action::DiskFault {
                node,
                kind: DiskFault::Stall,
                path: None,
                count: Some(stream.range(1..=20)),
                delay: Some(Nanos::millis(stream.range(1..=200))),
                lasting,
            },
        }
    }

    /// Adds a mild fault or two that leave a history's own order alone.
    pub fn company(&mut self) {
        let mut stream = self.stream("company");
        if stream.ratio(1, 2) {
            let node = Self::store(stream.range(1..=self.plan.cluster.stores));
            let drift_ppm = stream.range(0..=400) as i64 - 200;
            self.at(
                Nanos::millis(stream.range(1..=2_000)),
                Action::Clock { node, drift_ppm, wall_step: crate::plan::SignedNanos(0) },
            );
        }
        if stream.ratio(1, 3) {
            let (from, to) = (stream.range(1..=self.plan.cluster.stores), stream.range(1..=self.plan.cluster.stores));
            if from != to {
                self.at(
                    Nanos::millis(stream.range(1..=4_000)),
                    Action::Lossy {
                        from: End::new(Self::store(from).as_str()),
                        to: End::new(Self::store(to).as_str()),
                        drop: Ratio::percent(stream.range(1..=5) as u32),
                        duplicate: Ratio::percent(stream.range(0..=5) as u32),
                        reorder: Ratio::ZERO,
                        lasting: Some(Nanos::millis(stream.range(200..=2_000))),
                    },
                );
            }
        }
        if stream.ratio(1, 4) {
            self.plan
                .knobs
                .set(knobs::DISK_SYNC, Between::new(Nanos::micros(500), Nanos::millis(stream.range(1..=10))));
        }
    }
}

/// A fact that is waited for, anywhere, the first time, for as long as chaos may last.
pub(super) fn on(fact: &str) -> On {
    On {
        fact: fact.to_owned(),
        node: None,
        nth: 1,
        fields: std::collections::BTreeMap::new(),
        within: Nanos::secs(8),
        after: None,
    }
}

/// All stores of a plan that run from the start.
pub(super) fn stores(draft: &Draft) -> Vec<Node> {
    (1..=draft.plan.cluster.stores).map(Draft::store).collect()
}

/// Sets a failpoint.
pub(super) fn point(node: &Node, site: &str, action: impl Into<String>) -> Action {
    Action::Failpoint { node: node.clone(), site: Site::new(site), action: PointAction::new(action) }
}

/// A key of the workload by its number.
pub(super) fn key_in(number: u64) -> Key {
    Key::new(format!("k{number:04}"))
}

/// Ticks, timeouts and sizes: small enough that everything happens in a few simulated seconds.
fn pace(stream: &mut Stream) -> Knobs {
    let mut knobs = Knobs::default();
    let tick = Nanos::millis(*stream.pick(&[20, 50, 50, 100]).expect("a list"));
    if tick != knobs.get(knobs::RAFT_TICK) {
        knobs.set(knobs::RAFT_TICK, tick);
        // The lease stays safely below the election timeout of ten ticks.
        knobs.set(knobs::RAFT_LEASE, Nanos(tick.0 * 8));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::ENGINE_MEMTABLE, crate::plan::Size::kib(*stream.pick(&[4, 16, 32]).expect("a list")));
    }
    if stream.ratio(1, 3) {
        knobs.set(knobs::RAFT_HIBERNATE, true);
    }
    if stream.ratio(1, 3) {
        let most = Nanos::millis(stream.range(1..=8));
        knobs.set(knobs::NET_DELAY, Between::new(Nanos::micros(100), most));
    }
    if stream.ratio(1, 3) {
        knobs.set(knobs::SNAPSHOT_GC_TICK, Nanos::millis(stream.range(100..=2_000)));
    }
    if stream.ratio(1, 3) {
        knobs.set(knobs::RAFT_LOG_GC_ENTRIES, stream.range(8..=128));
    }
    // Few plans write so much that the default is ever full.
    if !knobs.iter().any(|(name, _)| name == knobs::ENGINE_MEMTABLE.name()) && stream.ratio(2, 3) {
        knobs.set(knobs::ENGINE_MEMTABLE, crate::plan::Size::kib(64));
    }
    knobs
}

/// Now and then values are large enough for blob files, which are collected early or late.
fn blobs(knobs: &mut Knobs, stream: &mut Stream) {
    if stream.ratio(1, 4) {
        knobs.set(knobs::ENGINE_BLOB_THRESHOLD, crate::plan::Size(stream.range(256..=1_024)));
        knobs.set(knobs::ENGINE_BLOB_GC_RATIO, Ratio::percent(*stream.pick(&[10, 50, 90]).expect("a list")));
    }
}

fn workload(stream: &mut Stream) -> Workload {
    let mut mix = Mix::default();
    if stream.ratio(1, 3) {
        mix.put *= 3;
    }
    if stream.ratio(1, 4) {
        mix.follower_read *= 3;
    }
    Workload {
        clients: stream.range(2..=5),
        rate: stream.range(40..=200),
        keys: *stream.pick(&[16, 64, 128, 256]).expect("a list"),
        value_bytes: *stream.pick(&[[16, 64], [16, 1_024], [256, 4_096]]).expect("a list"),
        lasting: Nanos::secs(stream.range(6..=10)),
        mix,
        ..Workload::default()
    }
}
