//! What the node does not promise to survive, and how plans of the swarm keep inside of it.
//!
//! A plan that asks for more than is promised accuses the innocent. What is left out altogether stands in [`EXCLUDED`],
//! each with its reason, for people and for the report of a campaign.

use super::windows::Event;
use crate::plan::{Action, Nanos, Plan};

/// Steps that the swarm never takes, and why.
pub const EXCLUDED: &[(&str, &str)] = &[
    ("disk-fault lost-write", "outside the promise of any raft store: what it confirmed as durable is gone"),
    ("disk-fault false-sync", "outside the promise of any raft store: what it confirmed as durable is gone"),
    ("disk-fault misdirected-write", "in logs and manifests outside the promise of any raft store"),
    ("disk-fault rot", "a store that finds it stops for good and has to be replaced by its operator"),
    ("remove-files", "as rot: the operator's hand, not a fault of the machine"),
    ("crash", "as `bounce`, and the cluster is asked to be whole again in the end"),
    ("stop", "as `bounce`, and the cluster is asked to be whole again in the end"),
    ("wipe", "a copy that is gone needs the others and a store to go to: not drawn yet"),
    ("lose", "as `wipe`"),
    ("unsafe-recover", "as `wipe`"),
    ("upgrade", "releases are not drawn yet"),
    ("replace-peer", "as `wipe`"),
    ("remove-store", "as `wipe`"),
    ("up-store", "as `wipe`"),
    ("bury-store", "as `wipe`"),
    ("remove-tombstone", "as `wipe`"),
    ("set-tiflash-replica", "columnar stores are not drawn yet"),
];

/// A store that fails for good is started again by its supervisor after a pause that grows; so often it comes back.
const STOPS_PER_STORE: usize = 2;

/// Without what would go past the promise: too many errors that stop one store.
pub(super) fn keep_within(plan: &Plan, events: Vec<Event>) -> Vec<Event> {
    let mut stops = vec![0; plan.cluster.stores as usize + 1];
    let mut kept = events;
    kept.retain(|(_, _, action)| {
        let Action::DiskFault { node, kind, .. } = action else { return true };
        if !stops_a_store(kind.as_str()) {
            return true;
        }
        let number = node.as_str().rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
        let Some(count) = number.and_then(|number| stops.get_mut(number)) else { return false };
        *count += 1;
        *count <= STOPS_PER_STORE
    });
    // What lasts ends with chaos, which heals everything; nothing begins after the last client has ended.
    kept.retain(|(at, ..)| *at <= Nanos(plan.workload.lasting.0));
    kept
}

fn stops_a_store(kind: &str) -> bool {
    matches!(kind, "write-eio" | "sync-eio" | "enospc" | "read-eio")
}
