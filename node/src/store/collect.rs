//! What comes round in a store: log collection, size checks, stale peers, and the removal of dead log segments.
//!
//! Each task sleeps its own pause after each round, so that a stalled process catches up with one round, not a burst.
//! What is decided in the raft loop is only announced here.

use std::{sync::Arc, time::Duration};

use super::{
    mail::{Mail, Mailbox, Round},
    options::Options,
};
use crate::{env::Env, raftlog::RaftLog, region::StoreId};

/// Starts the tasks.
pub(super) fn spawn(env: &Env, options: &Arc<Options>, mailbox: &Mailbox, log: &RaftLog, store: StoreId) {
    announce(env, mailbox, options.raft_log_gc_tick, Round::LogCollect);
    announce(env, mailbox, options.split_region_check_tick, Round::SplitCheck);
    announce(env, mailbox, options.peer_stale_state_check, Round::StaleCheck);
    announce(env, mailbox, options.pd_heartbeat_tick, Round::RegionHeartbeat);
    let (env, log, pause) = (env.clone(), log.clone(), options.raft_log_purge_tick);
    env.clone().spawn("log-purge", async move {
        loop {
            env.sleep(pause).await;
            if let Err(error) = log.collect().await {
                return super::fail(&env, store, &error.to_string());
            }
        }
    });
}

fn announce(env: &Env, mailbox: &Mailbox, pause: Duration, round: Round) {
    let (env, mailbox) = (env.clone(), mailbox.clone());
    env.clone().spawn("round", async move {
        loop {
            env.sleep(pause).await;
            mailbox.send(Mail::Round(round));
        }
    });
}
