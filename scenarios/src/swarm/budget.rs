//! What the node does not promise to survive, and how plans of the swarm keep inside of it.
//!
//! A plan that asks for more than is promised accuses the innocent. What is left out altogether stands here in tables,
//! each with its reason, for people and for the report of a campaign; what is left out of some plans stands in rules.
//!
//! The rules, by disk and by quorum:
//! - Errors of writes and syncs stop a store, which its supervisor starts again: twice at most for each store, so that it
//!   does not give it up.
//! - One course at most takes copies away for good, so that a minority goes at a time; unless the course asks for
//!   recovery, the plan changes no membership, so that the minority stays one, and there are as many stores left as a
//!   region has replicas.
//! - A columnar replica whose store is lost is replaced, not given up, as upstream (pd#9624): so where a columnar store is
//!   lost, rules ask for no more of them than the others can hold. Recovery gives up what is lost of the regions that it
//!   sees to; so this does not hold where it sees to all of them, one store with voters being left.
//! - Nobody puts a replica on a store that leaves: an operator who does has made a mistake that nothing mends.
//! - The placement driver forgets a recovery when it dies, and its operator would have to ask again; so it lives where one
//!   is asked for.
//! - The placement driver knows which releases its members ran as, and refuses what their disks are not fit for. It says
//!   nothing of those that have left: so where one leaves, each release reads what all before it wrote, and nobody makes a
//!   mistake.
//! - Where a recovery is asked for, nobody removes replicas from stores that stay. Recovery counts what is left of a region by
//!   store, as upstream: what a removed peer reports, whose removal a force leader's log no longer has, passes for a voter.
//! - A restore is alone: a cluster that is restored is in its operator's hands until everybody is led again.

use super::{Course, Happening, moments::Moment};
use crate::plan::{Action, Cluster, Nanos, Node, Plan, knobs};

/// Steps that the swarm never takes, and why.
pub const EXCLUDED: &[(&str, &str)] = &[
    ("disk-fault lost-write", "outside the promise of any raft store: what it confirmed as durable is gone"),
    ("disk-fault false-sync", "outside the promise of any raft store: what it confirmed as durable is gone"),
    ("disk-fault misdirected-write", "in logs and manifests outside the promise of any raft store"),
    ("disk-fault rot", "a store that finds it stops for good and has to be replaced by its operator"),
    ("remove-files", "as rot: the operator's hand, not a fault of the machine"),
    ("resume", "what is paused goes on by itself"),
    ("note", "nothing happens then"),
];

/// Knobs that the swarm leaves alone, and why.
pub const KNOBS_LEFT: &[(&str, &str)] = &[
    ("disk.capacity", "a disk that is too small stays so, and its store down; `enospc` is the fault that ends"),
    ("raft.log-cache", "what it changes is memory only"),
];

/// Sites that only ever wait, and why.
pub const POINTS_ONLY_WAIT: &[(&str, &str)] = &[
    ("engine-before-flush", "`return` is a failed write, which has to be the disk's fault"),
    ("engine-before-manifest", "`return` is a failed write, which has to be the disk's fault"),
    ("engine-after-wal-append", "`return` is a failed write, which has to be the disk's fault"),
    ("engine-before-blob-sync", "`return` is a failed write, which has to be the disk's fault"),
    ("engine-before-ingest", "`return` is a failed write, which has to be the disk's fault"),
    (
        "snapshot-before-apply",
        "`return` is a failed read, after which a store stops, and which has to be the disk's fault",
    ),
];

/// How often errors of its disk may stop one store.
const STOPS_PER_STORE: usize = 2;

/// So long before a restore and after it nothing else happens: what lasts has ended, and the restore is over.
const RESTORE_ALONE: (Nanos, Nanos) = (Nanos::secs(9), Nanos::secs(12));

/// Whether `return` at this site is nothing that only a disk may do.
pub(super) fn may_return(site: &failpoints::Site) -> bool {
    !POINTS_ONLY_WAIT.iter().any(|(name, _)| *name == site.name())
}

/// Whether sites may be active all the time in a plan with these courses.
pub(super) fn allows_points(courses: &[Course]) -> bool {
    !courses.contains(&Course::Restore)
}

/// As many stores as the courses need, and replicas enough that one may go.
pub(super) fn make_room(plan: &mut Plan, courses: &[Course]) {
    let takes = |course: &Course| courses.contains(course);
    if [Course::Bury, Course::Wipe, Course::Lose].iter().any(takes) && plan.knobs.get(knobs::PD_REPLICAS) < 3 {
        plan.knobs.reset(knobs::PD_REPLICAS.name());
    }
    let replicas = plan.knobs.get(knobs::PD_REPLICAS);
    if [Course::Drain, Course::Bury, Course::Lose].iter().any(takes) {
        plan.cluster.stores = plan.cluster.stores.max(replicas + 1);
    }
    if [Course::Wipe, Course::Recover].iter().any(takes) {
        plan.cluster.stores = plan.cluster.stores.max(replicas).max(3);
    }
    if takes(&Course::Recover) || takes(&Course::Bury) {
        // Both wait until the placement driver misses the stores.
        plan.knobs.set(knobs::PD_STORE_DISCONNECTED, Nanos::secs(1));
    }
}

