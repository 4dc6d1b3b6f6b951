//! The task that applies committed entries to the engine: many entries of many regions in one engine write.
//!
//! A region's data and its apply state go in the same batch, so that a restart finds them together. Clients and the raft
//! loop hear of an entry only once the batch that holds it is written; what must not be repeated after the log lets go
//! of it (a dropped log, a split, a membership change) makes the write a synced one.
//!
//! Engine snapshots for the region worker are taken here, after the batch that holds everything up to the stated index.
//!
//! Not here: what is committed, and what a changed region means for raft.

mod admin;
mod cached;
mod merge;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use failpoints::{defect, point};
use parking_lot::{Mutex, RwLock};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType};
use tokio::sync::mpsc;

use super::{
    fact::apply::Fact,
    mail::{Applied, Event, Mail, Mailbox},
    options::Options,
    service::{Answer, not_leader, refusal},
    site,
    state::{ApplyState, Merges, encode},
};
use crate::{
    cache::{self, Cache},
    defects,
    engine::{Engine, Family, Snapshot, WriteBatch},
    env::Env,
    key,
    region::{Peer, PeerId, Region, RegionId, StoreId},
    wire::{
        command::{Body, Command},
        kv::{Answer as Said, Reason},
    },
};

/// Tasks that one batch takes at most.
const TASKS_MAX: usize = 256;
/// Bytes after which a batch is written.
const BATCH_BYTES: usize = 1 << 20;

/// A proposal on its way.
#[derive(Debug)]
pub struct Proposal {
    /// Where it was appended.
    pub index: u64,
    /// In which term.
    pub term: u64,
    /// Who waits.
    pub answer: Answer,
}

/// What the raft loop asks of apply.
pub enum Task {
    /// A peer's entries come from now on.
    Register {
        /// Its region.
        region: Arc<Region>,
        /// The local peer.
        peer: Peer,
        /// How far it is applied.
        state: ApplyState,
        /// What it is prepared for, and whom it has taken in.
        merges: Merges,
    },
    /// Committed entries.
    Entries {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
        /// In order.
        entries: Vec<Entry>,
        /// Those that were proposed here.
        proposals: Vec<Proposal>,
    },
    /// The peer is to be removed: its last batch is written, and nothing of it comes afterwards.
    Close {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
    },
    /// An engine snapshot with everything applied so far is wanted.
    Snapshot {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
        /// What to do with it.
        then: Box<dyn FnOnce(Taken) + Send>,
    },
    /// A region may have to be loaded into the cache.
    Prepare {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
    },
    /// The content is to be hashed.
    Hash {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
        /// For what.
        why: &'static str,
    },
}

/// An engine snapshot and what it holds of a region.
pub struct Taken {
    /// The region as of the snapshot.
    pub region: Arc<Region>,
    /// The apply state as of the snapshot.
    pub state: ApplyState,
    /// What it is prepared for, and whom it has taken in.
    pub merges: Merges,
    /// The engine as of then.
    pub snapshot: Snapshot,
}

/// Which peers a store has and had, as far as a split that is being applied needs to know.
#[derive(Debug, Default)]
pub struct Registry {
    /// Peers that the store has, initialised or not.
    pub peers: BTreeMap<RegionId, PeerId>,
    /// Regions whose peer a split is making here, until the raft loop has it.
    pub splitting: BTreeMap<RegionId, PeerId>,
    /// The newest removed peer of each region: no peer with this id or a smaller one may exist.
    pub gone: BTreeMap<RegionId, PeerId>,
}

impl Registry {
    /// Whether a split may make this peer. If so the place is kept for it.
    pub fn reserve(&mut self, region: RegionId, peer: PeerId) -> bool {
        let gone = self.gone.get(&region).is_some_and(|&gone| gone >= peer);
        let other = self.peers.get(&region).is_some_and(|&known| known != peer);
        let free = !gone && !other;
        if free {
            self.splitting.insert(region, peer);
        }
        free
    }
}

/// Safe points by where their region begins, with where it ends, for the engine's compactions.
#[derive(Debug, Default)]
pub struct SafePoints(RwLock<BTreeMap<Bytes, (Bytes, u64)>>);

