//! What a cluster at rest looks like, and what is still missing.
//!
//! Fed by events: which regions exist, who leads them, how far each peer has applied, what each store hosts. After
//! healing the runner asks again and again until nothing is missing, or the plan's time is up; what is missing then is
//! named in words.
//!
//! Not here: the checks. Rest is a condition of the run; what holds at rest is judged by them.

use std::{collections::BTreeMap, sync::Arc};

use node::{
    fact::Fact,
    pd::fact as placement,
    region::{PeerId, Region, RegionId, Role, StoreId},
    store::fact::{apply, lifecycle, raft, region, snapshot},
};

use crate::{
    check::placement::Tables,
    event::{Body, Event, Header, NodeId, RoomEvent},
};

/// What is known of one peer in one live process.
#[derive(Clone, Debug)]
struct Replica {
    peer: PeerId,
    region: Option<Arc<Region>>,
    applied: u64,
    leads: Option<u64>,
}

/// What is known of one process.
#[derive(Debug, Default)]
struct Process {
    store: Option<StoreId>,
    up: bool,
    peers: BTreeMap<RegionId, Replica>,
    /// How many snapshots are being built, sent, received or applied.
    snapshots: i64,
}

/// What is known of the cluster.
#[derive(Debug)]
pub struct Rest {
    names: Vec<String>,
    processes: Vec<Process>,
    tables: Tables,
    /// An unsafe recovery has begun and not ended.
    recovering: bool,
    /// When somebody last came to lead a region, in true nanoseconds.
    led: BTreeMap<RegionId, u64>,
}

impl Rest {
    /// Nothing is known yet.
    pub fn new(header: &Header) -> Self {
        let processes = header.nodes.iter().map(|_| Process::default()).collect();
        let (tables, led) = (Tables::default(), BTreeMap::new());
        Self { names: header.nodes.clone(), processes, tables, recovering: false, led }
    }

    /// Takes an event in.
    #[inline]
    pub fn on(&mut self, event: &Event) {
        match &event.body {
            Body::Node(Fact::Raft(fact)) => self.raft(event, fact),
            Body::Node(Fact::Region(fact)) => self.region(event.node, fact),
            Body::Node(Fact::Apply(apply::Fact::Applied { region, peer, index, .. })) => {
                if let Some(replica) = self.replica(event.node, *region, *peer) {
                    replica.applied = *index;
                }
            }
            Body::Node(Fact::Store(lifecycle::Fact::Identified { store })) => {
                if let Some(process) = self.processes.get_mut(usize::from(event.node)) {
                    process.store = Some(*store);
                }
            }
            Body::Node(Fact::Store(lifecycle::Fact::Started { store, .. })) => {
                if let Some(process) = self.processes.get_mut(usize::from(event.node)) {
                    (process.store, process.up) = (Some(*store), true);
                }
            }
            Body::Node(Fact::Snapshot(fact)) => {
                if let Some(process) = self.processes.get_mut(usize::from(event.node)) {
                    match fact {
                        snapshot::Fact::Registered { .. } => process.snapshots += 1,
                        snapshot::Fact::Deregistered { .. } => process.snapshots -= 1,
                        _ => {}
                    }
                }
            }
            Body::Node(Fact::Placement(fact)) => {
                self.tables.on(fact);
                match fact {
                    placement::Fact::RecoveryBegun { .. } => self.recovering = true,
                    placement::Fact::RecoveryEnded { .. } | placement::Fact::Started { .. } => self.recovering = false,
                    _ => {}
                }
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                if let Some(process) = self.processes.get_mut(usize::from(event.node)) {
                    process.up = false;
                    process.peers.clear();
                    process.snapshots = 0;
                }
            }
            _ => {}
        }
    }

    fn replica(&mut self, node: NodeId, region: RegionId, peer: PeerId) -> Option<&mut Replica> {
        self.processes.get_mut(usize::from(node))?.peers.get_mut(&region).filter(|replica| replica.peer == peer)
    }

