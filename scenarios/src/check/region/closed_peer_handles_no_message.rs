//! A peer whose mailbox was closed handles no message.
//!
//! A split that replaces an uninitialised peer closes it; what still lies in its mailbox belongs to nobody. The new peer
//! has the same id, so peers in memory are told apart by their instance.
//!
//! Source: tikv#17469.

use std::collections::BTreeSet;

use node::{fact::Fact, store::fact::raft};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const CLOSED_PEER_HANDLES_NO_MESSAGE: Entry = Entry {
    name: "closed-peer-handles-no-message",
    family: "region",
    class: Class::Safety,
    property: "a peer whose mailbox was closed handles no message",
    source: "tikv#17469",
    hears: &[Hall::Raft, Hall::Handled],
    make: || Box::new(ClosedPeer { closed: BTreeSet::new() }),
};

struct ClosedPeer {
    /// Process, its life, and the peer in memory.
    closed: BTreeSet<(NodeId, u32, u64)>,
}

impl Check for ClosedPeer {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Raft(raft::Fact::PeerClosed { instance, .. })) => {
                self.closed.insert((event.node, event.incarnation, *instance));
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::MessagesHandled { region, peer, count, instance }))
                if *count > 0 && !self.closed.is_empty() =>
            {
                if !self.closed.contains(&(event.node, event.incarnation, *instance)) {
                    return Ok(());
                }
                let detail = format!("peer {peer} of region {region} handles {count} messages after it was closed");
                Err(Violation::new("handled-after-close", detail))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.closed.len() as u64
    }
}
