//! Which tables there are, per family and level, at one moment; and the edits that lead from one moment to the next.
//!
//! Level 0 holds tables as they were flushed, newest first, with overlapping ranges. On each deeper level ranges do not
//! overlap. For any key, what lies higher is newer. All versions of one user key on one of the deeper levels lie in one table.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::engine::{
    batch::Family,
    blob::{BlobFile, BlobMeta, Index, collect},
    error::Error,
    filter,
    memtable::Entry,
    range,
    table::Table,
};

/// How many levels there are.
pub(crate) const LEVELS: usize = 7;

type Levels = [Vec<Arc<Table>>; LEVELS];

/// The tables of all families.
#[derive(Clone, Default)]
pub(crate) struct Version {
    families: [Levels; Family::COUNT],
    /// The blob files that tables refer to, by number.
    pub(crate) blobs: Arc<BTreeMap<u64, Arc<BlobFile>>>,
    /// The bytes of each blob file that tables refer to, once somebody has asked.
    alive: OnceLock<BTreeMap<u64, u64>>,
}

/// A table that joins, as the manifest records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) family: Family,
    pub(crate) level: usize,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// The sequence number of all its entries, for tables from outside.
    pub(crate) sequence: Option<u64>,
    /// Where the file lies as long as it was not renamed: an ingestion is carried out behind its edit.
    pub(crate) origin: Option<String>,
}

/// One step from version to version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Segments of the write-ahead log below this number are not needed any more.
    pub(crate) log_number: Option<u64>,
    /// Numbers from here on were never used.
    pub(crate) next_number: Option<u64>,
    /// The largest sequence number in any table.
    pub(crate) sequence: Option<u64>,
    /// Tables that leave: family, level, number.
    pub(crate) removed: Vec<(Family, usize, u64)>,
    /// Tables that join; on level 0 later ones are newer.
    pub(crate) added: Vec<Added>,
    /// Blob files that leave.
    pub(crate) blobs_removed: Vec<u64>,
    /// Blob files that join.
    pub(crate) blobs_added: Vec<BlobMeta>,
}

impl Version {
    /// The levels of a family.
    pub(crate) fn levels(&self, family: Family) -> &Levels {
        &self.families[family as usize]
    }

    /// The version after an edit, whose added tables are `opened` and whose blob files are `blobs`, in order.
    pub(crate) fn after(&self, edit: &Edit, opened: &[Arc<Table>], blobs: &[Arc<BlobFile>]) -> Version {
        let (families, blobs_before) = (self.families.clone(), self.blobs.clone());
        let mut next = Version { families, blobs: blobs_before, alive: OnceLock::new() };
        if !blobs.is_empty() || !edit.blobs_removed.is_empty() {
            let all = Arc::make_mut(&mut next.blobs);
            edit.blobs_removed.iter().for_each(|number| drop(all.remove(number)));
            all.extend(blobs.iter().map(|file| (file.meta.number, file.clone())));
        }
        for &(family, level, number) in &edit.removed {
            next.families[family as usize][level].retain(|table| table.number != number);
        }
        for (added, table) in edit.added.iter().zip(opened) {
            let tables = &mut next.families[added.family as usize][added.level];
            if added.level == 0 {
                tables.insert(0, table.clone());
            } else {
                let at = tables.partition_point(|other| other.start < table.start);
                tables.insert(at, table.clone());
            }
        }
        next
    }

    /// Bytes of all tables and blob files.
    pub(crate) fn bytes(&self) -> u64 {
        let tables: u64 = self.families.iter().flatten().flatten().map(|table| table.bytes).sum();
        tables + self.blobs.values().map(|file| file.meta.bytes).sum::<u64>()
    }

    /// The bytes of each blob file that tables refer to: added up once a version.
    pub(crate) fn alive(&self) -> &BTreeMap<u64, u64> {
        self.alive.get_or_init(|| collect::alive(self))
    }

    /// The blob files that no table refers to.
    pub(crate) fn dead_blobs(&self) -> Vec<Arc<BlobFile>> {
        if self.blobs.is_empty() {
            return Vec::new();
        }
        let alive = self.alive();
        self.blobs.values().filter(|file| !alive.contains_key(&file.meta.number)).cloned().collect()
    }

    /// The value of a table's entry, which may lie in a blob file.
    pub(crate) async fn value_of(&self, entry: Entry) -> Result<Option<Bytes>, Error> {
        if !entry.is_blob {
            return Ok(entry.value);
        }
        let index = entry.value.and_then(Index::decode);
        let found = index.and_then(|index| Some((index, self.blobs.get(&index.file)?)));
        let Some((index, file)) = found else {
            let detail = format!("it refers to {index:?}, and the manifest knows no such blob file");
            return Err(Error::corrupt(&format!("the entry of {:?}", entry.key), detail));
        };
        file.value(&entry.key, index).await.map(Some)
    }

    /// How many tables there are.
    pub(crate) fn tables(&self) -> usize {
        self.families.iter().flatten().map(Vec::len).sum()
    }

