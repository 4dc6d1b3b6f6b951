//! Orders of events that a single fact cannot tell, as triggers.
//!
//! One row of the table each. An order is a small machine over events; it keeps no more than it needs to see the next.

mod cache;
mod elections;
mod recovery;
mod release;

use std::collections::{BTreeMap, BTreeSet};

use node::{
    fact::Fact,
    pd::fact as placement,
    raftlog::fact as raftlog,
    region::{PeerId, RegionId, StoreId},
    store::fact::{lifecycle, raft, region, snapshot},
};

use crate::event::{Body, Event, NodeId, RoomEvent};

/// Recognises one order of events.
pub trait Order: Send {
    /// Takes an event in; true each time the order is complete.
    fn on(&mut self, event: &Event) -> bool;
}

/// A row of the table.
pub struct OrderEntry {
    /// The trigger's name, as plans write it.
    pub name: &'static str,
    /// What came about, in a sentence.
    pub doc: &'static str,
    /// Makes one for a run.
    pub make: fn() -> Box<dyn Order>,
}

/// Every order.
pub const ORDERS: &[OrderEntry] = &[
    OrderEntry {
        name: "restarted-while-applying-a-snapshot",
        doc: "A store came back whose engine is applying a snapshot, and whose raft log goes on past it without knowing it.",
        make: || Box::new(RestartedWhileApplying::default()),
    },
    OrderEntry {
        name: "collection-wanted-while-building",
        doc: "The collector's rule let a snapshot go while the region worker was about to use its files again.",
        make: || Box::new(WantedWhileBuilding::default()),
    },
    OrderEntry {
        name: "restarted-store-asked-to-vote-early",
        doc: "A store that had restarted less than an election timeout ago was asked for its vote, while a leader held a lease.",
        make: || Box::new(AskedToVoteEarly::default()),
    },
    OrderEntry {
        name: "deleted-store-asked-for",
        doc: "A store that had had a connection to another one asked for its address after the record was deleted.",
        make: || Box::new(DeletedAskedFor::default()),
    },
    OrderEntry {
        name: "registered-after-it-was-asked-for",
        doc: "A store registered after another one had asked for its address.",
        make: || Box::new(LateRegistration::default()),
    },
    OrderEntry {
        name: "split-child-left-alone",
        doc: "A split was applied whose child has another peer here already.",
        make: || Box::new(ChildLeftAlone),
    },
    OrderEntry {
        name: "fresh-append-acknowledged",
        doc: "An append was acknowledged whose sync took a millisecond or more, or had not ended.",
        make: || Box::new(FreshAppend::default()),
    },
    OrderEntry {
        name: "restarted-after-a-snapshot-took-its-sources",
        doc: "A store came back whose engine is applying a snapshot that contains a merge, and whose source it had when that began.",
        make: || Box::new(SnapshotTookSources::default()),
    },
    OrderEntry {
        name: "removed-peer-asked-after-a-newcomer-went",
        doc: "A removed peer was written to on a store where a later peer of its region had come and gone without a range.",
        make: || Box::new(NewcomerWent::default()),
    },
    OrderEntry {
        name: "snapshot-meets-cached-region",
        doc: "A snapshot was about to replace a region that its store has in its cache.",
        make: || Box::new(cache::Met("apply-snapshot")),
    },
    OrderEntry {
        name: "rollback-meets-cached-region",
        doc: "A merge was about to be rolled back whose source its store has in its cache.",
        make: || Box::new(cache::Met("rollback-merge")),
    },
    OrderEntry {
        name: "split-before-load-begins",
        doc: "A region was split whose load into the cache was scheduled and had not begun.",
        make: || Box::new(cache::SplitBeforeLoad::default()),
    },
    OrderEntry {
        name: "load-scheduled-before-flush",
        doc: "A load into the cache was scheduled while writes of its region were on their way to the engine.",
        make: || Box::new(cache::LoadBeforeFlush),
    },
    OrderEntry {
        name: "collection-held-by-history",
        doc: "The collection of a cached region was held back by a reader of the region that it was split from.",
        make: || Box::new(cache::HeldByHistory),
    },
    OrderEntry {
        name: "blob-file-noted-with-a-way-back",
        doc: "A release that may be rolled back has written a blob file, or a note of one.",
        make: || Box::new(release::WrittenWithAWayBack),
    },
    OrderEntry {
        name: "newer-blob-file-met",
        doc: "A store with a blob file of the newest header was started as a release that writes an older one.",
        make: || Box::new(release::BlobFileMet::new(|written, row| written == 3 && row.blob_header_written < 3)),
    },
    OrderEntry {
        name: "oldest-blob-file-met",
        doc: "A store with a blob file of the oldest header was started as a release that writes a newer one.",
        make: || Box::new(release::BlobFileMet::new(|written, row| written == 1 && row.blob_header_written > 1)),
    },
    OrderEntry {
        name: "started-again-after-a-refused-rollback",
        doc: "A store whose raft log an older release had refused was started as one that reads it.",
        make: || Box::new(release::StartedAgain::default()),
    },
    OrderEntry {
        name: "demotion-names-a-learner",
        doc: "A force leader began to demote lost peers of which one was a learner.",
        make: || Box::new(recovery::LearnerNamed),
    },
    OrderEntry {
        name: "newest-learner-destroyed",
        doc: "A learner was destroyed by an unsafe recovery, and its region got a force leader, which counts on it.",
        make: || Box::new(recovery::LearnerDestroyed::default()),
    },
    OrderEntry {
        name: "force-leader-refused-beside-another",
        doc: "A peer did not become a force leader while another one on another store led without a majority.",
        make: || Box::new(recovery::RefusedBesideAnother::default()),
    },
    OrderEntry {
        name: "newcomer-asked-again-in-its-term",
        doc: "A peer without a range had voted, its store restarted, and another candidate asked for its vote in that term.",
        make: || Box::new(elections::AskedAgain::default()),
    },
    OrderEntry {
        name: "leader-removed-with-one-voter-left",
        doc: "A leader applied its own removal from a region that has one voter left.",
        make: || Box::new(elections::LeaderRemoved::default()),
    },
    OrderEntry {
        name: "restoring-store-asked-to-vote",
        doc: "A store that was being restored was asked for its vote.",
        make: || Box::new(elections::AskedWhileRestoring::default()),
    },
    OrderEntry {
        name: "elected-within-a-lease-too-long",
        doc: "A leader was elected while the one before it would have held a lease of the length that the settings want.",
        make: || Box::new(elections::ElectedWithinLease::default()),
    },
];

