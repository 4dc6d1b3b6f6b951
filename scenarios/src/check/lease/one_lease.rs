//! At no moment of true time do two peers of a region hold a valid lease.
//!
//! A lease is valid for its holder until its own monotonic clock shows the end, or it gives the lease up, leaves the
//! role of leader, closes, or ends with its process. Only the room knows what that clock shows at a moment of true time,
//! drift included; the node's view of it does not count.
//!
//! Source: Ongaro's thesis, section 6.4.1; tikv#15035, tikv#9728.

use std::collections::BTreeMap;

use node::{
    env::Instant,
    fact::Fact,
    region::{PeerId, RegionId},
    store::fact::raft,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const ONE_LEASE: Entry = Entry {
    name: "one-lease",
    family: "lease",
    class: Class::Safety,
    property: "at no moment of true time do two peers of a region hold a valid lease",
    source: "Ongaro's thesis, section 6.4.1; tikv#15035, tikv#9728",
    hears: &[Hall::Raft, Hall::Process],
    make: || Box::new(OneLease::default()),
};

#[derive(Default)]
struct OneLease {
    regions: BTreeMap<RegionId, Vec<Lease>>,
    judged: u64,
}

#[derive(Clone, Copy)]
struct Lease {
    node: NodeId,
    peer: PeerId,
    term: u64,
    until: Instant,
}

impl OneLease {
    fn give_up(&mut self, node: NodeId, region: RegionId, peer: PeerId) {
        if let Some(leases) = self.regions.get_mut(&region) {
            leases.retain(|lease| (lease.node, lease.peer) != (node, peer));
        }
    }
}

impl Check for OneLease {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let node = event.node;
        match &event.body {
            Body::Node(Fact::Raft(raft::Fact::LeaseRenewed { region, peer, term, until, .. })) => {
                let leases = self.regions.entry(*region).or_default();
                if let Some(own) = leases.iter_mut().find(|lease| (lease.node, lease.peer) == (node, *peer)) {
                    own.until = (*until).max(own.until);
                    own.term = *term;
                    if leases.len() == 1 {
                        self.judged += 1;
                        return Ok(());
                    }
                } else {
                    leases.push(Lease { node, peer: *peer, term: *term, until: *until });
                }
                self.judged += 1;
                let shows = |node| known.local_time(node, event.time_ns);
                leases.retain(|lease| shows(lease.node).is_some_and(|now| now < lease.until));
                if !leases.iter().any(|lease| lease.peer == *peer) {
                    return Ok(());
                }
                let Some(other) = leases.iter().find(|lease| lease.peer != *peer) else { return Ok(()) };
                let left = shows(other.node).map_or(0, |now| other.until.0.saturating_sub(now.0));
                let detail = format!(
                    "peer {peer} of region {region} has a lease in term {term} while peer {} on {} holds one of term {} for \
                     another {left} ns of its clock",
                    other.peer,
                    known.name(other.node),
                    other.term
                );
                Err(Violation::new("two-leases", detail))
            }
            Body::Node(Fact::Raft(fact)) => {
                match fact {
                    raft::Fact::LeaseRevoked { region, peer, .. }
                    | raft::Fact::PeerClosed { region, peer, .. }
                    | raft::Fact::PeerDestroyed { region, peer, .. } => self.give_up(node, *region, *peer),
                    raft::Fact::RoleChanged { region, peer, role, .. } if role.as_str() != "leader" => {
                        self.give_up(node, *region, *peer);
                    }
                    _ => {}
                }
                Ok(())
            }
            Body::Room(RoomEvent::ProcessExited { .. } | RoomEvent::ProcessStarted { .. }) => {
                self.regions.values_mut().for_each(|leases| leases.retain(|lease| lease.node != node));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
