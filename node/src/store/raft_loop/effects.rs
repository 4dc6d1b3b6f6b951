//! What the loop does for its peers: the end of a turn, and the wishes that need another task.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
};

use protobuf::Message as _;
use raft::eraftpb::{Snapshot, SnapshotMetadata};
use tokio::sync::oneshot;

use super::{RaftLoop, key_of};
use crate::{
    engine::{Family, WriteBatch},
    key,
    region::{Peer as Id, PeerId, Region, RegionId},
    store::{
        apply::{Taken, Task},
        fact::region,
        log_writer::LogTask,
        mail::Mail,
        peer::membership,
        region_worker::{self, Generate},
        service::{Read, Served},
        snapshot::{self, ATTEMPTS_MAX},
        state::{Merges, RegionState, SnapshotData, Stage, encode},
        turn::Wish,
    },
    wire::{
        peer::{PeerMessage, Say},
        placement::{DownPeer, RegionHeartbeat},
    },
};

/// The pause between two attempts at building a snapshot.
const BUILD_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

impl RaftLoop {
    /// Ends a turn: everything gathered goes to where it belongs.
    pub(super) fn finish(&mut self) {
        if std::mem::take(&mut self.maps_changed) {
            let (regions, ranges) = (self.initialized, self.ranges.len() as u64);
            self.turn.env.state(region::Fact::MapsSettled { regions, ranges });
        }
        let turn = &mut self.turn;
        // The log first: what it makes durable is what everyone waits for.
        if !turn.log.is_empty() {
            let _ = self.reach.log.send(std::mem::take::<LogTask>(&mut turn.log));
        }
        for task in turn.apply.drain(..) {
            let _ = self.reach.apply.send(task);
        }
        self.reach.client.send(&turn.env, &mut turn.out);
        if !turn.served.is_empty() {
            let snapshot = Arc::new(self.reach.engine.snapshot());
            for (region, safe_point, reads) in turn.served.drain(..) {
                let view = turn.cache.as_ref().and_then(|cache| {
                    let oldest = reads.iter().map(Read::at).filter(|&at| at != 0).min().unwrap_or(0);
                    cache.view(&region, &snapshot, oldest, safe_point, reads.len() as u64)
                });
                let _ = self.reach.reader.send(Served { region, snapshot: snapshot.clone(), view, reads });
            }
        }
    }

    /// Grants what peers wished for while they were driven.
    pub(super) fn grant_wishes(&mut self) {
        if self.turn.wishes.is_empty() {
            return;
        }
        let mut wishes = VecDeque::new();
        loop {
            wishes.extend(self.turn.wishes.drain(..));
            let Some(wish) = wishes.pop_front() else { return };
            match wish {
                Wish::Fetch(region, peer, cold) => {
                    let (log, mailbox) = (self.reach.raftlog.clone(), self.turn.mailbox.clone());
                    self.turn.env.spawn("fetch-entries", async move {
                        // Entries that are gone by now are told as none.
                        let found = log.fetch(region, cold.low, cold.high, cold.bytes_max).await;
                        let (entries, context) = (found.unwrap_or_default(), cold.context);
                        mailbox.send(Mail::Fetched { region, peer, entries, context });
                    });
                }
                Wish::Generate(region, peer) => self.generate(region, peer),
                Wish::Send(region, from, to, message) => self.send_snapshot(&region, from, to, &message),
                Wish::Replace(before, after, peer, index) => self.replace_by_snapshot(&before, &after, peer, index),
                Wish::Apply(region, peer) => self.apply_snapshot(region, peer),
                Wish::AskSplit(region, peer, request, keys, answer) => {
                    let Some(known) = self.peers.get(&region).map(|peer| (*peer.region).clone()) else { continue };
                    let (pd, mailbox) = (self.reach.pd.clone(), self.turn.mailbox.clone());
                    self.turn.env.spawn("ask-split", async move {
                        let ids = pd.ask_split(known, keys.len() as u64).await.map_err(|error| error.to_string());
                        mailbox.send(Mail::SplitIds { region, peer, request, keys, ids, answer });
                    });
                }
                Wish::Measure(region, peer, split) => self.measure(region, peer, split),
                Wish::Destroy(region, peer, reason) => {
                    if self.peers.get(&region).is_some_and(|known| known.me.id == peer) {
                        self.destroy(region, reason);
                    }
                }
                Wish::AskMerge(source, peer, target, answer) => self.ask_merge(source, peer, target, answer),
                Wish::CheckMerge(source) => self.check_merge(source),
                Wish::Merged(region, peer, target) => {
                    if self.peers.get(&region).is_some_and(|known| known.me.id == peer) {
                        self.on_merged_word(region, target);
                    }
                }
                Wish::Report(region) => self.report(region),
            }
        }
    }

