//! What happens once in a plan, because it changes who is there: stores and releases that come and go.
//!
//! Each course is in or out with one half, as everything is; of those that take a copy away for good, one at most happens.
//! What a course needs of the cluster it makes room for.

use node::release::{RELEASES, Release as Row};
use sim::{Seed, Stream};

use super::{
    Happening,
    gesture::{self, Gesture, Scene, Steps, named},
    kinds,
    moments::{Moment, Moments},
};
use crate::plan::{Action, Cluster, Nanos, Node, Nodes, Plan, PointAction, Release, Site};

/// A course that a plan can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// A spare store joins, perhaps long after it was started.
    Join,
    /// The whole key space is a table with columnar replicas.
    Table,
    /// Stores go to other releases, as the table of releases allows.
    Releases,
    /// A store is taken out of service, and perhaps back.
    Drain,
    /// A dead store is buried with all that is on it.
    Bury,
    /// A store's disk is replaced by an empty one.
    Wipe,
    /// A store is lost for good, and the others have a majority of everything.
    Lose,
    /// Stores are lost for good with majorities, and recovery is asked for.
    Recover,
    /// The whole cluster is restored from snapshots of its volumes.
    Restore,
}

/// Every course.
pub const COURSES: &[Course] = &[
    Course::Join,
    Course::Table,
    Course::Releases,
    Course::Drain,
    Course::Bury,
    Course::Wipe,
    Course::Lose,
    Course::Recover,
    Course::Restore,
];

impl Course {
    /// What it is called; its streams of draws are split by this name.
    pub fn name(self) -> &'static str {
        match self {
            Course::Join => "join",
            Course::Table => "table",
            Course::Releases => "releases",
            Course::Drain => "drain",
            Course::Bury => "bury",
            Course::Wipe => "wipe",
            Course::Lose => "lose",
            Course::Recover => "recover",
            Course::Restore => "restore",
        }
    }

    /// Whether the placement driver may come to say of a store that it is gone.
    pub(super) fn leaves_a_tombstone(self) -> bool {
        matches!(self, Course::Drain | Course::Bury)
    }

    /// Whether a copy of regions is gone for good afterwards, or all stores crash at once: one such course at most.
    pub(super) fn is_exclusive(self) -> bool {
        !matches!(self, Course::Join | Course::Table | Course::Releases)
    }

    /// How often it is the one, of those that exclude each other: what goes a long way has more to meet.
    fn weight(self) -> usize {
        match self {
            Course::Recover => 3,
            Course::Drain => 2,
            _ => 1,
        }
    }
}

/// The courses of a plan; its cluster gets the release and the spare store that they need.
pub(super) fn choose(plan: &mut Plan, root: Seed) -> Vec<Course> {
    let mut stream = root.split("courses").stream();
    let mut wanted: Vec<Course> = COURSES.to_vec();
    wanted.retain(|course| root.split("course").split(course.name()).stream().ratio(1, 2));
    let exclusive = wanted.iter().copied().filter(|course| course.is_exclusive());
    let exclusive: Vec<Course> = exclusive.flat_map(|course| std::iter::repeat_n(course, course.weight())).collect();
    // A third of the plans keep all that they have.
    let one = stream.pick(&exclusive).copied().filter(|_| stream.ratio(2, 3));
    wanted.retain(|course| *course != Course::Table || plan.cluster.tiflash > 0);
    wanted.retain(|course| !course.is_exclusive() || Some(*course) == one);
    // A spare store runs as the release at first, and nobody takes it along.
    if wanted.contains(&Course::Join) && wanted.contains(&Course::Releases) {
        let out = if stream.ratio(1, 2) { Course::Join } else { Course::Releases };
        wanted.retain(|course| *course != out);
    }
    plan.cluster.spare = u64::from(wanted.contains(&Course::Join));
    wanted
}

