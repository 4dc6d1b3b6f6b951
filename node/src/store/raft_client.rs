//! Raft messages to peer stores: one connection and one task a store, which resolves, connects, streams and backs off.
//!
//! Whoever sends never waits: a full queue or a broken connection loses messages, as a network would, and raft hears
//! that the store is unreachable. Messages that wait share a frame. While a connection stands and nothing waits, whoever
//! sends puts the frame onto it without the task.
//!
//! A task begins with the first message for its store, and from then on keeps a connection whether or not there is
//! something to send. A store that the placement driver does not know is asked about again after a pause; only a definite
//! tombstone ends the task.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use failpoints::point;
use futures::future::{Either, FutureExt as _, select};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    fact::{lifecycle, raft},
    mail::{Mail, Mailbox},
    options::Options,
    peer_wire,
    resolver::{Resolver, Unresolved},
    site,
};
use crate::{
    env::{Connection, Delivery, Env, FrameSender},
    fact::Text,
    region::StoreId,
    release::{Release, WIRE_BATCHED, WIRE_SINGLE},
    rpc,
    wire::peer,
};

/// A message on its way out, and the fact to state just before it goes.
#[derive(Debug)]
pub struct Outgoing {
    /// Where to.
    pub store: StoreId,
    /// A [`PeerMessage`](crate::wire::peer::PeerMessage), encoded: nobody here looks into it.
    pub message: Vec<u8>,
    /// What sending it promises.
    pub fact: Option<raft::Fact>,
}

/// Sends messages to all peer stores. Cheap to clone.
#[derive(Clone)]
pub struct RaftClient(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    resolver: Resolver,
    mailbox: Mailbox,
    queues: Mutex<BTreeMap<StoreId, Queue>>,
}

struct Queue {
    sender: mpsc::Sender<Vec<u8>>,
    /// The connection, while it stands.
    line: Option<Line>,
}

impl RaftClient {
    /// A client without connections.
    pub fn new(options: Arc<Options>, resolver: Resolver, mailbox: Mailbox) -> RaftClient {
        RaftClient(Arc::new(Inner { options, resolver, mailbox, queues: Mutex::default() }))
    }

    /// Sends messages, stating what each one promises.
    pub fn send(&self, env: &Env, messages: &mut Vec<Outgoing>) {
        if messages.is_empty() {
            return;
        }
        for fact in messages.iter_mut().filter_map(|outgoing| outgoing.fact.take()) {
            env.state(fact);
        }
        messages.sort_by_key(|outgoing| outgoing.store);
        for all in messages.chunk_by_mut(|one, other| one.store == other.store) {
            if let Some(line) = self.line(env, all[0].store) {
                let frames =
                    Frames { rest: all, version: line.version, bytes_max: self.0.options.raft_client_frame_bytes };
                for frame in frames {
                    // An idle site counts, and does nothing.
                    let _ = point!(env.points, site::BEFORE_RAFT_SEND).now_or_never();
                    // A broken connection loses messages, and its task notices.
                    let _ = line.sender.send(frame_of(frame.iter().map(|outgoing| &outgoing.message)));
                }
                continue;
            }
            let mut queues = self.0.queues.lock();
            for Outgoing { store, message, .. } in all {
                let queue = queues.entry(*store).or_insert_with(|| self.connect(env, *store));
                // A full queue loses messages: raft sends again. Nobody listens for a store that is gone for good.
                let _ = queue.sender.try_send(std::mem::take(message));
            }
        }
        messages.clear();
    }

    /// The connection to a store, if nothing waits for it and nothing is to happen to what goes over it.
    fn line(&self, env: &Env, store: StoreId) -> Option<Line> {
        let queues = self.0.queues.lock();
        let queue = queues.get(&store)?;
        let free =
            queue.sender.capacity() == queue.sender.max_capacity() && env.points.is_idle(&site::BEFORE_RAFT_SEND);
        queue.line.clone().filter(|_| free)
    }

    fn set_line(&self, store: StoreId, line: Option<Line>) {
        if let Some(queue) = self.0.queues.lock().get_mut(&store) {
            queue.line = line;
        }
    }

    fn connect(&self, env: &Env, store: StoreId) -> Queue {
        let (sender, receiver) = mpsc::channel(self.0.options.raft_client_queue);
        let connection = Stream { env: env.clone(), client: self.clone(), store, receiver, was_up: false };
        env.spawn("raft-client", connection.run());
        Queue { sender, line: None }
    }
}

/// A connection that stands.
#[derive(Clone)]
struct Line {
    sender: Arc<dyn FrameSender>,
    /// What both sides speak.
    version: u8,
}

/// Messages, cut into what may share a frame.
struct Frames<'a, T> {
    rest: &'a [T],
    version: u8,
    bytes_max: usize,
}

impl<'a, T: AsRef<[u8]>> Iterator for Frames<'a, T> {
    type Item = &'a [T];

    fn next(&mut self) -> Option<&'a [T]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let full = |message: &T| {
            bytes += message.as_ref().len();
            bytes >= self.bytes_max || self.version < WIRE_BATCHED
        };
        // The message that fills a frame is its last one.
        let count = self.rest.iter().position(full).map_or(self.rest.len(), |last| last + 1);
        let (frame, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(frame)
    }
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