    /// Has a snapshot built from an engine snapshot that apply takes.
    fn generate(&mut self, id: RegionId, peer: PeerId) {
        let (env, worker, mailbox) = (self.turn.env.clone(), self.reach.worker.clone(), self.turn.mailbox.clone());
        let apply = self.reach.apply.clone();
        self.turn.apply.push(try_generate(Attempt { env, worker, mailbox, apply, region: id, peer, number: 1 }));
    }

    fn send_snapshot(&mut self, region: &Arc<Region>, from: Id, to: Id, message: &raft::eraftpb::Message) {
        let metadata = message.get_snapshot().get_metadata();
        let key = key_of(region.id, metadata.term, metadata.index);
        let Ok(bytes) = message.write_to_bytes() else { return };
        let words = PeerMessage {
            region: region.id,
            from,
            to,
            epoch: region.epoch,
            start: region.start.clone(),
            end: region.end.clone(),
            say: Some(Say::Raft(bytes.into())),
        };
        let message = prost::Message::encode_to_vec(&words).into();
        let (env, manager) = (self.turn.env.clone(), self.reach.snapshots.clone());
        let (resolver, mailbox, from_store) = (self.reach.resolver.clone(), self.turn.mailbox.clone(), self.turn.store);
        let region = region.id;
        self.turn.env.spawn("send-snapshot", async move {
            let arrived = match resolver.address(&env, to.store).await {
                Ok(address) => {
                    let address = address.to_string();
                    let job = snapshot::send::Send { key, from_store, to_store: to.store, address, message };
                    snapshot::send::send(&manager, &job).await.is_ok()
                }
                Err(_) => false,
            };
            mailbox.send(Mail::Sent { region, peer: from.id, to: to.id, arrived });
        });
    }

    /// The durable state is Applying: the region worker puts the files into the engine.
    fn apply_snapshot(&mut self, id: RegionId, me: PeerId) {
        let Some(peer) = self.peers.get(&id).filter(|peer| peer.me.id == me && peer.closing.is_none()) else { return };
        let Some(applying) = peer.applying.clone() else { return };
        let region = (*peer.region).clone();
        let stored = RegionState {
            region: region.clone(),
            peer: peer.me,
            stage: Stage::Normal as i32,
            index: 0,
            term: 0,
            merge: None,
        };
        let mut state = WriteBatch::new();
        state.put(Family::Raft, key::region_state(id), encode(&stored));
        state.delete(Family::Raft, key::snapshot_raft_state(id));
        let (reply, done) = oneshot::channel();
        let (term, index, abort) = (applying.term, applying.index, applying.abort_flag());
        let task = region_worker::Apply { region, peer: me, term, index, state, abort, reply };
        self.reach.worker.ask(region_worker::Task::Apply(task));
        self.look(id);
        let (env, mailbox, store) = (self.turn.env.clone(), self.turn.mailbox.clone(), self.turn.store);
        self.turn.env.spawn("apply-snapshot", async move {
            match done.await {
                Ok(Ok(())) | Ok(Err(snapshot::Error::Cancelled)) => {
                    mailbox.send(Mail::SnapshotApplied { region: id, peer: me });
                }
                Ok(Err(snapshot::Error::Engine(crate::engine::Error::Stopped))) | Err(_) => {}
                Ok(Err(error)) => crate::store::fail(&env, store, &format!("applying a snapshot: {error}")),
            }
        });
    }

    /// Reports a region that is led from here, and does what the placement driver answers.
    pub(super) fn report(&mut self, id: RegionId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let (true, Some(leader)) = (peer.is_leader() && peer.closing.is_none(), peer.leader()) else { return };
        let (down, pending) = peer.followers(&self.turn);
        let heartbeat = RegionHeartbeat {
            region: (*peer.region).clone(),
            leader,
            term: peer.term(),
            down: down.into_iter().map(|(peer, down_ms)| DownPeer { peer, down_ms }).collect(),
            pending,
            approximate_size: peer.size.0 + peer.grown.0,
            approximate_keys: peer.size.1 + peer.grown.1,
        };
        let (pd, mailbox) = (self.reach.pd.clone(), self.turn.mailbox.clone());
        self.turn.env.spawn("region-heartbeat", async move {
            // Lost heartbeats come again.
            if let Ok(Some(next)) = pd.region_heartbeat(heartbeat).await {
                mailbox.send(Mail::Next(id, Box::new(next)));
            }
        });
    }

