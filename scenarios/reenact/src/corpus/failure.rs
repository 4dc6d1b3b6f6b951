//! One failure of a corpus: a folder with its fastest plan, the shrunk one, and what it came to.
//!
//! The folder is made under another name and then renamed, so that it is there whole or not at all. Afterwards each file
//! is replaced whole. Everything here is done under the corpus's lock, but for reading.

use std::path::{Path, PathBuf};

use scenarios::{
    plan::{Plan, Recorded, error::Problem},
    verdict::Class,
};
use serde::{Deserialize, Serialize};

use super::reader::{self, FORMAT, Form, Reader};
use crate::{
    campaign::{
        keep::{self, PARTIAL},
        pool::Done,
    },
    output::failure as text,
};

/// The fastest plan with this fingerprint.
pub const ORIGINAL: &str = "original.toml";
/// The smallest plan with this fingerprint that was found so far.
pub const SHRUNK: &str = "shrunk.toml";
/// What happened, for people.
pub const REPORT: &str = "report.txt";
/// What happened, for machines.
pub const VERDICT: &str = "verdict.json";

/// So much of a fingerprint is in the name of its folder.
const NAME_MAX: usize = 72;

/// What stands in `verdict.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the file.
    pub reenact_failure: u64,
    /// By which failures are sorted.
    pub fingerprint: String,
    /// The class of the verdict.
    pub class: Class,
    /// The check that accused.
    pub check: String,
    /// What it said.
    pub detail: String,
    /// The campaign that met it first.
    pub first_campaign: u64,
    /// The campaign that the kept plan is from.
    pub campaign: u64,
    /// The build that ran it then.
    pub build: String,
    /// The kept plan's scenario.
    pub scenario: String,
    /// The kept plan's seed; as text, since not every reader of JSON has whole numbers of that size.
    pub seed: String,
    /// The defects that the nodes carried.
    pub defects: Vec<String>,
    /// Steps of the trace until the verdict: of several plans, the one with the fewest is kept.
    pub step: u64,
    /// Simulated time until the verdict, in nanoseconds.
    pub time_ns: u64,
    /// How many steps the kept plan has.
    pub plan_steps: usize,
    /// How far it was shrunk.
    pub shrunk: Option<Shrunk>,
    /// Whether nobody knows if the kept plan fails again in a fresh process: whoever tried was killed.
    #[serde(default)]
    pub is_unconfirmed: bool,
}

/// How far a plan was shrunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunk {
    /// How many steps are left.
    pub plan_steps: usize,
    /// How many plans were tried.
    pub attempts: u64,
    /// Whether nothing smaller can be found; if not, the time was up.
    pub is_done: bool,
    /// Real time that was spent, in seconds.
    pub spent_s: u64,
    /// The build that it fails with.
    pub build: String,
    /// Why shrinking was given up, if it was.
    pub trouble: Option<String>,
}

impl Form for Record {
    const KEY: &str = "reenact_failure";
}

/// A failure and where it is.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its folder.
    pub folder: PathBuf,
    /// What it came to.
    pub record: Record,
    /// The fastest plan; `None` if it is missing or cannot be used.
    pub original: Option<Plan>,
    /// The shrunk plan; `None` if there is none or it cannot be used.
    pub shrunk: Option<Plan>,
}

impl Failure {
    /// Reads a failure. Of a damaged record, as much is made as a plan has recorded; what of the record speaks of a shrunk
    /// plan that is lost is forgotten.
    pub fn read(folder: &Path, reader: &mut Reader) -> anyhow::Result<Option<Self>> {
        let record = reader.json::<Record>(&folder.join(VERDICT))?;
        let fingerprint = record.as_ref().map(|record| record.fingerprint.as_str());
        let original = read_plan(&folder.join(ORIGINAL), fingerprint, reader)?;
        let fingerprint = fingerprint.or_else(|| Some(&original.as_ref()?.recorded.as_ref()?.fingerprint));
        let shrunk = read_plan(&folder.join(SHRUNK), fingerprint, reader)?;
        let is_whole = record.is_some();
        let Some(mut record) = record.or_else(|| recorded(original.as_ref().or(shrunk.as_ref())?)) else {
            reader.damaged(folder, "it has neither a verdict nor a plan that says what it came to");
            return Ok(None);
        };
        record.shrunk = record.shrunk.filter(|known| known.trouble.is_some() || shrunk.is_some());
        let failure = Self { folder: folder.to_owned(), record, original, shrunk };
        if reader.mends() && !is_whole {
            failure.save()?;
        }
        Ok(Some(failure))
    }

    /// The record of a run.
    pub fn record(plan: &Plan, done: &Done, build: &str, campaign: u64) -> Record {
        let verdict = &done.outcome.verdict;
        Record {
            reenact_failure: FORMAT,
            fingerprint: verdict.fingerprint.clone(),
            class: verdict.class,
            check: verdict.check.clone(),
            detail: verdict.detail.clone(),
            first_campaign: campaign,
            campaign,
            build: build.to_owned(),
            scenario: plan.scenario.clone(),
            seed: plan.seed.to_string(),
            defects: plan.defects.clone(),
            step: verdict.step,
            time_ns: verdict.time_ns,
            plan_steps: plan.steps.len(),
            shrunk: None,
            is_unconfirmed: done.is_unconfirmed,
        }
    }

