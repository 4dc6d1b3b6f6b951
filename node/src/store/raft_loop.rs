//! One loop over all peers of a store, and the owner of its two region maps.
//!
//! A turn takes all mail that waits, sorts it into the peers' mailboxes, lets each peer with mail handle it and then
//! take what raft-rs has ready, and hands everything that was gathered to the other tasks at once. The loop waits for
//! mail and for its tick, never for a disk or a network; when every region sleeps there is no tick.
//!
//! Two maps have to agree: from id to peer, and from end key to region. Each change is stated, and the end of each turn
//! that changed them.
//!
//! Not here: what a peer does with its mail; what is done on the loop's behalf (`effects`).

mod effects;
mod events;
mod lifecycle;
mod merge;
mod ranges;
mod unsafe_recovery;

pub use lifecycle::Found;
pub use merge::Tomb;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use failpoints::point;
use futures::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    apply::{self, Registry},
    fact::raft,
    log_writer::LogTask,
    mail::{Applied, Mail, Round, Written},
    peer::Peer,
    raft_client::RaftClient,
    region_worker::RegionWorker,
    service::{Served, refusal, region_not_found},
    site,
    snapshot::{self, Key, collect::PeerState},
    turn::Turn,
    unsafe_recovery::{Reports, Step},
};
use crate::{
    engine::Engine,
    env::BoxFuture,
    pd,
    raftlog::RaftLog,
    region::{End, PeerId, Region, RegionId},
    wire::{kv::Reason, peer::PeerMessage},
};

/// Everything that the loop reaches.
pub struct Reach {
    /// The engine, for snapshots of it.
    pub engine: Engine,
    /// The raft log, for entries that are not in memory.
    pub raftlog: RaftLog,
    /// To the log writer.
    pub log: mpsc::UnboundedSender<LogTask>,
    /// To apply.
    pub apply: mpsc::UnboundedSender<apply::Task>,
    /// To the reader.
    pub reader: mpsc::UnboundedSender<Served>,
    /// To other stores.
    pub client: RaftClient,
    /// To the region worker.
    pub worker: RegionWorker,
    /// The snapshot files.
    pub snapshots: snapshot::Manager,
    /// The addresses of other stores.
    pub resolver: super::resolver::Resolver,
    /// The placement driver.
    pub pd: pd::Client,
    /// Shared with apply.
    pub registry: Arc<Mutex<Registry>>,
    /// Shared with the collection of snapshots.
    pub view: Arc<View>,
    /// Reports for an unsafe recovery.
    pub reports: Reports,
}

/// The peers as the collection of snapshots sees them.
#[derive(Debug, Default)]
pub struct View(Mutex<BTreeMap<RegionId, PeerState>>);

impl View {
    /// How many peers there are.
    pub fn count(&self) -> u64 {
        self.0.lock().len() as u64
    }

    /// The regions whose peer here has its content.
    pub fn caught_up(&self) -> Vec<RegionId> {
        self.0.lock().iter().filter(|(_, state)| state.has_content).map(|(&region, _)| region).collect()
    }
}

impl snapshot::collect::PeerView for View {
    fn state(&self, region: RegionId) -> Option<PeerState> {
        self.0.lock().get(&region).copied()
    }
}

/// The loop.
pub struct RaftLoop {
    pub(super) reach: Reach,
    pub(super) turn: Turn,
    pub(super) peers: BTreeMap<RegionId, Peer>,
    /// The region by the end of its range; an empty end is the last one.
    ranges: BTreeMap<End, RegionId>,
    initialized: u64,
    maps_changed: bool,
    /// Snapshots that were stepped and whose ranges are not in the map yet.
    arriving: BTreeMap<RegionId, Region>,
    /// What is remembered of peers that are gone.
    tombs: BTreeMap<RegionId, Tomb>,
    /// Peers with mail in this turn, in the order of their first piece.
    busy: VecDeque<RegionId>,
    /// Peers that a split replaced although they had mail: the defect tikv-17469 lets them go on.
    ghosts: Vec<Peer>,
    tick: Option<BoxFuture<'static, ()>>,
    /// Whether the mailbox takes this loop for one that ticks.
    ticking: bool,
    /// What the log writer and apply have done, while a turn handles it.
    news: (Vec<Written>, Vec<Applied>),
    stopping: bool,
    safe_point: u64,
    /// The newest step of an unsafe recovery.
    step: Step,
}

