//! A network in memory, for tests of one room: frames arrive at once, in order, until somebody hangs up.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{BoxFuture, Connection, Delivery, Env, FrameReceiver, FrameSender, Listener, Net, real};

/// Who listens where.
#[derive(Default)]
pub(crate) struct MemoryNet(Mutex<BTreeMap<String, UnboundedSender<Connection>>>);

struct End(UnboundedSender<Bytes>);
struct Start(UnboundedReceiver<Bytes>);
struct Waiting(UnboundedReceiver<Connection>);

/// Real clock, tasks and files under `root`, and the network given.
pub(crate) fn env(root: &Path, net: &Arc<MemoryNet>) -> Env {
    Env { net: Arc::clone(net) as Arc<dyn Net>, ..real::env(root, None).expect("a real environment") }
}

fn pair() -> (Connection, Connection) {
    let (to_right, from_left) = unbounded_channel();
    let (to_left, from_right) = unbounded_channel();
    let connection = |to, from| Connection { sender: Box::new(End(to)), receiver: Box::new(Start(from)) };
    (connection(to_right, from_right), connection(to_left, from_left))
}

impl Net for MemoryNet {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let (accept, waiting) = unbounded_channel();
        self.0.lock().insert(address.to_owned(), accept);
        Box::pin(async move { Ok(Box::new(Waiting(waiting)) as Box<dyn Listener>) })
    }

    fn connect<'a>(&'a self, address: &'a str, _: Delivery) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let (here, there) = pair();
            let listening = self.0.lock().get(address).is_some_and(|accept| accept.send(there).is_ok());
            if listening { Ok(here) } else { Err(ErrorKind::ConnectionRefused.into()) }
        })
    }
}

impl Listener for Waiting {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async { self.0.recv().await.ok_or_else(|| ErrorKind::NotConnected.into()) })
    }
}

impl FrameSender for End {
    fn send(&self, frame: Bytes) -> io::Result<()> {
        self.0.send(frame).map_err(|_| ErrorKind::ConnectionReset.into())
    }

    fn queued_bytes(&self) -> usize {
        0
    }

    fn ready(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

impl FrameReceiver for Start {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.0.poll_recv(context).map(|frame| frame.ok_or_else(|| ErrorKind::UnexpectedEof.into()))
    }
}
