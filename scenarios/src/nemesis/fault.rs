//! What the room can do to the cluster at once: processes, network, clocks, disks, failpoints.

use super::Held;
use crate::{
    cluster::Cluster,
    event::RoomEvent,
    plan::{Action, DiskFault, End, Keep, Nanos, Ratio},
    room::{CrashKeep, Delivery, Fault, FaultRule, ProcessId, Rule, Verdict, Who, event::DiskOp},
};

/// A stall that a plan does not measure.
const STALL: Nanos = Nanos::millis(500);

/// Sectors in a million that rot, where a plan does not say which.
const ROTTEN_PER_MILLION: u32 = 20_000;

/// The process that an action is about, if it is about one.
pub(super) fn subject(action: &Action) -> Option<&str> {
    Some(match action {
        Action::Crash { node, .. }
        | Action::Bounce { node, .. }
        | Action::Stop { node }
        | Action::Restart { node, .. }
        | Action::Wipe { node }
        | Action::Lose { node }
        | Action::Pause { node, .. }
        | Action::Resume { node }
        | Action::Isolate { node, .. }
        | Action::ResetConnections { node, .. }
        | Action::Clock { node, .. }
        | Action::DiskFault { node, .. }
        | Action::UnreadableStats { node, .. }
        | Action::RemoveFiles { node, .. }
        | Action::Failpoint { node, .. } => node.as_str(),
        _ => return None,
    })
}

pub(super) fn keep(keep: Keep) -> CrashKeep {
    match keep {
        Keep::Nothing => CrashKeep::Nothing,
        Keep::Prefix => CrashKeep::Prefix,
        Keep::Sectors => CrashKeep::Sectors,
        Keep::Everything => CrashKeep::Everything,
        Keep::Seeded => CrashKeep::Seeded,
    }
}

/// Does what is not the operator's, and returns what lasts and for how long.
pub(super) fn act(cluster: &Cluster, action: &Action) -> (Vec<Held>, Option<Nanos>) {
    let none = (Vec::new(), None);
    match action {
        Action::Crash { node, keep: kept } => cluster.crash(node.as_str(), keep(*kept)),
        Action::Restart { node, release, prepared } => {
            let release = release.as_ref().map(|release| release.as_str());
            cluster.start_as(node.as_str(), release, *prepared);
        }
        Action::Wipe { node } => {
            cluster.wipe(node.as_str());
            cluster.start(node.as_str(), None);
        }
        Action::Lose { node } => cluster.lose(node.as_str()),
        Action::Pause { node, lasting } => {
            cluster.member(node.as_str()).process.pause();
            let name = node.as_str().to_owned();
            let undo = move |cluster: &Cluster| cluster.member(&name).process.resume();
            return (vec![Held::Undo(Box::new(undo))], *lasting);
        }
        Action::Note {} => {}
        Action::Resume { node } => cluster.member(node.as_str()).process.resume(),
        Action::Clock { node, drift_ppm, wall_step } => {
            let clock = cluster.member(node.as_str()).process.clock();
            clock.set_drift_ppm(i32::try_from(*drift_ppm).unwrap_or(i32::MAX));
            if wall_step.0 != 0 {
                clock.step_wall_ns(wall_step.0);
            }
        }
        Action::DiskFault { node, kind, path, count, delay, lasting } => {
            let rule = disk_rule(*kind, path.as_deref(), *count, *delay);
            let guard = cluster.member(node.as_str()).process.disk().inject(rule);
            return (vec![Held::Disk(guard)], *lasting);
        }
        Action::UnreadableStats { node, lasting } => {
            cluster.member(node.as_str()).set_unreadable_stats(true);
            let name = node.as_str().to_owned();
            let undo = move |cluster: &Cluster| cluster.member(&name).set_unreadable_stats(false);
            return (vec![Held::Undo(Box::new(undo))], *lasting);
        }
        Action::RemoveFiles { node, path } => {
            let process = &cluster.member(node.as_str()).process;
            for path in process.disk().remove_matching(path) {
                cluster.witness().fault("file-removed");
                cluster.witness().room(
                    process.id(),
                    process.incarnation(),
                    RoomEvent::FileRemoved { path: path.into() },
                );
            }
        }
        Action::Failpoint { node, site, action } => {
            let set = cluster.member(node.as_str()).set_point(site.as_str(), action.as_str());
            set.expect("a synchronous site with a waiting action is refused when the plan is read");
        }
        action => return network(cluster, action).unwrap_or(none),
    }
    none
}