/// Has a peer driven in this turn, once for all that makes it busy.
fn enqueue(busy: &mut VecDeque<RegionId>, id: RegionId, peer: &mut Peer) {
    if !peer.queued {
        peer.queued = true;
        busy.push_back(id);
    }
}

impl RaftLoop {
    /// A loop without peers.
    pub fn new(reach: Reach, turn: Turn) -> RaftLoop {
        RaftLoop {
            reach,
            turn,
            peers: BTreeMap::new(),
            ranges: BTreeMap::new(),
            initialized: 0,
            maps_changed: false,
            arriving: BTreeMap::new(),
            tombs: BTreeMap::new(),
            busy: VecDeque::new(),
            ghosts: Vec::new(),
            tick: None,
            ticking: false,
            news: (Vec::new(), Vec::new()),
            stopping: false,
            safe_point: 0,
            step: Step::default(),
        }
    }

    /// Turns until the store stops.
    pub async fn run(mut self, mut mail: mpsc::UnboundedReceiver<Mail>) {
        let mut queue = Vec::with_capacity(self.turn.options.turn_messages_max);
        let limit = self.turn.options.turn_messages_max;
        let ids: Vec<RegionId> = self.peers.keys().copied().collect();
        self.turn.begin();
        for id in ids {
            self.drive(id);
        }
        self.finish();
        while !self.stopping {
            if self.tick.is_none() && self.peers.values().any(|peer| !peer.is_asleep()) {
                self.tick = Some(self.turn.env.sleep(self.turn.options.raft_base_tick));
            }
            if self.tick.is_some() != self.ticking {
                self.ticking = self.tick.is_some();
                self.turn.mailbox.set_ticking(self.ticking);
            }
            let mut ticked = false;
            match &mut self.tick {
                None => {
                    if mail.recv_many(&mut queue, limit).await == 0 {
                        return;
                    }
                }
                Some(tick) => {
                    let taking = std::pin::pin!(mail.recv_many(&mut queue, limit));
                    match select(tick, taking).await {
                        Either::Left(_) => ticked = true,
                        Either::Right((0, _)) => return,
                        Either::Right(_) => {}
                    }
                }
            }
            // A tick leaves no mail behind that is there already.
            while ticked
                && queue.len() < limit
                && let Ok(there) = mail.try_recv()
            {
                queue.push(there);
            }
            // What comes while this turn is held up belongs to the next one, with the mail that comes then.
            self.turn.mailbox.take(&mut self.news.0, &mut self.news.1);
            point!(self.turn.env.points, site::BEFORE_TURN).await;
            self.turn.begin();
            self.read_news();
            if ticked {
                self.tick = None;
                self.tick_all();
            }
            for mail in queue.drain(..) {
                self.sort(mail);
            }
            self.handle_busy();
            if self.step.is_active() {
                self.tend_step();
                self.handle_busy();
            }
            self.finish();
        }
    }

    fn tick_all(&mut self) {
        for (&id, peer) in &mut self.peers {
            if !peer.is_asleep() && peer.closing.is_none() {
                peer.tick(&mut self.turn);
                enqueue(&mut self.busy, id, peer);
            }
        }
    }