/// Without what would go past the promise.
pub(super) fn keep_within(plan: &Plan, courses: &[Course], mut happenings: Vec<Happening>) -> Vec<Happening> {
    if [Course::Bury, Course::Wipe, Course::Lose].iter().any(|course| courses.contains(course)) {
        happenings.retain(|happening| happening.is_course || !happening.gesture.actions().any(is_move));
        for happening in &mut happenings {
            happening.gesture.retain(|action| !is_move(action));
        }
    }
    if courses.iter().any(|course| course.leaves_a_tombstone()) {
        let mistakes = |action: &Action| matches!(action, Action::Restart { release: Some(_), .. });
        happenings.retain(|happening| happening.is_course || !happening.gesture.actions().any(mistakes));
    }
    if courses.contains(&Course::Recover) {
        happenings.retain(|happening| !happening.gesture.actions().any(ends_the_placement_driver));
        let given_up: Vec<Node> =
            happenings.iter().flat_map(|happening| happening.gesture.actions()).flat_map(recovered).cloned().collect();
        for happening in &mut happenings {
            happening.gesture.retain(|action| removed_from(action).is_none_or(|store| given_up.contains(store)));
        }
    }
    let actions = || happenings.iter().flat_map(|happening| happening.gesture.actions());
    let lost =
        if loses_all_majorities(plan, actions()) { 0 } else { actions().filter(|step| loses_columnar(step)).count() };
    let held = plan.cluster.tiflash.saturating_sub(lost as u64);
    for action in happenings.iter_mut().flat_map(|happening| happening.gesture.actions_mut()) {
        if let Action::SetTiflashReplica { count, .. } = action
            && lost > 0
        {
            *count = held.min(*count);
        }
    }
    let leaving: Vec<String> =
        happenings.iter().flat_map(|happening| happening.gesture.actions()).filter_map(leaves).collect();
    for happening in &mut happenings {
        happening.gesture.retain(|action| newcomer_on(action).is_none_or(|store| !leaving.iter().any(|l| l == store)));
    }
    happenings.retain(|happening| !happening.gesture.is_empty());
    if courses.contains(&Course::Restore) {
        let restores = |happening: &Happening| happening.gesture.actions().any(|step| *step == Action::Restore {});
        let at = happenings.iter().find(|happening| restores(happening)).map(|happening| happening.when.clone());
        happenings.retain(|happening| match (&happening.when, &at) {
            _ if restores(happening) => true,
            (Moment::At(at), Some(Moment::At(restored))) => {
                at.0 + RESTORE_ALONE.0.0 < restored.0 || at.0 > restored.0 + RESTORE_ALONE.1.0
            }
            _ => false,
        });
    }
    let mut stops = std::collections::BTreeMap::new();
    happenings.retain(|happening| {
        let mut fits = true;
        for action in happening.gesture.actions() {
            if let Action::DiskFault { node, kind, .. } = action
                && stops_a_store(kind.as_str())
            {
                let count: &mut usize = stops.entry(node.as_str().to_owned()).or_default();
                *count += 1;
                fits &= *count <= STOPS_PER_STORE;
            }
        }
        fits
    });
    happenings
}

/// Whether it changes who has a copy of a region.
fn is_move(action: &Action) -> bool {
    matches!(action, Action::AddPeer { .. } | Action::RemovePeer { .. } | Action::ReplacePeer { .. })
}

/// The store that a step takes out of the cluster for good, or may.
fn leaves(action: &Action) -> Option<String> {
    match action {
        Action::Lose { node } | Action::RemoveStore { node, .. } | Action::BuryStore { node } => {
            Some(node.as_str().to_owned())
        }
        _ => None,
    }
}

fn loses_columnar(action: &Action) -> bool {
    matches!(action, Action::Lose { node } | Action::BuryStore { node } if node.as_str().starts_with("tiflash-"))
}

/// Whether one store with voters is left at most, so that recovery sees to every region, and gives lost replicas up.
fn loses_all_majorities<'a>(plan: &Plan, actions: impl Iterator<Item = &'a Action>) -> bool {
    let is_row = |node: &&Node| !node.as_str().starts_with("tiflash-");
    let lost = |action: &Action| match action {
        Action::UnsafeRecover { stores, .. } => stores.0.iter().filter(is_row).count() as u64,
        _ => 0,
    };
    let stores = plan.cluster.stores + plan.cluster.spare;
    actions.map(lost).max().is_some_and(|lost| lost > 0 && lost + 1 >= stores)
}

fn ends_the_placement_driver(action: &Action) -> bool {
    match action {
        Action::Bounce { node, .. } | Action::Crash { node, .. } | Action::Stop { node } => {
            node.as_str() == Cluster::PD
        }
        _ => false,
    }
}

/// The stores that a step gives up.
fn recovered(action: &Action) -> &[Node] {
    match action {
        Action::UnsafeRecover { stores, .. } => &stores.0,
        _ => &[],
    }
}

/// The store from which a step takes a replica.
fn removed_from(action: &Action) -> Option<&Node> {
    match action {
        Action::RemovePeer { store, .. } => Some(store),
        _ => None,
    }
}

/// The store on which a step puts a replica.
fn newcomer_on(action: &Action) -> Option<&str> {
    match action {
        Action::AddPeer { store, .. } => Some(store.as_str()),
        Action::ReplacePeer { to, .. } => Some(to.as_str()),
        _ => None,
    }
}

fn stops_a_store(kind: &str) -> bool {
    matches!(kind, "write-eio" | "sync-eio" | "enospc" | "read-eio")
}
