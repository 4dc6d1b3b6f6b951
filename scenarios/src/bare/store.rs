//! A store of the bare loop: its raft groups, its connections, and the turns that it takes.
//!
//! A turn hands messages or proposals to raft-rs, carries out what it wants, and sends what came of it: one frame a
//! store, however many messages, as the real store does.
//!
//! Not here: when proposals come.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protobuf::{CodedInputStream, CodedOutputStream, Message as _, ProtobufResult};
use raft::{
    Config, RawNode, StateRole,
    prelude::{Entry, Message},
};

use super::{Shape, log::Log};
use crate::room::{Connection, Delivery, Exit, Handle};

/// What all stores count together.
pub struct Tally {
    leaders: Vec<Option<u64>>,
    led: usize,
    applied: Vec<bool>,
    /// Stores that are connected to all others.
    pub connected: u64,
    /// Proposals that their leaders applied, each counted once.
    pub committed: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Frames that arrived.
    pub frames: u64,
}

impl Tally {
    /// Of nothing yet.
    pub fn new(shape: &Shape) -> Self {
        Tally {
            leaders: vec![None; shape.regions as usize],
            led: 0,
            applied: vec![false; shape.proposals as usize],
            connected: 0,
            committed: 0,
            messages: 0,
            frames: 0,
        }
    }

    /// Whether each region has a leader.
    pub fn is_led_everywhere(&self) -> bool {
        self.led == self.leaders.len()
    }

    /// The store that leads a region.
    pub fn leader_of(&self, region: u64) -> Option<u64> {
        self.leaders[region as usize]
    }

    fn leads(&mut self, store: u64, region: u64, leads: bool) {
        let slot = &mut self.leaders[region as usize];
        self.led -= usize::from(slot.is_some());
        if leads {
            *slot = Some(store);
        } else if *slot == Some(store) {
            *slot = None;
        }
        self.led += usize::from(slot.is_some());
    }

    fn applied(&mut self, entries: &[Entry]) {
        for entry in entries {
            // A new leader's first entry is empty.
            let Some(number) = entry.data.first_chunk() else { continue };
            let applied = &mut self.applied[u64::from_le_bytes(*number) as usize];
            self.committed += u64::from(!*applied);
            *applied = true;
        }
    }
}

struct Peer {
    raft: RawNode<Log>,
    touched: bool,
}

/// A store.
pub struct Store {
    number: u64,
    /// By region; a store has a peer of some.
    peers: Vec<Option<Box<Peer>>>,
    /// By the number of the other store.
    connections: Vec<Option<Connection>>,
    outgoing: Outgoing,
    /// Regions that this turn is about.
    touched: Vec<u64>,
    tally: Arc<Mutex<Tally>>,
}

/// A log this much longer than what is kept is cut.
const CUT_AT: usize = 2 * KEPT;
/// Applied entries that a log keeps.
const KEPT: usize = 128;

impl Store {
    /// A store with a peer of each of its regions, and no connections.
    pub fn new(handle: &Handle, number: u64, shape: &Shape, tally: &Arc<Mutex<Tally>>) -> Self {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let peer = |region| {
            let voters: Vec<u64> = shape.voters(region).collect();
            let config = Config {
                id: number,
                election_tick: shape.election_ticks,
                heartbeat_tick: shape.heartbeat_ticks,
                max_size_per_msg: shape.message_bytes,
                max_inflight_msgs: shape.inflight,
                pre_vote: true,
                check_quorum: true,
                ..Config::default()
            };
            voters.contains(&number).then(|| {
                let raft = RawNode::new(&config, Log::new(voters), &logger)
                    .unwrap_or_else(|error| panic!("raft-rs refuses the shape at {}: {error}", handle.name()));
                Box::new(Peer { raft, touched: false })
            })
        };
        Store {
            number,
            peers: (0..shape.regions).map(peer).collect(),
            connections: (0..=shape.stores).map(|_| None).collect(),
            outgoing: Outgoing { frames: vec![Vec::new(); shape.stores as usize + 1], to: Vec::new() },
            touched: Vec::new(),
            tally: tally.clone(),
        }
    }

    /// Proposes at the leader of a region.
    pub fn propose(&mut self, region: u64, data: Vec<u8>) {
        if let Some(peer) = &mut self.peers[region as usize] {
            // Refused for want of a leader: whoever counts will miss it.
            peer.raft.propose(Vec::new(), data).ok();
            self.touched.push(region);
            self.turn();
        }
    }

    fn receive(&mut self, frame: &Bytes) {
        let messages = decode(frame, |region, message| {
            if let Some(peer) = self.peers.get_mut(region as usize).and_then(Option::as_mut) {
                // What raft-rs refuses is stale.
                peer.raft.step(message).ok();
                if !peer.touched {
                    peer.touched = true;
                    self.touched.push(region);
                }
            }
        })
        .expect("frames arrive as they were sent");
        {
            let mut tally = self.tally.lock();
            tally.messages += messages;
            tally.frames += 1;
        }
        self.turn();
    }

    fn tick(&mut self) {
        for (region, peer) in (0..).zip(&mut self.peers) {
            if let Some(peer) = peer
                && peer.raft.tick()
            {
                self.touched.push(region);
            }
        }
        self.turn();
    }

