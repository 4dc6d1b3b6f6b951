//! What can happen in a plan of the swarm: one row a kind, each of which draws its own details.

use sim::{Seed, Stream};

use crate::{
    plan::{
        Action, DiskFault, End, Keep, Key, Keys, Nanos, Node, Plan, PointAction, Ratio, Sides, SignedNanos, Site, Step,
        When,
    },
    registry,
};

/// A kind of thing that can happen.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What it is called; its streams of draws are split by this name.
    pub name: &'static str,
    /// Whether a cluster needs time to recover from it.
    pub is_shock: bool,
    /// One occurrence, if this plan's cluster allows it.
    pub draw: fn(&Plan, &mut Stream) -> Option<Action>,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    shock("bounce", |plan, stream| {
        let keep = *stream.pick(&[Keep::Seeded, Keep::Nothing, Keep::Prefix, Keep::Sectors])?;
        Some(Action::Bounce { node: store(plan, stream), keep, down: Nanos::millis(stream.range(10..=4_000)) })
    }),
    shock("bounce-pd", |_, stream| {
        let down = Nanos::millis(stream.range(10..=2_000));
        Some(Action::Bounce { node: Node::new("pd"), keep: Keep::Seeded, down })
    }),
    kind("pause", |plan, stream| Some(Action::Pause { node: store(plan, stream), lasting: a_while(stream) })),
    shock("partition", partition),
    shock("isolate", |plan, stream| Some(Action::Isolate { node: store(plan, stream), lasting: a_while(stream) })),
    kind("clog", |plan, stream| {
        let (from, to) = link(plan, stream)?;
        Some(Action::Clog { from, to, lasting: a_while(stream) })
    }),
    kind("slow-link", |plan, stream| {
        let (from, to) = link(plan, stream)?;
        Some(Action::SlowLink { from, to, delay: Nanos::millis(stream.range(5..=400)), lasting: a_while(stream) })
    }),
    kind("lossy", |plan, stream| {
        let (from, to) = link(plan, stream)?;
        let mut share = |most| Ratio::percent(stream.range(0..=most) as u32);
        let (drop, duplicate, reorder) = (share(40), share(30), share(30));
        Some(Action::Lossy { from, to, drop, duplicate, reorder, lasting: a_while(stream) })
    }),
    kind("clock-drift", |plan, stream| {
        let drift_ppm = stream.range(0..=40_000) as i64 - 20_000;
        Some(Action::Clock { node: store(plan, stream), drift_ppm, wall_step: SignedNanos(0) })
    }),
    kind("clock-step", |plan, stream| {
        let step = Nanos::millis(stream.range(1..=60_000)).0 as i64;
        let wall_step = SignedNanos(if stream.ratio(1, 2) { step } else { -step });
        Some(Action::Clock { node: any_node(plan, stream), drift_ppm: 0, wall_step })
    }),
    kind("disk-stall", |plan, stream| {
        let delay = Some(Nanos::millis(stream.range(1..=500)));
        disk(plan, stream, DiskFault::Stall, delay)
    }),
    kind("read-eio", |plan, stream| disk(plan, stream, DiskFault::ReadEio, None)),
    kind("short-read", |plan, stream| disk(plan, stream, DiskFault::ShortRead, None)),
    shock("write-eio", |plan, stream| disk(plan, stream, DiskFault::WriteEio, None)),
    shock("sync-eio", |plan, stream| disk(plan, stream, DiskFault::SyncEio, None)),
    shock("enospc", |plan, stream| disk(plan, stream, DiskFault::NoSpace, None)),
    kind("unreadable-stats", |plan, stream| {
        Some(Action::UnreadableStats { node: store(plan, stream), lasting: a_while(stream) })
    }),
    kind("split", |plan, stream| Some(Action::Split { key: key(plan, stream) })),
    kind("batch-split", |plan, stream| {
        let mut keys: Vec<Key> = (0..stream.range(2..=4)).map(|_| key(plan, stream)).collect();
        keys.sort();
        keys.dedup();
        Some(Action::BatchSplit { keys: Keys(keys) })
    }),
    kind("merge", |plan, stream| Some(Action::Merge { key: key(plan, stream), into: None })),
    shock("restore", |_, _| Some(Action::Restore {})),
    kind("cache-load", |plan, stream| {
        let node = stream.ratio(1, 2).then(|| store(plan, stream));
        Some(Action::CacheLoad { node, key: key(plan, stream) })
    }),
    kind("cache-evict", |plan, stream| {
        let node = stream.ratio(1, 2).then(|| store(plan, stream));
        Some(Action::CacheEvict { node, key: key(plan, stream) })
    }),
    kind("transfer-leader", |plan, stream| {
        Some(Action::TransferLeader { key: key(plan, stream), to: store(plan, stream) })
    }),
    kind("add-peer", |plan, stream| {
        let learner = stream.ratio(1, 3);
        Some(Action::AddPeer { key: key(plan, stream), store: store(plan, stream), learner })
    }),
    kind("remove-peer", |plan, stream| Some(Action::RemovePeer { key: key(plan, stream), store: store(plan, stream) })),
    kind("flush", |plan, stream| Some(Action::Flush { node: store(plan, stream) })),
    kind("compact", |plan, stream| Some(Action::Compact { node: store(plan, stream) })),
    kind("compact-log", |plan, stream| {
        let one = stream.ratio(1, 2);
        Some(Action::CompactLog { node: store(plan, stream), key: one.then(|| key(plan, stream)) })
    }),
    kind("gc-snapshots", |plan, stream| Some(Action::GcSnapshots { node: store(plan, stream) })),
    kind("compute-hash", |plan, stream| Some(Action::ComputeHash { key: key(plan, stream) })),
];

