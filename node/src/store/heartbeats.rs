//! A store's own heartbeat: it lives, and hears the safe point. During an unsafe recovery heartbeats carry its reports,
//! bring its part of each step, and come quickly.
//!
//! Regions report themselves from the raft loop, which knows their leaders.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::select;

use super::{chores::Chores, fact::lifecycle::Fact, mail::Mail, options::Options, unsafe_recovery::Reports};
use crate::{
    env::Env,
    fact::Text,
    pd::Client,
    region::StoreId,
    wire::placement::{Reason, StoreHeartbeat},
};

/// The longest pause between two heartbeats during an unsafe recovery.
const RECOVERING_PAUSE: Duration = Duration::from_millis(200);

/// Starts the task.
pub(super) fn spawn(
    env: &Env,
    options: &Arc<Options>,
    pd: &Client,
    chores: &Chores,
    reports: &Reports,
    store: StoreId,
) {
    let (env, pd, pause) = (env.clone(), pd.clone(), options.pd_store_heartbeat_tick);
    let Chores { engine, manager, view, mailbox, retired } = chores.clone();
    let reports = reports.clone();
    let columnar = options.is_columnar();
    env.clone().spawn("store-heartbeat", async move {
        loop {
            let heartbeat = StoreHeartbeat {
                store,
                regions: view.count(),
                used_bytes: engine.total_bytes() + manager.total_bytes(),
                snapshots: manager.transfers(),
                is_busy: engine.failed().is_some(),
                caught_up: if columnar { view.caught_up() } else { Vec::new() },
                report: reports.current(),
            };
            let reported = heartbeat.report.as_ref().map(|report| report.step);
            let mut pause = pause;
            match pd.store_heartbeat(heartbeat).await {
                Ok(heard) => {
                    reported.into_iter().for_each(|step| reports.delivered(step));
                    mailbox.send(Mail::SafePoint(heard.safe_point));
                    if let Some(plan) = heard.plan {
                        mailbox.send(Mail::Recover(Box::new(plan)));
                    }
                    if heard.recovering {
                        pause = pause.min(RECOVERING_PAUSE);
                    }
                }
                // Gone for good: whatever it still has belongs to nobody.
                Err(error) if error.reason() == Some(Reason::StoreTombstone) => {
                    retired.store(true, Ordering::Relaxed);
                    env.state(Fact::Retired { store });
                    return mailbox.send(Mail::Stop);
                }
                Err(error) => env.state(Fact::PlacementUnreachable { cause: Text::from(error.to_string()) }),
            }
            select(env.sleep(pause), std::pin::pin!(reports.news())).await;
        }
    });
}
