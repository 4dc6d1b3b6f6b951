//! The content that every region has to have: a map per region, fed once for each committed entry.
//!
//! It reads the commands themselves, by the rules that stand in `node`'s `wire::command`, and shares no code with the
//! node's apply. It knows the digest at every recent index, so that a hash of the engine can be judged at the index it
//! was taken, however late. A split parts the map in place, a merge joins two.
//!
//! A region is judged only while its content is certain: from the bootstrap of the cluster on, without gaps. One that
//! appears from nowhere, or whose log has a hole in what the history shows, is never judged.
//!
//! Unsafe recovery takes the lost end of a region's history back (`undo`).
//!
//! Not here: old versions and tombstones' collection. Only the newest version of a key counts for content.

mod undo;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
use node::{
    fact::Digest,
    region::{Epoch, RegionId},
    wire::command::{Body, ChangePeers, Command, CommitMerge, Split, Write},
};
use prost::Message;
use protobuf::Message as _;

/// How many indexes back a digest is remembered.
const REMEMBERED: usize = 8192;

/// The reference content of all regions.
#[derive(Default)]
pub struct Reference {
    regions: BTreeMap<RegionId, Content>,
    /// In a history that is not whole: the first index of any region's log, once known.
    first_index: Option<u64>,
    whole: bool,
    /// By timestamp: where a write took effect.
    landed: BTreeMap<u64, Landed>,
    /// Whether every region's content has been certain so far.
    complete: bool,
}

/// Where a write took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    /// The region then.
    pub region: RegionId,
    /// The entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// A region's content at one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The digest.
    pub digest: Digest,
    /// Keys that have a value.
    pub keys: u64,
}

#[derive(Clone, Copy)]
struct Version {
    timestamp: u64,
    /// The key's share in the digest; none for a tombstone.
    share: Option<Digest>,
}

struct Content {
    keys: BTreeMap<Box<[u8]>, Version>,
    now: State,
    epoch: Epoch,
    safe_point: u64,
    /// The index of the merge that the region is prepared for: it takes nothing but what undoes it.
    prepared: Option<u64>,
    /// None until the first entry: a new region's first index is not a promise.
    applied: Option<u64>,
    /// The states after the newest entries, the last one at `applied`.
    recent: VecDeque<State>,
    /// The state before the first entry, while that is remembered.
    initial: Option<State>,
    certain: bool,
    /// Its keys belong to the region that took it in. What it still applies is of a history in which it was not.
    taken: bool,
    undo: undo::Undo,
}

impl Content {
    fn new(keys: BTreeMap<Box<[u8]>, Version>, epoch: Epoch, certain: bool) -> Content {
        let now = sum(&keys);
        Content {
            keys,
            now,
            epoch,
            safe_point: 0,
            prepared: None,
            applied: None,
            recent: VecDeque::new(),
            initial: Some(now),
            certain,
            taken: false,
            undo: undo::Undo::default(),
        }
    }

    /// The timestamp, when something was written.
    fn write(&mut self, write: &Write) -> Option<u64> {
        let mut effect = Vec::with_capacity(write.mutations.len());
        for mutation in &write.mutations {
            let newest = self.keys.get(&mutation.key[..]);
            let timestamp = newest.map_or(0, |version| version.timestamp);
            if timestamp == mutation.timestamp {
                continue;
            }
            let there = newest.filter(|version| version.share.is_some()).map_or(0, |version| version.timestamp);
            if timestamp > mutation.timestamp
                || mutation.timestamp <= self.safe_point
                || mutation.expect.is_some_and(|expect| expect != there)
            {
                return None;
            }
            effect.push(mutation);
        }
        let timestamp = effect.first().map(|mutation| mutation.timestamp);
        for mutation in effect {
            let share = mutation.value.as_ref().map(|value| Digest::of(&mutation.key, mutation.timestamp, value));
            let version = Version { timestamp: mutation.timestamp, share };
            let before = match self.keys.get_mut(&mutation.key[..]) {
                Some(slot) => Some(std::mem::replace(slot, version)),
                None => self.keys.insert(mutation.key[..].into(), version),
            };
            self.undo.key(&mutation.key, before);
            if let Some(before) = before.and_then(|version| version.share) {
                self.now = State { digest: self.now.digest - before, keys: self.now.keys - 1 };
            }
            if let Some(share) = share {
                self.now = State { digest: self.now.digest + share, keys: self.now.keys + 1 };
            }
        }
        timestamp
    }

