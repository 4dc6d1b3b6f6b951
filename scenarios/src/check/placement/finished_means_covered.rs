//! A finished unsafe recovery leaves every key to a region that can elect a leader, and no region with a lost peer.
//!
//! When the placement driver says that it finished, the newest regions of the stores that are left cover the key space,
//! each with a majority of voters on stores that were not given up. And when the run has converged, no region that was led
//! without a majority names a store that was given up.
//!
//! Source: pd#6859; tikv#18440, tikv#18458.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use node::{
    fact::Fact,
    pd::fact,
    region::{Region, RegionId, has_majority},
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const FINISHED_MEANS_COVERED: Entry = Entry {
    name: "finished-means-covered",
    family: "placement",
    class: Class::Safety,
    property: "after an unsafe recovery every key has a region that can elect a leader, and no region names a lost store",
    source: "pd#6859; tikv#18440, tikv#18458",
    hears: &[Hall::Placement, Hall::Plan],
    make: || Box::new(Finished { judged: 0 }),
};

struct Finished {
    judged: u64,
}

/// The newest regions that are left, by key; what a newer one overlaps is not among them.
fn newest(known: &Known) -> Vec<Arc<Region>> {
    let mut by_id: BTreeMap<RegionId, Arc<Region>> = BTreeMap::new();
    for region in known.cuts().left() {
        let newest = by_id.entry(region.id).or_insert_with(|| region.clone());
        if (newest.epoch.version, newest.epoch.conf_ver) < (region.epoch.version, region.epoch.conf_ver) {
            *newest = region.clone();
        }
    }
    let newer = |region: &Region| {
        by_id
            .values()
            .any(|other| other.id != region.id && other.epoch.version > region.epoch.version && other.overlaps(region))
    };
    let mut left: Vec<_> = by_id.values().filter(|region| !newer(region)).cloned().collect();
    left.sort_by(|a, b| a.start.cmp(&b.start));
    left
}

fn covered(known: &Known) -> Judged {
    let mut reached = Some(Bytes::new());
    let hole = |from: &Bytes| {
        let from = String::from_utf8_lossy(from);
        Violation::new("hole", format!("the recovery has finished, and nobody holds the keys from `{from}` on"))
    };
    for region in newest(known) {
        let Some(from) = &reached else { break };
        if region.start > *from {
            return Err(hole(from));
        }
        if !has_majority(&region, |peer| known.cuts().is_given_up(peer.store), false) {
            let detail = format!("the recovery has finished, and region {} can elect nobody: {region:?}", region.id);
            return Err(Violation::new("no-majority", detail));
        }
        reached = (!region.end.is_empty()).then(|| region.end.clone());
    }
    reached.map_or(Ok(()), |from| Err(hole(&from)))
}

fn names_nobody_lost(known: &Known, at_rest: bool) -> Judged {
    for region in newest(known).iter().filter(|region| at_rest || known.cuts().was_led_by_force(region.id)) {
        let lost = region.peers.iter().find(|peer| known.cuts().is_given_up(peer.store));
        if let Some(lost) = lost {
            let detail = format!(
                "region {} still names peer {} on store {}, which was given up",
                region.id, lost.id, lost.store
            );
            return Err(Violation::new("names-a-failed-store", detail));
        }
    }
    Ok(())
}

impl Check for Finished {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Placement(fact::Fact::RecoveryEnded { outcome, .. }))
                if outcome.as_str() == "finished" && known.is_whole() =>
            {
                self.judged += 1;
                covered(known)
            }
            Body::Room(RoomEvent::ConvergeEnded { reasons }) => names_nobody_lost(known, reasons.is_empty()),
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