/// What happens in these courses.
pub(super) fn take(courses: &[Course], scene: &Scene<'_>, moments: &Moments, root: Seed) -> Vec<Happening> {
    let plan = scene.plan;
    let mut all = Vec::new();
    for course in courses {
        let mut stream = root.split("course").split(course.name()).split("details").stream();
        let stream = &mut stream;
        let mut stays = matches!(course, Course::Join | Course::Table | Course::Releases | Course::Restore);
        let (when, steps) = match course {
            Course::Join => (Moment::At(Nanos::millis(stream.range(50..=2_500))), join(plan, stream)),
            Course::Table => (Moment::At(Nanos::millis(stream.range(50..=1_500))), table(plan, stream)),
            Course::Releases => {
                let leaves = courses.iter().any(|course| course.leaves_a_tombstone());
                (Moment::At(Nanos::millis(stream.range(200..=2_000))), releases(plan, leaves, stream))
            }
            Course::Drain => (moments.draw_one(stream), drain(plan, stream)),
            Course::Bury => (moments.draw_one(stream), bury(plan, stream)),
            Course::Wipe => (moments.draw_one(stream), one(Action::Wipe { node: any(plan, stream) })),
            Course::Lose => (moments.draw_one(stream), one(Action::Lose { node: any(plan, stream) })),
            Course::Recover => {
                // With a newcomer, all the others may be lost, once it has got something.
                stays = courses.contains(&Course::Join) && stream.ratio(1, 4);
                recover(plan, moments, stays, stream)
            }
            Course::Restore => {
                let last_ms = plan.workload.lasting.0 / 1_000_000;
                (Moment::At(Nanos::millis(stream.range(1_000..=last_ms))), one(Action::Restore {}))
            }
        };
        let (name, is_shock) = ((course.name(), 0), course.is_exclusive());
        let gesture = match course.is_exclusive() && *course != Course::Restore {
            true => among(scene, steps, &mut root.split("course").split(course.name()).split("company").stream()),
            false => steps.into(),
        };
        all.push(Happening { name, when, is_shock, is_course: true, stays, gesture });
    }
    all
}

/// What takes a store away, in the middle of something else, in half of the plans, and with more trouble to come in half.
fn among(scene: &Scene<'_>, mut steps: Steps, stream: &mut Stream) -> Gesture {
    let gone: Vec<&Node> = steps.iter().flat_map(|(_, action)| concerns(action)).collect();
    let nodes = scene.plan.cluster.nodes().into_iter().filter(|name| name != Cluster::PD).map(Node::new);
    let stays: Vec<Node> = nodes.filter(|node| !gone.contains(&node)).collect();
    let trouble = |stream: &mut Stream| match stream.pick(&stays) {
        Some(node) if stream.ratio(1, 2) => gesture::trouble(scene, node, stream),
        _ => gesture::bustle(scene, stream).steps,
    };
    for _ in 0..*stream.pick(&[0, 0, 1, 2]).expect("a list") {
        let later = Nanos::millis(stream.range(0..=5_000));
        steps.extend(gesture::delayed(later, trouble(stream)));
    }
    if stream.ratio(1, 2) {
        return steps.into();
    }
    let mut first = trouble(stream);
    if stream.ratio(1, 2) {
        let changes = ["conf-", "split-", "merge-", "snapshot-", "elected", "peer-created"];
        let on = Moments::fact_of(None, &changes, Nanos::secs(8), stream);
        let then = gesture::delayed(gesture::soon(stream), steps);
        return Gesture { steps: first, then: Some((on, then)) };
    }
    let wait = if stream.ratio(1, 2) { gesture::soon(stream) } else { Nanos::millis(stream.range(800..=4_000)) };
    first.extend(gesture::delayed(wait, steps));
    first.into()
}

/// The stores that a course is about.
fn concerns(action: &Action) -> &[Node] {
    match action {
        Action::UnsafeRecover { stores, .. } => &stores.0,
        Action::Lose { node }
        | Action::Wipe { node }
        | Action::Crash { node, .. }
        | Action::RemoveStore { node, .. } => std::slice::from_ref(node),
        _ => &[],
    }
}

