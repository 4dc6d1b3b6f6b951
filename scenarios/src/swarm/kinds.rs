//! What can happen often in a plan of the swarm: one row a kind, each of which draws its own details.

use sim::Stream;

use super::{
    gesture::{self, Gesture, Scene, a_while, some_time},
    points,
};
use crate::plan::{
    Action, Cluster, DiskFault, End, Keep, Key, Keys, Nanos, Node, Ratio, Release, Sides, SignedNanos, knobs,
};

/// A kind of thing that can happen.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What it is called; its streams of draws are split by this name.
    pub name: &'static str,
    /// Whether a cluster needs time to recover from it.
    pub is_shock: bool,
    /// One occurrence, if this plan's cluster allows it.
    pub draw: fn(&Scene<'_>, &mut Stream) -> Option<Gesture>,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    shock("bounce", |scene, stream| {
        one(Action::Bounce { node: scene.store(stream), keep: keep(stream), down: some_time(stream) })
    }),
    shock("bounce-any", |scene, stream| {
        let node = running(scene, stream)?;
        one(Action::Bounce { node, keep: keep(stream), down: Nanos::millis(stream.range(10..=2_000)) })
    }),
    shock("crash", |scene, stream| one(Action::Crash { node: scene.store(stream), keep: keep(stream) })),
    shock("stop", |scene, stream| {
        let node = scene.store(stream);
        let start = gesture::restart(node.clone(), None);
        Some(vec![(Nanos::ZERO, Action::Stop { node }), (Nanos::millis(stream.range(1_000..=4_000)), start)].into())
    }),
    kind("pause", |scene, stream| one(Action::Pause { node: scene.process(stream), lasting: Some(a_while(stream)) })),
    shock("partition", partition),
    shock("isolate", |scene, stream| {
        one(Action::Isolate { node: scene.process(stream), lasting: Some(a_while(stream)) })
    }),
    kind("clog", |scene, stream| {
        let (from, to) = scene.link(stream)?;
        one(Action::Clog { from, to, lasting: Some(a_while(stream)) })
    }),
    kind("slow-link", |scene, stream| {
        let (from, to) = scene.link(stream)?;
        one(Action::SlowLink { from, to, delay: Nanos::millis(stream.range(5..=400)), lasting: Some(a_while(stream)) })
    }),
    kind("lossy", |scene, stream| {
        let (from, to) = scene.link(stream)?;
        let mut share = |most| Ratio::percent(stream.range(0..=most) as u32);
        let (drop, duplicate, reorder) = (share(40), share(30), share(30));
        one(Action::Lossy { from, to, drop, duplicate, reorder, lasting: Some(a_while(stream)) })
    }),
    kind("reset-connections", |scene, stream| {
        let (node, other) = (scene.process(stream), scene.process(stream));
        let with = (stream.ratio(1, 2) && node != other).then(|| End::new(other.as_str()));
        one(Action::ResetConnections { node, with })
    }),
    kind("clock-drift", |scene, stream| {
        // Up to what leases are promised to be safe with.
        let drift_ppm = stream.range(0..=90_000) as i64 - 45_000;
        one(Action::Clock { node: scene.store(stream), drift_ppm, wall_step: SignedNanos(0) })
    }),
    kind("clock-step", |scene, stream| {
        let step = Nanos::millis(stream.range(1..=60_000)).0 as i64;
        let wall_step = SignedNanos(if stream.ratio(1, 2) { step } else { -step });
        one(Action::Clock { node: scene.process(stream), drift_ppm: 0, wall_step })
    }),
    kind("disk-stall", |scene, stream| {
        let delay = Some(Nanos::millis(stream.range(1..=500)));
        disk(scene, stream, DiskFault::Stall, delay)
    }),
    kind("read-eio", |scene, stream| disk(scene, stream, DiskFault::ReadEio, None)),
    kind("short-read", |scene, stream| disk(scene, stream, DiskFault::ShortRead, None)),
    shock("write-eio", |scene, stream| disk(scene, stream, DiskFault::WriteEio, None)),
    shock("sync-eio", |scene, stream| disk(scene, stream, DiskFault::SyncEio, None)),
    shock("enospc", |scene, stream| disk(scene, stream, DiskFault::NoSpace, None)),
    kind("unreadable-stats", |scene, stream| {
        one(Action::UnreadableStats { node: scene.store(stream), lasting: Some(a_while(stream)) })
    }),
    kind("failpoint", points::for_a_while),
    kind("fall-behind", |scene, stream| Some(gesture::fall_behind(scene, stream))),
    shock("lead-and-lose", |scene, stream| Some(gesture::lead_and_lose(scene, stream))),
    kind("bustle", |scene, stream| Some(gesture::bustle(scene, stream))),
    shock("flap", |scene, stream| Some(gesture::flap(scene, stream))),
    kind("wander", |scene, stream| Some(gesture::wander(scene, stream))),
    kind("heal", |_, _| one(Action::Heal {})),
    kind("split", |scene, stream| one(Action::Split { key: scene.border(stream) })),
    kind("batch-split", |scene, stream| {
        let mut keys: Vec<Key> = (0..stream.range(2..=4)).map(|_| scene.border(stream)).collect();
        keys.sort();
        keys.dedup();
        one(Action::BatchSplit { keys: Keys(keys) })
    }),
    kind("merge", |scene, stream| {
        let into = stream.ratio(1, 3).then(|| scene.border(stream));
        one(Action::Merge { key: scene.key(stream), into })
    }),
    kind("transfer-leader", |scene, stream| {
        one(Action::TransferLeader { key: scene.key(stream), to: scene.store(stream) })
    }),
    kind("add-peer", |scene, stream| {
        let learner = stream.ratio(1, 3);
        one(Action::AddPeer { key: scene.key(stream), store: voters(scene, stream), learner })
    }),
    kind("remove-peer", |scene, stream| {
        one(Action::RemovePeer { key: scene.key(stream), store: voters(scene, stream) })
    }),
    kind("replace-peer", |scene, stream| {
        let (from, to) = (scene.store(stream), voters(scene, stream));
        if from == to {
            return None;
        }
        one(Action::ReplacePeer { key: scene.key(stream), from, to })
    }),
    kind("flush", |scene, stream| one(Action::Flush { node: scene.store(stream) })),
    kind("compact", |scene, stream| one(Action::Compact { node: scene.store(stream) })),
    kind("compact-log", |scene, stream| {
        let key = stream.ratio(1, 2).then(|| scene.key(stream));
        one(Action::CompactLog { node: scene.store(stream), key })
    }),
    kind("gc-snapshots", |scene, stream| one(Action::GcSnapshots { node: scene.store(stream) })),
    kind("compute-hash", |scene, stream| one(Action::ComputeHash { key: scene.key(stream) })),
    kind("cache-load", |scene, stream| {
        let node = cache(scene, stream)?;
        one(Action::CacheLoad { node, key: scene.key(stream) })
    }),
    kind("cache-evict", |scene, stream| {
        let node = cache(scene, stream)?;
        one(Action::CacheEvict { node, key: scene.key(stream) })
    }),
    kind("reload", gesture::reload),
    kind("set-tiflash-replica", |scene, stream| {
        if scene.plan.cluster.tiflash == 0 {
            return None;
        }
        let edge = |stream: &mut Stream| stream.ratio(1, 3).then(|| stream.below(scene.plan.workload.keys));
        let (start, end) = (edge(stream), edge(stream));
        let (start, end) = match (start, end) {
            (Some(start), Some(end)) if start == end => (None, None),
            (Some(start), Some(end)) => (Some(start.min(end)), Some(start.max(end))),
            edges => edges,
        };
        let (table, count) = (stream.range(1..=2), stream.range(0..=scene.plan.cluster.tiflash + 1));
        one(Action::SetTiflashReplica { table, start: start.map(gesture::key), end: end.map(gesture::key), count })
    }),
    kind("forbidden-release", |scene, stream| {
        // Unless it fits, the store is refused and goes on as it was.
        let mistaken = stream.pick(node::release::RELEASES)?.name;
        let from = node::release::Release::parse(scene.plan.cluster.release.as_str()).ok()?;
        let to = node::release::Release::parse(mistaken).ok()?;
        if from.exports_raft_log_to(to) || from.raft_log == node::release::RaftLogLayout::Old {
            return None;
        }
        one(gesture::restart(scene.store(stream), Some(Release::new(mistaken))))
    }),
];

