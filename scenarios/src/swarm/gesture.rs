//! Several steps that belong together, and where on the cluster they happen.
//!
//! In half of the plans most of what happens is about one store, and in half about one key: what never meets does not
//! collide.

use sim::{Seed, Stream};

use crate::plan::{Action, Cluster, End, Key, Nanos, Node, Plan, Release, Sides};

/// Steps that belong together: how long after the first, and what. The first comes at once.
pub(super) type Gesture = Vec<(Nanos, Action)>;

/// A plan's cluster and workload, and where most of what happens in it happens.
pub struct Scene<'a> {
    /// The plan without its steps.
    pub plan: &'a Plan,
    store: Option<u64>,
    key: Option<u64>,
}

impl<'a> Scene<'a> {
    /// The scene of a plan.
    pub(super) fn draw(plan: &'a Plan, root: Seed) -> Self {
        let mut stream = root.split("focus").stream();
        let store = stream.range(1..=plan.cluster.stores);
        let key = stream.below(plan.workload.keys);
        Self { plan, store: stream.ratio(1, 2).then_some(store), key: stream.ratio(1, 2).then_some(key) }
    }

    /// A store with voters that runs from the start.
    pub(super) fn store(&self, stream: &mut Stream) -> Node {
        let any = stream.range(1..=self.plan.cluster.stores);
        let most = stream.ratio(3, 4);
        named(self.store.filter(|_| most).unwrap_or(any))
    }

    /// A store of any sort, spare and columnar ones included, or the placement driver.
    pub(super) fn process(&self, stream: &mut Stream) -> Node {
        match stream.below(8) {
            0 => Node::new(Cluster::PD),
            1 | 2 => {
                let all: Vec<String> = self.plan.cluster.nodes();
                Node::new(stream.pick(&all).expect("a cluster has processes"))
            }
            _ => self.store(stream),
        }
    }

    /// Stores with voters that run from the start.
    pub(super) fn stores(&self) -> Vec<Node> {
        (1..=self.plan.cluster.stores).map(named).collect()
    }

    /// A key of the workload.
    pub(super) fn key(&self, stream: &mut Stream) -> Key {
        let any = stream.below(self.plan.workload.keys);
        let most = stream.ratio(3, 4);
        key(self.key.filter(|_| most).unwrap_or(any))
    }

    /// A key of the workload, or one behind all of them, whose region is idle.
    pub(super) fn border(&self, stream: &mut Stream) -> Key {
        if stream.ratio(1, 8) { Key::new("z") } else { key(stream.below(self.plan.workload.keys)) }
    }

    /// Two different ends of a link, in one direction.
    pub(super) fn link(&self, stream: &mut Stream) -> Option<(End, End)> {
        let (from, to) = (self.process(stream), self.process(stream));
        (from != to).then(|| (End::new(from.as_str()), End::new(to.as_str())))
    }
}

/// The store of a number.
pub(super) fn named(number: u64) -> Node {
    Node::new(format!("store-{number}"))
}

/// The key of a number.
pub(super) fn key(number: u64) -> Key {
    Key::new(format!("k{number:04}"))
}

/// As long as something lasts that ends.
pub(super) fn a_while(stream: &mut Stream) -> Nanos {
    Nanos::millis(stream.range(50..=4_000))
}

/// A time whose order of magnitude is drawn first.
pub(super) fn some_time(stream: &mut Stream) -> Nanos {
    let (least, most) = *stream.pick(&[(1, 10), (10, 100), (100, 1_000), (1_000, 4_000)]).expect("a list");
    Nanos::millis(stream.range(least..=most))
}

/// A process is started, or started again, as it was or as another release.
pub(super) fn restart(node: Node, release: Option<Release>) -> Action {
    Action::Restart { node, release, prepared: true }
}

/// A store misses what happens for a while; meanwhile something may, and at the end the others drop their logs: it has to
/// get snapshots.
pub(super) fn fall_behind(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let node = scene.store(stream);
    let away = Nanos::millis(stream.range(1_000..=4_000));
    let leave = match stream.below(3) {
        0 => Action::Isolate { node: node.clone(), lasting: Some(away) },
        1 => Action::Pause { node: node.clone(), lasting: Some(away) },
        _ => Action::Bounce { node: node.clone(), keep: super::kinds::keep(stream), down: away },
    };
    let mut steps = vec![(Nanos::ZERO, leave)];
    if stream.ratio(1, 2) {
        let key = scene.key(stream);
        let action = match stream.below(3) {
            0 => Action::Split { key: scene.border(stream) },
            1 => Action::Merge { key, into: None },
            _ => Action::TransferLeader { key, to: scene.store(stream) },
        };
        steps.push((Nanos(away.0 * stream.range(1..=60) / 100), action));
    }
    let late = Nanos(away.0 - Nanos::millis(stream.range(50..=400)).0);
    for other in scene.stores().into_iter().filter(|other| *other != node) {
        steps.push((late, Action::CompactLog { node: other, key: None }));
    }
    steps
}

/// A store comes to lead a key's region and is cut off from the others, with some of the clients, or its power goes.
pub(super) fn lead_and_lose(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let node = scene.store(stream);
    let lead = Action::TransferLeader { key: scene.key(stream), to: node.clone() };
    let then = match stream.below(4) {
        0 => Action::Bounce { node, keep: super::kinds::keep(stream), down: some_time(stream) },
        1 => Action::Pause { node, lasting: Some(a_while(stream)) },
        _ => {
            let others = scene.stores().into_iter().filter(|other| *other != node);
            let mut sides = vec![vec![End::new(node.as_str())], others.map(|other| End::new(other.as_str())).collect()];
            with_clients(scene, &mut sides, stream);
            if stream.ratio(1, 2) {
                sides.reverse();
            }
            Action::Partition { sides: Sides(sides), symmetric: stream.ratio(2, 3), lasting: Some(a_while(stream)) }
        }
    };
    vec![(Nanos::ZERO, lead), (Nanos::millis(stream.range(50..=1_500)), then)]
}

/// In half of the partitions clients are on one of the sides, too.
pub(super) fn with_clients(scene: &Scene<'_>, sides: &mut [Vec<End>], stream: &mut Stream) {
    if stream.ratio(1, 2) {
        return;
    }
    for client in scene.plan.workload.client_names() {
        let side = stream.below(sides.len() as u64) as usize;
        sides[side].push(End::new(client));
    }
}

/// A region is asked for things again and again.
pub(super) fn wander(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let key = scene.key(stream);
    let step_ms = stream.range(100..=1_500);
    let to = |stream: &mut Stream| Action::TransferLeader { key: key.clone(), to: scene.store(stream) };
    (0..stream.range(2..=5)).map(|turn| (Nanos::millis(turn * step_ms), to(stream))).collect()
}