    /// Measures regions that have grown enough to be worth it.
    pub(super) fn split_check(&mut self) {
        let options = self.turn.options.clone();
        let mut grown = Vec::new();
        for (&id, peer) in &self.peers {
            let (bytes, keys) = (peer.size.0 + peer.grown.0, peer.size.1 + peer.grown.1);
            let large = bytes >= options.region_split_size || keys >= options.region_split_keys;
            let news = peer.grown.0 >= options.region_split_size / 8 || peer.grown.1 >= options.region_split_keys / 8;
            if large && news && peer.is_leader() && !peer.measuring && peer.closing.is_none() {
                grown.push((id, peer.me.id));
            }
        }
        for (id, me) in grown {
            self.measure(id, me, None);
        }
    }

    fn measure(
        &mut self,
        id: RegionId,
        me: PeerId,
        split: Option<(Box<crate::wire::kv::Request>, crate::store::service::Answer)>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.measuring = true;
        let (snapshot, region, mailbox) =
            (self.reach.engine.snapshot(), peer.region.clone(), self.turn.mailbox.clone());
        self.turn.env.spawn("measure", async move {
            let (bytes, keys, middle) = measure(&snapshot, &region).await.unwrap_or_default();
            mailbox.send(Mail::Measured { region: id, peer: me, bytes, keys, middle, split });
        });
    }
}

/// Bytes and keys of a region, and a key in its middle.
async fn measure(
    snapshot: &crate::engine::Snapshot,
    region: &Region,
) -> Result<(u64, u64, Option<bytes::Bytes>), crate::engine::Error> {
    let (start, end) = (key::range_start(&region.start), key::range_end(&region.end));
    let mut versions = snapshot.iter(Family::Write, start, end);
    let (mut bytes, mut keys) = (0, Vec::new());
    while let Some((version, stored)) = versions.next().await? {
        bytes += (version.len() + stored.len()) as u64;
        if let Some((user_key, _)) = key::parse_version(&version)
            && keys.last() != Some(&user_key)
        {
            keys.push(user_key);
        }
    }
    let middle = keys.get(keys.len() / 2).filter(|key| **key > region.start).cloned();
    Ok((bytes, keys.len() as u64, middle))
}

struct Attempt {
    env: crate::env::Env,
    worker: region_worker::RegionWorker,
    mailbox: crate::store::mail::Mailbox,
    apply: tokio::sync::mpsc::UnboundedSender<Task>,
    region: RegionId,
    peer: PeerId,
    number: u64,
}

/// One attempt at building a snapshot; a failed one is followed by another, from a newer engine snapshot.
fn try_generate(attempt: Attempt) -> Task {
    let (region, peer) = (attempt.region, attempt.peer);
    let then = move |taken: Taken| {
        let Taken { region, state, merges, snapshot } = taken;
        if merges.prepared.is_some() {
            // Every peer has the log from where the region was prepared; what becomes of it is not decided.
            let (region, peer) = (attempt.region, attempt.peer);
            return attempt.mailbox.send(Mail::Generated { region, peer, snapshot: None });
        }
        let (reply, built) = oneshot::channel();
        let task = Generate {
            region: (*region).clone(),
            peer: attempt.peer,
            term: state.applied_term,
            index: state.applied_index,
            view: snapshot,
            attempt: attempt.number,
            cancelled: Arc::new(AtomicBool::new(false)),
            reply,
        };
        attempt.worker.ask(region_worker::Task::Generate(task));
        let env = attempt.env.clone();
        env.spawn("build-snapshot", async move {
            let done = |snapshot| Mail::Generated { region: attempt.region, peer: attempt.peer, snapshot };
            match built.await {
                Ok(Ok(_)) => attempt.mailbox.send(done(Some(raft_snapshot(&region, &state, &merges)))),
                Ok(Err(_)) if attempt.number < ATTEMPTS_MAX => {
                    attempt.env.sleep(BUILD_PAUSE).await;
                    let apply = attempt.apply.clone();
                    let next = Attempt { number: attempt.number + 1, ..attempt };
                    // A store that stops builds nothing.
                    let _ = apply.send(try_generate(next));
                }
                _ => attempt.mailbox.send(done(None)),
            }
        });
    };
    Task::Snapshot { region, peer, then: Box::new(then) }
}

fn raft_snapshot(region: &Region, state: &crate::store::state::ApplyState, merges: &Merges) -> Snapshot {
    let mut metadata = SnapshotMetadata::default();
    (metadata.index, metadata.term) = (state.applied_index, state.applied_term);
    metadata.set_conf_state(membership::conf_state(region));
    let mut snapshot = Snapshot::default();
    snapshot.set_metadata(metadata);
    let sources = Some((*merges.sources).clone()).filter(|sources| !sources.all.is_empty());
    let data = SnapshotData { region: region.clone(), safe_point: state.safe_point, newest: state.newest, sources };
    snapshot.data = encode(&data);
    snapshot
}
