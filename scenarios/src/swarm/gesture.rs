//! Several steps that belong together, and where on the cluster they happen.
//!
//! In half of the plans most of what happens is about one store, and in half about one key: what never meets does not
//! collide.

use sim::{Seed, Stream};

use super::{moments::Moments, points};
use crate::plan::{Action, Cluster, End, Key, Nanos, Node, On, Plan, Release, Sides, knobs};

/// Steps that belong together: how long after the first, and what. The first comes at once.
pub(super) type Steps = Vec<(Nanos, Action)>;

/// What happens together.
#[derive(Clone, Debug, Default)]
pub struct Gesture {
    /// First this.
    pub(super) steps: Steps,
    /// Then, when a fact is stated after the first of these steps, that.
    pub(super) then: Option<(On, Steps)>,
}

impl From<Steps> for Gesture {
    fn from(steps: Steps) -> Self {
        Self { steps, then: None }
    }
}

impl Gesture {
    /// All that is done.
    pub(super) fn actions(&self) -> impl Iterator<Item = &Action> {
        let then = self.then.iter().flat_map(|(_, steps)| steps);
        self.steps.iter().chain(then).map(|(_, action)| action)
    }

    /// The same, to be changed.
    pub(super) fn actions_mut(&mut self) -> impl Iterator<Item = &mut Action> {
        let then = self.then.iter_mut().flat_map(|(_, steps)| steps);
        self.steps.iter_mut().chain(then).map(|(_, action)| action)
    }

    /// Leaves out what is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&Action) -> bool) {
        self.steps.retain(|(_, action)| keep(action));
        if let Some((_, steps)) = &mut self.then {
            steps.retain(|(_, action)| keep(action));
        }
    }

    /// Nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.actions().next().is_none()
    }
}

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

/// A store misses what happens for a while; meanwhile a few things may, and at the end the others drop their logs: it has to
/// get snapshots. It may lead before, with clients on its side, and it may be in trouble again as soon as it is back.
pub(super) fn fall_behind(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let node = scene.store(stream);
    let away = Nanos::millis(stream.range(1_000..=4_000));
    let mut steps = Vec::new();
    match stream.below(5) {
        0 => steps.push((Nanos::ZERO, Action::Isolate { node: node.clone(), lasting: Some(away) })),
        1 => steps.push((Nanos::ZERO, Action::Pause { node: node.clone(), lasting: Some(away) })),
        2 => {
            let keep = super::kinds::keep(stream);
            steps.push((Nanos::ZERO, Action::Bounce { node: node.clone(), keep, down: away }));
        }
        3 => steps.extend(points::stand_still(scene.plan, &node, away, stream)),
        _ => {
            let key = scene.key(stream);
            steps.push((Nanos::ZERO, Action::TransferLeader { key, to: node.clone() }));
            let lead = Nanos::millis(stream.range(50..=600));
            steps.push((lead, cut_off(scene, &node, Nanos(away.0 - lead.0), stream)));
        }
    }
    for _ in 0..*stream.pick(&[0, 1, 1, 2, 3, 4]).expect("a list") {
        let at = Nanos(away.0 * stream.range(1..=80) / 100);
        steps.extend(order(scene, Some(&node), stream).map(|action| (at, action)));
    }
    let late = Nanos(away.0 - Nanos::millis(stream.range(50..=400)).0);
    for other in scene.stores().into_iter().filter(|other| *other != node) {
        steps.push((late, Action::CompactLog { node: other, key: None }));
    }
    if stream.ratio(1, 4) {
        let lasting = Nanos::millis(stream.range(300..=3_000));
        steps.extend(delayed(late, points::stand_still(scene.plan, &node, lasting, stream)));
    }
    let then = stream.ratio(1, 3).then(|| {
        let down = some_time(stream);
        let keep = super::kinds::keep(stream);
        let families = ["snapshot-", "region-state-", "merge-"];
        (Moments::fact_of(Some(node.clone()), &families, Nanos::secs(8), stream), soon(stream), keep, down)
    });
    let then = then.map(|(on, wait, keep, down)| {
        let dies = (wait, Action::Bounce { node: node.clone(), keep, down });
        (on, vec![(Nanos::ZERO, Action::Note {}), dies])
    });
    Gesture { steps, then }
}

