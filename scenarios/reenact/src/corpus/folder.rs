//! The folder of a corpus: what is where, whose campaign it is, and who may write.
//!
//! ```text
//! campaign.json                 the campaign that is going on: its number, its build, what its seeds mean
//! campaigns/0001.json           what an earlier campaign came to
//! shards/0002-1-of-3.json       what a part of the campaign has done; beside it its journal, and the shard's lock
//! failures/NAME/                one folder a fingerprint: original.toml, shrunk.toml, verdict.json, report.txt
//! lock                          held for as long as anything but a shard's own files is changed
//! ```
//!
//! Seeds mean something only for one build and one generator: with another, the next campaign begins, and only if asked
//! for. What campaigns have found stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use scenarios::plan::Plan;
use serde::{Deserialize, Serialize};

use super::{
    failure::{self, Failure, Shrunk},
    reader::{self, DAMAGED, FORMAT, Form, Reader},
    shard::{self, Found, Paths, State, Writer},
};
use crate::{
    campaign::{honesty::Totals, keep, pool::Done},
    fuzz::shard::Shard,
    input::Refused,
};

/// What the seeds of a campaign mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The build.
    pub build: String,
    /// Where plans come from.
    pub source: String,
    /// What the nodes carry.
    pub defects: Vec<String>,
}

/// What stands in `campaign.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the file.
    pub reenact_campaign: u64,
    /// Which campaign of this corpus it is, from 1.
    pub number: u64,
    /// What its seeds mean.
    #[serde(flatten)]
    pub identity: Identity,
    /// Where a campaign without an interval of seeds begins: behind the one before.
    pub first_seed: u64,
}

impl Form for Header {
    const KEY: &str = "reenact_campaign";
}

/// What a campaign came to that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The version of the file.
    pub reenact_summary: u64,
    /// The campaign.
    pub campaign: Header,
    /// How many seeds it ran.
    pub seeds: u64,
    /// The seed after the greatest one.
    pub end: u64,
    /// What it met, by fingerprint.
    pub failures: BTreeMap<String, Found>,
    /// Fingerprints whose plans of an earlier campaign failed as they did.
    #[serde(default)]
    pub still_fail: BTreeSet<String>,
    /// What happened in it.
    pub totals: Totals,
}

impl Form for Summary {
    const KEY: &str = "reenact_summary";
    const IS_FOR_PEOPLE: bool = false;
}

/// A corpus.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
}

/// The right to change a corpus, but for the files of shards.
pub struct Held {
    _lock: File,
}

