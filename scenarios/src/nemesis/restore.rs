//! Restores the cluster from snapshots of its volumes, as they are taken of all stores at one time.
//!
//! What a volume's snapshot holds is what a crash would have left. The stores come back in a state in which nobody stands
//! for election by himself; they are told to in turn, for as long as it takes until every region has been led; then all
//! start once more as usual. Where that never comes, the cluster does not converge.
//!
//! Not here: the placement driver's own state, which goes on as it was.

use std::time::Duration;

use crate::{
    cluster::{Cluster, Live},
    room::CrashKeep,
};

/// So long chaos goes on for a restore at the most; the restore itself goes on.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// The pause between telling two stores.
const TURN: Duration = Duration::from_millis(250);

/// Crashes all stores that run, and brings them back.
pub(super) async fn restore(cluster: &Cluster) {
    let stores = cluster.running_stores();
    let begun = cluster.room().true_ns();
    for name in &stores {
        cluster.crash(name, CrashKeep::Seeded);
    }
    for name in &stores {
        cluster.member(name).set_restoring(true);
        cluster.start(name, None);
    }
    for name in stores.iter().cycle() {
        cluster.room().sleep(TURN).await;
        if cluster.witness().with_rest(|rest| rest.is_led_since(begun)) {
            break;
        }
        if let Some(Live { chores: Some(chores), .. }) = cluster.member(name).live() {
            chores.campaign();
        }
    }
    for name in &stores {
        cluster.member(name).set_restoring(false);
        // Whoever the plan has taken down meanwhile comes back as the plan wants it.
        if cluster.member(name).live().is_some() {
            cluster.stop(name).await;
            cluster.start(name, None);
        }
    }
}