    /// The tables of level 0 of the family that has most.
    pub(crate) fn level_zero_files_max(&self) -> usize {
        self.families.iter().map(|levels| levels[0].len()).max().unwrap_or(0)
    }

    /// The tables that may hold `key` or a range delete of it, newest first.
    pub(crate) fn tables_of<'a>(&'a self, family: Family, key: &'a [u8]) -> impl Iterator<Item = &'a Arc<Table>> {
        let levels = self.levels(family);
        let hash = if levels.iter().all(Vec::is_empty) { 0 } else { filter::hash(key) };
        let covers =
            move |table: &&Arc<Table>| table.may_contain(key, hash) || table.tombstones.covering(key, u64::MAX) > 0;
        let upper = levels[0].iter().filter(covers);
        let deeper = levels[1..].iter().filter_map(move |tables| {
            let at = tables.partition_point(|table| !range::ends_after(&table.end, key));
            tables.get(at).filter(covers)
        });
        upper.chain(deeper)
    }

    /// The tables that a read of `[start, end)` has to look at: runs of tables with ascending ranges, newest run first.
    pub(crate) fn runs(&self, family: Family, start: &[u8], end: &[u8]) -> Vec<Vec<Arc<Table>>> {
        let levels = self.levels(family);
        let mut runs = Vec::new();
        if levels.iter().all(Vec::is_empty) {
            return runs;
        }
        let prefix = range::searched_prefix(start, end).map(filter::hash);
        let wanted = |table: &&Arc<Table>| {
            table.overlaps(start, end)
                && (!table.tombstones.is_empty() || prefix.is_none_or(|hash| table.may_contain_versions(hash)))
        };
        runs.extend(levels[0].iter().filter(wanted).map(|table| vec![table.clone()]));
        for tables in &levels[1..] {
            let from = tables.partition_point(|table| !range::ends_after(&table.end, start));
            let run: Vec<_> = tables[from..]
                .iter()
                .take_while(|table| range::ends_after(end, &table.start))
                .filter(wanted)
                .cloned()
                .collect();
            if !run.is_empty() {
                runs.push(run);
            }
        }
        runs
    }

    /// Whether tables below `level` have anything in `[start, end)`.
    pub(crate) fn overlaps_below(&self, family: Family, level: usize, start: &[u8], end: &[u8]) -> bool {
        self.levels(family)[level + 1..].iter().any(|tables| {
            let at = tables.partition_point(|table| !range::ends_after(&table.end, start));
            tables.get(at).is_some_and(|table| table.overlaps(start, end))
        })
    }

    /// Whether a table that is not among `inputs`, which are listed by level, meets `[start, end)`.
    pub(crate) fn overlaps_beside(&self, family: Family, inputs: &[Vec<Arc<Table>>], start: &[u8], end: &[u8]) -> bool {
        self.levels(family).iter().enumerate().any(|(level, tables)| {
            let inputs = inputs.get(level).map_or(&[][..], Vec::as_slice);
            let is_input = |table: &Arc<Table>| inputs.iter().any(|input| input.number == table.number);
            // Those of the first level overlap each other; the others stand in key order.
            let at = if level == 0 { 0 } else { tables.partition_point(|table| !range::ends_after(&table.end, start)) };
            let rest = tables[at..].iter().take_while(|table| level == 0 || range::ends_after(end, &table.start));
            rest.filter(|table| table.overlaps(start, end)).any(|table| !is_input(table))
        })
    }

    /// The deepest level such that no table there or above meets `[start, end)`; 0 when even there one does.
    pub(crate) fn deepest_free_level(&self, family: Family, start: &[u8], end: &[u8]) -> usize {
        let free = |tables: &Vec<Arc<Table>>| !tables.iter().any(|table| table.overlaps(start, end));
        let levels = self.levels(family);
        levels.iter().take_while(|tables| free(tables)).count().saturating_sub(1)
    }

    /// All tables, as an edit that leads here from nothing.
    pub(crate) fn as_edit(&self) -> Edit {
        let blobs_added = self.blobs.values().map(|file| file.meta.clone()).collect();
        let mut edit = Edit { blobs_added, ..Edit::default() };
        for family in Family::ALL {
            for (level, tables) in self.levels(family).iter().enumerate() {
                for table in tables.iter().rev() {
                    edit.added.push(Added {
                        family,
                        level,
                        number: table.number,
                        bytes: table.bytes,
                        sequence: table.sequence,
                        origin: None,
                    });
                }
            }
        }
        edit
    }
}

/// The range that tables cover together.
pub(crate) fn hull<'a>(tables: impl IntoIterator<Item = &'a Arc<Table>>) -> Option<(Bytes, Bytes)> {
    tables.into_iter().fold(None, |hull, table| {
        let (start, end) = (table.start.clone(), table.end.clone());
        Some(match hull {
            None => (start, end),
            Some((low, high)) => (start.min(low), range::later_end(end, high)),
        })
    })
}