impl Folder {
    /// A corpus that is there.
    pub fn existing(dir: &Path) -> Result<Self, Refused> {
        for name in ["campaign.json", "failures"] {
            let path = dir.join(name);
            match std::fs::symlink_metadata(&path) {
                Ok(_) => return Ok(Self { dir: dir.to_owned() }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(reader::unreadable(&path, &error)),
            }
        }
        Err(Refused(format!(
            "there is no corpus in {}: `cargo reenact fuzz --corpus {0}` begins one, and --corpus names another",
            dir.display()
        )))
    }

    /// A corpus that is made if need be.
    pub fn made(dir: &Path) -> Result<Self, Refused> {
        for folder in [dir.to_owned(), dir.join("failures"), dir.join("shards"), dir.join("campaigns")] {
            std::fs::create_dir_all(&folder).map_err(|error| {
                Refused(format!(
                    "cannot use the corpus {}: {}: {error}. --corpus names another folder",
                    dir.display(),
                    folder.display()
                ))
            })?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of failures.
    pub fn failures_dir(&self) -> PathBuf {
        self.dir.join("failures")
    }

    /// Waits for the right to change it.
    pub fn lock(&self) -> Result<Held, Refused> {
        let path = self.dir.join("lock");
        let cannot = |error| {
            Refused(format!(
                "cannot write to the corpus {}: {}: {error}. Whoever changes a corpus has to write there; --corpus names \
                 another folder",
                self.dir.display(),
                path.display()
            ))
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(cannot)?;
        file.lock().map_err(cannot)?;
        Ok(Held { _lock: file })
    }

    /// The campaign that is going on.
    pub fn header(&self, reader: &mut Reader) -> Result<Option<Header>, Refused> {
        if let Some(header) = reader.json::<Header>(&self.dir.join("campaign.json"))? {
            return Ok(Some(header));
        }
        // The states of shards repeat it, so that nothing is lost with the one file.
        let mut newest: Option<Header> = None;
        for path in with_ending(&self.dir.join("shards"), "json")? {
            let Some(bytes) = reader.bytes(&path)? else { continue };
            if let Ok(state) = reader::parse::<State>(&bytes, &path)?
                && newest.as_ref().is_none_or(|newest| newest.number < state.campaign.number)
            {
                newest = Some(state.campaign);
            }
        }
        Ok(newest)
    }

    /// Makes the campaign that these seeds belong to the one that is going on. With another build or generator the next
    /// one begins, if `begin_new` says so.
    pub fn enter(
        &self,
        wanted: &Identity,
        begin_new: bool,
        _held: &Held,
        reader: &mut Reader,
    ) -> anyhow::Result<Header> {
        self.remove_unfinished()?;
        // First: what a newer build has written is refused before anything is run or written over, and what is damaged gets
        // out of the way.
        self.summaries(reader)?;
        let known = self.header(reader)?;
        let known = match known {
            Some(known) if known.identity == *wanted => {
                self.forget_shards_before(known.number)?;
                reader::write(&self.dir.join("campaign.json"), &known)?;
                return Ok(known);
            }
            Some(known) if !begin_new => return Err(self.other_campaign(&known.identity, wanted).into()),
            known => known,
        };
        if let Some(known) = &known {
            // A campaign that still runs would go on writing into one that is over.
            for path in with_ending(&self.dir.join("shards"), "lock")? {
                shard::lock(&path)?;
            }
            let summary = self.summary(known, reader)?;
            reader::write(&self.dir.join(format!("campaigns/{:04}.json", known.number)), &summary)?;
        }
        let last = self.summaries(reader)?.into_iter().map(|summary| (summary.campaign.number, summary.end)).max();
        let (number, first_seed) = last.map_or((1, 1), |(number, end)| (number + 1, end));
        let header = Header { reenact_campaign: FORMAT, number, identity: wanted.clone(), first_seed };
        reader::write(&self.dir.join("campaign.json"), &header)?;
        self.forget_shards_before(number)?;
        Ok(header)
    }

    /// Takes a shard of the campaign, to go on with it.
    pub fn shard(&self, header: &Header, shard: Shard, reader: &mut Reader) -> anyhow::Result<Writer> {
        let (paths, lock) = self.hold(header, shard)?;
        Writer::open(paths, lock, State::new(header.clone(), shard), reader)
    }

    /// Takes the lock of a shard. While the campaign is run in another number of parts nobody gets it: their seeds are
    /// partly the same. Whoever asks has the right to change the corpus, so that no two ask at once.
    pub fn hold(&self, header: &Header, shard: Shard) -> anyhow::Result<(Paths, File)> {
        let folder = self.dir.join("shards");
        let paths = Paths::new(&folder, header.number, shard);
        let lock = shard::lock(&paths.lock)?;
        for path in with_ending(&folder, "lock")? {
            let other = path.file_stem().and_then(|name| shard::named(name.to_str()?));
            if let Some(other) = other.filter(|other| other.count != shard.count)
                && shard::is_held(&path)?
            {
                return Err(Refused(format!(
                    "{}: a campaign is running shard {other} in this folder, whose seeds are partly those of {shard}: give \
                     all that run at once shards of one count, wait for it, or name another folder with --corpus",
                    path.display()
                ))
                .into());
            }
        }
        Ok((paths, lock))
    }

    /// What every shard of a campaign has done so far.
    pub fn shards(&self, header: &Header, reader: &mut Reader) -> anyhow::Result<Vec<State>> {
        let mut states = Vec::new();
        for path in with_ending(&self.dir.join("shards"), "json")? {
            let Some(shard) = shard_of(&path, header.number) else { continue };
            let paths = Paths::new(&self.dir.join("shards"), header.number, shard);
            let state = paths.read(reader)?;
            states.extend(state.filter(|state| state.campaign == *header && state.shard == shard));
        }
        Ok(states)
    }

    /// What a campaign has come to so far.
    pub fn summary(&self, header: &Header, reader: &mut Reader) -> anyhow::Result<Summary> {
        let mut summary = Summary {
            reenact_summary: FORMAT,
            campaign: header.clone(),
            seeds: 0,
            end: header.first_seed,
            failures: BTreeMap::new(),
            still_fail: BTreeSet::new(),
            totals: Totals::default(),
        };
        for state in self.shards(header, reader)? {
            summary.seeds += state.done.len();
            summary.end = summary.end.max(state.end().unwrap_or(0));
            summary.totals.merge(&state.totals);
            summary.still_fail.extend(state.still_fail);
            for (fingerprint, found) in &state.failures {
                summary.failures.entry(fingerprint.clone()).or_default().add(found);
            }
        }
        Ok(summary)
    }

    /// Every campaign that is over, the first one first.
    pub fn summaries(&self, reader: &mut Reader) -> anyhow::Result<Vec<Summary>> {
        let mut all = Vec::new();
        for path in with_ending(&self.dir.join("campaigns"), "json")? {
            all.extend(reader.json::<Summary>(&path)?);
        }
        all.sort_by_key(|summary| summary.campaign.number);
        Ok(all)
    }

    /// Every failure, by the name of its folder.
    pub fn failures(&self, reader: &mut Reader) -> anyhow::Result<Vec<Failure>> {
        let mut all = Vec::new();
        for path in reader::names(&self.failures_dir())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if failure::is_unfinished(&name) || has_ending(&path, DAMAGED) {
                continue;
            }
            match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    reader.damaged(&path, "it is no failure, which is a folder");
                    continue;
                }
                // Somebody has removed it since.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(reader::unreadable(&path, &error).into()),
            }
            let Some(failure) = Failure::read(&path, reader)? else { continue };
            let own = failure::folder_name(&failure.record.fingerprint);
            match name == own {
                true => all.push(failure),
                // Whoever put it there may want it.
                false => reader.notes.push(format!(
                    "{}: it was left out: it is a copy, or was renamed; the folder of this failure is {own}",
                    path.display()
                )),
            }
        }
        Ok(all)
    }

    /// Keeps a failure: a new one, or a faster one than was known. Whether its fingerprint is new to the corpus.
    pub fn keep(&self, plan: &Plan, done: &Done, header: &Header) -> anyhow::Result<Kept> {
        let held = self.lock()?;
        let mut record = Failure::record(plan, done, &header.identity.build, header.number);
        let folder = self.failures_dir().join(failure::folder_name(&record.fingerprint));
        let mut reader = Reader::mending();
        let known = if folder.is_dir() { Failure::read(&folder, &mut reader)? } else { None };
        let known = known.filter(|known| known.record.fingerprint == record.fingerprint);
        let news = match &known {
            None => {
                self.make_failure(&folder, |making| Failure::write(making, &record, plan, done))?;
                News::New
            }
            Some(known) if known.yields_to(&record) => {
                record.first_campaign = known.record.first_campaign;
                // A search that was given up for want of this plan begins anew.
                let is_over = |shrunk: &Shrunk| shrunk.trouble.is_none() || known.original.is_some();
                record.shrunk = known.record.shrunk.clone().filter(is_over);
                Failure::write(&folder, &record, plan, done)?;
                News::Faster
            }
            Some(_) => News::Known,
        };
        drop(held);
        Ok(Kept { folder, news, notes: reader.notes })
    }

    /// Makes the folder of a failure, or the files that a damaged one lacks: whole, or not at all.
    pub fn make_failure(&self, folder: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if folder.is_dir() {
            return fill(folder);
        }
        let making = self.failures_dir().join(format!(".new-{}", std::process::id()));
        let cannot = || format!("cannot make {}", folder.display());
        let made = std::fs::create_dir_all(&making)
            .with_context(cannot)
            .and_then(|()| fill(&making))
            .and_then(|()| std::fs::rename(&making, folder).with_context(cannot));
        if made.is_err() {
            // What cannot be made is reported; what is left of it is in nobody's way.
            let _ = std::fs::remove_dir_all(&making);
        }
        made?;
        keep::sync_folder_of(folder)
    }

    fn other_campaign(&self, known: &Identity, wanted: &Identity) -> Refused {
        let what = match known.build == wanted.build {
            false => format!("is of build {}, and this is build {}", known.build, wanted.build),
            true => format!("runs {}, and this one would run {}", known.told(), wanted.told()),
        };
        Refused(format!(
            "the campaign in {} {what}: its seeds would mean something else. --new-build begins the next campaign in \
             this folder, which keeps what was found; --corpus names another folder",
            self.dir.display()
        ))
    }

    /// Removes what was being made when its maker ended. Nobody else is making anything: the lock is held.
    fn remove_unfinished(&self) -> Result<(), Refused> {
        let failures = reader::names(&self.failures_dir())?;
        let mut all = [reader::names(&self.dir)?, reader::names(&self.dir.join("campaigns"))?].concat();
        for folder in failures.iter().filter(|path| path.is_dir()) {
            all.extend(reader::names(folder)?);
        }
        let is_unfinished =
            |path: &&PathBuf| failure::is_unfinished(&path.file_name().unwrap_or_default().to_string_lossy());
        for path in all.iter().chain(&failures).filter(is_unfinished) {
            // What cannot be removed is in nobody's way.
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
        Ok(())
    }

    /// Removes the files of shards of campaigns that are over; their summaries are written.
    fn forget_shards_before(&self, number: u64) -> Result<(), Refused> {
        for path in reader::names(&self.dir.join("shards"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let of = name.split_once('-').and_then(|(of, _)| (of.len() == 4).then(|| of.parse::<u64>().ok())?);
            if of.is_some_and(|of| of < number) && !has_ending(&path, "lock") && !has_ending(&path, DAMAGED) {
                // An old file that stays is never read again.
                let _ = std::fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

impl Identity {
    /// What its plans are, in words.
    fn told(&self) -> String {
        match self.defects.is_empty() {
            true => self.source.clone(),
            false => format!("{} with {}", self.source, self.defects.join(", ")),
        }
    }
}

/// What was kept of a failure.
#[derive(Debug)]
pub struct Kept {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether that is news.
    pub news: News,
    /// What was damaged there.
    pub notes: Vec<String>,
}

/// What a failure is to a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its fingerprint was not there.
    New,
    /// It was, and this plan takes the place of the one that was kept: a slower one, one of another build, or none that
    /// can be read.
    Faster,
    /// It was, and the plan that was kept stays.
    Known,
}

/// The files of a folder whose names end like this.
fn with_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Refused> {
    let mut all = reader::names(folder)?;
    all.retain(|path| has_ending(path, ending));
    Ok(all)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

/// The shard whose state this is, if it is one of this campaign.
fn shard_of(path: &Path, number: u64) -> Option<Shard> {
    shard::named(path.file_stem()?.to_str()?.strip_prefix(&format!("{number:04}-"))?)
}
