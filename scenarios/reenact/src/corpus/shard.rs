//! What one shard of a campaign has done: a state that is written whole, and a journal of the runs since.
//!
//! A run is a line that is appended when everything that it found is on the disk. Every now and then the journal goes into
//! the state. A line whose seed the state knows is skipped, so that it does not matter where between the two a kill fell.
//! A last line without an end was being written; a bad one before it is damage.
//!
//! One process writes a shard, and a lock says so; others may read meanwhile: first the journal, then the state, so that
//! nothing falls between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    folder::Header,
    reader::{self, FORMAT, Form, Reader},
};
use crate::{
    campaign::{
        honesty::{Ran, Totals},
        intervals::Intervals,
        keep::PARTIAL,
    },
    fuzz::shard::Shard,
    input::Refused,
};

/// A journal that is shorter than this does not go into the state yet.
const JOURNAL_MIN: u64 = 256 << 10;

/// Of a fingerprint, so many seeds are named.
const SEEDS_NAMED: usize = 8;

/// What stands in the state of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of the file.
    pub reenact_shard: u64,
    /// The campaign that it is a part of.
    pub campaign: Header,
    /// Which part.
    pub shard: Shard,
    /// The seeds that are done: of each its rank in the shard.
    pub done: Intervals,
    /// What they add up to.
    pub totals: Totals,
    /// What failed, by fingerprint.
    pub failures: BTreeMap<String, Found>,
    /// Whether the plans of earlier campaigns were run again.
    #[serde(default)]
    pub has_replayed: bool,
    /// Fingerprints whose plans of an earlier campaign fail as they did.
    #[serde(default)]
    pub still_fail: BTreeSet<String>,
}

impl Form for State {
    const KEY: &str = "reenact_shard";
    const IS_FOR_PEOPLE: bool = false;
}

/// How often a campaign has met a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// With how many seeds.
    pub count: u64,
    /// The first of them.
    pub seeds: Vec<u64>,
}

impl Found {
    /// Adds what another shard has met.
    pub fn add(&mut self, other: &Found) {
        self.count += other.count;
        self.seeds.extend(&other.seeds);
        self.seeds.sort_unstable();
        self.seeds.truncate(SEEDS_NAMED);
    }
}

impl State {
    /// A shard that has done nothing yet.
    pub fn new(campaign: Header, shard: Shard) -> Self {
        let (done, totals, failures) = (Intervals::default(), Totals::default(), BTreeMap::new());
        let (has_replayed, still_fail) = (false, BTreeSet::new());
        Self { reenact_shard: FORMAT, campaign, shard, done, totals, failures, has_replayed, still_fail }
    }

    /// How many seeds both have run.
    pub fn common(&self, other: &State) -> u64 {
        if self.shard == other.shard {
            return self.done.common(&other.done);
        }
        let (few, many) = if self.done.len() < other.done.len() { (self, other) } else { (other, self) };
        few.seeds().filter(|seed| many.has_done(*seed)).count() as u64
    }

    /// The seeds that it has run.
    fn seeds(&self) -> impl Iterator<Item = u64> {
        let ranks = self.done.iter().flat_map(|(first, last)| first..=last);
        ranks.filter_map(|rank| self.shard.seed(rank))
    }

    /// Whether this shard has run a seed.
    pub fn has_done(&self, seed: u64) -> bool {
        self.shard.has(seed) && self.done.contains(self.shard.rank(seed))
    }

    /// Adds a run, unless it is known.
    pub fn add(&mut self, ran: &Ran) {
        if !self.shard.has(ran.seed) || !self.done.insert(self.shard.rank(ran.seed)) {
            return;
        }
        self.totals.add(ran);
        if let Some(fingerprint) = ran.failure() {
            let found = Found { count: 1, seeds: vec![ran.seed] };
            self.failures.entry(fingerprint.to_owned()).or_default().add(&found);
        }
    }

    /// The seed after the greatest one that was run.
    pub fn end(&self) -> Option<u64> {
        Some(self.shard.seed(self.done.greatest()?)?.saturating_add(1))
    }
}

/// Where the files of a shard are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The state.
    pub state: PathBuf,
    /// The journal.
    pub journal: PathBuf,
    /// The lock, which outlives campaigns.
    pub lock: PathBuf,
}

impl Paths {
    /// The files of a shard of the campaign with this number.
    pub fn new(folder: &Path, number: u64, shard: Shard) -> Self {
        let name = format!("{}-of-{}", shard.index, shard.count);
        let file = |ending: &str| folder.join(format!("{number:04}-{name}.{ending}"));
        Self { state: file("json"), journal: file("journal"), lock: folder.join(format!("{name}.lock")) }
    }

