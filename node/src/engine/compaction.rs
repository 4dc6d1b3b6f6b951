//! Merging tables into deeper levels, so that reads look at few of them and what was overwritten goes away.
//!
//! Level 0 is merged when it holds too many tables, a deeper level when it holds too many bytes; one compaction at a time.
//! Snapshots need no consideration: they pin the tables that they read. Outputs are cut between user keys only.

mod filter;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use failpoints::point;
use tokio::sync::oneshot;

use crate::engine::{
    batch::Family,
    cursor::Merge,
    error::{Doing, Error},
    fact::Fact,
    files, range, site,
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
}

/// The task's own state.
pub(crate) struct Compactor {
    shared: Arc<Shared>,
    /// Per family and level: where the next compaction of that level begins.
    cursors: [[Bytes; LEVELS]; Family::COUNT],
}

/// How long a compaction that could not read its inputs waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>) -> Compactor {
        Compactor { shared, cursors: Default::default() }
    }

    /// Merges until the engine stops or fails.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            let due = |shared: &Shared| {
                shared.asked.lock().as_ref().is_some_and(|asked| !asked.is_empty()) || most_urgent(shared).is_some()
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
            let Some((family, level)) = most_urgent(&shared) else { return Ok(()) };
            shared.set_compacting(Some(family));
            self.job(family, level)
        };
        self.merge(job).await
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
        Job { family, level, inputs, target: level + 1, version }
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
            Job { family, level, inputs, target, version }
        };
        self.merge(job).await
    }

    async fn merge(&self, job: Job) -> Result<(), Error> {
        let shared = &self.shared;
        let (env, dir) = (&shared.env, &shared.dir);
        if point!(env.points, site::BEFORE_COMPACTION).await.is_some() {
            return Ok(());
        }
        let mut outputs = Outputs { shared, job: &job, done: Vec::new(), open: None, from: Bytes::new(), dropped: 0 };
        if let Err(error) = outputs.write_all().await {
            // What was written so far is known to nobody.
            for table in outputs.done {
                table.retire();
            }
            return Err(error);
        }
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
        {
            let mut manifest = shared.manifest.lock().await;
            edit.next_number = Some(shared.next_number());
            manifest.append(env, dir, &shared.sources().version, &edit).await?;
            shared.install(|sources| Sources {
                memtable: sources.memtable.clone(),
                immutable: sources.immutable.clone(),
                version: Arc::new(sources.version.after(&edit, &outputs)),
            });
        }
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

/// Writes the outputs of one compaction.
struct Outputs<'a> {
    shared: &'a Shared,
    job: &'a Job,
    done: Vec<Arc<Table>>,
    open: Option<(TableBuilder, String, u64)>,
    /// Where the range of the open output begins.
    from: Bytes,
    dropped: u64,
}

impl Outputs<'_> {
    async fn write_all(&mut self) -> Result<(), Error> {
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
        let mut filter = filter::Filter::new(self.shared, job.family, job.target, &job.version);
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
            let (builder, ..) = self.open.as_mut().expect("begun just now");
            builder.add(entry.key, entry.sequence, entry.value.as_deref()).await?;
        }
        self.end(&Bytes::new(), &ranges).await
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let number = self.shared.new_number();
        let path = files::table(&self.shared.dir, number);
        let builder = TableBuilder::create(&*self.shared.env.disk, &path, self.shared.options.style()).await?;
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
        if prefix.is_some() && prefix == range::version_prefix(builder.last()) {
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
