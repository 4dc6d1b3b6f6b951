//! The cache knows every region that it serves, or is about to, at the region's own epoch version.
//!
//! What is pending may lag, for it is brought up to date before it is loaded; what is on its way out is as old as what it
//! goes for. Everything else that changes a region's version has to reach the cache first: judged whenever a store writes
//! a region's state, and whenever a region begins to load or to serve. The site says what passed the cache by.
//!
//! Source: tikv#17405, tikv#18008.

use std::collections::BTreeMap;

use node::{cache::fact, fact::Fact, region::RegionId, store::fact::region};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const CACHE_EPOCH_CURRENT: Entry = Entry {
    name: "cache-epoch-current",
    family: "cache",
    class: Class::Safety,
    property: "the cache knows each region that loads or serves at the region's own epoch version",
    source: "tikv#17405, tikv#18008",
    hears: &[Hall::Cache, Hall::Region, Hall::Process],
    make: || Box::new(EpochCurrent::default()),
};

#[derive(Default)]
struct EpochCurrent {
    /// Versions of regions that load or serve.
    cached: BTreeMap<(NodeId, RegionId), u64>,
    /// Version and state of each region as its store wrote it last.
    written: BTreeMap<(NodeId, RegionId), (u64, &'static str)>,
    judged: u64,
}

/// What a store does to a region when it writes this state after that one.
fn cause(before: Option<&'static str>, now: &str) -> &'static str {
    match (before, now) {
        (_, "applying") => "applied-snapshot",
        (_, "merging") => "prepare-merge",
        (Some("merging"), "normal") => "rollback-merge",
        (_, "tombstone") => "tombstone",
        _ => "admin-command",
    }
}

impl EpochCurrent {
    fn written(&mut self, event: &Event, region: RegionId, version: u64, state: &str) -> Judged {
        let key = (event.node, region);
        let known = ["normal", "applying", "merging", "tombstone"].into_iter().find(|name| *name == state);
        let before = self.written.insert(key, (version, known.unwrap_or("normal"))).map(|(_, state)| state);
        let Some(&cached) = self.cached.get(&key) else { return Ok(()) };
        self.judged += 1;
        if cached == version {
            return Ok(());
        }
        let site = cause(before, state);
        let detail = format!(
            "region {region} is at version {version} now ({site}), and the cache goes on with it at version {cached}"
        );
        Err(Violation::new("epoch-passed-by", detail).at(site))
    }
}

impl Check for EpochCurrent {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Room(RoomEvent::ProcessStarted { .. } | RoomEvent::ProcessExited { .. }) => {
                self.cached.retain(|(node, _), _| *node != event.node);
                self.written.retain(|(node, _), _| *node != event.node);
                Ok(())
            }
            Body::Node(Fact::Region(
                region::Fact::StateWritten { region, state, .. } | region::Fact::StateRecovered { region, state, .. },
            )) if region.is_initialized() => self.written(event, region.id, region.epoch.version, state.as_str()),
            Body::Node(Fact::Cache(fact::Fact::Transition { region, to, version, cause, .. })) => {
                let key = (event.node, *region);
                if !matches!(to.as_str(), "loading" | "active") {
                    self.cached.remove(&key);
                    return Ok(());
                }
                self.cached.insert(key, *version);
                // A split reaches the cache before the states of its parts are written.
                let written = self.written.get(&key).filter(|_| cause.as_str() != "split");
                let Some(&(known, _)) = written else { return Ok(()) };
                self.judged += 1;
                if known == *version {
                    return Ok(());
                }
                let detail = format!("region {region} is {to} at version {version}, and was written at {known}");
                Err(Violation::new("loaded-at-another-epoch", detail).at(to.as_str()))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
