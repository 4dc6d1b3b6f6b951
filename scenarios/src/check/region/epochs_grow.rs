//! A peer's epoch never goes back, and one epoch of a region means one thing.
//!
//! Within one life of a process both parts of the epoch only grow. And wherever two peers, or two lives, know a region
//! under the same epoch, they know the same range and the same replicas. A crash may take a peer back to what was
//! durable, which is judged by that second half.
//!
//! Unsafe recovery cuts a region's history: the epochs that its force leader has not come to may mean
//! something else.
//!
//! Source: TiKV's `RegionEpoch`: conf_ver grows with membership, version with the range.

use std::{collections::BTreeMap, sync::Arc};

use node::{
    fact::Fact,
    region::{Epoch, PeerId, Region, RegionId},
    store::fact::region,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId},
    verdict::Class,
};

/// The check's row.
pub const EPOCHS_GROW: Entry = Entry {
    name: "epochs-grow",
    family: "region",
    class: Class::Safety,
    property: "a peer's epoch never goes back, and one epoch of a region means one range and one set of peers",
    source: "TiKV's RegionEpoch",
    hears: &[Hall::Region, Hall::Recovery],
    make: || Box::new(EpochsGrow::default()),
};

#[derive(Default)]
struct EpochsGrow {
    peers: BTreeMap<(NodeId, PeerId), (u32, Epoch)>,
    meanings: BTreeMap<(RegionId, Epoch), Arc<Region>>,
    judged: u64,
}

impl EpochsGrow {
    fn judge(&mut self, event: &Event, region: &Arc<Region>, peer: PeerId) -> Judged {
        if !region.is_initialized() {
            return Ok(());
        }
        self.judged += 1;
        let now = region.epoch;
        let last = self.peers.insert((event.node, peer), (event.incarnation, now));
        if let Some((incarnation, last)) = last
            && incarnation == event.incarnation
            && (now.version < last.version || now.conf_ver < last.conf_ver)
        {
            let detail = format!(
                "peer {peer} of region {} goes back from epoch {}.{} to {}.{}",
                region.id, last.version, last.conf_ver, now.version, now.conf_ver
            );
            return Err(Violation::new("epoch-went-back", detail));
        }
        let meaning = self.meanings.entry((region.id, now)).or_insert_with(|| region.clone());
        if Arc::ptr_eq(meaning, region) || same(meaning, region) {
            return Ok(());
        }
        let detail = format!("one epoch, two meanings: for peer {peer} {region}; for another {meaning}");
        Err(Violation::new("one-epoch-two-meanings", detail))
    }
}

/// Equal but for the order of the replicas.
fn same(a: &Region, b: &Region) -> bool {
    let sorted = |region: &Region| {
        let mut peers = region.peers.clone();
        peers.sort_unstable();
        peers
    };
    a.start == b.start && a.end == b.end && (a.peers == b.peers || sorted(a) == sorted(b))
}

impl Check for EpochsGrow {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            let newer = |epoch: &Epoch| epoch.version > cut.epoch.version || epoch.conf_ver > cut.epoch.conf_ver;
            self.meanings.retain(|(region, epoch), _| *region != cut.region || !newer(epoch));
            return Ok(());
        }
        match &event.body {
            Body::Node(Fact::Region(
                region::Fact::Changed { region, peer, .. } | region::Fact::ConfChanged { region, peer, .. },
            )) => self.judge(event, region, *peer),
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
