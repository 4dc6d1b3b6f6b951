//! Merging tables into deeper levels, so that reads look at few of them and what was overwritten goes away.
//!
//! Level 0 is merged when it holds too many tables, a deeper level when it holds too many bytes; one compaction at a time.
//! Snapshots need no consideration: they pin the tables that they read. Outputs are cut between user keys only.
//!
//! Large values stay in their blob files, unless those are mostly dead: then they are written again, and when nothing
//! else is due, tables are merged for that alone.

mod filter;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use failpoints::point;
use tokio::sync::oneshot;

use crate::engine::{
    batch::Family,
    blob::{BlobFile, Index, Values, collect},
    block::Stored,
    cursor::Merge,
    error::{Doing, Error},
    fact::Fact,
    files,
    memtable::Entry,
    range, site,
    state::{Shared, Sources},
    table::{Opening, Table, TableBuilder},
    tombstone::RangeDelete,
    version::{Added, Edit, LEVELS, Version, hull},
};

/// A compaction that somebody waits for.
pub(crate) struct Asked {
    pub(crate) family: Family,
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

/// What to merge.
struct Job {
    family: Family,
    /// The highest level that takes part.
    level: usize,
    /// Per level from 0 on: its tables that take part.
    inputs: Vec<Vec<Arc<Table>>>,
    target: usize,
    version: Arc<Version>,
    /// Blob files that are mostly dead: what is alive in them is written again.
    victims: BTreeSet<u64>,
}

/// The task's own state.
pub(crate) struct Compactor {
    shared: Arc<Shared>,
    /// Per family and level: where the next compaction of that level begins.
    cursors: [[Bytes; LEVELS]; Family::COUNT],
    /// Blob files that were looked through before they are collected.
    looked_through: BTreeSet<u64>,
}

/// How long a compaction that could not read its inputs waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>) -> Compactor {
        Compactor { shared, cursors: Default::default(), looked_through: BTreeSet::new() }
    }

    /// Merges until the engine stops or fails.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            let due = |shared: &Shared| {
                shared.asked.lock().as_ref().is_some_and(|asked| !asked.is_empty())
                    || most_urgent(shared).is_some()
                    || blob_due(shared).is_some()
            };
            shared.wait_until(|shared| due(shared) || shared.refusal().is_some()).await;
            if let Some(refusal) = shared.refusal() {
                let asked = shared.asked.lock().take();
                for asked in asked.into_iter().flatten() {
                    let _ = asked.reply.send(Err(refusal.clone()));
                }
                return;
            }
            let asked = shared.asked.lock().as_mut().and_then(VecDeque::pop_front);
            let result = match &asked {
                Some(asked) => self.compact_range(asked).await,
                None => self.compact_most_urgent().await,
            };
            shared.set_compacting(None);
            if let Err(error) = &result {
                if error.is_read() && asked.is_none() {
                    shared.env.sleep(RETRY_AFTER).await;
                } else if !error.is_read() {
                    shared.fail(error);
                }
            }
            if let Some(asked) = asked {
                let _ = asked.reply.send(result);
            }
        }
    }

    async fn compact_most_urgent(&mut self) -> Result<(), Error> {
        let job = {
            // An ingestion places its tables under this lock, too.
            let shared = self.shared.clone();
            let _manifest = shared.manifest.lock().await;
            if let Some((family, level)) = most_urgent(&shared) {
                shared.set_compacting(Some(family));
                Some(self.job(family, level))
            } else {
                None
            }
        };
        match job {
            Some(job) => self.merge(job).await,
            None => self.collect_blobs().await,
        }
    }

    /// Writes one table again that refers to a blob file which is mostly dead.
    async fn collect_blobs(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let Some(due) = blob_due(&shared) else { return Ok(()) };
        if point!(shared.env.points, site::BEFORE_BLOB_GC).await.is_some() {
            shared.env.sleep(RETRY_AFTER).await;
            return Ok(());
        }
        let path = due.victim.path().to_owned();
        let number = due.victim.meta.number;
        if !self.looked_through.contains(&number) {
            // Rot in what is dead must not be taken for a file that can go. What could not be read is looked at again.
            due.victim.verify().await?;
            let blobs = shared.sources().version.blobs.clone();
            self.looked_through.retain(|number| blobs.contains_key(number));
            self.looked_through.insert(number);
            let (alive, bytes) = (due.alive, due.victim.record_bytes());
            shared.env.state(Fact::BlobCollecting { path: path.into(), alive, bytes });
        }
        let job = {
            let _manifest = shared.manifest.lock().await;
            let version = shared.sources().version.clone();
            let levels = version.levels(Family::Default);
            if !levels[due.level].iter().any(|table| table.number == due.table.number) {
                return Ok(());
            }
            shared.set_compacting(Some(Family::Default));
            if due.level == 0 {
                self.job(Family::Default, 0)
            } else {
                let mut inputs = vec![Vec::new(); due.level + 1];
                inputs[due.level] = vec![due.table];
                let victims = self.victims(&version);
                Job { family: Family::Default, level: due.level, inputs, target: due.level, version, victims }
            }
        };
        self.merge(job).await
    }

    fn victims(&self, version: &Version) -> BTreeSet<u64> {
        collect::victims(version, self.shared.options.blob_dead_per_million)
    }

    fn job(&mut self, family: Family, level: usize) -> Job {
        let version = self.shared.sources().version.clone();
        let levels = version.levels(family);
        let chosen: Vec<Arc<Table>> = if level == 0 {
            levels[0].clone()
        } else {
            let cursor = &mut self.cursors[family as usize][level];
            let next = levels[level].iter().find(|table| table.start > *cursor).unwrap_or(&levels[level][0]);
            *cursor = next.start.clone();
            vec![next.clone()]
        };
        let (start, end) = hull(&chosen).expect("a level that is due has tables");
        let below = levels[level + 1].iter().filter(|table| table.overlaps(&start, &end)).cloned().collect();
        let mut inputs = vec![Vec::new(); level + 2];
        inputs[level] = chosen;
        inputs[level + 1] = below;
        let victims = self.victims(&version);
        Job { family, level, inputs, target: level + 1, version, victims }
    }

    /// Merges everything that meets a range into the deepest level that has any of it.
    async fn compact_range(&mut self, asked: &Asked) -> Result<(), Error> {
        let family = asked.family;
        let job = {
            let _manifest = self.shared.manifest.lock().await;
            let version = self.shared.sources().version.clone();
            let levels = version.levels(family);
            let (mut start, mut end) = (asked.start.clone(), asked.end.clone());
            loop {
                let meeting = levels.iter().flatten().filter(|table| table.overlaps(&start, &end));
                let Some((low, high)) = hull(meeting) else { return Ok(()) };
                let (low, high) = (low.min(start.clone()), range::later_end(high, end.clone()));
                if (&low, &high) == (&start, &end) {
                    break;
                }
                (start, end) = (low, high);
            }
            let meets = |table: &&Arc<Table>| table.overlaps(&start, &end);
            let mut inputs: Vec<Vec<_>> =
                levels.iter().map(|tables| tables.iter().filter(meets).cloned().collect()).collect();
            while inputs.last().is_some_and(Vec::is_empty) {
                inputs.pop();
            }
            let level = inputs.iter().position(|tables| !tables.is_empty()).unwrap_or(0);
            let target = (inputs.len() - 1).max(1);
            self.shared.set_compacting(Some(family));
            let victims = self.victims(&version);
            Job { family, level, inputs, target, version, victims }
        };
        self.merge(job).await
    }

    async fn merge(&self, job: Job) -> Result<(), Error> {
        let shared = &self.shared;
        let (env, dir) = (&shared.env, &shared.dir);
        if point!(env.points, site::BEFORE_COMPACTION).await.is_some() {
            // What is due stays due: without a pause it would be asked for at once.
            env.sleep(RETRY_AFTER).await;
            return Ok(());
        }
        let values = Values::new(shared, job.family);
        let (done, from) = (Vec::new(), Bytes::new());
        let mut outputs = Outputs { shared, job: &job, done, values, open: None, from, dropped: 0 };
        let blobs = match outputs.write_all().await {
            Ok(blobs) => blobs,
            Err(error) => {
                // What was written so far is known to nobody.
                outputs.values.abandon();
                for table in outputs.done {
                    table.retire();
                }
                return Err(error);
            }
        };
        let Outputs { done: outputs, dropped, .. } = outputs;
        env.disk.sync_dir(dir).await.doing("syncing", dir)?;
        let _ = point!(env.points, site::AFTER_COMPACTION_OUTPUT).await;
        let mut edit = Edit::default();
        for (level, tables) in job.inputs.iter().enumerate() {
            edit.removed.extend(tables.iter().map(|table| (job.family, level, table.number)));
        }
        edit.added.extend(outputs.iter().map(|table| Added {
            family: job.family,
            level: job.target,
            number: table.number,
            bytes: table.bytes,
            sequence: None,
            origin: None,
        }));
        let inputs = edit.removed.len() as u64;
        edit.blobs_added.extend(blobs.iter().map(|file| file.meta.clone()));
        let dead = {
            let mut manifest = shared.manifest.lock().await;
            edit.next_number = Some(shared.next_number());
            let before = shared.sources().version.clone();
            let dead = before.after(&edit, &outputs, &blobs).dead_blobs();
            edit.blobs_removed.extend(dead.iter().map(|file| file.meta.number));
            manifest.append(env, dir, &before, &edit).await?;
            shared.install(|sources| Sources {
                memtable: sources.memtable.clone(),
                immutable: sources.immutable.clone(),
                version: Arc::new(sources.version.after(&edit, &outputs, &blobs)),
            });
            dead
        };
        dead.iter().for_each(|file| file.retire());
        for table in job.inputs.iter().flatten() {
            table.retire();
        }
        env.state(Fact::Compacted {
            family: job.family.name().into(),
            level: job.level as u64,
            inputs,
            outputs: outputs.len() as u64,
            dropped,
        });
        Ok(())
    }
}

