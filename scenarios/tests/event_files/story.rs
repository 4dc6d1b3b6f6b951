//! Writes histories for the event files: one event a call, with numbers and times of its own.

use std::sync::Arc;

use bytes::Bytes;
use node::{
    fact::{Digest, Fact, Mark, Marks},
    raftlog::fact as raftlog,
    region::{Epoch, Peer, Region, Role},
    store::fact::{apply, raft, region, snapshot},
    wire::command::{Body as What, Command, CommitMerge, Mutation, PrepareMerge, Split, SplitChild, Write},
};
use prost::Message;
use scenarios::event::{
    Ask, Body, ClientEvent, Edit, Event, Exit, Header, Outcome, Part, RoomEvent, Seen, client::value_digest,
};

/// A history under construction. Process 0 is the placement driver, 1 to 3 are stores.
pub struct Story {
    events: Vec<Event>,
    time_ns: u64,
    lives: [u32; 4],
    ops: u64,
}

/// A region with three voters, whose peers' ids are `id * 10 + store`.
pub fn region(id: u64, start: &str, end: &str, version: u64) -> Arc<Region> {
    let peers = (1..=3).map(|store| Peer { id: id * 10 + store, store, role: Role::Voter as i32 }).collect();
    let epoch = Epoch { conf_ver: 1, version };
    Arc::new(Region { id, start: key(start), end: key(end), epoch, peers })
}

/// The same region after a membership change.
pub fn with_peers(region: &Region, conf_ver: u64, peers: &[(u64, u64)]) -> Arc<Region> {
    let peers = peers.iter().map(|&(id, store)| Peer { id, store, role: Role::Voter as i32 }).collect();
    Arc::new(Region { peers, epoch: Epoch { conf_ver, ..region.epoch }, ..region.clone() })
}

pub fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A command that writes one key.
pub fn put(version: u64, name: &str, timestamp: u64, value: Option<&str>) -> Bytes {
    let mutation = Mutation { key: key(name), timestamp, value: value.map(key), expect: None };
    command(version, What::Write(Write { mutations: vec![mutation] }))
}

/// A command that splits a region once.
pub fn split(version: u64, at: &str, child: u64) -> Bytes {
    let peers = (1..=3).map(|store| child * 10 + store).collect();
    command(version, What::Split(Split { children: vec![SplitChild { split_key: key(at), region: child, peers }] }))
}

/// A command that begins a merge into `target`.
pub fn prepare_merge(version: u64, target: &Region) -> Bytes {
    command(version, What::PrepareMerge(PrepareMerge { target: target.clone(), min_index: 7 }))
}

/// A command that takes in `source`, as of its entry `commit`.
pub fn commit_merge(version: u64, source: &Region, commit: u64) -> Bytes {
    command(version, What::CommitMerge(CommitMerge { source: source.clone(), commit, entries: Vec::new() }))
}

/// The region as a merge of it leaves it that was begun.
pub fn prepared(region: &Region) -> Arc<Region> {
    let Epoch { conf_ver, version } = region.epoch;
    Arc::new(Region { epoch: Epoch { conf_ver: conf_ver + 1, version: version + 1 }, ..region.clone() })
}

fn command(version: u64, body: What) -> Bytes {
    let command = Command { region: 1, epoch: Epoch { conf_ver: 1, version }, body: Some(body) };
    command.encode_to_vec().into()
}

/// The digest of a content.
pub fn digest(content: &[(&str, u64, &str)]) -> Digest {
    let shares =
        content.iter().map(|(name, timestamp, value)| Digest::of(name.as_bytes(), *timestamp, value.as_bytes()));
    shares.fold(Digest(0), |sum, share| sum + share)
}

/// What a read shows.
pub fn seen(name: &str, timestamp: u64, value: Option<&str>) -> Seen {
    Seen { key: key(name), timestamp, value: value.map(|value| value_digest(value.as_bytes())) }
}

/// A part of a scan's answer.
pub fn part(start: &str, end: &str, seen: Vec<Seen>) -> Part {
    Part { region: 1, start: key(start), end: key(end), seen }
}

impl Story {
    /// A new cluster of three stores whose clocks are exact.
    pub fn new() -> Story {
        let mut story = Story { events: Vec::new(), time_ns: 0, lives: [0; 4], ops: 0 };
        for node in 1..=3 {
            story.start(node);
        }
        story
    }

    pub fn header() -> Header {
        Header::new(["pd-1", "store-1", "store-2", "store-3"].map(str::to_owned).to_vec(), "8.1.0")
    }

    pub fn events(self) -> Vec<Event> {
        self.events
    }