    fn raft(&mut self, event: &Event, fact: &raft::Fact) {
        let node = event.node;
        let Some(process) = self.processes.get_mut(usize::from(node)) else { return };
        match fact {
            raft::Fact::PeerCreated { region, peer, .. } => {
                process.peers.insert(*region, Replica { peer: *peer, region: None, applied: 0, leads: None });
            }
            raft::Fact::PeerRecovered { region, peer, applied, .. } => {
                let known = process.peers.remove(region).and_then(|replica| replica.region);
                process.peers.insert(*region, Replica { peer: *peer, region: known, applied: *applied, leads: None });
            }
            raft::Fact::PeerClosed { region, peer, .. } | raft::Fact::PeerDestroyed { region, peer, .. }
                if process.peers.get(region).is_some_and(|replica| replica.peer == *peer) =>
            {
                process.peers.remove(region);
            }
            raft::Fact::RoleChanged { region, peer, term, role } => {
                if let Some(replica) = self.replica(node, *region, *peer) {
                    replica.leads = (role.as_str() == "leader").then_some(*term);
                    if replica.leads.is_some() {
                        self.led.insert(*region, event.time_ns);
                    }
                }
            }
            _ => {}
        }
    }

    fn region(&mut self, node: NodeId, fact: &region::Fact) {
        if let region::Fact::Changed { region, peer, reason, index } = fact {
            let Some(process) = self.processes.get_mut(usize::from(node)) else { return };
            let replica = process.peers.entry(region.id).or_insert(Replica {
                peer: *peer,
                region: None,
                applied: 0,
                leads: None,
            });
            if replica.peer != *peer {
                *replica = Replica { peer: *peer, region: None, applied: 0, leads: None };
            }
            replica.region = Some(region.clone());
            if matches!(reason.as_str(), "snapshot" | "create" | "recover") {
                replica.applied = replica.applied.max(*index);
            }
        }
    }

    /// The newest description of each region that exists, in key order.
    ///
    /// A region that a newer one overlaps (by epoch version) is gone: it was split or merged away.
    pub fn regions(&self) -> Vec<Arc<Region>> {
        let mut newest: BTreeMap<RegionId, Arc<Region>> = BTreeMap::new();
        for region in self.processes.iter().flat_map(|process| process.peers.values()).filter_map(|r| r.region.as_ref())
        {
            let known = newest.entry(region.id).or_insert_with(|| region.clone());
            if (region.epoch.version, region.epoch.conf_ver) > (known.epoch.version, known.epoch.conf_ver) {
                *known = region.clone();
            }
        }
        let mut all: Vec<_> = newest.into_values().filter(|region| region.is_initialized()).collect();
        all.sort_by(|a, b| a.start.cmp(&b.start));
        // Without overlapping neighbours nothing overlaps: a look at a thousand regions compares a thousand pairs.
        if all.windows(2).all(|pair| !pair[0].overlaps(&pair[1])) {
            return all;
        }
        all.iter()
            .filter(|region| {
                !all.iter().any(|other| {
                    other.id != region.id && other.epoch.version > region.epoch.version && other.overlaps(region)
                })
            })
            .cloned()
            .collect()
    }

    /// Whether a snapshot is being built, sent, received or applied; or was registered as such and forgotten.
    pub fn has_snapshots_under_way(&self) -> bool {
        self.processes.iter().any(|process| process.snapshots > 0)
    }

    /// The process that leads a region at the highest term.
    pub fn leader(&self, region: RegionId) -> Option<NodeId> {
        self.leading(region).map(|(node, _)| node)
    }

    fn leading(&self, region: RegionId) -> Option<(NodeId, &Replica)> {
        let leads = self.processes.iter().enumerate().filter_map(|(node, process)| {
            let replica = process.peers.get(&region).filter(|replica| replica.leads.is_some() && process.up)?;
            Some((node as NodeId, replica))
        });
        leads.max_by_key(|(_, replica)| replica.leads)
    }