/// The family and level that need a compaction most, if any does.
fn most_urgent(shared: &Shared) -> Option<(Family, usize)> {
    let sources = shared.sources();
    let mut best: Option<(u64, Family, usize)> = None;
    for family in Family::ALL {
        let levels = sources.version.levels(family);
        // Scores in thousandths: above 1000 a level is over its size.
        let mut target_bytes = shared.options.level_base_bytes;
        for (level, tables) in levels[..LEVELS - 1].iter().enumerate() {
            let score = if level == 0 {
                tables.len() as u64 * 1000 / shared.options.level_zero_files.max(1) as u64
            } else {
                let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
                let score = bytes.saturating_mul(1000) / target_bytes.max(1);
                target_bytes = target_bytes.saturating_mul(shared.options.level_ratio);
                // Exactly full is not over.
                if score == 1000 { 999 } else { score }
            };
            if score >= 1000 && best.is_none_or(|(most, ..)| score > most) {
                best = Some((score, family, level));
            }
        }
    }
    best.map(|(_, family, level)| (family, level))
}

/// The next table to write again for the sake of a blob file that is mostly dead.
fn blob_due(shared: &Shared) -> Option<collect::Due> {
    collect::due(&shared.sources().version, shared.options.blob_dead_per_million)
}

/// Writes the outputs of one compaction.
struct Outputs<'a> {
    shared: &'a Shared,
    job: &'a Job,
    done: Vec<Arc<Table>>,
    values: Values<'a>,
    open: Option<(TableBuilder, String, u64)>,
    /// Where the range of the open output begins.
    from: Bytes,
    dropped: u64,
}