impl SafePoints {
    /// The safe point of a user key's region.
    pub fn of(&self, user_key: &[u8]) -> u64 {
        let points = self.0.read();
        match points.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(user_key))).next_back() {
            Some((_, (end, point))) if end.is_empty() || user_key < &end[..] => *point,
            _ => 0,
        }
    }

    fn set(&self, region: &Region, point: u64) {
        self.0.write().insert(region.start.clone(), (region.end.clone(), point));
    }

    fn remove(&self, region: &Region) {
        let mut points = self.0.write();
        if points.get(&region.start).is_some_and(|(end, _)| *end == region.end) {
            points.remove(&region.start);
        }
    }
}

/// What apply shares with the rest of the store.
#[derive(Clone)]
pub struct Shared {
    /// The node's surroundings.
    pub env: Env,
    /// Settings.
    pub options: Arc<Options>,
    /// This store.
    pub store: StoreId,
    /// The engine.
    pub engine: Engine,
    /// The raft loop.
    pub mailbox: Mailbox,
    /// Which peers there are.
    pub registry: Arc<Mutex<Registry>>,
    /// Safe points for the engine.
    pub safe_points: Arc<SafePoints>,
    /// The region cache, if there is one.
    pub cache: Option<Cache>,
}

/// One region's part of apply.
struct Delegate {
    region: Arc<Region>,
    peer: Peer,
    state: ApplyState,
    recent: write::Recent,
    merges: Merges,
    /// The peer was removed by a membership change: nothing more is applied.
    removed: bool,
    /// Whether what is written goes to the cache, too.
    cached: bool,
    bytes: u64,
    keys: u64,
    /// The last hash and the entry it is of, for `VerifyHash`.
    hash: Arc<Mutex<Option<(u64, u64)>>>,
}

/// What came of an entry.
enum Outcome {
    /// This is what to tell whoever proposed it.
    Said(Said),
    /// It is the commit of a merge whose source has not applied up to an index yet.
    Waits(RegionId, u64),
}