    /// The process of a store, by its id.
    pub fn node_of(&self, store: StoreId) -> Option<NodeId> {
        let position = self.processes.iter().rposition(|process| process.store == Some(store))?;
        NodeId::try_from(position).ok()
    }

    /// The id of the store that a process is.
    pub fn store_of(&self, node: NodeId) -> Option<StoreId> {
        self.processes.get(usize::from(node))?.store
    }

    /// Whether regions cover the key space that are led, or have been since a moment in true nanoseconds: a leader may have
    /// gone by the first thing that it applied.
    pub fn is_led_since(&self, ns: u64) -> bool {
        let regions = self.regions();
        let is_led = |id| self.leading(id).is_some() || self.led.get(&id).is_some_and(|led| *led >= ns);
        let mut from: Option<&[u8]> = Some(&[]);
        for region in &regions {
            if from != Some(&region.start[..]) || !is_led(region.id) {
                return false;
            }
            from = (!region.end.is_empty()).then_some(&region.end[..]);
        }
        from.is_none()
    }

    /// What is missing for rest, each as `what: detail`; `voters` is how many each region wants, if that can be had.
    pub fn missing(&self, voters: Option<u64>) -> Vec<String> {
        let regions = self.regions();
        let mut missing = Vec::new();
        if self.recovering {
            missing.push("recovery not ended: the placement driver is at it".to_owned());
        }
        let mut covered: Option<&[u8]> = Some(&[]);
        for region in &regions {
            if covered != Some(&region.start[..]) {
                missing.push(format!(
                    "key space not covered: region {} does not begin where the one before ends",
                    region.id
                ));
            }
            covered = (!region.end.is_empty()).then_some(&region.end[..]);
        }
        if covered.is_some() {
            missing.push("key space not covered: no region reaches its end".to_owned());
        }
        for region in &regions {
            self.region_missing(region, voters, &mut missing);
        }
        let by_id: BTreeMap<RegionId, &Arc<Region>> = regions.iter().map(|region| (region.id, region)).collect();
        for (process, name) in self.processes.iter().zip(&self.names).filter(|(process, _)| process.up) {
            for (id, replica) in &process.peers {
                let wanted = by_id.get(id).is_some_and(|region| region.peer(replica.peer).is_some());
                if !wanted {
                    missing.push(format!("stale peer remains: peer {} of region {id} on {name}", replica.peer));
                }
            }
        }
        missing.extend(self.tables.missing());
        missing
    }

    fn region_missing(&self, region: &Arc<Region>, voters: Option<u64>, missing: &mut Vec<String>) {
        let id = region.id;
        let Some((_, leader)) = self.leading(id) else {
            missing.push(format!("no leader: region {id}"));
            return;
        };
        let have = region.peers.iter().filter(|peer| peer.role == Role::Voter as i32).count() as u64;
        if voters.is_some_and(|voters| have != voters) || region.peers.iter().any(|peer| peer.role >= 2) {
            missing.push(format!("replicas not repaired: region {id} has {have} voters"));
        }
        for peer in &region.peers {
            let name = || self.node_of(peer.store).map_or("?", |node| &self.names[usize::from(node)]);
            let process = self.node_of(peer.store).map(|node| &self.processes[usize::from(node)]);
            match process.and_then(|process| process.peers.get(&id)).filter(|replica| replica.peer == peer.id) {
                None => missing.push(format!("replica missing: peer {} of region {id} on {}", peer.id, name())),
                Some(replica) if replica.region.as_ref() != Some(region) => {
                    missing.push(format!("replicas differ in region: peer {} of region {id} on {}", peer.id, name()));
                }
                Some(replica) if replica.applied != leader.applied => missing.push(format!(
                    "replica behind: peer {} of region {id} on {} has applied {} of {}",
                    peer.id,
                    name(),
                    replica.applied,
                    leader.applied
                )),
                Some(_) => {}
            }
        }
    }
}