/// All keys are a table's from early on.
fn table(plan: &Plan, stream: &mut Stream) -> Steps {
    let count = stream.range(1..=plan.cluster.tiflash);
    one(Action::SetTiflashReplica { table: 1, start: None, end: None, count })
}

fn one(action: Action) -> Steps {
    vec![(Nanos::ZERO, action)]
}

fn any(plan: &Plan, stream: &mut Stream) -> Node {
    named(stream.range(1..=plan.cluster.stores))
}

/// The spare store starts; it may take long to register, and be asked for before that.
fn join(plan: &Plan, stream: &mut Stream) -> Steps {
    let node = named(plan.cluster.stores + 1);
    let mut steps = Vec::new();
    let late_ms = if stream.ratio(1, 2) { stream.range(300..=5_000) } else { 0 };
    if late_ms > 0 {
        let site = Site::new(node::store::site::BEFORE_REGISTER.name());
        let action = PointAction::new(format!("1*sleep({late_ms}ms)"));
        steps.push((Nanos::ZERO, Action::Failpoint { node: node.clone(), site, action }));
    }
    steps.push((Nanos::millis(10), gesture::restart(node.clone(), None)));
    for _ in 0..stream.range(0..=2) {
        let key = gesture::key(stream.below(plan.workload.keys));
        let at = Nanos::millis(stream.range(300..=late_ms + 1_500));
        let learner = stream.ratio(1, 2);
        steps.push((at, Action::AddPeer { key, store: node.clone(), learner }));
    }
    steps
}

/// A walk over the table of releases, each step of it allowed, rolling or at once, of some stores or of all. When a store
/// `leaves`, nobody refuses it what its disk is not fit for: then each release takes over from all before.
fn releases(plan: &Plan, leaves: bool, stream: &mut Stream) -> Steps {
    let mut here = Row::parse(plan.cluster.release.as_str()).expect("the shape draws a release of the table");
    let every = stream.ratio(2, 3).then(|| Nanos::millis(stream.range(100..=600)));
    let whole = every.map_or(0, |every| every.0) * (plan.cluster.stores + plan.cluster.tiflash);
    let mut steps = Vec::new();
    let mut at = Nanos::ZERO;
    let mut been = vec![here];
    for _ in 0..stream.range(1..=3) {
        if stream.ratio(1, 2) {
            // What one release writes another has to read.
            steps.extend((1..=plan.cluster.stores).map(|number| (at, Action::Flush { node: named(number) })));
            at = Nanos(at.0 + Nanos::millis(300).0);
        }
        let takes_over =
            |to: &Row, from: &Row| to.takes_over(from).is_ok() && !(leaves && from.exports_raft_log_to(to));
        let from = if leaves { &been[..] } else { &been[been.len() - 1..] };
        let goes = |to: &&Row| to.name != here.name && from.iter().all(|from| takes_over(to, from));
        let ways: Vec<_> = RELEASES.iter().filter(goes).collect();
        let Some(next) = stream.pick(&ways).copied() else { break };
        let unprepared = here.exports_raft_log_to(next) && stream.ratio(1, 2);
        if unprepared {
            // Somebody forgets at one store what has to be done before, and starts it again as what it was.
            let node = any(plan, stream);
            let back = Some(Release::new(next.name));
            steps.push((at, Action::Restart { node: node.clone(), release: back, prepared: false }));
            at = Nanos(at.0 + Nanos::millis(stream.range(150..=600)).0);
            steps.push((at, gesture::restart(node, Some(Release::new(here.name)))));
            at = Nanos(at.0 + Nanos::millis(stream.range(500..=2_000)).0);
            continue;
        }
        let some = stream.ratio(1, 4).then(|| stream.range(1..=plan.cluster.stores));
        steps.push((at, Action::Upgrade { release: Release::new(next.name), every, stores: some }));
        at = Nanos(at.0 + whole + Nanos::millis(stream.range(800..=3_000)).0);
        if some.is_some() {
            // All go on, or these come back where they may.
            let to = if !leaves && here.takes_over(next).is_ok() && stream.ratio(1, 2) { here } else { next };
            steps.push((at, Action::Upgrade { release: Release::new(to.name), every, stores: None }));
            at = Nanos(at.0 + whole + Nanos::millis(stream.range(800..=3_000)).0);
            here = to;
        } else {
            here = next;
        }
        been.push(here);
    }
    steps
}