    /// Removes what a process that is gone was writing of this shard. Whoever calls this has its lock.
    fn remove_unfinished(&self) -> Result<(), Refused> {
        let folder = self.state.parent().unwrap_or(Path::new("."));
        for path in reader::names(folder)?.iter().filter(|path| path.extension().is_some_and(|end| end == PARTIAL)) {
            let name = path.file_stem().map(Path::new).and_then(Path::file_stem);
            if name == self.state.file_stem() {
                // What cannot be removed is in nobody's way.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Reads the shard without its lock. `None` if nothing of it can be used.
    pub fn read(&self, reader: &mut Reader) -> anyhow::Result<Option<State>> {
        let journal = reader.bytes(&self.journal)?;
        let Some(mut state) = reader.json::<State>(&self.state)? else { return Ok(None) };
        let (runs, bad) = lines(&journal.unwrap_or_default());
        runs.iter().for_each(|ran| state.add(ran));
        if bad > 0 {
            reader.notes.push(format!("{}: {bad} of its lines are damaged", self.journal.display()));
        }
        Ok(Some(state))
    }
}

/// A shard that this process writes.
#[derive(Debug)]
pub struct Writer {
    /// What was done so far.
    pub state: State,
    paths: Paths,
    journal: File,
    journal_bytes: u64,
    state_bytes: u64,
    /// Held as long as the writer is there.
    _lock: File,
}

/// Takes the lock of a shard, if nobody has it.
pub fn lock(path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot use the lock {}", path.display());
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Refused(format!(
            "{}: a campaign is running this shard in this folder: wait for it, name another folder with --corpus, or \
             give each its part with --shard",
            path.display()
        ))
        .into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

/// Whether a process holds the lock of a shard.
pub fn is_held(path: &Path) -> anyhow::Result<bool> {
    let cannot = || format!("cannot use the lock {}", path.display());
    match OpenOptions::new().write(true).open(path).with_context(cannot)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

/// The shard of which a file speaks, by the middle of its name.
pub fn named(name: &str) -> Option<Shard> {
    let (index, count) = name.split_once("-of-")?;
    format!("{index}/{count}").parse().ok()
}

impl Writer {
    /// Goes on where the shard was left; begins it if it was not begun.
    pub fn open(paths: Paths, lock: File, fresh: State, reader: &mut Reader) -> anyhow::Result<Self> {
        paths.remove_unfinished()?;
        let journal_bytes = reader.bytes(&paths.journal)?.unwrap_or_default();
        let known = reader.json::<State>(&paths.state)?;
        let known = known.filter(|known| known.campaign == fresh.campaign && known.shard == fresh.shard);
        let mut state = known.unwrap_or(fresh);
        let (runs, bad) = lines(&journal_bytes);
        runs.iter().for_each(|ran| state.add(ran));
        if bad > 0 {
            let problem = format!("{bad} of its lines are damaged: the seeds in them will run again");
            reader.damaged(&paths.journal, &problem);
        }
        let journal = OpenOptions::new().create(true).append(true).open(&paths.journal);
        let journal = journal.with_context(|| format!("cannot write {}", paths.journal.display()))?;
        let mut writer = Self { state, paths, journal, journal_bytes: 0, state_bytes: 0, _lock: lock };
        writer.checkpoint()?;
        Ok(writer)
    }

    /// A run is done, and whatever it found is on the disk.
    pub fn add(&mut self, ran: &Ran) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(ran)?;
        line.push('\n');
        if let Err(error) = self.journal.write_all(line.as_bytes()) {
            // Half a line would be taken for a kill's; this way the next campaign finds nothing to wonder about.
            let _ = self.journal.set_len(self.journal_bytes);
            return Err(error).with_context(|| format!("cannot write {}", self.paths.journal.display()));
        }
        self.journal_bytes += line.len() as u64;
        self.state.add(ran);
        if self.journal_bytes > JOURNAL_MIN.max(self.state_bytes) {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Takes the journal into the state.
    pub fn checkpoint(&mut self) -> anyhow::Result<()> {
        reader::write(&self.paths.state, &self.state)?;
        self.state_bytes = std::fs::metadata(&self.paths.state).map_or(0, |file| file.len());
        let journal = &self.paths.journal;
        self.journal.set_len(0).with_context(|| format!("cannot empty {}", journal.display()))?;
        self.journal_bytes = 0;
        Ok(())
    }
}

/// The runs of a journal, and how many lines are damaged.
fn lines(journal: &[u8]) -> (Vec<Ran>, usize) {
    let whole = journal.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (mut runs, mut bad) = (Vec::new(), 0);
    for line in journal[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(ran) => runs.push(ran),
            Err(_) => bad += 1,
        }
    }
    (runs, bad)
}
