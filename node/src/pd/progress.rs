//! How far the columnar replicas of tables have come.
//!
//! Two witnesses: which regions a table has, the placement driver knows from their leaders; which peers have caught up,
//! columnar stores report themselves. A peer that a region lists and no store reports counts for nothing, so a table
//! whose list is wrong never becomes available.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    region::RegionId,
    wire::placement::{Progress, Rule, StoreState},
};

use super::{Options, fact::Fact, regions::Regions, rules::range_of, stores::Stores};
use crate::env::Instant;

/// What was last stated of each table.
#[derive(Debug, Default)]
pub(super) struct Stated(BTreeMap<u64, Progress>);

/// How far a table's replicas have come, by what was last heard.
pub(super) fn of(
    table: u64,
    rule: &Rule,
    (regions, stores, options): (&Regions, &Stores, &Options),
    now: Instant,
) -> Progress {
    let of_table: BTreeSet<RegionId> = regions.overlapped(&range_of(rule)).map(|region| region.id).collect();
    let mut progress =
        Progress { table, count: rule.count, regions: of_table.len() as u64, peers: 0, available: 0, stores: 0 };
    let mut available = BTreeSet::new();
    for (_, entry) in stores.all().filter(|(_, entry)| entry.is_columnar()) {
        if entry.state() == StoreState::Tombstone || entry.silent(now) >= options.store_disconnected {
            continue;
        }
        progress.stores += u64::from(entry.state() == StoreState::Up);
        for region in entry.stats.caught_up.iter().filter(|region| of_table.contains(region)) {
            progress.peers += 1;
            available.insert(*region);
        }
    }
    progress.available = available.len() as u64;
    progress
}

impl Stated {
    /// The fact of a table's progress, if it is news.
    pub(super) fn news(&mut self, progress: Progress) -> Option<Fact> {
        let before = self.0.insert(progress.table, progress);
        let Progress { table, count, regions, peers, available, stores } = progress;
        (before != Some(progress)).then_some(Fact::TableProgress { table, count, regions, peers, available, stores })
    }

    /// A table has no rule any more.
    pub(super) fn forget(&mut self, table: u64) {
        self.0.remove(&table);
    }
}