/// Later, by so much.
pub(super) fn delayed(by: Nanos, steps: Steps) -> Steps {
    steps.into_iter().map(|(wait, action)| (Nanos(wait.0 + by.0), action)).collect()
}

/// No time, or hardly any, or some.
pub(super) fn soon(stream: &mut Stream) -> Nanos {
    match stream.below(4) {
        0 => Nanos::ZERO,
        1 => Nanos::millis(stream.range(1..=15)),
        2 => Nanos::millis(stream.range(10..=120)),
        _ => Nanos::millis(stream.range(100..=800)),
    }
}

/// A store and the others hear no more of each other, each with some of the clients; the placement driver hears both.
pub(super) fn cut_off(scene: &Scene<'_>, node: &Node, lasting: Nanos, stream: &mut Stream) -> Action {
    let others = scene.stores().into_iter().filter(|other| other != node);
    let mut sides = vec![vec![End::new(node.as_str())], others.map(|other| End::new(other.as_str())).collect()];
    with_clients(scene, &mut sides, stream);
    if stream.ratio(1, 2) {
        sides.reverse();
    }
    Action::Partition { sides: Sides(sides), symmetric: stream.ratio(2, 3), lasting: Some(lasting) }
}

/// Something that an operator asks of a region, or of a store's replica of one. Half of it is about `store`, if there is one.
pub(super) fn order(scene: &Scene<'_>, store: Option<&Node>, stream: &mut Stream) -> Option<Action> {
    let node = match store {
        Some(store) if stream.ratio(1, 2) => store.clone(),
        _ => scene.store(stream),
    };
    let key = scene.key(stream);
    let has_cache = scene.plan.knobs.get(knobs::CACHE_ENABLED);
    Some(match stream.below(if has_cache { 14 } else { 10 }) {
        0 | 1 => Action::Split { key: scene.border(stream) },
        2 | 3 => Action::Merge { key, into: stream.ratio(1, 3).then(|| scene.border(stream)) },
        4 => Action::TransferLeader { key, to: node },
        5 | 6 => Action::RemovePeer { key, store: node },
        7 => Action::AddPeer { key, store: node, learner: stream.ratio(1, 2) },
        8 | 9 => {
            let to = named(stream.range(1..=scene.plan.cluster.stores + scene.plan.cluster.spare));
            if to == node {
                return None;
            }
            Action::ReplacePeer { key, from: node, to }
        }
        10 => Action::CacheEvict { node: Some(node), key },
        _ => Action::CacheLoad { node: stream.ratio(2, 3).then_some(node), key },
    })
}

/// Many things are asked for in quick succession, while a part of one store, or of all, may be slow or stand still.
pub(super) fn bustle(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let mut steps = Vec::new();
    let mut at = Nanos::ZERO;
    if stream.ratio(1, 2) {
        let nodes = if stream.ratio(1, 2) { scene.stores() } else { vec![scene.store(stream)] };
        let lasting = Nanos::millis(stream.range(200..=3_000));
        let room = scene.plan.knobs.get(knobs::CACHE_ENABLED).then_some("cache").filter(|_| stream.ratio(1, 3));
        steps.extend(points::hold_up(scene.plan, &nodes, room, lasting, stream));
        at = soon(stream);
    }
    for _ in 0..stream.range(2..=7) {
        steps.extend(order(scene, None, stream).map(|action| (at, action)));
        at = Nanos(at.0 + soon(stream).0);
    }
    steps.into()
}

/// A key's region is loaded into caches again and again; what else is asked for meanwhile may meet a load under way.
pub(super) fn reload(scene: &Scene<'_>, stream: &mut Stream) -> Option<Gesture> {
    if !scene.plan.knobs.get(knobs::CACHE_ENABLED) {
        return None;
    }
    let key = scene.key(stream);
    let mut steps = Vec::new();
    let mut at = Nanos::ZERO;
    for _ in 0..stream.range(2..=10) {
        let node = stream.ratio(1, 2).then(|| scene.store(stream));
        steps.push((at, Action::CacheEvict { node: node.clone(), key: key.clone() }));
        at = Nanos(at.0 + Nanos::millis(stream.range(5..=200)).0);
        steps.push((at, Action::CacheLoad { node, key: key.clone() }));
        let next = match stream.below(8) {
            0 => Some(Action::Split { key: scene.border(stream) }),
            1 => order(scene, None, stream),
            _ => None,
        };
        let wait = soon(stream);
        steps.extend(next.map(|action| (Nanos(at.0 + wait.0), action)));
        at = Nanos(at.0 + Nanos::millis(stream.range(20..=400)).0);
    }
    Some(steps.into())
}