const fn kind(name: &'static str, draw: fn(&Scene<'_>, &mut Stream) -> Option<Gesture>) -> Kind {
    Kind { name, is_shock: false, draw }
}

const fn shock(name: &'static str, draw: fn(&Scene<'_>, &mut Stream) -> Option<Gesture>) -> Kind {
    Kind { name, is_shock: true, draw }
}

fn one(action: Action) -> Option<Gesture> {
    Some(vec![(Nanos::ZERO, action)].into())
}

/// What a crash leaves; often only what was synced, or everything.
pub(super) fn keep(stream: &mut Stream) -> Keep {
    *stream
        .pick(&[Keep::Seeded, Keep::Seeded, Keep::Nothing, Keep::Prefix, Keep::Sectors, Keep::Everything])
        .expect("a list")
}

/// The placement driver or a columnar store.
fn running(scene: &Scene<'_>, stream: &mut Stream) -> Option<Node> {
    let tiflash = (1..=scene.plan.cluster.tiflash).map(|number| Node::new(format!("tiflash-{number}")));
    let others: Vec<Node> = tiflash.chain([Node::new(Cluster::PD)]).collect();
    stream.pick(&others).cloned()
}

/// A store for voters, spare ones included.
fn voters(scene: &Scene<'_>, stream: &mut Stream) -> Node {
    let cluster = &scene.plan.cluster;
    if stream.ratio(1, 2) {
        gesture::named(stream.range(1..=cluster.stores + cluster.spare))
    } else {
        scene.store(stream)
    }
}

