//! Collection of blob files: which are mostly dead, and what has to be done about the next of them.
//!
//! A file that no table refers to is dropped by the edit that takes its last reference away. One whose dead share has
//! passed the limit is a *victim*: every compaction that meets a reference to it writes the value again elsewhere, and when
//! nothing else is due, a compaction is made for each table that still refers to it. So collection needs no writes of
//! its own beside those of users, and nothing can come between looking at a value and moving it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::BlobFile;
use crate::engine::{
    batch::Family,
    table::Table,
    version::{LEVELS, Version},
};

/// The bytes of each blob file that tables refer to.
pub(crate) fn alive(version: &Version) -> BTreeMap<u64, u64> {
    let mut alive = BTreeMap::new();
    for table in version.levels(Family::Default).iter().flatten() {
        for &(file, bytes) in &table.blobs {
            *alive.entry(file).or_default() += bytes;
        }
    }
    alive
}

/// The blob files whose dead share is at least `dead_per_million`, with their bytes that are alive.
fn mostly_dead(version: &Version, dead_per_million: u64) -> Vec<(Arc<BlobFile>, u64)> {
    if version.blobs.is_empty() {
        return Vec::new();
    }
    let alive = version.alive();
    let left = |file: &Arc<BlobFile>| alive.get(&file.meta.number).copied().unwrap_or(0);
    let is_victim = |file: &&Arc<BlobFile>| {
        let (all, left) = (file.record_bytes(), left(file));
        left < all && (all - left).saturating_mul(1_000_000) >= all.saturating_mul(dead_per_million)
    };
    version.blobs.values().filter(is_victim).map(|file| (file.clone(), left(file))).collect()
}

/// The numbers of the victims.
pub(crate) fn victims(version: &Version, dead_per_million: u64) -> BTreeSet<u64> {
    mostly_dead(version, dead_per_million).into_iter().map(|(file, _)| file.meta.number).collect()
}

/// A table that has to be written again so that a victim can go.
pub(crate) struct Due {
    pub(crate) victim: Arc<BlobFile>,
    pub(crate) alive: u64,
    pub(crate) level: usize,
    pub(crate) table: Arc<Table>,
}

/// The next table of the oldest victim, the shallowest first: on level 0 order counts, so that one goes as a whole.
pub(crate) fn due(version: &Version, dead_per_million: u64) -> Option<Due> {
    let levels = version.levels(Family::Default);
    mostly_dead(version, dead_per_million).into_iter().find_map(|(victim, alive)| {
        let number = victim.meta.number;
        let refers = |table: &&Arc<Table>| table.blobs.iter().any(|(file, _)| *file == number);
        let found = (0..LEVELS).find_map(|level| Some((level, levels[level].iter().find(refers)?.clone())));
        found.map(|(level, table)| Due { victim, alive, level, table })
    })
}