    /// Writes what a run gave into a folder that is there.
    pub fn write(folder: &Path, record: &Record, plan: &Plan, done: &Done) -> anyhow::Result<()> {
        let Done { outcome, stderr, .. } = done;
        let kept = Plan { recorded: Some(Recorded::of(&outcome.verdict, &record.build)), ..plan.clone() };
        keep::write(&folder.join(ORIGINAL), &kept.to_string())?;
        keep::write(&folder.join(REPORT), &text::report(plan, outcome, stderr))?;
        // Last: who finds it finds the others.
        reader::write(&folder.join(VERDICT), record)
    }

    /// Whether a run of the same failure should take the place of the one that is kept. A plan of another build may not
    /// fail any more, and one that cannot be read is none; of this build's, one that came back is better than one of which
    /// nobody knows, and the fastest best.
    pub fn yields_to(&self, other: &Record) -> bool {
        let worth = |record: &Record| (record.is_unconfirmed, record.step);
        self.original.is_none() || self.record.build != other.build || worth(other) < worth(&self.record)
    }

    /// Writes the record again, after it was shrunk.
    pub fn save(&self) -> anyhow::Result<()> {
        reader::write(&self.folder.join(VERDICT), &self.record)
    }

    /// The plans that can be read: the one to look at first comes first.
    pub fn plans(&self) -> impl Iterator<Item = (PathBuf, &Plan)> {
        let of = |name, plan: &'_ Option<Plan>| plan.as_ref().map(|_| self.folder.join(name));
        let paths = [of(SHRUNK, &self.shrunk), of(ORIGINAL, &self.original)];
        paths.into_iter().flatten().zip(self.shrunk.iter().chain(&self.original))
    }

    /// The line that makes it happen again.
    pub fn reproduce(&self) -> String {
        match self.plans().next() {
            Some((path, _)) => format!("Reproduce: cargo reenact replay {}", path.display()),
            None => format!("none of its plans can be read: it was {} seed {}", self.record.scenario, self.record.seed),
        }
    }
}

/// A plan of a failure. One that is cut off or of another failure is damaged; one with words that this build does not
/// know is of another build, and stays where it is.
fn read_plan(path: &Path, fingerprint: Option<&str>, reader: &mut Reader) -> anyhow::Result<Option<Plan>> {
    let Some(bytes) = reader.bytes(path)? else { return Ok(None) };
    let problem = match Plan::parse_bytes(&bytes, &scenarios::registry::vocabulary()) {
        Ok(plan) => match &plan.recorded {
            None => "it is damaged: it does not say what it came to".to_owned(),
            Some(recorded) if fingerprint.is_some_and(|wanted| wanted != recorded.fingerprint) => {
                format!("it is of another failure: {}", recorded.fingerprint)
            }
            Some(_) => return Ok(Some(plan)),
        },
        Err(error) if matches!(error.problem, Problem::Unknown { .. } | Problem::Version(_)) => {
            reader.notes.push(format!("{}:{error}; another build may be able to read it", path.display()));
            return Ok(None);
        }
        Err(error) => format!("it is damaged: {error}"),
    };
    reader.damaged(path, &problem);
    Ok(None)
}

/// As much of a record as a plan has.
fn recorded(plan: &Plan) -> Option<Record> {
    let recorded = plan.recorded.clone()?;
    Some(Record {
        reenact_failure: FORMAT,
        fingerprint: recorded.fingerprint,
        class: recorded.class,
        check: recorded.check,
        detail: String::new(),
        first_campaign: 0,
        campaign: 0,
        build: recorded.build,
        scenario: plan.scenario.clone(),
        seed: plan.seed.to_string(),
        defects: plan.defects.clone(),
        step: recorded.step,
        time_ns: 0,
        plan_steps: plan.steps.len(),
        shrunk: None,
        is_unconfirmed: false,
    })
}

/// The name of a fingerprint's folder: as much of it as people can read, and a hash of all of it.
pub fn folder_name(fingerprint: &str) -> String {
    let mut name = String::new();
    for c in fingerprint.chars() {
        match c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            true => name.push(c.to_ascii_lowercase()),
            false if name.ends_with('_') => {}
            false => name.push('_'),
        }
        if name.len() >= NAME_MAX {
            break;
        }
    }
    let hash = fingerprint
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let name = name.trim_matches(['_', '.', '-']);
    format!("{name}{}{:08x}", if name.is_empty() { "" } else { "-" }, (hash ^ (hash >> 32)) as u32)
}

/// Whether something in the folder of failures was still being made when its maker ended.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(".new-") || name.ends_with(&format!(".{PARTIAL}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_makes_a_name_that_is_safe_and_its_own() {
        let name = folder_name("one-lease: two at once at `../../etc`\n/ü");
        assert!(name.starts_with("one-lease_two_at_once_at_..-") || name.starts_with("one-lease_two_at_once_at_"));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name}");
        let long = "x".repeat(500);
        assert!(folder_name(&long).len() < 100);
        assert_ne!(folder_name(&long), folder_name(&format!("{long}y")));
        assert_eq!(folder_name("").len(), 8);
        assert!(!folder_name("...").starts_with('.'));
    }
}
