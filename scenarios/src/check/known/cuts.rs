//! Where unsafe recovery has cut the history of regions.
//!
//! A force leader begins with its own log: what was committed before and is not in it is lost, and what comes then takes
//! the same indexes. That is right only where no voter that is left has what is lost; who has what is known from the logs
//! as peers write and read them, and from what they apply. Stores that are given up, and disks that are emptied, have
//! nothing any more.
//!
//! An empty region takes the place of regions that nobody has: all of their history is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use node::{
    fact::{Fact, Mark},
    pd::fact as placement,
    raftlog::fact as raftlog,
    region::{Epoch, Peer, PeerId, Region, RegionId, Role, StoreId},
    store::fact::{apply, lifecycle, raft, recovery, region, snapshot},
};

use super::super::{dense::Dense, reference::Reference};
use crate::event::{Body, Event, NodeId, RoomEvent};

/// How many indexes back entries are remembered.
const REMEMBERED: usize = 8192;

/// What is known of cuts.
#[derive(Default)]
pub struct Cuts {
    homes: BTreeMap<StoreId, NodeId>,
    logs: BTreeMap<(RegionId, PeerId), Log>,
    committed: BTreeMap<RegionId, Committed>,
    /// The newest region of each peer that is there.
    regions: BTreeMap<(NodeId, RegionId), Arc<Region>>,
    /// The newest description of each region that ever was.
    ever: BTreeMap<RegionId, Arc<Region>>,
    newest: Option<Cut>,
    given_up: BTreeSet<StoreId>,
    /// Where they run, should they come back: nobody hears of what they have.
    apart: BTreeSet<NodeId>,
    led_by_force: BTreeSet<RegionId>,
}

/// One cut of one region's history.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The region.
    pub region: RegionId,
    /// The first index whose entry, if there was one, is lost.
    pub from: u64,
    /// The force leader's last entry.
    pub last_index: u64,
    /// Its term as a leader.
    pub term: u64,
    /// Its region's epoch; what is newer is lost.
    pub epoch: Epoch,
    /// A voter that is left and has the first entry that is lost.
    pub held_by: Option<PeerId>,
    /// The timestamps of the writes that are lost.
    pub lost: Vec<u64>,
    /// The range of which nothing is left, whatever was written there, and in whichever region.
    pub emptied: Option<Arc<Region>>,
}

struct Log {
    node: NodeId,
    terms: Dense<u64>,
    last: u64,
    /// What is applied, or in a snapshot.
    covered: u64,
}

struct Committed {
    terms: Dense<u64>,
    last: u64,
}

impl Cuts {
    /// The cut that the event at hand made.
    pub fn made(&self) -> Option<&Cut> {
        self.newest.as_ref()
    }

    /// The regions that stores have which are left, each as its peer there knows it.
    pub fn left(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.regions.values()
    }

    /// The newest of these, by key; what a newer one overlaps is gone and not among them.
    pub fn newest_left(&self) -> Vec<Arc<Region>> {
        let mut by_id: BTreeMap<RegionId, &Arc<Region>> = BTreeMap::new();
        for region in self.left() {
            let newest = by_id.entry(region.id).or_insert(region);
            if (newest.epoch.version, newest.epoch.conf_ver) < (region.epoch.version, region.epoch.conf_ver) {
                *newest = region;
            }
        }
        let newer = |region: &Region| {
            by_id.values().any(|other| {
                other.id != region.id && other.epoch.version > region.epoch.version && other.overlaps(region)
            })
        };
        let mut left: Vec<_> =
            by_id.values().filter(|region| !newer(region)).map(|region| Arc::clone(region)).collect();
        left.sort_by(|a, b| a.start.cmp(&b.start));
        left
    }

    /// Whether a store was given up.
    pub fn is_given_up(&self, store: StoreId) -> bool {
        self.given_up.contains(&store)
    }

    /// Whether a region was ever led without a majority.
    pub fn was_led_by_force(&self, region: RegionId) -> bool {
        self.led_by_force.contains(&region)
    }

    /// Whether a store that is left has a peer.
    pub fn has(&self, region: RegionId, peer: PeerId) -> bool {
        self.logs.contains_key(&(region, peer))
    }