/// The task.
struct Apply {
    shared: Shared,
    delegates: BTreeMap<RegionId, Delegate>,
    batch: WriteBatch,
    /// What the batch writes to cached regions.
    cached: Vec<cache::Write>,
    /// The newest version of each key that the batch writes.
    pending: Vec<(Bytes, write::Newest)>,
    touched: BTreeSet<RegionId>,
    /// Regions that wait for the source of their merge.
    waiting: BTreeMap<RegionId, merge::Waiting>,
    events: BTreeMap<RegionId, Vec<Event>>,
    closed: Vec<(RegionId, PeerId)>,
    answers: Vec<(Answer, Said)>,
    /// What is hashed once the batch is written.
    hashes: Vec<(RegionId, &'static str)>,
    sync: bool,
}

/// Applies until the queue closes.
pub async fn run(shared: Shared, mut tasks: mpsc::UnboundedReceiver<Task>) {
    let mut apply = Apply {
        shared,
        delegates: BTreeMap::new(),
        batch: WriteBatch::new(),
        cached: Vec::new(),
        pending: Vec::new(),
        touched: BTreeSet::new(),
        waiting: BTreeMap::new(),
        events: BTreeMap::new(),
        closed: Vec::new(),
        answers: Vec::new(),
        hashes: Vec::new(),
        sync: false,
    };
    let mut queue = Vec::with_capacity(TASKS_MAX);
    while tasks.recv_many(&mut queue, TASKS_MAX).await > 0 {
        point!(apply.shared.env.points, site::BEFORE_APPLY).await;
        for task in queue.drain(..) {
            let mut done = apply.handle(task).await;
            if done.is_ok() && !apply.waiting.is_empty() {
                done = Box::pin(apply.resume()).await;
            }
            if let Err(error) = done {
                if matches!(error, crate::engine::Error::Stopped) {
                    return;
                }
                return super::fail(&apply.shared.env, apply.shared.store, &format!("applying: {error}"));
            }
        }
        if let Err(error) = apply.flush().await {
            // The store stops in good order: what is not written is applied again after the next start.
            if matches!(error, crate::engine::Error::Stopped) {
                return;
            }
            return super::fail(&apply.shared.env, apply.shared.store, &format!("writing applied entries: {error}"));
        }
    }
}

impl Apply {
    async fn handle(&mut self, task: Task) -> Result<(), crate::engine::Error> {
        match task {
            Task::Register { region, peer, state, merges } => {
                self.shared.safe_points.set(&region, state.safe_point);
                let delegate = Delegate {
                    region,
                    peer,
                    recent: write::Recent::new(state.newest),
                    state,
                    merges,
                    removed: false,
                    cached: false,
                    bytes: 0,
                    keys: 0,
                    hash: Arc::default(),
                };
                self.delegates.insert(delegate.region.id, delegate);
            }
            Task::Entries { region, peer, entries, proposals } => {
                let Some(delegate) = self.delegates.get(&region).filter(|delegate| delegate.peer.id == peer) else {
                    return Ok(());
                };
                if let Some(waiting) = self.waiting.get_mut(&region) {
                    waiting.extend(entries, proposals);
                } else if !delegate.removed {
                    if self.shared.cache.is_some() {
                        Box::pin(self.prepare(region)).await?;
                    }
                    self.entries(region, entries, proposals).await?;
                }
            }
            Task::Close { region, peer } => {
                if self.delegates.get(&region).is_some_and(|delegate| delegate.peer.id == peer) {
                    Box::pin(self.flush()).await?;
                    self.waiting.remove(&region);
                    if let Some(delegate) = self.delegates.remove(&region) {
                        self.shared.safe_points.remove(&delegate.region);
                    }
                }
                self.closed.push((region, peer));
            }
            Task::Snapshot { region, peer, then } => {
                if !self.batch.is_empty() {
                    let pending = self.batch.len() as u64;
                    self.shared.env.state(super::fact::snapshot::Fact::AskedBeforeFlush { region, peer, pending });
                }
                // The defect takes the snapshot before what is applied so far is in the engine.
                let early = defect!(self.shared.env.points, defects::TIKV_4716, !self.batch.is_empty());
                if !early {
                    Box::pin(self.flush()).await?;
                }
                point!(self.shared.env.points, site::BEFORE_SNAPSHOT_HANDOVER).await;
                if let Some(delegate) = self.delegates.get(&region).filter(|delegate| delegate.peer.id == peer) {
                    let snapshot = self.shared.engine.snapshot();
                    let (region, merges) = (delegate.region.clone(), delegate.merges.clone());
                    then(Taken { region, state: delegate.state, merges, snapshot });
                }
            }
            Task::Prepare { region, peer } => {
                if self.delegates.get(&region).is_some_and(|delegate| delegate.peer.id == peer && !delegate.removed) {
                    Box::pin(self.prepare(region)).await?;
                }
            }
            Task::Hash { region, peer, why } => {
                if self.delegates.get(&region).is_some_and(|delegate| delegate.peer.id == peer) {
                    self.hashes.push((region, why));
                }
            }
        }
        Ok(())
    }