/// At a restart, first and last index of each region's log; a region that is recovered as applying a snapshot within.
#[derive(Default)]
struct RestartedWhileApplying {
    logs: BTreeMap<(NodeId, RegionId), (u64, u64)>,
}

impl Order for RestartedWhileApplying {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Room(RoomEvent::ProcessStarted { .. }) => {
                self.logs.retain(|(node, _), _| *node != event.node);
                false
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Recovered { region, first, marks, .. })) => {
                let last = marks.0.last().map_or(0, |mark| mark.index);
                self.logs.insert((event.node, *region), (*first, last));
                false
            }
            Body::Node(Fact::Region(region::Fact::StateRecovered { region, state, index, .. })) => {
                let log = self.logs.get(&(event.node, region.id));
                state.as_str() == "applying" && log.is_some_and(|(first, last)| first <= index && index <= last)
            }
            _ => false,
        }
    }
}

/// Builds under way, by node and snapshot.
#[derive(Default)]
struct WantedWhileBuilding {
    building: BTreeMap<NodeId, (RegionId, u64, u64)>,
}

impl Order for WantedWhileBuilding {
    fn on(&mut self, event: &Event) -> bool {
        let Body::Node(Fact::Snapshot(fact)) = &event.body else { return false };
        match fact {
            snapshot::Fact::Generating { region, term, index, .. } => {
                self.building.insert(event.node, (*region, *term, *index));
                false
            }
            snapshot::Fact::Generated { .. } | snapshot::Fact::GenerateFailed { .. } => {
                self.building.remove(&event.node);
                false
            }
            snapshot::Fact::CollectWanted { region, term, index, .. } => {
                self.building.get(&event.node) == Some(&(*region, *term, *index))
            }
            _ => false,
        }
    }
}

