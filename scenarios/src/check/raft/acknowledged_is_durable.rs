//! A peer acknowledges only what is durable, and after a restart it still holds all of it.
//!
//! Which bytes hold an entry is said by the raft log; whether they are durable, by the room. An append that conflicts
//! replaces what was at and behind its first entry, and with it what was promised there. What a snapshot or compaction
//! covers need not be in the log any more. Bytes that a killed process left unsynced are still not durable in its next
//! life; after a loss of power whatever is left is.
//!
//! A peer whose region state is found and whose log is not has lost all of it, whether or not it gets as far as to
//! start.
//!
//! Source: Ongaro's thesis, section 3.8; tikv#994; tikv#12045.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use node::{
    fact::{Fact, Mark, Text},
    raftlog::fact as raftlog,
    region::{PeerId, RegionId},
    store::fact::{raft, region},
};

use super::super::{Check, Entry, Judged, Known, Violation, dense::Dense};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const ACKNOWLEDGED_IS_DURABLE: Entry = Entry {
    name: "acknowledged-is-durable",
    family: "raft",
    class: Class::Safety,
    property: "a peer acknowledges only durable entries, and after a restart holds all that it acknowledged",
    source: "Ongaro's thesis, section 3.8; tikv#994; tikv#12045",
    hears: &[Hall::RaftLog, Hall::Appended, Hall::Raft, Hall::Acknowledged, Hall::Region, Hall::Disk],
    make: || Box::new(AcknowledgedIsDurable::default()),
};

/// How many indexes back a peer's own entries are remembered.
const REMEMBERED: usize = 4096;

#[derive(Default)]
struct AcknowledgedIsDurable {
    peers: BTreeMap<(NodeId, PeerId), Peer>,
    acknowledged: u64,
}

struct Peer {
    /// Appends that were not known to be durable when last looked at, by first index.
    pending: VecDeque<Append>,
    /// The entries as last written: term and digest.
    written: Dense<(u64, u64)>,
    /// The highest index acknowledged and not replaced since.
    acknowledged: u64,
    /// Up to where entries were dropped, because a snapshot or the applied state covers them.
    covered: u64,
    /// What the log held when it was last read back, by incarnation.
    recovered: Option<(u32, Arc<[Mark]>)>,
}

struct Append {
    first: u64,
    file: Text,
    end: u64,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer { pending: VecDeque::new(), written: Dense::new(REMEMBERED), acknowledged: 0, covered: 0, recovered: None }
    }
}

impl Peer {
    fn append(&mut self, marks: &[Mark], file: &Text, end: u64) {
        let Some(first) = marks.first().map(|mark| mark.index) else { return };
        self.acknowledged = self.acknowledged.min(first.saturating_sub(1));
        while self.pending.back().is_some_and(|append| append.first >= first) {
            self.pending.pop_back();
        }
        self.pending.push_back(Append { first, file: file.clone(), end });
        if self.pending.len() > REMEMBERED {
            self.pending.pop_front();
        }
        for mark in marks {
            if let Some(slot) = self.written.slot(mark.index) {
                *slot = Some((mark.term, mark.digest));
            }
        }
    }

    /// The first append at or below `index` that is not durable.
    fn not_durable(&mut self, node: NodeId, index: u64, known: &Known) -> Option<&Append> {
        while let Some(append) = self.pending.front().filter(|append| append.first <= index) {
            if known.files().covers(node, append.file.as_str(), append.end) == Some(false) {
                return self.pending.front();
            }
            self.pending.pop_front();
        }
        None
    }

    /// The first index above `covered` that was acknowledged and that the recovered log does not hold.
    fn lost(&self, incarnation: u32, covered: u64) -> Option<u64> {
        let marks =
            self.recovered.as_ref().filter(|(life, _)| *life == incarnation).map_or(&[][..], |(_, marks)| marks);
        let base = marks.first().map_or(u64::MAX, |mark| mark.index);
        (covered + 1..=self.acknowledged).find(|&index| {
            let Some(&(term, digest)) = self.written.get(index) else { return false };
            let found = index.checked_sub(base).and_then(|at| marks.get(at as usize));
            found.is_none_or(|mark| (mark.term, mark.digest) != (term, digest))
        })
    }
}

