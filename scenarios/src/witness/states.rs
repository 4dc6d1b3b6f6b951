//! The abstract states of regions: what of a region's replicas matters to how they go on, and nothing else.
//!
//! A state is, of each replica: its role, the rank of its term among the replicas, how far its commit index is behind the
//! highest (a class, not a number), the rank of its epoch, what it does with a snapshot, and its state in the cache. Which
//! store a replica is on does not matter. A state is looked at when role, epoch, snapshot or cache change; commit indexes
//! alone would make every entry a state.

use std::collections::{BTreeMap, BTreeSet};

use node::{
    cache::fact as cache,
    fact::Fact,
    region::RegionId,
    store::fact::{raft, region, snapshot},
};

use crate::{
    event::{NodeId, RoomEvent},
    room::Mixer,
};

/// States of one run beyond this number are not counted.
const MOST: usize = 20_000;

/// What is known of the replicas of all regions, and the states that were seen.
#[derive(Default)]
pub(super) struct States {
    regions: BTreeMap<RegionId, Vec<(NodeId, Replica)>>,
    seen: BTreeSet<u64>,
}

#[derive(Clone, Copy, Default)]
struct Replica {
    role: u8,
    snapshot: u8,
    cache: u8,
    term: u64,
    commit: u64,
    epoch: (u64, u64),
}

impl States {
    #[inline]
    pub(super) fn on(&mut self, node: NodeId, fact: &Fact) {
        match fact {
            Fact::Raft(fact) => self.raft(node, fact),
            Fact::Region(region::Fact::Changed { region, .. }) => {
                self.replica(node, region.id).epoch = (region.epoch.version, region.epoch.conf_ver);
                self.look(region.id);
            }
            Fact::Snapshot(fact) => self.snapshot(node, fact),
            Fact::Cache(cache::Fact::Transition { region, to, .. }) => {
                self.replica(node, *region).cache = match to.as_str() {
                    "pending" => 1,
                    "loading" => 2,
                    "active" => 3,
                    "loading-canceled" => 4,
                    "pending-evict" => 5,
                    "evicting" => 6,
                    _ => 0,
                };
                self.look(*region);
            }
            _ => {}
        }
    }

    pub(super) fn on_room(&mut self, node: NodeId, event: &RoomEvent) {
        if let RoomEvent::ProcessExited { .. } = event {
            for replicas in self.regions.values_mut() {
                replicas.retain(|(other, _)| *other != node);
            }
        }
    }

    pub(super) fn seen(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.seen)
    }

    fn raft(&mut self, node: NodeId, fact: &raft::Fact) {
        match fact {
            raft::Fact::Committed { region, term, index, .. } => {
                let replica = self.replica(node, *region);
                (replica.term, replica.commit) = (*term, *index);
            }
            raft::Fact::RoleChanged { region, term, role, .. } => {
                let replica = self.replica(node, *region);
                replica.term = *term;
                replica.role = match role.as_str() {
                    "follower" => 0,
                    "leader" => 1,
                    "candidate" => 2,
                    "pre-candidate" => 3,
                    _ => 4,
                };
                self.look(*region);
            }
            raft::Fact::PeerDestroyed { region, .. } => {
                if let Some(replicas) = self.regions.get_mut(region) {
                    replicas.retain(|(other, _)| *other != node);
                }
                self.look(*region);
            }
            _ => {}
        }
    }

    fn snapshot(&mut self, node: NodeId, fact: &snapshot::Fact) {
        use snapshot::Fact as S;
        let (region, state) = match fact {
            S::Generating { region, .. } => (*region, 1),
            S::Sending { region, .. } => (*region, 2),
            S::Receiving { region, .. } => (*region, 3),
            S::Received { region, .. } => (*region, 4),
            S::ApplyStarted { region, .. } => (*region, 5),
            S::Generated { region, .. }
            | S::GenerateFailed { region, .. }
            | S::Sent { region, .. }
            | S::SendFailed { region, .. }
            | S::ReceiveFailed { region, .. }
            | S::Applied { region, .. }
            | S::ApplyFailed { region, .. } => (*region, 0),
            _ => return,
        };
        self.replica(node, region).snapshot = state;
        self.look(region);
    }

    fn replica(&mut self, node: NodeId, region: RegionId) -> &mut Replica {
        let replicas = self.regions.entry(region).or_default();
        let position = replicas.iter().position(|(other, _)| *other == node).unwrap_or_else(|| {
            replicas.push((node, Replica::default()));
            replicas.len() - 1
        });
        &mut replicas[position].1
    }

    fn look(&mut self, region: RegionId) {
        if self.seen.len() >= MOST {
            return;
        }
        let Some(replicas) = self.regions.get(&region) else { return };
        let highest = replicas.iter().map(|(_, replica)| replica.commit).max().unwrap_or(0);
        let mut codes = [0_u64; 8];
        let count = replicas.len().min(codes.len());
        for (code, (_, replica)) in codes.iter_mut().zip(replicas) {
            let terms = replicas.iter().filter(|(_, other)| other.term > replica.term).count().min(3) as u64;
            let epochs = replicas.iter().filter(|(_, other)| other.epoch > replica.epoch).count().min(3) as u64;
            let gap = match highest - replica.commit {
                0 => 0,
                1..=4 => 1,
                5..=64 => 2,
                _ => 3,
            };
            let own = u64::from(replica.role) | u64::from(replica.snapshot) << 4 | u64::from(replica.cache) << 8;
            *code = own | terms << 12 | epochs << 14 | gap << 16 | 1 << 20;
        }
        codes[..count].sort_unstable();
        let mut hash = Mixer::default();
        codes[..count].iter().for_each(|code| hash.word(*code));
        self.seen.insert(hash.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(region: RegionId, term: u64, role: &'static str) -> Fact {
        raft::Fact::RoleChanged { region, peer: 1, term, role: role.into() }.into()
    }

    #[test]
    fn a_state_does_not_depend_on_which_store_or_region_or_term_it_is() {
        let seen = |facts: &[(NodeId, Fact)]| {
            let mut states = States::default();
            facts.iter().for_each(|(node, fact)| states.on(*node, fact));
            states.seen()
        };
        let one = seen(&[(1, role(7, 5, "leader")), (2, role(7, 5, "follower"))]);
        let other = seen(&[(3, role(9, 8, "leader")), (1, role(9, 8, "follower"))]);
        assert_eq!(one, other);
        let older = seen(&[(3, role(9, 8, "leader")), (1, role(9, 7, "follower"))]);
        assert_ne!(one, older);
    }
}