    /// Parts the map; gives the new regions with their content.
    fn split(&mut self, split: &Split) -> Vec<(RegionId, Content)> {
        self.epoch.version += split.children.len() as u64;
        let mut children = Vec::with_capacity(split.children.len());
        for child in &split.children {
            let rest = self.keys.split_off(&child.split_key[..]);
            let keys = std::mem::replace(&mut self.keys, rest);
            let mut content = Content::new(keys, self.epoch, self.certain);
            content.safe_point = self.safe_point;
            self.now = State { digest: self.now.digest - content.now.digest, keys: self.now.keys - content.now.keys };
            children.push((child.region, content));
        }
        children
    }

    fn remember(&mut self, index: u64) {
        self.applied = Some(index);
        self.recent.push_back(self.now);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
            self.initial = None;
        }
    }

    fn at(&self, index: u64) -> Option<State> {
        if !self.certain {
            return None;
        }
        let Some(applied) = self.applied else { return self.initial };
        let back = usize::try_from(applied.checked_sub(index)?).ok()?;
        match self.recent.len().checked_sub(back + 1) {
            Some(position) => self.recent.get(position).copied(),
            None => self.initial,
        }
    }
}

fn sum(keys: &BTreeMap<Box<[u8]>, Version>) -> State {
    let shares = keys.values().filter_map(|version| version.share);
    shares.fold(State { digest: Digest(0), keys: 0 }, |state, share| State {
        digest: state.digest + share,
        keys: state.keys + 1,
    })
}

impl Reference {
    /// An empty reference, for a history that begins with a new cluster or not.
    pub fn new(whole: bool) -> Reference {
        Reference { whole, complete: whole, ..Reference::default() }
    }

    /// A region came into being with a new cluster, or its owner says so: it is empty.
    pub fn create(&mut self, region: RegionId, epoch: Epoch) {
        self.regions.entry(region).or_insert_with(|| Content::new(BTreeMap::new(), epoch, true));
    }

    /// The content of a region after the entry at `index`. None when that is not certain, not remembered, or not yet.
    pub fn at(&self, region: RegionId, index: u64) -> Option<State> {
        self.regions.get(&region)?.at(index)
    }

    /// The newest index that was fed.
    pub fn applied(&self, region: RegionId) -> Option<u64> {
        self.regions.get(&region)?.applied
    }

    /// Where the write at a timestamp took effect.
    pub fn landed(&self, timestamp: u64) -> Option<Landed> {
        self.landed.get(&timestamp).copied()
    }

    /// Whether nothing that took effect can have been missed.
    pub fn is_complete(&self) -> bool {
        self.complete && !self.regions.is_empty()
    }

    /// Joins the content of a source to its target's. False when the source's is not known as of its merge.
    fn join(&mut self, target: RegionId, merge: &CommitMerge) -> bool {
        let Some(source) = self.regions.get_mut(&merge.source.id) else { return false };
        if !source.certain || source.applied.is_none_or(|applied| applied < merge.commit) {
            return false;
        }
        // The source keeps what it knows of its past; its keys belong to the target now.
        source.taken = true;
        let (keys, now, safe_point) = (std::mem::take(&mut source.keys), source.now, source.safe_point);
        let Some(content) = self.regions.get_mut(&target) else { return false };
        content.keys.extend(keys);
        content.now = State { digest: content.now.digest + now.digest, keys: content.now.keys + now.keys };
        content.safe_point = content.safe_point.max(safe_point);
        content.epoch.version = content.epoch.version.max(merge.source.epoch.version) + 1;
        true
    }

