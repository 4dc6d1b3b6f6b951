//! `corpus merge`: takes what other corpora hold into one, as after a night on several machines.
//!
//! Failures are joined by fingerprint: the faster plan is kept, and the smaller shrunk one; a plan that cannot be read is
//! left. Seeds are joined if they are of one campaign, build and plans; what both have done counts once, in however many
//! parts each has done it. What is merged from stays as it is, and to merge again changes nothing.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    Which,
    failure::{Failure, ORIGINAL, REPORT, Record, SHRUNK},
    folder::{Folder, Header},
    reader::{self, FORMAT, Reader},
    same_in,
    shard::State,
    tell_notes, unusable,
};
use crate::{campaign::keep, exit, input::Refused, output};

/// What to merge.
#[derive(clap::Args)]
pub struct Args {
    /// Corpora to take from; they stay as they are
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// Merges.
pub fn merge(args: &Args) -> anyhow::Result<u8> {
    let sources = args.from.iter().map(|dir| Folder::existing(dir)).collect::<Result<Vec<_>, _>>()?;
    let into = Folder::made(&args.which.corpus)?;
    for source in &sources {
        if is_same_folder(source.dir(), into.dir()) {
            return Err(Refused(format!("{}: a corpus is not merged into itself", source.dir().display())).into());
        }
    }
    let held = into.lock()?;
    for source in &sources {
        take_all(&into, source).map_err(unusable)?;
    }
    drop(held);
    Ok(exit::PASSED)
}

/// Takes what one corpus holds, and says what that was.
fn take_all(into: &Folder, source: &Folder) -> anyhow::Result<()> {
    let mut reader = Reader::looking();
    let failures = source.failures(&mut reader)?;
    let count = failures.len();
    let mut new = 0;
    for failure in failures {
        new += u64::from(take(into, &failure)?);
    }
    let seeds = seeds(into, source, &mut reader)?;
    tell_notes(&reader);
    output::print(&format!("{}: {count} failures, {new} of them new; {seeds}\n", source.dir().display()));
    Ok(())
}

/// Takes one failure; whether it was not there. Of plans that cannot be read the reader has told.
fn take(into: &Folder, failure: &Failure) -> anyhow::Result<bool> {
    let folder = same_in(into, failure);
    let mut reader = Reader::mending();
    let known = if folder.is_dir() { Failure::read(&folder, &mut reader)? } else { None };
    tell_notes(&reader);
    let Some(known) = known else {
        if failure.plans().next().is_none() {
            return Ok(false);
        }
        // Campaigns are numbered by each corpus for itself.
        let record = Record { first_campaign: 0, campaign: 0, ..failure.record.clone() };
        into.make_failure(&folder, |making| {
            copy(failure, making)?;
            Failure { folder: making.to_owned(), record, ..failure.clone() }.save()
        })?;
        return Ok(true);
    };
    let mut merged = known.clone();
    let is_better =
        known.original.is_none() || known.record.build == failure.record.build && known.yields_to(&failure.record);
    if is_better && failure.original.is_some() {
        copy_original(failure, &folder)?;
        let (first_campaign, campaign) = (known.record.first_campaign, known.record.campaign);
        let shrunk = known.record.shrunk.clone();
        merged.record = Record { first_campaign, campaign, shrunk, ..failure.record.clone() };
    }
    let size = |failure: &Failure| {
        let shrunk = failure.record.shrunk.as_ref().filter(|shrunk| shrunk.trouble.is_none());
        shrunk.map_or(usize::MAX, |shrunk| shrunk.plan_steps)
    };
    if size(failure) < size(&known) {
        copy_file(failure, SHRUNK, &folder)?;
        merged.record.shrunk = failure.record.shrunk.clone();
    }
    if merged.record != known.record {
        merged.save()?;
    }
    Ok(false)
}

/// Copies everything of a failure that can be used, but for its record.
fn copy(failure: &Failure, to: &Path) -> anyhow::Result<()> {
    if failure.original.is_some() {
        copy_original(failure, to)?;
    }
    match failure.shrunk {
        Some(_) => copy_file(failure, SHRUNK, to),
        None => Ok(()),
    }
}

/// Copies the fastest plan and, if there is one, the report of its run.
fn copy_original(failure: &Failure, to: &Path) -> anyhow::Result<()> {
    copy_file(failure, ORIGINAL, to)?;
    match failure.folder.join(REPORT).exists() {
        true => copy_file(failure, REPORT, to),
        false => Ok(()),
    }
}

fn copy_file(failure: &Failure, name: &str, to: &Path) -> anyhow::Result<()> {
    let from = failure.folder.join(name);
    let bytes = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
    keep::write(&to.join(name), &String::from_utf8_lossy(&bytes))
}

/// Takes the seeds that another corpus has done, and says how that went.
fn seeds(into: &Folder, source: &Folder, reader: &mut Reader) -> anyhow::Result<String> {
    let Some(theirs) = source.header(reader)? else { return Ok("it has run no seeds".to_owned()) };
    let ours = match into.header(&mut Reader::looking())? {
        Some(ours) => ours,
        None => {
            let ours = Header { reenact_campaign: FORMAT, number: 1, ..theirs.clone() };
            reader::write(&into.dir().join("campaign.json"), &ours)?;
            ours
        }
    };
    if ours.identity != theirs.identity {
        return Ok("its seeds are of another build or other plans, and were left".to_owned());
    }
    let (mut taken, mut left) = (0, 0);
    for state in source.shards(&theirs, reader)? {
        let (paths, _lock) = into.hold(&ours, state.shard)?;
        let mut others = into.shards(&ours, &mut Reader::looking())?;
        others.retain(|other| other.shard != state.shard);
        let mut mending = Reader::mending();
        let known = paths.read(&mut mending)?.filter(|known| known.campaign == ours);
        tell_notes(&mending);
        let known = known.unwrap_or_else(|| State::new(ours.clone(), state.shard));
        let common = known.common(&state);
        // No seed is in two states of one corpus.
        let elsewhere: u64 = others.iter().map(|other| other.common(&state)).sum();
        if common + elsewhere >= state.done.len() {
            continue;
        }
        // Totals can be added up and not taken apart: seeds that both have would count twice.
        if elsewhere > 0 || common > 0 && common < known.done.len() {
            left += state.done.len() - common - elsewhere;
            continue;
        }
        let mut merged = if common > 0 { State { campaign: ours.clone(), ..state.clone() } } else { known.clone() };
        if common == 0 {
            merged.done.add(&state.done);
            merged.totals.merge(&state.totals);
            merged.still_fail.extend(state.still_fail.iter().cloned());
            for (fingerprint, found) in &state.failures {
                merged.failures.entry(fingerprint.clone()).or_default().add(found);
            }
        }
        taken += merged.done.len() - known.done.len();
        reader::write(&paths.state, &merged)?;
    }
    let left = if left > 0 { format!("; {left} were left, because parts of them are known") } else { String::new() };
    Ok(format!("{taken} seeds taken{left}"))
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