/// Which store's cache, if there are caches: the leader's without a name.
fn cache(scene: &Scene<'_>, stream: &mut Stream) -> Option<Option<Node>> {
    let node = stream.ratio(2, 3).then(|| scene.store(stream));
    scene.plan.knobs.get(knobs::CACHE_ENABLED).then_some(node)
}

/// Halves, one against the rest, a bridge that all reach, everybody alone, two that do not
/// hear each other, or the placement driver alone; symmetric or not.
fn partition(scene: &Scene<'_>, stream: &mut Stream) -> Option<Gesture> {
    let mut ends: Vec<End> = scene.stores().iter().map(|node| End::new(node.as_str())).collect();
    stream.shuffle(&mut ends);
    let mut sides = match stream.below(6) {
        0 => {
            let rest = ends.split_off(ends.len() / 2);
            vec![ends, rest]
        }
        1 => {
            let rest = ends.split_off(1);
            vec![ends, rest]
        }
        2 if ends.len() > 2 => {
            // The one that no side names reaches both.
            ends.pop();
            let rest = ends.split_off(ends.len() / 2);
            vec![ends, rest]
        }
        3 => ends.into_iter().map(|end| vec![end]).collect(),
        4 => {
            ends.truncate(2);
            ends.into_iter().map(|end| vec![end]).collect()
        }
        _ => vec![vec![End::new(Cluster::PD)], ends],
    };
    if sides.len() < 2 || sides.iter().any(Vec::is_empty) {
        return None;
    }
    gesture::with_clients(scene, &mut sides, stream);
    one(Action::Partition { sides: Sides(sides), symmetric: stream.ratio(2, 3), lasting: Some(a_while(stream)) })
}

fn disk(scene: &Scene<'_>, stream: &mut Stream, kind: DiskFault, delay: Option<Nanos>) -> Option<Gesture> {
    let count = Some(stream.range(1..=10));
    let node = scene.store(stream);
    one(Action::DiskFault { node, kind, path: None, count, delay, lasting: Some(a_while(stream)) })
}
