//! Within one life of a process, a peer applies every index once and in order.
//!
//! A snapshot moves the peer on to its index; a restart begins again behind what was persisted, which another check
//! judges.
//!
//! Source: Ongaro's thesis, section 3.5: "each log entry is applied once, in log order".

use std::collections::BTreeMap;

use node::{
    fact::Fact,
    region::PeerId,
    store::fact::{apply, raft, snapshot},
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const APPLY_ONCE: Entry = Entry {
    name: "apply-once",
    family: "raft",
    class: Class::Safety,
    property: "within one life of a process a peer applies every index once and in order",
    source: "Ongaro's thesis, section 3.5",
    hears: &[Hall::Applied, Hall::Raft, Hall::Snapshot],
    make: || Box::new(ApplyOnce::default()),
};

#[derive(Default)]
struct ApplyOnce {
    peers: BTreeMap<(NodeId, PeerId), Last>,
    applied: u64,
}

#[derive(Clone, Copy)]
struct Last {
    incarnation: u32,
    index: u64,
}

impl Check for ApplyOnce {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        let incarnation = event.incarnation;
        match &event.body {
            Body::Node(Fact::Apply(apply::Fact::Applied { region, peer, index, .. })) => {
                self.applied += 1;
                let now = Last { incarnation, index: *index };
                let Some(last) = self.peers.insert((event.node, *peer), now) else { return Ok(()) };
                if last.incarnation != incarnation || *index == last.index + 1 {
                    return Ok(());
                }
                let rule = if *index <= last.index { "applied-again" } else { "applied-out-of-order" };
                let detail = format!("peer {peer} of region {region} applies index {index} after {}", last.index);
                Err(Violation::new(rule, detail))
            }
            Body::Node(Fact::Snapshot(snapshot::Fact::Applied { peer, index, .. })) => {
                self.peers.insert((event.node, *peer), Last { incarnation, index: *index });
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerRecovered { peer, applied, .. })) => {
                self.peers.insert((event.node, *peer), Last { incarnation, index: *applied });
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerCreated { peer, .. } | raft::Fact::PeerDestroyed { peer, .. })) => {
                self.peers.remove(&(event.node, *peer));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.applied
    }
}
