//! A peer that a region has removed never returns under its id.
//!
//! No later configuration of the region names it; and on the store where it was destroyed nothing creates it again in
//! the same life of the process; nor a peer whose region was merged away. (A crash may bring back a peer whose destruction was not durable yet: it is read back,
//! not created.)
//!
//! Unsafe recovery cuts a region's history: a removal that its force leader does not know has not been.
//!
//! Source: tikv#10533; raft-rs requires unique ids for ever.

use std::collections::{BTreeMap, BTreeSet};

use node::{
    fact::Fact,
    region::{PeerId, Region, RegionId},
    store::fact::{raft, region},
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const REMOVED_PEER_NEVER_RETURNS: Entry = Entry {
    name: "removed-peer-never-returns",
    family: "region",
    class: Class::Safety,
    property: "a peer that its region has removed never returns under its id",
    source: "tikv#10533",
    hears: &[Hall::Region, Hall::Raft, Hall::Recovery],
    make: || Box::new(RemovedPeer::default()),
};

#[derive(Default)]
struct RemovedPeer {
    /// Removed peers, and the conf_ver from which on they are.
    removed: BTreeMap<(RegionId, PeerId), u64>,
    destroyed: BTreeSet<(NodeId, u32, PeerId)>,
    judged: u64,
}

impl RemovedPeer {
    fn judge(&self, region: &Region) -> Judged {
        let back = region
            .peers
            .iter()
            .find(|peer| self.removed.get(&(region.id, peer.id)).is_some_and(|from| region.epoch.conf_ver >= *from));
        let Some(back) = back else { return Ok(()) };
        let detail = format!("region {} at conf_ver {} names peer {} again", region.id, region.epoch.conf_ver, back.id);
        Err(Violation::new("named-again", detail))
    }
}

impl Check for RemovedPeer {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            self.removed.retain(|(region, _), from| *region != cut.region || *from <= cut.epoch.conf_ver);
            return Ok(());
        }
        match &event.body {
            Body::Node(Fact::Region(region::Fact::ConfChanged { region, removed, .. })) => {
                if *removed != 0 && region.peer(*removed).is_none() {
                    self.judged += 1;
                    self.removed.entry((region.id, *removed)).or_insert(region.epoch.conf_ver);
                }
                self.judge(region)
            }
            Body::Node(Fact::Region(region::Fact::Changed { region, .. })) if !self.removed.is_empty() => {
                self.judge(region)
            }
            Body::Node(Fact::Region(region::Fact::SourceDestroyed { peer, .. })) => {
                self.judged += 1;
                self.destroyed.insert((event.node, event.incarnation, *peer));
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerDestroyed { region, peer, .. })) => {
                if self.removed.contains_key(&(*region, *peer)) {
                    self.destroyed.insert((event.node, event.incarnation, *peer));
                }
                Ok(())
            }
            Body::Node(Fact::Raft(raft::Fact::PeerCreated { region, peer, .. })) => {
                if !self.destroyed.contains(&(event.node, event.incarnation, *peer)) {
                    return Ok(());
                }
                let detail =
                    format!("peer {peer} of region {region} is created again after it was removed and destroyed");
                Err(Violation::new("created-again", detail))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