    /// Puts mail into a peer's mailbox, or handles it where it is for the store.
    fn sort(&mut self, mail: Mail) {
        let to = match &mail {
            Mail::Peer(message) | Mail::Arrived(message, _) => {
                if !self.peers.contains_key(&message.region) && !self.make_for(message) {
                    return;
                }
                message.region
            }
            Mail::Ask(request, _) => request.region,
            Mail::Fetched { region, .. }
            | Mail::Generated { region, .. }
            | Mail::Sent { region, .. }
            | Mail::SnapshotApplied { region, .. }
            | Mail::SplitIds { region, .. }
            | Mail::Measured { region, .. }
            | Mail::MergeEntries { region, .. } => *region,
            Mail::CatchUp { region, target, commit, entries } => {
                return self.on_catch_up(*region, *target, *commit, entries);
            }
            Mail::Next(region, _)
            | Mail::Known(region, ..)
            | Mail::MergedInto(region, ..)
            | Mail::LoadIntoCache(region, _) => *region,
            Mail::Cache(key, load) => match self.holder(key) {
                Some(region) if *load => return self.put(region, Mail::LoadIntoCache(region, "manual")),
                Some(region) => return self.evict(region, "manual"),
                None => return,
            },
            Mail::Applied(applied) => applied.region,
            Mail::News => return,
            Mail::Outdated(regions) => return self.on_outdated(regions),
            Mail::Unreachable(store) => {
                for (&id, peer) in &mut self.peers {
                    if peer.closing.is_none() {
                        peer.on_unreachable(&mut self.turn, *store);
                        enqueue(&mut self.busy, id, peer);
                    }
                }
                return;
            }
            Mail::SafePoint(safe_point) => return self.on_safe_point(*safe_point),
            Mail::Recover(_) | Mail::Cleaned(_) | Mail::Created(_) => return self.sort_recovery(mail),
            Mail::Round(round) => return self.on_round(*round),
            Mail::Stop => {
                self.stopping = true;
                return;
            }
        };
        self.put(to, mail);
    }

    /// Handles what the log writer and apply have done.
    fn read_news(&mut self) {
        let (mut written, mut applied) = std::mem::take(&mut self.news);
        for written in written.drain(..) {
            if let Some(peer) = self.peers.get_mut(&written.region)
                && peer.instance == written.instance
            {
                peer.on_written(&mut self.turn, written.number);
                enqueue(&mut self.busy, written.region, peer);
            }
        }
        for applied in applied.drain(..) {
            match self.peers.get_mut(&applied.region) {
                Some(peer) if applied.is_plain() && peer.closing.is_none() && peer.me.id == applied.peer => {
                    peer.on_applied(applied.state, applied.bytes, applied.keys);
                    // Otherwise nothing comes of it but that it is known.
                    if peer.urgent {
                        enqueue(&mut self.busy, applied.region, peer);
                    }
                }
                _ => self.put(applied.region, Mail::Applied(Box::new(applied))),
            }
        }
        self.news = (written, applied);
    }

    fn put(&mut self, region: RegionId, mail: Mail) {
        match self.peers.get_mut(&region) {
            Some(peer) => {
                enqueue(&mut self.busy, region, peer);
                peer.inbox.push_back(mail);
            }
            None => self.undeliverable(mail),
        }
    }

    fn undeliverable(&mut self, mail: Mail) {
        match mail {
            Mail::Ask(request, answer) => answer.send(region_not_found(request.region)),
            Mail::SplitIds { request, answer, .. } | Mail::Measured { split: Some((request, answer)), .. } => {
                answer.send(region_not_found(request.region));
            }
            _ => {}
        }
    }