impl Outputs<'_> {
    async fn write_all(&mut self) -> Result<Vec<Arc<BlobFile>>, Error> {
        let job = self.job;
        let mut merge = Merge::new(Bytes::new(), Bytes::new(), u64::MAX);
        for (level, tables) in job.inputs.iter().enumerate().filter(|(_, tables)| !tables.is_empty()) {
            if level == 0 {
                tables.iter().for_each(|table| merge.add_run(vec![table.clone()], false));
            } else {
                merge.add_run(tables.clone(), false);
            }
        }
        let ranges: Vec<RangeDelete> = merge.tombstones().iter().flat_map(|ranges| ranges.list()).collect();
        let mut filter = filter::Filter::new(self.shared, job.family, &job.inputs, &job.version);
        while let Some(entry) = merge.next_entry().await? {
            if self.shared.is_stopping() {
                return Err(Error::Stopped);
            }
            let is_gone = merge.is_covered(&entry)
                || (entry.value.is_none()
                    && !job.version.overlaps_below(job.family, job.target, &entry.key, &range::end_behind(&entry.key)))
                || (entry.value.is_some() && !filter.keeps(&entry).await?);
            if is_gone {
                self.dropped += 1;
                continue;
            }
            self.cut_before(&entry.key, &ranges).await?;
            if self.open.is_none() {
                self.begin().await?;
            }
            self.add(entry).await?;
        }
        self.end(&Bytes::new(), &ranges).await?;
        self.values.finish().await
    }

    /// Adds an entry to the open output, its value to a blob file if that is its place.
    async fn add(&mut self, entry: Entry) -> Result<(), Error> {
        let (builder, ..) = self.open.as_mut().expect("an output was begun for this entry");
        let (key, sequence) = (entry.key.clone(), entry.sequence);
        if entry.is_blob {
            let index = entry.value.clone().and_then(Index::decode);
            if let Some(index) = index.filter(|index| !self.job.victims.contains(&index.file)) {
                return builder.add_blob(key, sequence, index).await;
            }
        } else if !entry.value.as_ref().is_some_and(|value| self.values.takes(value.len())) {
            let stored = entry.value.as_deref().map_or(Stored::Delete, Stored::Value);
            return builder.add(key, sequence, stored).await;
        }
        let Some(value) = self.job.version.value_of(entry).await? else { return Ok(()) };
        if self.values.takes(value.len()) {
            let index = self.values.put(&key, &value).await?;
            builder.add_blob(key, sequence, index).await
        } else {
            builder.add(key, sequence, Stored::Value(&value)).await
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let number = self.shared.new_number();
        let path = files::table(&self.shared.dir, number);
        let builder =
            TableBuilder::create(&*self.shared.env.disk, &path, self.shared.options.style(self.job.target)).await?;
        self.open = Some((builder, path, number));
        Ok(())
    }

    /// Ends the open output before `key` if it is large enough and `key` begins another user key.
    async fn cut_before(&mut self, key: &Bytes, ranges: &[RangeDelete]) -> Result<(), Error> {
        let Some((builder, ..)) = &self.open else { return Ok(()) };
        if builder.bytes() < self.shared.options.table_bytes {
            return Ok(());
        }
        let prefix = self.job.family.is_versioned().then(|| range::version_prefix(key)).flatten();
        if prefix.is_some() && prefix == builder.last().and_then(range::version_prefix) {
            return Ok(());
        }
        let cut = key.slice(..prefix.map_or(key.len(), <[u8]>::len));
        self.end(&cut, ranges).await
    }

    /// Ends the open output, whose range ends at `to`, with its share of the range deletes.
    async fn end(&mut self, to: &Bytes, ranges: &[RangeDelete]) -> Result<(), Error> {
        let share: Vec<RangeDelete> = ranges
            .iter()
            .map(|delete| RangeDelete {
                start: delete.start.clone().max(self.from.clone()),
                end: range::earlier_end(delete.end.clone(), to.clone()),
                sequence: delete.sequence,
            })
            .filter(|delete| range::ends_after(&delete.end, &delete.start))
            .filter(|delete| {
                self.job.version.overlaps_below(self.job.family, self.job.target, &delete.start, &delete.end)
            })
            .collect();
        self.from = to.clone();
        if self.open.is_none() {
            if share.is_empty() {
                return Ok(());
            }
            self.begin().await?;
        }
        let (mut builder, path, number) = self.open.take().expect("begun just now");
        share.into_iter().for_each(|delete| builder.add_range(delete));
        builder.finish().await?;
        let (env, cache, garbage) = (&self.shared.env, &self.shared.cache, &self.shared.garbage);
        let table = Table::open(Opening { env, path, number, sequence: None, cache, garbage }).await?;
        self.done.push(Arc::new(table));
        Ok(())
    }
}
