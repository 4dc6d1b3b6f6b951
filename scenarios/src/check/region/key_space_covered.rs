//! The regions cover the key space, and no two of them overlap at one version.
//!
//! A version of a range belongs to one region: a split gives the parent and its children the next one, so regions that
//! share a key never share a version. A merge gives its target a version above both, once and
//! for all: it is the same on every peer, and is never undone. When the run is at rest or has converged, the newest ranges of all regions follow
//! each other without a hole from the first key to the last. In between, a child that nobody has stated yet is no hole.
//!
//! Unsafe recovery cuts a region's history: when stores are given up, and when the recovery ends, only what
//! the stores that are left have counts. What nobody has any more when an empty region takes its place has no claim either.
//!
//! Source: TiKV's `RegionEpoch`.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use node::{
    fact::Fact,
    pd::fact as placement,
    region::{Region, RegionId},
    store::fact::region,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const KEY_SPACE_COVERED: Entry = Entry {
    name: "key-space-covered",
    family: "region",
    class: Class::Safety,
    property: "regions cover the key space, and no two overlap at one version",
    source: "TiKV's RegionEpoch",
    hears: &[Hall::Region, Hall::Placement, Hall::Plan],
    make: || Box::new(KeySpaceCovered::default()),
};

#[derive(Default)]
struct KeySpaceCovered {
    versions: BTreeMap<u64, BTreeMap<RegionId, Arc<Region>>>,
    newest: BTreeMap<RegionId, Arc<Region>>,
    /// By source: the target, the entry that took it in, and the last of its own entries.
    merged: BTreeMap<RegionId, (RegionId, u64, u64)>,
    judged: u64,
}

impl KeySpaceCovered {
    fn learn(&mut self, region: &Arc<Region>) -> Judged {
        let same_version = self.versions.entry(region.epoch.version).or_default();
        if !region.is_initialized() || same_version.contains_key(&region.id) {
            return Ok(());
        }
        self.judged += 1;
        if let Some(other) = same_version.values().find(|other| other.overlaps(region)) {
            let detail = format!("regions {} and {} overlap at version {}", other.id, region.id, region.epoch.version);
            return Err(Violation::new("overlap", detail));
        }
        same_version.insert(region.id, region.clone());
        let newest = self.newest.entry(region.id).or_insert_with(|| region.clone());
        if newest.epoch.version < region.epoch.version {
            *newest = region.clone();
        }
        Ok(())
    }

    /// Only these regions have ever been.
    fn restart(&mut self, known: &Known) -> Judged {
        self.versions.clear();
        self.newest.clear();
        // A merge that only lost stores knew of is undone.
        for source in known.cuts().newest_left() {
            self.merged.remove(&source.id);
        }
        let left: Vec<_> = known.cuts().left().cloned().collect();
        left.iter().try_for_each(|region| self.learn(region))
    }

    /// An empty region takes the place of regions of which no peer is left.
    fn give_way(&mut self, empty: &Region, known: &Known) {
        // A region of which only a part without this range is left has no claim to it by what it was earlier.
        let is_left = |id: RegionId| known.cuts().left().any(|region| region.id == id && region.overlaps(empty));
        let stays = |other: &Region| other.id == empty.id || !other.overlaps(empty) || is_left(other.id);
        self.versions.values_mut().for_each(|regions| regions.retain(|_, other| stays(other)));
        self.newest.retain(|_, other| stays(other));
    }

    fn covered(&mut self) -> Judged {
        self.judged += 1;
        let mut regions: Vec<&Arc<Region>> =
            self.newest.values().filter(|region| !self.merged.contains_key(&region.id)).collect();
        regions.sort_by(|a, b| a.start.cmp(&b.start));
        let mut covered = Bytes::new();
        for (position, region) in regions.iter().enumerate() {
            let (id, from) = (region.id, String::from_utf8_lossy(&covered));
            if region.start > covered {
                return Err(Violation::new("hole", format!("no region holds the keys from `{from}` to region {id}")));
            }
            if region.start < covered || (position > 0 && covered.is_empty()) {
                return Err(Violation::new("overlap-at-rest", format!("region {id} begins before `{from}`")));
            }
            covered = region.end.clone();
        }
        match regions.last() {
            Some(last) if !last.end.is_empty() => {
                let from = String::from_utf8_lossy(&last.end);
                Err(Violation::new("hole", format!("no region holds the keys from `{from}` on")))
            }
            _ => Ok(()),
        }
    }
}

impl Check for KeySpaceCovered {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Region(region::Fact::MergeCommitted { region, source, index, commit, .. })) => {
                self.judged += 1;
                let first = *self.merged.entry(*source).or_insert((*region, *index, *commit));
                if first == (*region, *index, *commit) {
                    return Ok(());
                }
                let detail = format!(
                    "region {source} merges into region {region} at {index} as of {commit}; elsewhere into region {} at {} as \
                     of {}",
                    first.0, first.1, first.2
                );
                Err(Violation::new("two-merges", detail))
            }
            Body::Node(Fact::Region(region::Fact::MergeRolledBack { region, index, .. })) => {
                self.judged += 1;
                // A peer that lags undoes an earlier merge.
                match self.merged.get(region).filter(|(.., commit)| commit < index) {
                    None => Ok(()),
                    Some((target, ..)) => {
                        let detail =
                            format!("region {region} goes on alone at {index}; region {target} has taken it in");
                        Err(Violation::new("merged-and-undone", detail))
                    }
                }
            }
            Body::Node(Fact::Region(region::Fact::StateRecovered { state, .. })) if state.as_str() == "tombstone" => {
                Ok(())
            }
            Body::Node(Fact::Region(region::Fact::Changed { region, reason, .. })) if reason.as_str() == "create" => {
                self.give_way(region, known);
                self.learn(region)
            }
            Body::Node(Fact::Region(
                region::Fact::Changed { region, .. } | region::Fact::StateRecovered { region, .. },
            )) => self.learn(region),
            Body::Node(Fact::Placement(
                placement::Fact::RecoveryStoreFailed { .. } | placement::Fact::RecoveryEnded { .. },
            )) => self.restart(known),
            Body::Room(RoomEvent::ConvergeEnded { reasons }) if reasons.is_empty() && known.is_whole() => {
                self.covered()
            }
            Body::Room(RoomEvent::AtRest {}) if known.is_whole() => self.covered(),
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