impl Check for AcknowledgedIsDurable {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let node = event.node;
        match &event.body {
            Body::Node(Fact::RaftLog(raftlog::Fact::Appended { peer, marks, file, end, .. })) => {
                self.peers.entry((node, *peer)).or_default().append(&marks.0, file, *end);
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::Acknowledged { region, peer, index, .. })) => {
                self.acknowledged += 1;
                let state = self.peers.entry((node, *peer)).or_default();
                state.acknowledged = state.acknowledged.max(*index);
                let Some(append) = state.not_durable(node, *index, known) else { return Ok(()) };
                Err(not_durable(*region, *peer, *index, append))
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Recovered { peer, marks, .. })) => {
                let state = self.peers.entry((node, *peer)).or_default();
                state.recovered = Some((event.incarnation, marks.0.clone()));
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerRecovered { region, peer, truncated_index, .. })) => {
                let Some(state) = self.peers.get_mut(&(node, *peer)) else { return Ok(()) };
                let lost = state.lost(event.incarnation, *truncated_index);
                let acknowledged = state.acknowledged;
                state.recovered = None;
                let Some(index) = lost else { return Ok(()) };
                let detail = format!(
                    "peer {peer} of region {region} comes back without entry {index}; it had acknowledged {acknowledged}, and \
                     {truncated_index} is covered by its state"
                );
                Err(Violation::new("acknowledged-entry-lost", detail))
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Compacted { peer, index, .. })) => {
                let state = self.peers.entry((node, *peer)).or_default();
                state.covered = state.covered.max(index.saturating_sub(1));
                Ok(())
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Restarted { peer, index, .. })) => {
                let state = self.peers.entry((node, *peer)).or_default();
                state.covered = state.covered.max(*index);
                Ok(())
            }
            Body::Node(Fact::Region(region::Fact::StateRecovered { region, peer, state, .. }))
                if state.as_str() == "normal" =>
            {
                let Some(found) = self.peers.get(&(node, *peer)) else { return Ok(()) };
                if found.recovered.as_ref().is_some_and(|(life, _)| *life == event.incarnation) {
                    return Ok(());
                }
                let Some(index) = found.lost(event.incarnation, found.covered) else { return Ok(()) };
                let detail = format!(
                    "peer {peer} of region {} is found without a log; it had acknowledged {}, and entry {index} was in it",
                    region.id, found.acknowledged
                );
                Err(Violation::new("log-lost", detail))
            }
            Body::Node(Fact::Raft(raft::Fact::PeerDestroyed { peer, .. })) => {
                self.peers.remove(&(node, *peer));
                Ok(())
            }
            Body::Room(RoomEvent::DiskCrashed { .. }) => {
                self.peers.range_mut((node, 0)..=(node, u64::MAX)).for_each(|(_, state)| state.pending.clear());
                Ok(())
            }
            // A later file of that name has other bytes; whether the entries were moved is seen when they are read back.
            Body::Room(RoomEvent::FileRemoved { path }) => {
                let peers = self.peers.range_mut((node, 0)..=(node, u64::MAX));
                peers.for_each(|(_, state)| state.pending.retain(|append| append.file != *path));
                Ok(())
            }
            Body::Room(RoomEvent::DiskWiped {}) => {
                self.peers.retain(|(other, _), _| *other != node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.acknowledged
    }
}

fn not_durable(region: RegionId, peer: PeerId, index: u64, append: &Append) -> Box<Violation> {
    let detail = format!(
        "peer {peer} of region {region} acknowledges up to {index}; what it appended from {} on ends at {} of {} and is not \
         synced",
        append.first, append.end, append.file
    );
    Violation::new("acknowledged-before-durable", detail)
}