/// Leases as stated, and votes asked for by a peer that campaigns against the leader of one.
#[derive(Default)]
struct AskedToVoteEarly {
    leases: BTreeMap<RegionId, (NodeId, u64)>,
}

impl Order for AskedToVoteEarly {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Room(RoomEvent::ProcessStarted { .. }) => {
                self.leases.retain(|_, (node, _)| *node != event.node);
                false
            }
            Body::Node(Fact::Raft(raft::Fact::LeaseRenewed { region, from, until, .. })) => {
                let lasts_ns = until.0.saturating_sub(from.0);
                self.leases.insert(*region, (event.node, event.time_ns + lasts_ns));
                false
            }
            Body::Node(Fact::Raft(raft::Fact::LeaseRevoked { region, .. })) => {
                self.leases.remove(region);
                false
            }
            Body::Node(Fact::Raft(raft::Fact::VoteAsked { region, embargo, .. })) => {
                *embargo
                    && self
                        .leases
                        .get(region)
                        .is_some_and(|(node, until_ns)| *node != event.node && event.time_ns < *until_ns)
            }
            _ => false,
        }
    }
}

/// Connections that were, and records that are deleted.
#[derive(Default)]
struct DeletedAskedFor {
    connected: BTreeSet<(NodeId, StoreId)>,
    deleted: BTreeSet<StoreId>,
}

impl Order for DeletedAskedFor {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                self.connected.retain(|(node, _)| *node != event.node);
                false
            }
            Body::Node(Fact::Store(lifecycle::Fact::Connected { store })) => {
                self.connected.insert((event.node, *store));
                false
            }
            Body::Node(Fact::Placement(placement::Fact::StoreDeleted { store })) => {
                self.deleted.insert(*store);
                false
            }
            Body::Node(Fact::Store(lifecycle::Fact::ResolveAsked { store })) => {
                self.deleted.contains(store) && self.connected.contains(&(event.node, *store))
            }
            _ => false,
        }
    }
}

/// Stores that have a record, and such as were asked for before they had one.
#[derive(Default)]
struct LateRegistration {
    registered: BTreeSet<StoreId>,
    wanted: BTreeSet<StoreId>,
}

impl Order for LateRegistration {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Store(lifecycle::Fact::ResolveAsked { store })) if !self.registered.contains(store) => {
                self.wanted.insert(*store);
                false
            }
            Body::Node(Fact::Placement(placement::Fact::StorePut { store, .. })) => {
                self.registered.insert(*store) && self.wanted.contains(store)
            }
            _ => false,
        }
    }
}

/// No memory: one fact with one outcome.
struct ChildLeftAlone;

impl Order for ChildLeftAlone {
    fn on(&mut self, event: &Event) -> bool {
        let Body::Node(Fact::Region(region::Fact::SplitChild { outcome, .. })) = &event.body else { return false };
        outcome.as_str() == "left-alone"
    }
}

/// The newest append of each region, by node, as far as it was written by the node's present incarnation.
#[derive(Default)]
struct FreshAppend {
    written: BTreeMap<(NodeId, RegionId), Append>,
}

struct Append {
    index: u64,
    time_ns: u64,
    /// Its sync took long enough for an early acknowledgement to be seen: a millisecond.
    slow: bool,
    synced: bool,
    acknowledged: bool,
}

/// A sync that takes less leaves hardly anything to come between.
const SLOW_NS: u64 = 1_000_000;