fn network(cluster: &Cluster, action: &Action) -> Option<(Vec<Held>, Option<Nanos>)> {
    let fabric = cluster.room().fabric();
    let ids = |ends: &[End]| ends.iter().map(|end| cluster.id(end.as_str())).collect::<Vec<ProcessId>>();
    Some(match action {
        Action::Partition { sides, symmetric, lasting } => {
            let sides: Vec<_> = sides.0.iter().map(|side| ids(side)).collect();
            let mut held = Vec::new();
            for (position, one) in sides.iter().enumerate() {
                for other in &sides[position + 1..] {
                    let guard = if *symmetric { fabric.partition(one, other) } else { fabric.cut(one, other) };
                    held.push(Held::Rule(guard));
                }
            }
            (held, *lasting)
        }
        Action::Isolate { node, lasting } => (vec![Held::Rule(fabric.isolate(cluster.id(node.as_str())))], *lasting),
        Action::Clog { from, to, lasting } => {
            let rule = Rule::new(cluster.id(from.as_str()), cluster.id(to.as_str()), Verdict::Stall);
            (vec![Held::Rule(fabric.add(rule))], *lasting)
        }
        Action::SlowLink { from, to, delay, lasting } => {
            let verdict = Verdict::Delay(delay.duration());
            let rule = Rule::new(cluster.id(from.as_str()), cluster.id(to.as_str()), verdict);
            (vec![Held::Rule(fabric.add(rule))], *lasting)
        }
        Action::Lossy { from, to, drop, duplicate, reorder, lasting } => {
            let (from, to) = (cluster.id(from.as_str()), cluster.id(to.as_str()));
            let rule = |share: &Ratio, verdict| {
                Rule::new(from, to, verdict).of(Delivery::Lossy).in_ratio(u64::from(share.as_ppm()), 1_000_000)
            };
            let late = Verdict::Delay(Nanos::millis(20).duration());
            let rules = [(drop, Verdict::Drop), (duplicate, Verdict::Duplicate), (reorder, late)];
            let rules = rules.into_iter().filter(|(share, _)| share.as_ppm() > 0);
            let held = rules.map(|(share, verdict)| Held::Rule(fabric.add(rule(share, verdict)))).collect();
            (held, *lasting)
        }
        Action::ResetConnections { node, with } => {
            let with = with.as_ref().map_or(Who::Any, |end| cluster.id(end.as_str()).into());
            for _ in 0..fabric.reset(cluster.id(node.as_str()), with) {
                cluster.witness().fault("connection-reset");
            }
            (Vec::new(), None)
        }
        _ => return None,
    })
}

fn disk_rule(kind: DiskFault, path: Option<&str>, count: Option<u64>, delay: Option<Nanos>) -> FaultRule {
    let (fault, ops): (Fault, &[DiskOp]) = match kind {
        DiskFault::ReadEio => (Fault::Error(libc_errno::EIO), &[DiskOp::Read]),
        DiskFault::ShortRead => (Fault::ShortRead, &[]),
        DiskFault::Stall => (Fault::Stall(delay.unwrap_or(STALL).duration()), &[]),
        DiskFault::WriteEio => (Fault::Error(libc_errno::EIO), &[DiskOp::Write, DiskOp::Append]),
        DiskFault::SyncEio => (Fault::Error(libc_errno::EIO), &[DiskOp::Sync]),
        DiskFault::NoSpace => (Fault::Error(libc_errno::ENOSPC), &[DiskOp::Write, DiskOp::Append, DiskOp::Create]),
        DiskFault::Rot => (Fault::Rot { sectors_per_million: ROTTEN_PER_MILLION }, &[]),
        DiskFault::MisdirectedWrite => (Fault::MisdirectedWrite, &[]),
        DiskFault::LostWrite => (Fault::LostWrite, &[]),
        DiskFault::FalseSync => (Fault::FalseSync, &[]),
    };
    let rule = FaultRule::new(path.unwrap_or("*"), fault);
    let rule = if ops.is_empty() { rule } else { rule.on(ops) };
    match count {
        Some(count) => rule.at_most(count),
        None => rule,
    }
}

/// The two error numbers of Linux that faults use, the same on every host.
mod libc_errno {
    pub(super) const EIO: i32 = 5;
    pub(super) const ENOSPC: i32 = 28;
}
