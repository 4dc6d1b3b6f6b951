//! The asking end of a connection.
//!
//! Deadlines lie in one ordered set; one task sleeps until the earliest that it has seen. A call that was answered
//! leaves the set at once, so a busy connection costs one timer per longest deadline, not one per call.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{ABANDONED, REFUSED, frame, parse};
use crate::env::{Delivery, Env, FrameReceiver, FrameSender, Instant, Task};

/// Above so many queued bytes a call waits before it adds its own.
const QUEUED_BYTES_MAX: usize = 1 << 20;

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request did not reach the service: it was not done and will not be.
    #[error("the request was not sent: {0}")]
    Refused(String),
    /// The connection broke, or the other side gave up, with the request under way: it may have been done.
    #[error("the request was under way when {0}")]
    Broken(String),
    /// No answer in time: it may have been done, or be done later.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl CallError {
    /// Whether the other side may have done what was asked, or may still do it.
    pub fn is_unknown(&self) -> bool {
        !matches!(self, CallError::Refused(_))
    }
}

/// The asking end of one connection. Clones share it; dropping the last one closes it.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    sender: Box<dyn FrameSender>,
    tasks: Mutex<Vec<Task>>,
}

struct Shared {
    env: Env,
    calls: Mutex<Calls>,
    sooner: Notify,
}

#[derive(Default)]
struct Calls {
    last_id: u64,
    under_way: BTreeMap<u64, Call>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// The deadline that the watching task sleeps until.
    watched: Option<Instant>,
    broken: Option<String>,
}

struct Call {
    answer: oneshot::Sender<Result<Bytes, CallError>>,
    deadline: Instant,
    limit: Duration,
}

impl Caller {
    /// Connects to whoever serves at `address`, waiting for that at most `limit`.
    pub async fn connect(env: &Env, address: &str, limit: Duration) -> io::Result<Caller> {
        let connection = match env.timeout(limit, env.net.connect(address, Delivery::Ordered)).await {
            Some(connection) => connection?,
            None => return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}"))),
        };
        let shared = Arc::new(Shared { env: env.clone(), calls: Mutex::new(Calls::default()), sooner: Notify::new() });
        let read = env.spawn("rpc-read", Arc::clone(&shared).read(connection.receiver));
        let watch = env.spawn("rpc-deadlines", Arc::clone(&shared).watch());
        Ok(Caller(Arc::new(Inner { shared, sender: connection.sender, tasks: Mutex::new(vec![read, watch]) })))
    }

    /// Asks `service` and waits for the answer, at most for `limit`. Any number of calls may be under way.
    pub async fn call(&self, service: u32, body: Bytes, limit: Duration) -> Result<Bytes, CallError> {
        let Inner { shared, sender, .. } = &*self.0;
        if sender.queued_bytes() > QUEUED_BYTES_MAX {
            match shared.env.timeout(limit, sender.ready()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(CallError::Refused(error.to_string())),
                None => return Err(CallError::Refused(format!("the connection was clogged for {limit:?}"))),
            }
        }
        let (answer, answered) = oneshot::channel();
        let id = shared.register(answer, limit)?;
        if let Err(error) = sender.send(frame(id, service, &body)) {
            shared.finish(id, Err(CallError::Refused(error.to_string())));
        }
        answered.await.unwrap_or_else(|_| Err(CallError::Broken("this side closed the connection".into())))
    }

    /// Whether both are ends of the same connection.
    pub fn is_same(&self, other: &Caller) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the connection is known to be broken: no further call will be sent.
    pub fn is_broken(&self) -> bool {
        self.0.shared.calls.lock().broken.is_some()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

impl Shared {
    fn register(&self, answer: oneshot::Sender<Result<Bytes, CallError>>, limit: Duration) -> Result<u64, CallError> {
        let deadline = self.env.now() + limit;
        let mut calls = self.calls.lock();
        if let Some(cause) = &calls.broken {
            return Err(CallError::Refused(cause.clone()));
        }
        calls.last_id += 1;
        let id = calls.last_id;
        calls.under_way.insert(id, Call { answer, deadline, limit });
        calls.deadlines.insert((deadline, id));
        if calls.watched.is_none_or(|watched| deadline < watched) {
            calls.watched = Some(deadline);
            self.sooner.notify_one();
        }
        Ok(id)
    }

    fn finish(&self, id: u64, result: Result<Bytes, CallError>) {
        let call = {
            let mut calls = self.calls.lock();
            let Some(call) = calls.under_way.remove(&id) else { return };
            calls.deadlines.remove(&(call.deadline, id));
            call
        };
        // Whoever asked may have gone.
        let _ = call.answer.send(result);
    }

    async fn read(self: Arc<Self>, mut receiver: Box<dyn FrameReceiver>) {
        let cause = loop {
            let frame = match receiver.recv().await {
                Ok(frame) => frame,
                Err(error) => break format!("the connection broke: {error}"),
            };
            let Some(answer) = parse(frame) else { break "the other side sent no envelope".to_owned() };
            let text = || String::from_utf8_lossy(&answer.body).into_owned();
            let result = match answer.service {
                REFUSED => Err(CallError::Refused(text())),
                ABANDONED => Err(CallError::Broken(text())),
                _ => Ok(answer.body),
            };
            self.finish(answer.id, result);
        };
        let under_way = {
            let mut calls = self.calls.lock();
            calls.broken = Some(cause.clone());
            calls.deadlines.clear();
            std::mem::take(&mut calls.under_way)
        };
        for call in under_way.into_values() {
            let _ = call.answer.send(Err(CallError::Broken(cause.clone())));
        }
        self.sooner.notify_one();
    }

    async fn watch(self: Arc<Self>) {
        loop {
            let now = self.env.now();
            let (late, next) = {
                let mut calls = self.calls.lock();
                if calls.broken.is_some() {
                    return;
                }
                let mut late = Vec::new();
                while let Some(&(deadline, id)) = calls.deadlines.first()
                    && deadline <= now
                {
                    calls.deadlines.pop_first();
                    late.extend(calls.under_way.remove(&id));
                }
                calls.watched = calls.deadlines.first().map(|&(deadline, _)| deadline);
                (late, calls.watched)
            };
            for call in late {
                let _ = call.answer.send(Err(CallError::Timeout(call.limit)));
            }
            let sooner = std::pin::pin!(self.sooner.notified());
            match next {
                None => sooner.await,
                Some(deadline) => match select(sooner, self.env.sleep(deadline.since(now))).await {
                    Either::Left(_) | Either::Right(_) => {}
                },
            }
        }
    }
}
