//! The answering end of connections.
//!
//! A handler is called from the task that reads the connection, so it must not wait: it answers at once or hands the
//! [`Reply`] on. The first frame of a connection decides whether a handler takes the whole connection over.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{ABANDONED, REFUSED, Session, frame, parse};
use crate::env::{Connection, Env, FrameSender, Listener, Task};

/// How long to wait before accepting again after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves requests.
pub trait Handler: Send + Sync {
    /// Serves one request without waiting: answers now, or later from any task.
    fn handle(&self, service: u32, body: Bytes, reply: Reply);

    /// Offers a whole connection whose first frame asked for `service`. A handler that takes it over returns the
    /// session to run; one that does not gives the connection back.
    fn take_over(&self, service: u32, first: &Bytes, connection: Connection) -> Result<Session, Connection> {
        let _ = (service, first);
        Err(connection)
    }
}

/// The way back to whoever asked. Dropped unanswered, it tells the other side that nobody will answer.
pub struct Reply {
    to: Option<Arc<dyn FrameSender>>,
    id: u64,
    service: u32,
}

impl Reply {
    /// Answers.
    pub fn send(mut self, body: Bytes) {
        self.put(self.service, body);
    }

    /// Says that nothing was done, and why.
    pub fn refuse(mut self, why: impl Into<String>) {
        self.put(REFUSED, Bytes::from(why.into()));
    }

    /// Whether anybody waits for an answer; a one-way frame has nobody.
    pub fn is_wanted(&self) -> bool {
        self.to.is_some()
    }

    fn put(&mut self, service: u32, body: Bytes) {
        if let Some(to) = self.to.take() {
            // A broken connection has told the other side already.
            let _ = to.send(frame(self.id, service, &body));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.put(ABANDONED, Bytes::from_static(b"the other side gave it up"));
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({})", self.id)
    }
}

/// A listening address and all connections accepted there. Dropping it stops listening and closes them.
pub struct Server {
    accept: Option<Task>,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    last: u64,
    tasks: BTreeMap<u64, Task>,
    stopped: bool,
}

/// Listens at `address` and serves what comes with `handler`, until the [`Server`] is dropped.
pub async fn serve(env: &Env, address: &str, handler: Arc<dyn Handler>) -> io::Result<Server> {
    let listener = env.net.listen(address).await?;
    let open = Arc::new(Mutex::new(Open::default()));
    let accept = env.spawn("rpc-accept", accept(env.clone(), listener, handler, Arc::clone(&open)));
    Ok(Server { accept: Some(accept), open })
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accept) = self.accept.take() {
            accept.abort();
        }
        let tasks = {
            let mut open = self.open.lock();
            open.stopped = true;
            std::mem::take(&mut open.tasks)
        };
        for task in tasks.into_values() {
            task.abort();
        }
    }
}

async fn accept(env: Env, mut listener: Box<dyn Listener>, handler: Arc<dyn Handler>, open: Arc<Mutex<Open>>) {
    loop {
        let Ok(connection) = listener.accept().await else {
            env.sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let mut guard = open.lock();
        if guard.stopped {
            return;
        }
        guard.last += 1;
        let number = guard.last;
        let (handler, open) = (Arc::clone(&handler), Arc::clone(&open));
        let task = env.spawn("rpc-serve", async move {
            converse(connection, handler).await;
            open.lock().tasks.remove(&number);
        });
        guard.tasks.insert(number, task);
    }
}

async fn converse(mut connection: Connection, handler: Arc<dyn Handler>) {
    let Some(first) = connection.receiver.recv().await.ok().and_then(parse) else { return };
    let Connection { sender, mut receiver } = match handler.take_over(first.service, &first.body, connection) {
        Ok(session) => return session.await,
        Err(connection) => connection,
    };
    let sender: Arc<dyn FrameSender> = Arc::from(sender);
    let mut next = Some(first);
    while let Some(request) = next {
        let to = (request.id != 0).then(|| Arc::clone(&sender));
        handler.handle(request.service, request.body, Reply { to, id: request.id, service: request.service });
        next = receiver.recv().await.ok().and_then(parse);
    }
}
