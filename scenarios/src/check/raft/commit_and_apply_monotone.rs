//! Commit and applied indexes never go back, apply never overtakes commit, and a restart resumes no lower than what was
//! durable.
//!
//! Within one life of a process; across a restart only what the store called synced counts, since the rest may be lost. A
//! peer that is read back in the middle of applying a snapshot has no applied index of its own yet.
//!
//! Source: Ongaro's thesis, figure 3.1 (commitIndex and lastApplied increase monotonically).

use std::collections::{BTreeMap, BTreeSet};

use node::{
    fact::Fact,
    region::PeerId,
    store::fact::{apply, raft, region, snapshot},
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const COMMIT_AND_APPLY_MONOTONE: Entry = Entry {
    name: "commit-and-apply-monotone",
    family: "raft",
    class: Class::Safety,
    property: "commit and apply never go back, apply never overtakes commit, a restart resumes no lower than was durable",
    source: "Ongaro's thesis, figure 3.1",
    hears: &[Hall::Raft, Hall::Committed, Hall::Applied, Hall::Persisted, Hall::Snapshot, Hall::Region, Hall::Disk],
    make: || Box::new(Monotone::default()),
};

#[derive(Default)]
struct Monotone {
    peers: BTreeMap<(NodeId, PeerId), Peer>,
    applying: BTreeSet<(NodeId, PeerId)>,
    judged: u64,
}

#[derive(Clone, Copy, Default)]
struct Peer {
    incarnation: u32,
    /// 0 while nothing is known of this life's commit index.
    commit: u64,
    durable: u64,
}

impl Monotone {
    fn peer(&mut self, event: &Event, peer: PeerId) -> &mut Peer {
        let known = self.peers.entry((event.node, peer)).or_default();
        if known.incarnation != event.incarnation {
            *known = Peer { incarnation: event.incarnation, commit: 0, durable: known.durable };
        }
        known
    }
}

impl Check for Monotone {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        let fact = match &event.body {
            Body::Node(fact) => fact,
            Body::Room(RoomEvent::DiskWiped {}) => {
                self.peers.retain(|(node, _), _| *node != event.node);
                return Ok(());
            }
            _ => return Ok(()),
        };
        match fact {
            Fact::Raft(raft::Fact::Committed { region, peer, index, .. }) => {
                self.judged += 1;
                let known = self.peer(event, *peer);
                let before = known.commit;
                known.commit = before.max(*index);
                if *index < before {
                    let detail = format!("peer {peer} of region {region} goes back from commit {before} to {index}");
                    return Err(Violation::new("commit-went-back", detail));
                }
            }
            Fact::Apply(apply::Fact::Applied { region, peer, index, .. }) => {
                self.judged += 1;
                let commit = self.peer(event, *peer).commit;
                if commit != 0 && *index > commit {
                    let detail = format!("peer {peer} of region {region} applies {index} and knows commit {commit}");
                    return Err(Violation::new("applied-before-commit", detail));
                }
            }
            Fact::Apply(apply::Fact::Persisted { peer, index, synced: true, .. }) => {
                let known = self.peer(event, *peer);
                known.durable = known.durable.max(*index);
            }
            Fact::Snapshot(snapshot::Fact::ApplyStarted { peer, index, .. }) => {
                let known = self.peer(event, *peer);
                known.commit = known.commit.max(*index);
            }
            Fact::Snapshot(snapshot::Fact::Applied { peer, index, .. }) => {
                let known = self.peer(event, *peer);
                known.commit = known.commit.max(*index);
                known.durable = known.durable.max(*index);
            }
            Fact::Region(region::Fact::StateRecovered { peer, state, .. }) => {
                match state.as_str() {
                    "applying" => self.applying.insert((event.node, *peer)),
                    _ => self.applying.remove(&(event.node, *peer)),
                };
            }
            Fact::Raft(raft::Fact::PeerRecovered { region, peer, commit, applied, .. }) => {
                self.judged += 1;
                let applying = self.applying.remove(&(event.node, *peer));
                let known = self.peer(event, *peer);
                known.commit = known.commit.max(*commit).max(*applied);
                if *applied < known.durable && !applying {
                    let detail = format!(
                        "peer {peer} of region {region} resumes at applied {applied}; {} was durable",
                        known.durable
                    );
                    return Err(Violation::new("resumed-below-durable", detail));
                }
            }
            Fact::Raft(raft::Fact::PeerDestroyed { peer, .. }) => {
                self.peers.remove(&(event.node, *peer));
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