    #[inline]
    pub(super) fn on(&mut self, event: &Event, reference: Option<&mut Reference>) {
        self.newest = None;
        let is_left = self.apart.is_empty() || !self.apart.contains(&event.node);
        match &event.body {
            Body::Node(Fact::RaftLog(raftlog::Fact::Appended { region, peer, marks, .. })) if is_left => {
                self.log(event.node, *region, *peer).append(&marks.0);
            }
            Body::Node(Fact::Apply(apply::Fact::Applied { region, peer, index, term, .. })) => {
                if let Some(log) = self.logs.get_mut(&(*region, *peer)) {
                    log.covered = *index;
                }
                let new = || Committed { terms: Dense::new(REMEMBERED), last: 0 };
                let committed = self.committed.entry(*region).or_insert_with(new);
                if *index > committed.last {
                    committed.last = *index;
                    if let Some(slot) = committed.terms.slot(*index) {
                        *slot = Some(*term);
                    }
                }
            }
            Body::Node(Fact::RaftLog(raftlog::Fact::Recovered { region, peer, marks, .. })) if is_left => {
                let log = self.log(event.node, *region, *peer);
                *log = Log { covered: log.covered, ..Log::new(event.node) };
                log.append(&marks.0);
            }
            Body::Node(Fact::Raft(raft::Fact::PeerRecovered { region, peer, applied, .. })) if is_left => {
                self.log(event.node, *region, *peer).covered = *applied;
            }
            Body::Node(Fact::Raft(raft::Fact::PeerDestroyed { region, peer, .. })) => {
                self.logs.remove(&(*region, *peer));
                self.regions.remove(&(event.node, *region));
            }
            Body::Node(Fact::Snapshot(snapshot::Fact::ApplyStarted { region, peer, index, .. })) if is_left => {
                *self.log(event.node, *region, *peer) = Log { last: *index, covered: *index, ..Log::new(event.node) };
            }
            Body::Node(Fact::Region(region::Fact::Changed { region, .. })) if is_left && region.is_initialized() => {
                self.regions.insert((event.node, region.id), region.clone());
                let ever = self.ever.entry(region.id).or_insert_with(|| region.clone());
                if (ever.epoch.version, ever.epoch.conf_ver) < (region.epoch.version, region.epoch.conf_ver) {
                    *ever = region.clone();
                }
            }
            Body::Node(Fact::Store(lifecycle::Fact::Started { store, .. })) => {
                self.homes.insert(*store, event.node);
                match self.given_up.contains(store) {
                    true => self.leave(event.node),
                    false => drop(self.apart.remove(&event.node)),
                }
            }
            Body::Node(Fact::Placement(placement::Fact::RecoveryStoreFailed { store })) => {
                self.given_up.insert(*store);
                if let Some(&node) = self.homes.get(store) {
                    self.leave(node);
                }
            }
            Body::Node(Fact::Recovery(fact)) => self.recovery(event.node, fact, reference),
            Body::Room(RoomEvent::DiskWiped {}) => {
                self.apart.remove(&event.node);
                self.lose(event.node);
            }
            _ => {}
        }
    }

    fn log(&mut self, node: NodeId, region: RegionId, peer: PeerId) -> &mut Log {
        self.logs.entry((region, peer)).or_insert_with(|| Log::new(node))
    }

    /// A store that was given up may still run: whatever it has, it has for nobody.
    fn leave(&mut self, node: NodeId) {
        self.apart.insert(node);
        self.lose(node);
    }

    fn lose(&mut self, node: NodeId) {
        self.logs.retain(|_, log| log.node != node);
        self.regions.retain(|(other, _), _| *other != node);
    }

    fn recovery(&mut self, node: NodeId, fact: &recovery::Fact, reference: Option<&mut Reference>) {
        match fact {
            recovery::Fact::ForceLeaderEntered { region, peer, term, last_index, .. } => {
                self.led_by_force.insert(*region);
                let from = self.first_lost(*region, *peer);
                let known = self.regions.get(&(node, *region)).cloned();
                let held_by = from.and_then(|from| self.holder(*region, from, known.as_deref()));
                let from = from.unwrap_or(last_index + 1);
                if let Some(committed) = self.committed.get_mut(region) {
                    committed.terms.cut(from);
                    committed.last = committed.last.min(from - 1);
                }
                let lost = reference.map_or_else(Vec::new, |reference| reference.cut(*region, from));
                let epoch = known.map_or_else(Epoch::default, |region| region.epoch);
                let (region, last_index, term) = (*region, *last_index, *term);
                self.newest = Some(Cut { region, from, last_index, term, epoch, held_by, lost, emptied: None });
                self.ever.retain(|id, known| *id != region || known.epoch.version <= epoch.version);
            }
            recovery::Fact::EmptyRegionCreated { region, .. } => {
                let is_left = |id: RegionId| self.regions.keys().any(|(_, other)| *other == id);
                let before = self.ever.values().filter(|other| other.id != region.id && other.overlaps(region));
                let before: Vec<RegionId> = before.map(|other| other.id).collect();
                let gone: Vec<RegionId> = before.iter().copied().filter(|id| !is_left(*id)).collect();
                let emptied = (gone.len() == before.len()).then(|| region.clone());
                let mut lost = Vec::new();
                if let Some(reference) = reference {
                    gone.iter().for_each(|id| lost.extend(reference.forget(*id)));
                }
                self.ever.retain(|id, _| !gone.contains(id));
                let (region, epoch) = (region.id, region.epoch);
                self.newest =
                    Some(Cut { region, from: 0, last_index: 0, term: 0, epoch, held_by: None, lost, emptied });
            }
            _ => {}
        }
    }

    /// The first committed entry that a peer's log does not hold.
    fn first_lost(&self, region: RegionId, peer: PeerId) -> Option<u64> {
        let (log, committed) = (self.logs.get(&(region, peer))?, self.committed.get(&region)?);
        (log.covered + 1..=committed.last).find(|&index| {
            let held = log.terms.get(index).filter(|_| index <= log.last);
            committed.terms.get(index).is_some_and(|term| held != Some(term))
        })
    }

    /// A voter that is left and holds a committed entry.
    fn holder(&self, region: RegionId, index: u64, known: Option<&Region>) -> Option<PeerId> {
        let term = self.committed.get(&region)?.terms.get(index)?;
        let is_voter = |peer: &&Peer| peer.role() != Role::Learner;
        let voters = known?.peers.iter().filter(is_voter);
        let holds = |peer: &Peer| {
            let log = self.logs.get(&(region, peer.id));
            log.is_some_and(|log| log.covered >= index || (index <= log.last && log.terms.get(index) == Some(term)))
        };
        voters.copied().find(holds).map(|peer| peer.id)
    }
}

impl Log {
    fn new(node: NodeId) -> Log {
        Log { node, terms: Dense::new(REMEMBERED), last: 0, covered: 0 }
    }

    fn append(&mut self, marks: &[Mark]) {
        for mark in marks {
            if let Some(slot) = self.terms.slot(mark.index) {
                *slot = Some(mark.term);
            }
            self.last = mark.index;
        }
    }
}