/// A store dies again and again, and is soon back each time; two others may not hear each other meanwhile.
pub(super) fn flap(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let node = scene.store(stream);
    let mut steps = Vec::new();
    let mut at = Nanos::ZERO;
    let times = stream.range(2..=5);
    for _ in 0..times {
        let down = Nanos::millis(*stream.pick(&[1, 5, 20, 100, 500]).expect("a list"));
        steps.push((at, Action::Bounce { node: node.clone(), keep: super::kinds::keep(stream), down }));
        at = Nanos(at.0 + Nanos::millis(stream.range(50..=900)).0);
    }
    let others: Vec<Node> = scene.stores().into_iter().filter(|other| *other != node).collect();
    if let [one, .., other] = &others[..]
        && stream.ratio(2, 3)
    {
        let sides = Sides(vec![vec![End::new(one.as_str())], vec![End::new(other.as_str())]]);
        let lasting = Some(Nanos(at.0.max(Nanos::millis(800).0)));
        steps.insert(0, (Nanos::ZERO, Action::Partition { sides, symmetric: true, lasting }));
    }
    steps.into()
}

/// Trouble of one process for a while.
pub(super) fn trouble(scene: &Scene<'_>, node: &Node, stream: &mut Stream) -> Steps {
    let lasting = Nanos::millis(stream.range(200..=5_000));
    let keep = super::kinds::keep(stream);
    vec![match stream.below(6) {
        0 => (Nanos::ZERO, Action::Isolate { node: node.clone(), lasting: Some(lasting) }),
        1 | 2 => (Nanos::ZERO, cut_off(scene, node, lasting, stream)),
        3 => (Nanos::ZERO, Action::Bounce { node: node.clone(), keep, down: some_time(stream) }),
        4 => (Nanos::ZERO, Action::Pause { node: node.clone(), lasting: Some(lasting) }),
        _ => return points::stand_still(scene.plan, node, lasting, stream),
    }]
}

/// A store comes to lead a key's region and is cut off from the others, with some of the clients, or its power goes.
pub(super) fn lead_and_lose(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let node = scene.store(stream);
    let lead = Action::TransferLeader { key: scene.key(stream), to: node.clone() };
    let then = match stream.below(4) {
        0 => Action::Bounce { node, keep: super::kinds::keep(stream), down: some_time(stream) },
        1 => Action::Pause { node, lasting: Some(a_while(stream)) },
        _ => {
            let lasting = a_while(stream);
            cut_off(scene, &node, lasting, stream)
        }
    };
    vec![(Nanos::ZERO, lead), (Nanos::millis(stream.range(50..=1_500)), then)].into()
}

/// In half of the partitions clients are on the sides, too: all on one, or each on any.
pub(super) fn with_clients(scene: &Scene<'_>, sides: &mut [Vec<End>], stream: &mut Stream) {
    if stream.ratio(1, 2) {
        return;
    }
    let all = stream.ratio(1, 2).then(|| stream.below(sides.len() as u64));
    for client in scene.plan.workload.client_names() {
        let side = all.unwrap_or_else(|| stream.below(sides.len() as u64)) as usize;
        sides[side].push(End::new(client));
    }
}

/// A region is asked for things again and again.
pub(super) fn wander(scene: &Scene<'_>, stream: &mut Stream) -> Gesture {
    let key = scene.key(stream);
    let step_ms = stream.range(100..=1_500);
    let to = |stream: &mut Stream| Action::TransferLeader { key: key.clone(), to: scene.store(stream) };
    let steps: Steps = (0..stream.range(2..=5)).map(|turn| (Nanos::millis(turn * step_ms), to(stream))).collect();
    steps.into()
}