    async fn entries(
        &mut self,
        region: RegionId,
        entries: Vec<Entry>,
        proposals: Vec<Proposal>,
    ) -> Result<(), crate::engine::Error> {
        self.touched.insert(region);
        let mut proposals = VecDeque::from(proposals);
        let mut entries = VecDeque::from(entries);
        while let Some(entry) = entries.pop_front() {
            let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
            if delegate.removed {
                break;
            }
            assert_eq!(entry.index, delegate.state.applied_index + 1, "entries are applied in order, once each");
            let mut answer = None;
            while let Some(proposal) = proposals.pop_front_if(|proposal| proposal.index <= entry.index) {
                if proposal.index == entry.index && proposal.term == entry.term {
                    answer = Some(proposal);
                } else {
                    // Another leader's entry took its place: it can never be committed.
                    proposal.answer.send(not_leader(None));
                }
            }
            let command = write::command_of(region, &entry);
            let outcome = match self.plain(region, command.as_ref()) {
                Some(said) => Outcome::Said(said),
                // What is rare is boxed, so that what is not stays small and is not copied about.
                None => Box::pin(self.entry(region, &entry, command)).await?,
            };
            let said = match outcome {
                Outcome::Said(said) => said,
                Outcome::Waits(source, commit) => {
                    entries.push_front(entry);
                    if let Some(proposal) = answer {
                        proposals.push_front(proposal);
                    }
                    self.wait(region, (source, commit), entries, proposals);
                    return Ok(());
                }
            };
            if let Some(proposal) = answer {
                self.answers.push((proposal.answer, said));
            }
            let delegate = self.delegates.get_mut(&region).expect("only Close removes it");
            delegate.state.applied_index = entry.index;
            delegate.state.applied_term = entry.term;
            let kind = match (entry.get_entry_type(), entry.data.is_empty()) {
                (EntryType::EntryNormal, true) => "empty",
                (EntryType::EntryNormal, false) => "normal",
                _ => "conf-change",
            };
            self.shared.env.state(Fact::Applied {
                region,
                peer: delegate.peer.id,
                index: entry.index,
                term: entry.term,
                kind: kind.into(),
                command: entry.data.clone(),
            });
            if self.batch.bytes() > BATCH_BYTES {
                Box::pin(self.flush()).await?;
                self.touched.insert(region);
            }
        }
        Ok(())
    }

    /// Applies one entry; what to tell whoever proposed it.
    async fn entry(
        &mut self,
        region: RegionId,
        entry: &Entry,
        command: Option<Command>,
    ) -> Result<Outcome, crate::engine::Error> {
        if entry.get_entry_type() != EntryType::EntryNormal {
            let mut change = ConfChangeV2::default();
            if change.merge_from_bytes(&entry.data).is_err() {
                panic!("region {region}: the membership change at {} does not parse", entry.index);
            }
            point!(self.shared.env.points, site::BEFORE_CONF_CHANGE_APPLY).await;
            return Ok(Outcome::Said(self.conf_change(region, entry.index, change)));
        }
        let Some(command) = command else {
            // A leader's first entry, or a membership change that raft refused.
            let detail = "another membership change is under way";
            return Ok(Outcome::Said(refusal(Reason::AdminUnderWay, detail)));
        };
        let delegate = &self.delegates[&region];
        let (known, asked) = (delegate.region.epoch, command.epoch);
        let body = command.body.expect("every command that is proposed has a body");
        let fits = match &body {
            Body::Write(_) => known.version == asked.version,
            _ => known == asked,
        };
        if let Body::CommitMerge(commit) = &body
            && fits
            && !self.is_source_ready(region, commit)
        {
            return Ok(Outcome::Waits(commit.source.id, commit.commit));
        }
        let delegate = &self.delegates[&region];
        let admin = !matches!(body, Body::Write(_));
        if admin {
            self.events.entry(region).or_default().push(Event::AdminEnded(entry.index));
        }
        if !fits {
            let peer = delegate.peer.id;
            let regions = vec![(*delegate.region).clone()];
            self.shared.env.state(super::fact::raft::Fact::Refused { region, peer, reason: "stale-command".into() });
            return Ok(Outcome::Said(super::service::epoch_not_match(regions)));
        }
        if delegate.merges.prepared.is_some() && !matches!(body, Body::RollbackMerge(_)) {
            return Ok(Outcome::Said(refusal(Reason::Merging, "the region is prepared for a merge")));
        }
        if let Body::Split(_) = &body {
            point!(self.shared.env.points, site::BEFORE_SPLIT_APPLY).await;
        }
        match body {
            Body::Write(write) => self.write(region, &write).await.map(Outcome::Said),
            Body::CommitMerge(commit) => self.commit_merge(region, entry.index, &commit).await.map(Outcome::Said),
            other => Ok(Outcome::Said(self.admin(region, entry.index, other))),
        }
    }