fn frame_of<'a>(messages: impl Iterator<Item = &'a Vec<u8>> + Clone) -> Bytes {
    let len = messages.clone().map(|message| peer::framed_len(message)).sum();
    rpc::one_way_of(rpc::RAFT, len, |out| messages.for_each(|message| peer::put_framed(message, out)))
}

struct Stream {
    env: Env,
    client: RaftClient,
    store: StoreId,
    receiver: mpsc::Receiver<Vec<u8>>,
    /// Whether there has been a connection since raft last heard that there is none.
    was_up: bool,
}

/// Why a stream ended.
enum End {
    /// The store stops.
    Closed,
    /// The peer store is gone for good.
    Tombstone,
    /// Try again after a pause.
    Broken(Text),
}

impl Stream {
    async fn run(mut self) {
        let options = self.client.0.options.clone();
        let mut backoff = options.raft_client_backoff;
        // Nothing is resolved or connected for nobody.
        let Some(first) = self.receiver.recv().await else { return };
        let mut queue = vec![first];
        loop {
            let began = self.env.now();
            let end = self.stream(&mut queue).await;
            self.client.set_line(self.store, None);
            match end {
                End::Closed => return,
                End::Tombstone => return self.env.state(lifecycle::Fact::Blocked { store: self.store }),
                End::Broken(cause) => self.env.state(lifecycle::Fact::Disconnected { store: self.store, cause }),
            }
            if self.env.now().since(began) > options.raft_client_max_backoff {
                backoff = options.raft_client_backoff;
            }
            let was_up = std::mem::take(&mut self.was_up);
            if self.lose(&mut queue) || was_up {
                self.client.0.mailbox.send(Mail::Unreachable(self.store));
            }
            self.env.sleep(backoff).await;
            backoff = (backoff * 2).min(options.raft_client_max_backoff);
            if self.lose(&mut queue) {
                self.client.0.mailbox.send(Mail::Unreachable(self.store));
            }
            if self.receiver.is_closed() {
                return;
            }
        }
    }

    /// What has piled up is stale by now. Whether there was anything.
    fn lose(&mut self, queue: &mut Vec<Vec<u8>>) -> bool {
        let mut any = !queue.is_empty();
        queue.clear();
        while self.receiver.try_recv().is_ok() {
            any = true;
        }
        any
    }

    async fn stream(&mut self, queue: &mut Vec<Vec<u8>>) -> End {
        let options = self.client.0.options.clone();
        let address = match self.client.0.resolver.address(&self.env, self.store).await {
            Ok(address) => address,
            Err(Unresolved::Tombstone) => return End::Tombstone,
            Err(unresolved) => return End::Broken(unresolved.name().into()),
        };
        let connecting = self.env.net.connect(&address, Delivery::Lossy);
        let Connection { sender, mut receiver } = match self.env.timeout(Duration::from_secs(5), connecting).await {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => {
                self.client.0.resolver.forget(self.store);
                return End::Broken(Text::from(error.to_string()));
            }
            None => return End::Broken("connecting took too long".into()),
        };
        self.env.state(lifecycle::Fact::Connected { store: self.store });
        self.was_up = true;
        let own = Release::parse(&options.release).map_or(WIRE_SINGLE, |release| release.wire);
        let mut line = Line { sender: sender.into(), version: WIRE_SINGLE };
        loop {
            let mut hearing = receiver.recv();
            let heard = loop {
                let bytes_max = options.raft_client_frame_bytes;
                for frame in (Frames { rest: &queue[..], version: line.version, bytes_max }) {
                    if let Err(end) = self.send_frame(&*line.sender, frame).await {
                        return end;
                    }
                }
                queue.clear();
                self.client.set_line(self.store, Some(line.clone()));
                let taking = std::pin::pin!(self.receiver.recv_many(queue, 512));
                match select(&mut hearing, taking).await {
                    Either::Right((0, _)) => return End::Closed,
                    Either::Right(_) => continue,
                    Either::Left((heard, _)) => break heard,
                }
            };
            // The other side only greets: everything else that comes there is the end of the connection.
            match heard.map(peer_wire::greeted) {
                Ok(Some(theirs)) => {
                    line.version = own.min(theirs);
                    let (store, version) = (self.store, u64::from(line.version));
                    self.env.state(lifecycle::Fact::WireNegotiated { store, version });
                }
                Ok(None) => return End::Broken("unexpected frame".into()),
                Err(error) => return End::Broken(Text::from(error.to_string())),
            }
        }
    }

    async fn send_frame(&self, sender: &dyn FrameSender, messages: &[Vec<u8>]) -> Result<(), End> {
        if point!(self.env.points, site::BEFORE_RAFT_SEND).await.is_some() {
            return Ok(());
        }
        let broken = |error: std::io::Error| End::Broken(Text::from(error.to_string()));
        sender.send(frame_of(messages.iter())).map_err(broken)
    }
}