    fn handle_busy(&mut self) {
        while let Some(id) = self.busy.pop_front() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.queued = false;
            if !peer.inbox.is_empty() {
                self.handle_inbox(id);
            }
            self.drive(id);
        }
        for mut ghost in std::mem::take(&mut self.ghosts) {
            self.haunt(&mut ghost);
        }
    }

    fn handle_inbox(&mut self, id: RegionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut inbox = std::mem::take(&mut peer.inbox);
        let count = inbox.iter().filter(|mail| matches!(mail, Mail::Peer(_))).count() as u64;
        if count > 0 && peer.closing.is_none() {
            let (region, instance, peer) = (id, peer.instance, peer.me.id);
            self.turn.env.state(raft::Fact::MessagesHandled { region, peer, count, instance });
        }
        while let Some(mail) = inbox.pop_front() {
            self.handle(id, mail);
        }
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.inbox.is_empty()
        {
            // The buffer is worth keeping.
            peer.inbox = inbox;
        }
    }

    /// What a peer that a split replaced does with the mail it had: only with the defect.
    fn haunt(&mut self, ghost: &mut Peer) {
        let (region, peer, instance) = (ghost.id(), ghost.me.id, ghost.instance);
        let count = ghost.inbox.len() as u64;
        self.turn.env.state(raft::Fact::MessagesHandled { region, peer, count, instance });
        ghost.closing = None;
        while let Some(mail) = ghost.inbox.pop_front() {
            if let Mail::Peer(message) = mail {
                ghost.on_message(&mut self.turn, *message);
            }
        }
        ghost.drive(&mut self.turn);
    }

    fn drive(&mut self, id: RegionId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.drive(&mut self.turn);
            let urgent = peer.awaits_news() || self.step.is_active();
            if urgent != peer.urgent {
                peer.urgent = urgent;
                self.turn.mailbox.set_urgent(id, urgent);
            }
        }
        self.grant_wishes();
    }

    fn handle(&mut self, id: RegionId, mail: Mail) {
        let Some(peer) = self.peers.get_mut(&id) else { return self.undeliverable(mail) };
        let turn = &mut self.turn;
        if peer.closing.is_some() {
            match mail {
                Mail::Applied(applied) if applied.peer == peer.me.id => {
                    peer.let_go |= applied.closed;
                    self.on_applied_last(id, *applied);
                }
                Mail::SnapshotApplied { peer: named, .. } if named == peer.me.id => peer.applying = None,
                _ => return self.undeliverable(mail),
            }
            let Some(peer) = self.peers.get(&id) else { return };
            // The region worker writes the state too: the tombstone comes after it.
            if peer.let_go
                && !peer.applying.as_ref().is_some_and(|applying| applying.scheduled)
                && !self.source_let_go(id)
            {
                self.bury(id);
            }
            return;
        }
        let mine = |named: PeerId| named == peer.me.id;
        match mail {
            Mail::Peer(message) => self.on_peer_message(id, *message),
            Mail::Arrived(message, region) => self.on_arrived(id, *message, *region),
            Mail::Ask(request, answer) => peer.on_request(turn, *request, answer),
            Mail::Applied(applied) => self.on_applied(id, *applied),
            Mail::Fetched { peer: named, entries, context, .. } if mine(named) => peer.on_fetched(entries, context),
            Mail::Generated { peer: named, snapshot, .. } if mine(named) => peer.on_generated(snapshot),
            Mail::Sent { peer: named, to, arrived, .. } if mine(named) => peer.on_sent(to, arrived),
            Mail::SnapshotApplied { peer: named, .. } if mine(named) => self.on_snapshot_applied(id),
            Mail::SplitIds { peer: named, request, keys, ids, answer, .. } => {
                if mine(named) {
                    peer.on_split_ids(turn, &request, keys, ids, answer);
                } else {
                    answer.send(region_not_found(id));
                }
            }
            Mail::Measured { peer: named, bytes, keys, middle, split, .. } => {
                if mine(named) {
                    self.on_measured(id, (bytes, keys), middle, split);
                } else if let Some((_, answer)) = split {
                    answer.send(region_not_found(id));
                }
            }
            Mail::MergeEntries { peer: named, commit, entries, .. } if mine(named) => {
                self.on_merge_entries(id, commit, &entries);
            }
            Mail::Next(_, next) => self.on_next(id, *next),
            // Only a plan or an operator may have a follower load.
            Mail::LoadIntoCache(_, cause) if peer.is_leader() || cause == "manual" => {
                peer.load_into_cache(turn, cause);
            }
            Mail::Known(_, named, known) if mine(named) => self.on_known(id, known.map(|known| *known)),
            Mail::MergedInto(_, named, target) if mine(named) => self.on_target_left(id, *target),
            _ => {}
        }
    }

    /// A message to a peer that exists.
    fn on_peer_message(&mut self, id: RegionId, message: PeerMessage) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        if message.to.id > peer.me.id && !peer.region.is_initialized() {
            // The region knows a newer peer here: this one was removed before it got anything.
            return self.destroy(id, "superseded");
        }
        peer.on_message(&mut self.turn, message);
    }

    /// A snapshot whose files are all here. Its range has to be free, now and until it is in the map.
    fn on_arrived(&mut self, id: RegionId, message: PeerMessage, snapshot: Region) {
        let peer = self.peers.get_mut(&id).expect("the caller has just found it");
        if message.to.id != peer.me.id || snapshot.peer(peer.me.id).is_none() {
            return;
        }
        let Some(sources) = self.sources_of(id, &snapshot, &message) else {
            let (region, peer) = (id, self.peers[&id].me.id);
            self.turn.env.state(raft::Fact::Refused { region, peer, reason: "snapshot-overlaps".into() });
            return;
        };
        self.arriving.insert(id, snapshot.clone());
        let peer = self.peers.get_mut(&id).expect("nothing has removed it");
        let waits = peer.has_snapshot_waiting();
        if !waits {
            peer.takes = sources.iter().copied().collect();
        }
        peer.on_message(&mut self.turn, message);
        if peer.has_snapshot_waiting() {
            self.close_sources(id, &snapshot, sources);
        } else {
            peer.takes.clear();
        }
        // A snapshot's range is in the map, or it was not taken, once raft-rs has been asked.
        self.drive(id);
        let pending = self.peers.get(&id).is_some_and(Peer::has_snapshot_waiting);
        if !pending {
            self.arriving.remove(&id);
        }
    }

    fn on_round(&mut self, round: Round) {
        match round {
            Round::LogCollect => {
                for (&id, peer) in &mut self.peers {
                    peer.collect_log(&mut self.turn);
                    peer.collect_versions(&mut self.turn, self.safe_point);
                    enqueue(&mut self.busy, id, peer);
                }
            }
            Round::SplitCheck => self.split_check(),
            Round::RegionHeartbeat => {
                let ids: Vec<RegionId> = self.peers.keys().copied().collect();
                for id in ids {
                    self.report(id);
                }
            }
            Round::StaleCheck => self.stale_check(),
            Round::Campaign => {
                for (&id, peer) in &mut self.peers {
                    let stands = peer.region.is_initialized() && peer.leader_id() == 0 && !peer.is_leaving();
                    if stands && peer.closing.is_none() {
                        peer.campaign();
                        enqueue(&mut self.busy, id, peer);
                    }
                }
            }
        }
    }

    fn evict(&mut self, id: RegionId, cause: &'static str) {
        if let (Some(cache), Some(peer)) = (&self.turn.cache, self.peers.get(&id)) {
            cache.evict(&peer.region, cause);
        }
    }

    /// What the collection of snapshots sees of a peer.
    fn look(&self, id: RegionId) {
        let mut view = self.reach.view.0.lock();
        match self.peers.get(&id) {
            None => {
                view.remove(&id);
            }
            Some(peer) => {
                let (compacted_index, compacted_term) = peer.log().truncated();
                // Known in memory only once the log writer has said so; on disk it may be earlier.
                let applying = peer.applying.as_ref().filter(|applying| applying.scheduled);
                let applying = applying.map(|applying| (applying.term, applying.index));
                let pending_remove = peer.closing.is_some();
                let has_content = peer.region.is_initialized() && peer.applying.is_none() && !pending_remove;
                view.insert(id, PeerState { compacted_index, compacted_term, applying, pending_remove, has_content });
            }
        }
    }
}

/// A snapshot's key.
fn key_of(region: RegionId, term: u64, index: u64) -> Key {
    Key { region, term, index }
}

/// The refusal of a request that is meant for another store.
pub(super) fn other_store(store: u64) -> crate::wire::kv::Answer {
    refusal(Reason::StoreNotMatch, format!("this is store {store}"))
}
