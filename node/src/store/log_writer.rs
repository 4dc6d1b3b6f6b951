//! The task that writes the raft log: many regions' entries and hard states in one write and one sync.
//!
//! A follower's acknowledgements and all votes wait here for the sync, because they promise what must then be on disk.
//! Only afterwards the raft loop hears that its readies are durable.
//!
//! A state that begins the applying of a snapshot goes to the engine before the log lets its old entries go; a crash
//! between the two leaves both, and recovery knows what to do.

use failpoints::point;
use tokio::sync::mpsc;

use super::{
    mail::{Mailbox, Written},
    raft_client::{Outgoing, RaftClient},
    site,
};
use crate::{
    engine::{Engine, WriteBatch},
    env::Env,
    raftlog::{LogBatch, RaftLog},
    region::StoreId,
};

/// Tasks that one write takes at most.
const TASKS_MAX: usize = 256;

/// What one turn of the raft loop wants written.
#[derive(Default)]
pub struct LogTask {
    /// For the engine, before the log.
    pub engine: WriteBatch,
    /// For the engine, in a write of its own: only with the defect tikv-7002.
    pub engine_late: WriteBatch,
    /// For the log.
    pub log: LogBatch,
    /// Whether anyone relies on its being durable.
    pub sync: bool,
    /// The readies in it.
    pub written: Vec<Written>,
    /// What may be sent once it is durable.
    pub messages: Vec<Outgoing>,
    /// Told once it is durable.
    pub done: Vec<tokio::sync::oneshot::Sender<()>>,
}

impl LogTask {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
            && self.engine.is_empty()
            && self.engine_late.is_empty()
            && self.written.is_empty()
            && self.messages.is_empty()
            && self.done.is_empty()
    }

    fn take_in(&mut self, other: LogTask) {
        self.engine.append(other.engine);
        self.engine_late.append(other.engine_late);
        self.log.extend(other.log);
        self.sync |= other.sync;
        self.written.extend(other.written);
        self.messages.extend(other.messages);
        self.done.extend(other.done);
    }
}

/// Writes until the queue closes.
pub async fn run(
    (env, store): (Env, StoreId),
    engine: Engine,
    log: RaftLog,
    client: RaftClient,
    mailbox: Mailbox,
    mut tasks: mpsc::UnboundedReceiver<LogTask>,
) {
    let mut queue = Vec::with_capacity(TASKS_MAX);
    while tasks.recv_many(&mut queue, TASKS_MAX).await > 0 {
        let mut tasks = queue.drain(..);
        let mut all = tasks.next().unwrap_or_default();
        tasks.for_each(|task| all.take_in(task));
        let LogTask { engine: states, engine_late: late, log: batch, sync, mut written, mut messages, done } = all;
        point!(env.points, site::BEFORE_LOG_APPEND).await;
        if !states.is_empty() {
            if let Err(error) = engine.write(states, true).await {
                if matches!(error, crate::engine::Error::Stopped) {
                    return;
                }
                return super::fail(&env, store, &format!("writing region states: {error}"));
            }
            point!(env.points, site::BETWEEN_ENGINE_AND_LOG).await;
        }
        if !late.is_empty()
            && let Err(error) = engine.write(late, true).await
        {
            return super::fail(&env, store, &format!("writing region states: {error}"));
        }
        if !batch.is_empty() {
            let stalled = async {
                if !failpoints::PRESENT {
                    return log.write(batch, sync).await;
                }
                log.write(batch, false).await?;
                point!(env.points, site::BEFORE_LOG_SYNC).await;
                if sync { log.sync().await } else { Ok(()) }
            };
            if let Err(error) = stalled.await {
                return super::fail(&env, store, &error.to_string());
            }
        }
        point!(env.points, site::AFTER_LOG_SYNC).await;
        client.send(&env, &mut messages);
        for waiting in done {
            // Whoever waits may have gone.
            let _ = waiting.send(());
        }
        if !written.is_empty() {
            mailbox.written(&mut written);
        }
    }
}