    fn push(&mut self, node: u16, body: Body) -> &mut Story {
        self.time_ns += 1_000_000;
        let incarnation = self.lives[usize::from(node)];
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event { seq, time_ns: self.time_ns, node, incarnation, body });
        self
    }

    pub fn wait_ms(&mut self, ms: u64) -> &mut Story {
        self.time_ns += ms * 1_000_000;
        self
    }

    /// The time of the next event.
    pub fn next_ns(&self) -> u64 {
        self.time_ns + 1_000_000
    }

    pub fn fact(&mut self, node: u16, fact: impl Into<Fact>) -> &mut Story {
        self.push(node, Body::Node(fact.into()))
    }

    pub fn room(&mut self, node: u16, event: RoomEvent) -> &mut Story {
        self.push(node, Body::Room(event))
    }

    pub fn client(&mut self, event: ClientEvent) -> &mut Story {
        self.push(0, Body::Client(event))
    }

    pub fn start(&mut self, node: u16) -> &mut Story {
        self.lives[usize::from(node)] += 1;
        self.room(node, RoomEvent::ProcessStarted { release: "8.1.0".into() });
        let true_ns = self.next_ns();
        self.room(node, RoomEvent::ClockChanged { true_ns, local_ns: true_ns, rate_ppm: 0 })
    }

    pub fn kill(&mut self, node: u16) -> &mut Story {
        self.room(node, RoomEvent::ProcessExited { cause: Exit::Killed })
    }

    /// Power is lost: files keep what is named here.
    pub fn crash(&mut self, node: u16) -> &mut Story {
        self.kill(node);
        self.room(node, RoomEvent::DiskCrashed { kept: Vec::new(), gone: Vec::new(), back: Vec::new() })
    }

    pub fn created(&mut self, node: u16, path: &str) -> &mut Story {
        self.room(node, RoomEvent::FileCreated { path: path.to_owned().into() })
    }

    pub fn removed(&mut self, node: u16, path: &str) -> &mut Story {
        self.room(node, RoomEvent::FileRemoved { path: path.to_owned().into() })
    }

    pub fn synced(&mut self, node: u16, path: &str, durable: u64) -> &mut Story {
        self.room(node, RoomEvent::FileSynced { path: path.to_owned().into(), durable })
    }

    /// A log file with a durable name.
    pub fn log_file(&mut self, node: u16, path: &str) -> &mut Story {
        self.created(node, path);
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        self.room(node, RoomEvent::DirSynced { path: directory.into() })
    }

    /// Entries of one term, `digest` = index * 100 + term, written up to `end` of `raft/1.log`.
    pub fn appended(&mut self, node: u16, first: u64, last: u64, term: u64, end: u64) -> &mut Story {
        let marks = Marks((first..=last).map(|index| mark(index, term)).collect());
        let peer = 10 + u64::from(node);
        self.fact(node, raftlog::Fact::Appended { region: 1, peer, marks, file: "raft/1.log".into(), end })
    }

    pub fn acknowledged(&mut self, node: u16, term: u64, index: u64) -> &mut Story {
        self.fact(node, raft::Fact::Acknowledged { region: 1, peer: 10 + u64::from(node), term, index })
    }

    pub fn elected(&mut self, node: u16, term: u64, last_index: u64) -> &mut Story {
        let peer = 10 + u64::from(node);
        self.fact(node, raft::Fact::Elected { region: 1, peer, term, last_index, last_term: term - 1 })
    }

    pub fn committed(&mut self, node: u16, term: u64, index: u64) -> &mut Story {
        self.fact(node, raft::Fact::Committed { region: 1, peer: 10 + u64::from(node), term, index })
    }

    /// The log of region 1's peer as read back: entries `first..=last` of one term.
    pub fn log_recovered(&mut self, node: u16, first: u64, last: u64, term: u64) -> &mut Story {
        let marks = Marks((first..=last).map(|index| mark(index, term)).collect());
        let peer = 10 + u64::from(node);
        self.fact(node, raftlog::Fact::Recovered { region: 1, peer, first, marks, term, vote: 0, commit: 0 })
    }

    /// Region 1's peer as read back, with a state cut at `(index, term)` and a log that ends at `(index, term)`.
    pub fn peer_recovered(&mut self, node: u16, applied: u64, cut: (u64, u64), last: (u64, u64)) -> &mut Story {
        let peer = 10 + u64::from(node);
        let (truncated_index, truncated_term) = cut;
        let (last_index, last_term) = last;
        let (term, vote, commit) = (last_term.max(truncated_term), 0, applied);
        self.fact(
            node,
            raft::Fact::PeerRecovered {
                region: 1,
                peer,
                term,
                vote,
                commit,
                applied,
                truncated_index,
                truncated_term,
                last_index,
                last_term,
            },
        )
    }

    pub fn applied(&mut self, node: u16, index: u64, term: u64, command: Bytes) -> &mut Story {
        self.applied_in(node, 1, index, term, command)
    }

    pub fn applied_in(&mut self, node: u16, region: u64, index: u64, term: u64, command: Bytes) -> &mut Story {
        let peer = region * 10 + u64::from(node);
        let kind = if command.is_empty() { "empty" } else { "normal" }.into();
        self.fact(node, apply::Fact::Applied { region, peer, index, term, kind, command })
    }

    pub fn hashed(
        &mut self,
        node: u16,
        region: u64,
        index: u64,
        content: &[(&str, u64, &str)],
        why: &'static str,
    ) -> &mut Story {
        let peer = region * 10 + u64::from(node);
        let (digest, keys) = (digest(content), content.len() as u64);
        self.fact(node, apply::Fact::Hashed { region, peer, index, digest, keys, why: why.into() })
    }

    pub fn changed(&mut self, node: u16, region: &Arc<Region>, reason: &'static str, index: u64) -> &mut Story {
        let peer = region.id * 10 + u64::from(node);
        self.fact(node, region::Fact::Changed { region: region.clone(), peer, reason: reason.into(), index })
    }

    pub fn state(&mut self, node: u16, region: &Arc<Region>, state: &'static str, term: u64, index: u64) -> &mut Story {
        let peer = region.id * 10 + u64::from(node);
        let region = region.clone();
        self.fact(node, region::Fact::StateWritten { region, peer, state: state.into(), index, term })
    }

    pub fn state_recovered(
        &mut self,
        node: u16,
        region: &Arc<Region>,
        state: &'static str,
        term: u64,
        index: u64,
    ) -> &mut Story {
        let peer = region.id * 10 + u64::from(node);
        let region = region.clone();
        self.fact(node, region::Fact::StateRecovered { region, peer, state: state.into(), index, term })
    }

    pub fn snapshot_applied(&mut self, node: u16, term: u64, index: u64) -> &mut Story {
        self.fact(node, snapshot::Fact::Applied { region: 1, peer: 10 + u64::from(node), term, index })
    }

    /// A bootstrapped region 1 on store 1 with all keys.
    pub fn bootstrapped(&mut self) -> &mut Story {
        let first = region(1, "", "", 1);
        self.changed(1, &first, "create", 5)
    }

    pub fn invoke(&mut self, ask: Ask) -> u64 {
        self.ops += 1;
        let op = self.ops;
        self.client(ClientEvent::Invoked { client: 1, op, ask });
        op
    }

    pub fn invoke_get(&mut self, name: &str) -> u64 {
        self.invoke(Ask::Get { key: key(name), by: "lease".into() })
    }

    pub fn invoke_write(&mut self, timestamp: u64, edits: &[(&str, Option<&str>, Option<u64>)]) -> u64 {
        let edit = |(name, value, expect): &(&str, Option<&str>, Option<u64>)| Edit {
            key: key(name),
            value: value.map(|value| value_digest(value.as_bytes())),
            expect: *expect,
        };
        let op = self.invoke(Ask::Write { edits: edits.iter().map(edit).collect() });
        self.client(ClientEvent::Stamped { client: 1, op, timestamp });
        op
    }

    pub fn returned(&mut self, op: u64, outcome: Outcome) -> &mut Story {
        self.client(ClientEvent::Returned { client: 1, op, outcome })
    }

    /// A put from invocation to acknowledgement.
    pub fn put(&mut self, name: &str, timestamp: u64, value: &str) -> &mut Story {
        let op = self.invoke_write(timestamp, &[(name, Some(value), None)]);
        self.returned(op, Outcome::Written { timestamp })
    }

    /// A get from invocation to answer.
    pub fn get(&mut self, name: &str, timestamp: u64, value: Option<&str>) -> &mut Story {
        let op = self.invoke_get(name);
        self.returned(op, Outcome::Got(seen(name, timestamp, value)))
    }

    pub fn scan(&mut self, parts: Vec<Part>) -> &mut Story {
        let op = self.invoke(Ask::Scan { start: key(""), end: key(""), by: "lease".into() });
        self.returned(op, Outcome::Scanned { parts: parts.into() })
    }
}

fn mark(index: u64, term: u64) -> Mark {
    Mark { index, term, digest: index * 100 + term }
}