    /// Takes a committed entry, once: repetitions by other replicas, or after a restart, have no effect.
    pub fn apply(&mut self, region: RegionId, index: u64, term: u64, kind: &str, data: &Bytes) {
        let content = self
            .regions
            .entry(region)
            .or_insert_with(|| Content::new(BTreeMap::new(), Epoch { conf_ver: 0, version: 0 }, false));
        match content.applied {
            Some(applied) if index <= applied => return,
            Some(applied) if index != applied + 1 || content.taken => content.certain = false,
            Some(_) => {}
            None if self.whole => {}
            None => content.certain &= *self.first_index.get_or_insert(index) == index,
        }
        if !content.certain {
            self.complete = false;
            content.applied = Some(index);
            content.recent.clear();
            content.keys.clear();
            return;
        }
        let mut effect = Effect::default();
        let rules = undo::Rules::of(content);
        content.undo.begin(index);
        let mut read = interpret(content, index, kind, data, &mut effect);
        if let Some(merge) = &effect.merge {
            read &= self.join(region, merge);
        }
        let content = self.regions.get_mut(&region).expect("it was just there");
        if undo::Rules::of(content) != rules {
            content.undo.rules(rules);
        }
        if effect.merge.is_some() {
            content.undo.joined();
        }
        effect.children.iter().for_each(|(child, _)| content.undo.parted(*child));
        if !read {
            content.certain = false;
            self.complete = false;
        }
        content.remember(index);
        if let Some(timestamp) = effect.timestamp {
            self.landed.insert(timestamp, Landed { region, index, term });
        }
        for (id, child) in effect.children {
            self.regions.entry(id).or_insert(child);
        }
    }

    /// The keys that have a value in a region now, with their timestamps: for tests against a plain model.
    pub fn values(&self, region: RegionId) -> impl Iterator<Item = (&[u8], u64)> {
        let keys = self.regions.get(&region).map(|content| &content.keys);
        keys.into_iter()
            .flat_map(|keys| keys.range::<[u8], _>((Bound::Unbounded, Bound::Unbounded)))
            .filter(|(_, version)| version.share.is_some())
            .map(|(key, version)| (&**key, version.timestamp))
    }
}

/// What an entry did beside changing its region.
#[derive(Default)]
struct Effect {
    timestamp: Option<u64>,
    children: Vec<(RegionId, Content)>,
    merge: Option<CommitMerge>,
}

/// Applies one entry. False when it cannot be read, or cannot follow from the state known here.
fn interpret(content: &mut Content, index: u64, kind: &str, data: &Bytes, effect: &mut Effect) -> bool {
    match kind {
        "normal" if !data.is_empty() => {
            let Ok(command) = Command::decode(data.clone()) else { return false };
            if command.epoch.version != content.epoch.version {
                return true;
            }
            if let Some(commit) = content.prepared {
                if let Some(Body::RollbackMerge(rollback)) = command.body
                    && command.epoch == content.epoch
                    && rollback.commit == commit
                {
                    content.prepared = None;
                    content.epoch.version += 1;
                }
                return true;
            }
            match command.body {
                Some(Body::Write(write)) => effect.timestamp = content.write(&write),
                Some(Body::Split(split)) if command.epoch.conf_ver == content.epoch.conf_ver => {
                    if !split.children.is_sorted_by(|a, b| a.split_key < b.split_key) {
                        return false;
                    }
                    effect.children = content.split(&split);
                }
                Some(Body::PrepareMerge(_)) if command.epoch == content.epoch => {
                    content.prepared = Some(index);
                    content.epoch = Epoch { conf_ver: content.epoch.conf_ver + 1, version: content.epoch.version + 1 };
                }
                Some(Body::CommitMerge(merge)) if command.epoch == content.epoch => effect.merge = Some(merge),
                Some(Body::Collect(collect)) if command.epoch.conf_ver == content.epoch.conf_ver => {
                    content.safe_point = content.safe_point.max(collect.safe_point);
                }
                _ => {}
            }
            true
        }
        "conf-change" => change_peers(content, data),
        _ => true,
    }
}

fn change_peers(content: &mut Content, data: &Bytes) -> bool {
    let mut change = raft::eraftpb::ConfChangeV2::default();
    if change.merge_from_bytes(data).is_err() {
        return false;
    }
    if change.context.is_empty() {
        // raft-rs leaves a joint configuration by itself.
        content.epoch.conf_ver += 1;
        return true;
    }
    let Ok(command) = Command::decode(&change.context[..]) else { return false };
    if let Some(Body::ChangePeers(ChangePeers { changes })) = &command.body
        && command.epoch == content.epoch
        && content.prepared.is_none()
    {
        content.epoch.conf_ver += (changes.len() as u64).max(1);
    }
    true
}