impl Order for FreshAppend {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Room(RoomEvent::ProcessExited { .. }) => self.written.retain(|(node, _), _| *node != event.node),
            Body::Node(Fact::RaftLog(raftlog::Fact::Appended { region, marks, .. })) => {
                if let Some(last) = marks.0.last() {
                    let (index, time_ns) = (last.index, event.time_ns);
                    let append = Append { index, time_ns, slow: false, synced: false, acknowledged: false };
                    self.written.insert((event.node, *region), append);
                }
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Synced { .. })) => {
                let here = (event.node, RegionId::MIN)..=(event.node, RegionId::MAX);
                for (_, append) in self.written.range_mut(here).filter(|(_, append)| !append.synced) {
                    append.synced = true;
                    append.slow = event.time_ns.saturating_sub(append.time_ns) >= SLOW_NS;
                    if append.slow && append.acknowledged {
                        return true;
                    }
                }
            }
            Body::Node(Fact::Raft(raft::Fact::Acknowledged { region, index, .. })) => {
                if let Some(append) = self.written.get_mut(&(event.node, *region)) {
                    append.acknowledged |= *index >= append.index;
                    // Who acknowledges before the sync has ended is accused at once, and the sync never ends.
                    return append.acknowledged && (append.slow || !append.synced);
                }
            }
            _ => {}
        }
        false
    }
}

/// Targets of snapshots that took sources with them, by node, until they are applied.
#[derive(Default)]
struct SnapshotTookSources {
    begun: BTreeSet<(NodeId, RegionId)>,
    restarted: BTreeSet<(NodeId, RegionId)>,
}

impl Order for SnapshotTookSources {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Region(region::Fact::SourceDestroyed { target, by, .. })) if by.as_str() == "snapshot" => {
                self.begun.insert((event.node, *target));
                false
            }
            Body::Node(Fact::Snapshot(snapshot::Fact::Applied { region, .. })) => {
                self.begun.remove(&(event.node, *region));
                false
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                let here = self.begun.iter().filter(|(node, _)| *node == event.node);
                self.restarted.retain(|(node, _)| *node != event.node);
                self.restarted.extend(here);
                self.begun.retain(|(node, _)| *node != event.node);
                false
            }
            Body::Node(Fact::Region(region::Fact::StateRecovered { region, state, .. })) => {
                state.as_str() == "applying" && self.restarted.contains(&(event.node, region.id))
            }
            _ => false,
        }
    }
}

/// Peers without a range, and the newest of those that have gone, by node and region.
#[derive(Default)]
struct NewcomerWent {
    newcomers: BTreeMap<(NodeId, RegionId), PeerId>,
    gone: BTreeMap<(NodeId, RegionId), PeerId>,
}

impl Order for NewcomerWent {
    fn on(&mut self, event: &Event) -> bool {
        let older =
            |gone: &BTreeMap<_, PeerId>, region, peer| gone.get(&(event.node, region)).is_some_and(|gone| peer < *gone);
        match &event.body {
            Body::Node(Fact::Raft(raft::Fact::PeerCreated { region, peer, initialized: false })) => {
                let returns = older(&self.gone, *region, *peer);
                self.newcomers.insert((event.node, *region), *peer);
                returns
            }
            Body::Node(Fact::Region(region::Fact::Changed { region, .. })) => {
                self.newcomers.remove(&(event.node, region.id));
                false
            }
            Body::Node(Fact::Raft(raft::Fact::PeerDestroyed { region, peer, .. })) => {
                if self.newcomers.get(&(event.node, *region)) == Some(peer) {
                    self.newcomers.remove(&(event.node, *region));
                    self.gone.insert((event.node, *region), *peer);
                }
                false
            }
            Body::Node(Fact::Raft(raft::Fact::StaleMessage { region, to, .. })) => older(&self.gone, *region, *to),
            _ => false,
        }
    }
}
