//! Which versions of user keys a compaction leaves out.
//!
//! Of a key's versions at or below its safe point only the newest can be read, so the others go; that one goes as well when
//! it is a deletion and no table beside those of the compaction has anything of the key: its versions are keys of their
//! own, and an older one may lie in the very next table of the same level. In the family `default` a version goes when the family `write` does
//! not point to it any more: both are written in one batch, so such a value can never be asked for again.

use std::sync::Arc;

use failpoints::defect;

use crate::{
    engine::{
        batch::Family,
        error::Error,
        memtable::Entry,
        range, read,
        record::Record,
        state::{SafePoint, Shared},
        table::Table,
        version::Version,
    },
    key, plants,
};

/// Sees the entries of one compaction in key order.
pub(crate) struct Filter<'a> {
    shared: &'a Shared,
    family: Family,
    /// The tables of the compaction, by level.
    inputs: &'a [Vec<Arc<Table>>],
    version: &'a Arc<Version>,
    safe_point: Option<SafePoint>,
    /// The user key at hand, as its versions begin.
    prefix: Vec<u8>,
    /// Its safe point; 0 without one.
    below: u64,
    /// Whether its newest version at or below the safe point was seen.
    settled: bool,
    /// A planted defect: the versions that are lost.
    lost: Option<Vec<u8>>,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        family: Family,
        inputs: &'a [Vec<Arc<Table>>],
        version: &'a Arc<Version>,
    ) -> Filter<'a> {
        let safe_point = shared.safe_point.read().clone();
        Filter { shared, family, inputs, version, safe_point, prefix: Vec::new(), below: 0, settled: false, lost: None }
    }

    /// Whether an entry with a value stays.
    pub(crate) async fn keeps(&mut self, entry: &Entry) -> Result<bool, Error> {
        if !self.family.is_versioned() {
            return Ok(true);
        }
        let Some(prefix) = range::version_prefix(&entry.key) else { return Ok(true) };
        let is_newest = self.prefix != prefix;
        if is_newest {
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            self.settled = false;
            self.below = match (&self.safe_point, key::parse_version(&entry.key)) {
                (Some(safe_point), Some((user_key, _))) => safe_point(&user_key),
                _ => 0,
            };
        }
        if self.loses(is_newest, entry) {
            return Ok(false);
        }
        let stamp =
            entry.key[prefix.len()..].try_into().expect("a version key ends with eight bytes behind its prefix");
        let timestamp = !u64::from_be_bytes(stamp);
        if timestamp > self.below {
            return Ok(true);
        }
        if self.family == Family::Default {
            let (sources, sequence) = self.shared.view();
            let record = read::get(&sources, sequence, Family::Write, &entry.key).await?;
            return Ok(record.is_some_and(|record| Record::is_indirect(&record)));
        }
        if self.settled {
            return Ok(false);
        }
        self.settled = true;
        let is_tombstone = entry.value.as_deref().is_some_and(Record::is_tombstone);
        Ok(!is_tombstone || self.version.overlaps_beside(self.family, self.inputs, prefix, &range::prefix_end(prefix)))
    }

    /// The planted defect: the first key of `write` whose newest version here is a value loses all versions.
    fn loses(&mut self, is_newest: bool, entry: &Entry) -> bool {
        if !defect!(self.shared.env.points, plants::COMPACTION_DROPS_A_KEY, {
            self.family == Family::Write
                && match &self.lost {
                    Some(lost) => *lost == self.prefix,
                    None => is_newest && !entry.value.as_deref().is_some_and(Record::is_tombstone),
                }
        }) {
            return false;
        }
        self.lost.get_or_insert_with(|| self.prefix.clone());
        true
    }
}