    /// Writes what has gathered, and tells everyone.
    async fn flush(&mut self) -> Result<(), crate::engine::Error> {
        let touched = std::mem::take(&mut self.touched);
        for &region in &touched {
            if let Some(delegate) = self.delegates.get(&region) {
                self.batch.put(Family::Raft, key::apply_state(region), encode(&delegate.state));
            }
        }
        let sync = std::mem::take(&mut self.sync);
        if !self.batch.is_empty() {
            point!(self.shared.env.points, site::BEFORE_APPLY_WRITE).await;
            let mut batch = std::mem::take(&mut self.batch);
            self.write_cached(&mut batch);
            self.shared.engine.write_to_the_end(batch, sync).await?;
            point!(self.shared.env.points, site::AFTER_APPLY_WRITE).await;
        }
        if let Some(cache) = &self.shared.cache {
            cache.written();
        }
        self.pending.clear();
        let mut applied = Vec::with_capacity(touched.len());
        for region in touched {
            let Some(delegate) = self.delegates.get_mut(&region) else { continue };
            let (peer, state) = (delegate.peer.id, delegate.state);
            self.shared.env.state(Fact::Persisted { region, peer, index: state.applied_index, synced: sync });
            applied.push(Applied {
                region,
                peer,
                state,
                bytes: std::mem::take(&mut delegate.bytes),
                keys: std::mem::take(&mut delegate.keys),
                events: self.events.remove(&region).unwrap_or_default(),
                closed: false,
            });
        }
        for (region, peer) in self.closed.drain(..) {
            let state = ApplyState::default();
            applied.push(Applied { region, peer, state, bytes: 0, keys: 0, events: Vec::new(), closed: true });
        }
        // The raft loop first: a client that hears of a split asks for its regions.
        if !applied.is_empty() {
            self.shared.mailbox.applied(&mut applied);
        }
        for (answer, said) in self.answers.drain(..) {
            answer.send(said);
        }
        for (region, why) in std::mem::take(&mut self.hashes) {
            self.hash(region, why);
        }
        Ok(())
    }

    /// Hashes a region's content as of now, beside everything else.
    fn hash(&self, region: RegionId, why: &'static str) {
        let Some(delegate) = self.delegates.get(&region) else { return };
        let Shared { env, engine, mailbox, .. } = self.shared.clone();
        let (range, peer, index) = (delegate.region.clone(), delegate.peer.id, delegate.state.applied_index);
        let (snapshot, known) = (engine.snapshot(), delegate.hash.clone());
        self.shared.env.spawn("hash", async move {
            // A failed read is met again by whoever needs the data.
            let Ok(content) = super::snapshot::content::hash(&snapshot, &range).await else { return };
            let (digest, keys) = (content.digest, content.keys);
            env.state(Fact::Hashed { region, peer, index, digest, keys, why: why.into() });
            if why == "compute-hash" {
                *known.lock() = Some((index, digest.0));
                let events = vec![Event::Hashed { index, digest }];
                let state = ApplyState::default();
                let applied = Applied { region, peer, state, bytes: 0, keys: 0, events, closed: false };
                mailbox.send(Mail::Applied(Box::new(applied)));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_makes_no_peer_that_is_gone_or_not_its_own() {
        let mut registry = Registry::default();
        registry.gone.insert(20, 21);
        registry.peers.insert(30, 33);
        registry.peers.insert(40, 41);
        for (region, peer, free) in [(20, 21, false), (20, 22, true), (30, 31, false), (40, 41, true), (50, 51, true)] {
            assert_eq!(registry.reserve(region, peer), free, "region {region} peer {peer}");
        }
    }

    #[test]
    fn safe_points_follow_their_ranges() {
        let points = SafePoints::default();
        let region = |start: &'static str, end: &'static str| Region {
            start: start.into(),
            end: end.into(),
            ..Region::default()
        };
        points.set(&region("", "m"), 5);
        points.set(&region("p", ""), 7);
        for (at, point) in [("a", 5), ("m", 0), ("o", 0), ("p", 7), ("z", 7)] {
            assert_eq!(points.of(at.as_bytes()), point, "{at}");
        }
        points.remove(&region("", "q"));
        assert_eq!(points.of(b"a"), 5, "another region begins there now");
    }
}