    /// Campaigns in the regions that this store is to lead.
    pub fn campaign(&mut self, shape: &Shape) {
        for region in 0..shape.regions {
            if shape.voters(region).next() == Some(self.number)
                && let Some(peer) = &mut self.peers[region as usize]
            {
                // Refused if it leads already.
                peer.raft.campaign().ok();
                self.touched.push(region);
            }
        }
        self.turn();
    }

    /// Carries out what the touched regions want, and sends.
    fn turn(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for region in touched.drain(..) {
            if let Some(peer) = &mut self.peers[region as usize] {
                peer.touched = false;
                peer.pump(region, self.number, &mut self.outgoing, &self.tally);
            }
        }
        self.touched = touched;
        for to in self.outgoing.to.drain(..) {
            let frame = std::mem::take(&mut self.outgoing.frames[to as usize]);
            if let Some(connection) = &self.connections[to as usize] {
                // A lost frame is raft's to bear.
                connection.sender.send(frame.into()).ok();
            }
        }
    }
}

impl Peer {
    fn pump(&mut self, region: u64, store: u64, outgoing: &mut Outgoing, tally: &Mutex<Tally>) {
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            if let Some(soft_state) = ready.ss() {
                tally.lock().leads(store, region, soft_state.raft_state == StateRole::Leader);
            }
            outgoing.push(region, ready.take_messages());
            self.apply(&ready.take_committed_entries(), tally);
            let log = self.raft.mut_store();
            log.append(ready.take_entries());
            if let Some(hard_state) = ready.hs() {
                log.hard_state = hard_state.clone();
            }
            outgoing.push(region, ready.take_persisted_messages());
            let mut light = self.raft.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.raft.mut_store().hard_state.commit = commit;
            }
            outgoing.push(region, light.take_messages());
            self.apply(&light.take_committed_entries(), tally);
            self.raft.advance_apply();
        }
        if self.raft.store().len() > CUT_AT {
            let applied = self.raft.raft.raft_log.applied;
            let needed = match self.raft.raft.state {
                StateRole::Leader => self.raft.raft.prs().iter().map(|(_, progress)| progress.matched).min(),
                _ => None,
            };
            self.raft.mut_store().cut(needed.map_or(applied, |needed| needed.min(applied)), KEPT);
        }
    }

    fn apply(&self, entries: &[Entry], tally: &Mutex<Tally>) {
        if !entries.is_empty() && self.raft.raft.state == StateRole::Leader {
            tally.lock().applied(entries);
        }
    }
}

/// The frames of a turn.
struct Outgoing {
    /// By store.
    frames: Vec<Vec<u8>>,
    /// Stores whose frame is not empty.
    to: Vec<u64>,
}

impl Outgoing {
    fn push(&mut self, region: u64, messages: Vec<Message>) {
        for message in messages {
            let frame = &mut self.frames[message.to as usize];
            if frame.is_empty() {
                self.to.push(message.to);
            }
            encode(region, &message, frame).expect("a message of raft-rs can be encoded");
        }
    }
}

fn encode(region: u64, message: &Message, frame: &mut Vec<u8>) -> ProtobufResult<()> {
    let len = message.compute_size();
    frame.reserve(len as usize + 15);
    let mut out = CodedOutputStream::vec(frame);
    out.write_raw_varint64(region)?;
    out.write_raw_varint32(len)?;
    message.write_to_with_cached_sizes(&mut out)?;
    out.flush()
}

fn decode(frame: &Bytes, mut hand_over: impl FnMut(u64, Message)) -> ProtobufResult<u64> {
    let mut input = CodedInputStream::from_carllerche_bytes(frame);
    let mut messages = 0;
    while !input.eof()? {
        let region = input.read_raw_varint64()?;
        hand_over(region, input.read_message()?);
        messages += 1;
    }
    Ok(messages)
}

/// The main of a store's process.
pub async fn work(handle: Handle, store: Arc<Mutex<Store>>, shape: Arc<Shape>) -> Exit {
    let number = store.lock().number;
    let mut listener = match handle.net().listen(&address(number)) {
        Ok(listener) => listener,
        Err(error) => return Exit::Failed(error.to_string().into()),
    };
    let (accepting, accepted) = (store.clone(), handle.clone());
    handle.spawn(async move {
        loop {
            let mut connection = listener.accept().await;
            let store = accepting.clone();
            accepted.spawn(async move {
                while let Ok(frame) = connection.receiver.recv().await {
                    store.lock().receive(&frame);
                }
            });
        }
    });
    for other in (1..=shape.stores).filter(|&other| other != number) {
        loop {
            match handle.net().connect(&address(other), Delivery::Lossy).await {
                Ok(connection) => {
                    store.lock().connections[other as usize] = Some(connection);
                    break;
                }
                // It does not listen yet.
                Err(_) => handle.clock().sleep(shape.tick).await,
            }
        }
    }
    store.lock().tally.lock().connected += 1;
    let mut interval = handle.clock().interval(shape.tick);
    loop {
        interval.tick().await;
        store.lock().tick();
    }
}

fn address(store: u64) -> String {
    format!("store-{store}:20160")
}