const fn kind(name: &'static str, draw: fn(&Plan, &mut Stream) -> Option<Action>) -> Kind {
    Kind { name, is_shock: false, draw }
}

const fn shock(name: &'static str, draw: fn(&Plan, &mut Stream) -> Option<Action>) -> Kind {
    Kind { name, is_shock: true, draw }
}

/// In half of the plans, sites are active with 25 %, each at one store or at all; an active one fires with 25 %.
pub(super) fn failpoints(plan: &Plan, root: Seed) -> Vec<Step> {
    let mut steps = Vec::new();
    if root.split("failpoints").stream().ratio(1, 2) {
        return steps;
    }
    for site in registry::sites() {
        let mut stream = root.split("site").split(site.name()).stream();
        if !stream.ratio(1, 4) {
            continue;
        }
        let wait = stream.range(1..=300);
        let action = match stream.below(3) {
            0 => "25%return".to_owned(),
            1 if site.waits() => "25%yield".to_owned(),
            _ if site.waits() => format!("25%sleep({wait}ms)"),
            _ => "25%return".to_owned(),
        };
        let everywhere = stream.ratio(1, 4);
        let one = stream.range(1..=plan.cluster.stores);
        for number in (1..=plan.cluster.stores).filter(|number| everywhere || *number == one) {
            let node = Node::new(format!("store-{number}"));
            let action = PointAction::new(action.clone());
            let action = Action::Failpoint { node, site: Site::new(site.name()), action };
            steps.push(Step { when: When::At(Nanos::ZERO), action });
        }
    }
    steps
}

fn store(plan: &Plan, stream: &mut Stream) -> Node {
    Node::new(format!("store-{}", stream.range(1..=plan.cluster.stores)))
}

fn any_node(plan: &Plan, stream: &mut Stream) -> Node {
    if stream.ratio(1, 4) { Node::new("pd") } else { store(plan, stream) }
}

fn key(plan: &Plan, stream: &mut Stream) -> Key {
    Key::new(format!("k{:04}", stream.below(plan.workload.keys)))
}

fn a_while(stream: &mut Stream) -> Option<Nanos> {
    Some(Nanos::millis(stream.range(50..=4_000)))
}

/// Two different ends of a link, in one direction.
fn link(plan: &Plan, stream: &mut Stream) -> Option<(End, End)> {
    let (from, to) = (any_node(plan, stream), any_node(plan, stream));
    (from != to).then(|| (End::new(from.as_str()), End::new(to.as_str())))
}

/// Halves, one against the rest, a bridge that all reach, or the placement driver alone; symmetric or not.
fn partition(plan: &Plan, stream: &mut Stream) -> Option<Action> {
    let mut ends: Vec<End> = (1..=plan.cluster.stores).map(|number| End::new(format!("store-{number}"))).collect();
    stream.shuffle(&mut ends);
    let sides = match stream.below(4) {
        0 => {
            let rest = ends.split_off(ends.len() / 2);
            vec![ends, rest]
        }
        1 => {
            let rest = ends.split_off(1);
            vec![ends, rest]
        }
        2 => {
            // The one that no side names reaches both.
            ends.pop();
            let rest = ends.split_off(ends.len() / 2);
            vec![ends, rest]
        }
        _ => vec![vec![End::new("pd")], ends],
    };
    Some(Action::Partition { sides: Sides(sides), symmetric: stream.ratio(2, 3), lasting: a_while(stream) })
}

fn disk(plan: &Plan, stream: &mut Stream, kind: DiskFault, delay: Option<Nanos>) -> Option<Action> {
    let count = Some(stream.range(1..=10));
    Some(Action::DiskFault { node: store(plan, stream), kind, path: None, count, delay, lasting: a_while(stream) })
}
