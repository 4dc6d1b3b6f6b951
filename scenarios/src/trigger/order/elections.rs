//! Orders of elections and membership: votes that are asked for at the wrong time, and a leader that is removed.

use std::collections::{BTreeMap, BTreeSet};

use node::{
    fact::Fact,
    region::{PeerId, RegionId},
    store::fact::{lifecycle, raft, region},
};

use super::Order;
use crate::event::{Body, Event, NodeId, RoomEvent};

/// Votes of peers without a range, by node and peer: term, candidate, and whether the store has restarted since.
#[derive(Default)]
pub(super) struct AskedAgain {
    newcomers: BTreeSet<(NodeId, PeerId)>,
    votes: BTreeMap<(NodeId, PeerId), (u64, PeerId, bool)>,
}

impl Order for AskedAgain {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Raft(raft::Fact::PeerCreated { peer, initialized: false, .. })) => {
                self.newcomers.insert((event.node, *peer));
            }
            Body::Node(Fact::Region(region::Fact::Changed { peer, .. })) => {
                self.newcomers.remove(&(event.node, *peer));
                self.votes.remove(&(event.node, *peer));
            }
            Body::Node(Fact::Raft(raft::Fact::VoteSent { peer, term, to, .. })) => {
                let of = (event.node, *peer);
                if self.newcomers.contains(&of) {
                    self.votes.insert(of, (*term, *to, false));
                }
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                let here = self.votes.iter_mut().filter(|((node, _), _)| *node == event.node);
                here.for_each(|(_, vote)| vote.2 = true);
            }
            Body::Node(Fact::Raft(raft::Fact::VoteAsked { peer, term, from, .. })) => {
                let vote = self.votes.get(&(event.node, *peer));
                return vote.is_some_and(|(voted, to, restarted)| *restarted && voted == term && to != from);
            }
            _ => {}
        }
        false
    }
}

/// Who leads where, as stated.
#[derive(Default)]
pub(super) struct LeaderRemoved {
    leads: BTreeSet<(NodeId, PeerId)>,
}

impl Order for LeaderRemoved {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Raft(raft::Fact::RoleChanged { peer, role, .. })) => {
                match role.as_str() {
                    "leader" => self.leads.insert((event.node, *peer)),
                    _ => self.leads.remove(&(event.node, *peer)),
                };
                false
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                self.leads.retain(|(node, _)| *node != event.node);
                false
            }
            Body::Node(Fact::Region(region::Fact::ConfChanged { region, peer, removed, .. })) => {
                removed == peer && region.peers.len() == 1 && self.leads.contains(&(event.node, *peer))
            }
            _ => false,
        }
    }
}

/// Stores whose current incarnation is being restored.
#[derive(Default)]
pub(super) struct AskedWhileRestoring {
    restoring: BTreeSet<NodeId>,
}

impl Order for AskedWhileRestoring {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Room(RoomEvent::ProcessExited { .. }) => {
                self.restoring.remove(&event.node);
                false
            }
            Body::Node(Fact::Store(lifecycle::Fact::Restoring { .. })) => {
                self.restoring.insert(event.node);
                false
            }
            Body::Node(Fact::Raft(raft::Fact::VoteAsked { .. })) => self.restoring.contains(&event.node),
            _ => false,
        }
    }
}

/// How long leases are to be by each node's settings, where that is too long, and until when each region's last one would
/// have lasted.
#[derive(Default)]
pub(super) struct ElectedWithinLease {
    wanted_ns: BTreeMap<NodeId, u64>,
    /// How fast each node's clock runs, in parts per million of true time.
    rates: BTreeMap<NodeId, i64>,
    leases: BTreeMap<RegionId, (NodeId, u64)>,
}

impl Order for ElectedWithinLease {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Store(lifecycle::Fact::LeaseTooLong { wanted_ns, .. })) => {
                self.wanted_ns.insert(event.node, *wanted_ns);
                false
            }
            Body::Node(Fact::Raft(raft::Fact::LeaseRenewed { region, .. })) => {
                if let Some(wanted_ns) = self.wanted_ns.get(&event.node) {
                    // A slow clock makes a lease longer than it looks.
                    let rate = 1_000_000_u64.saturating_add_signed(self.rates.get(&event.node).copied().unwrap_or(0));
                    let lasts_ns = u128::from(*wanted_ns) * 1_000_000 / u128::from(rate.max(1));
                    self.leases.insert(*region, (event.node, event.time_ns + lasts_ns as u64));
                }
                false
            }
            Body::Room(RoomEvent::ClockChanged { rate_ppm, .. }) => {
                self.rates.insert(event.node, *rate_ppm);
                false
            }
            Body::Node(Fact::Raft(raft::Fact::LeaseRevoked { region, .. })) => {
                self.leases.remove(region);
                false
            }
            Body::Node(Fact::Raft(raft::Fact::Elected { region, .. })) => {
                let lease = self.leases.get(region);
                lease.is_some_and(|(node, until_ns)| *node != event.node && event.time_ns < *until_ns)
            }
            _ => false,
        }
    }
}