/// A store leaves; its record may be deleted while somebody still looks for it, and it may come back before.
fn drain(plan: &Plan, stream: &mut Stream) -> Steps {
    let columnar = plan.cluster.tiflash > 1 && stream.ratio(1, 3);
    let node = match columnar {
        true => Node::new(format!("tiflash-{}", stream.range(1..=plan.cluster.tiflash))),
        false => any(plan, stream),
    };
    let destroyed = stream.ratio(1, 4);
    let mut steps = one(Action::RemoveStore { node: node.clone(), destroyed });
    if stream.ratio(1, 3) {
        steps.push((Nanos::millis(stream.range(100..=4_000)), Action::UpStore { node: node.clone() }));
    }
    for _ in 0..stream.range(0..=4) {
        steps.push((Nanos::millis(stream.range(300..=8_000)), Action::RemoveTombstone {}));
    }
    let wait = Nanos::millis(stream.range(500..=9_000));
    match stream.below(4) {
        0 => steps.push((wait, Action::Stop { node })),
        1 => steps.push((wait, Action::Crash { node, keep: kinds::keep(stream) })),
        2 => {
            let down = Nanos::millis(stream.range(100..=2_000));
            steps.push((wait, Action::Bounce { node, keep: kinds::keep(stream), down }));
        }
        _ => {}
    }
    steps
}

/// A store dies and is buried with what is on it, and records of tombstones are deleted.
fn bury(plan: &Plan, stream: &mut Stream) -> Steps {
    let node = any(plan, stream);
    let mut steps = one(Action::Crash { node: node.clone(), keep: kinds::keep(stream) });
    let buried_ms = stream.range(1_200..=3_500);
    steps.push((Nanos::millis(buried_ms), Action::BuryStore { node }));
    for _ in 0..stream.range(0..=4) {
        steps.push((Nanos::millis(buried_ms + stream.range(10..=6_000)), Action::RemoveTombstone {}));
    }
    steps
}

/// Stores are lost at one moment, and a little later the operator asks for the recovery of what they took along.
fn recover(plan: &Plan, moments: &Moments, all: bool, stream: &mut Stream) -> (Moment, Steps) {
    let mut names: Vec<u64> = (1..=plan.cluster.stores).collect();
    stream.shuffle(&mut names);
    let lost = if all { plan.cluster.stores } else { stream.range(2..=(plan.cluster.stores - 1).max(2)) };
    let mut lost: Vec<Node> = names.into_iter().take(lost as usize).map(named).collect();
    if plan.cluster.tiflash > 1 && stream.ratio(1, 2) {
        // One that is left has to make the tables available again.
        lost.push(Node::new(format!("tiflash-{}", stream.range(1..=plan.cluster.tiflash))));
    }
    lost.sort();
    let when = match all {
        true => moments.at_a_fact_of(
            Some(named(plan.cluster.stores + 1)),
            |fact| fact.starts_with("snapshot-receiv"),
            stream,
        ),
        false => moments.draw_one(stream),
    };
    let mut steps: Steps = lost.iter().map(|node| (Nanos::ZERO, Action::Lose { node: node.clone() })).collect();
    let asked = Nanos::millis(stream.range(100..=1_500));
    let recover = Action::UnsafeRecover { stores: Nodes(lost), timeout: Nanos::secs(40) };
    steps.push((asked, recover));
    (when, steps)
}
