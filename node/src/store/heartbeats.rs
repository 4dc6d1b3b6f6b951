//! A store's own heartbeat: it lives, and hears the safe point.
//!
//! Regions report themselves from the raft loop, which knows their leaders.

use std::sync::Arc;

use super::{
    fact::lifecycle::Fact,
    mail::{Mail, Mailbox},
    options::Options,
    raft_loop::View,
    snapshot::Manager,
};
use crate::{engine::Engine, env::Env, fact::Text, pd::Client, region::StoreId, wire::placement::StoreHeartbeat};

/// Starts the task.
pub(super) fn spawn(
    env: &Env,
    options: &Arc<Options>,
    mailbox: &Mailbox,
    engine: &Engine,
    pd: &Client,
    (manager, view): (&Manager, &Arc<View>),
    store: StoreId,
) {
    let (env, mailbox, pd, pause) = (env.clone(), mailbox.clone(), pd.clone(), options.pd_store_heartbeat_tick);
    let (engine, manager, view) = (engine.clone(), manager.clone(), view.clone());
    let columnar = options.is_columnar();
    env.clone().spawn("store-heartbeat", async move {
        loop {
            let heartbeat = StoreHeartbeat {
                store,
                regions: view.count(),
                used_bytes: manager.total_bytes(),
                snapshots: 0,
                is_busy: engine.failed().is_some(),
                caught_up: if columnar { view.caught_up() } else { Vec::new() },
            };
            match pd.store_heartbeat(heartbeat).await {
                Ok(safe_point) => mailbox.send(Mail::SafePoint(safe_point)),
                Err(error) => env.state(Fact::PlacementUnreachable { cause: Text::from(error.to_string()) }),
            }
            env.sleep(pause).await;
        }
    });
}
