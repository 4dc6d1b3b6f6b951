//! What a campaign says while it runs and when it ends: to people, or a JSON object a line.
//!
//! A failure is told of when it is on the disk, never before.

use std::{
    cell::{Cell, RefCell},
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use scenarios::plan::Plan;
use serde_json::json;

use super::{in_words, shard::Shard};
use crate::{
    campaign::{
        honesty::{Ran, Totals, gaps::Gap},
        pool::Done,
    },
    corpus::{
        failure::Failure,
        folder::{Folder, Header, Kept, News},
        sorted::{Overview, Status},
    },
    output::{self, failure, honesty, progress},
};

/// How often a log that is no terminal hears how far a campaign has come.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Whoever listens.
pub struct Telling {
    is_json: bool,
    bar: RefCell<ProgressBar>,
    runs: Cell<u64>,
    failed: Cell<u64>,
    last_line: Cell<Instant>,
}

impl Telling {
    /// Tells machines, or people.
    pub fn new(is_json: bool) -> Self {
        let (runs, failed) = (Cell::new(0), Cell::new(0));
        Self { is_json, bar: RefCell::new(ProgressBar::hidden()), runs, failed, last_line: Cell::new(Instant::now()) }
    }

    /// Something that people should know, and nobody has to act upon.
    pub fn note(&self, text: &str) {
        match self.is_json {
            true => self.line(&json!({ "event": "note", "text": text })),
            false => self.say(&format!("note: {text}\n")),
        }
    }

    /// The corpus is open.
    pub fn started(&self, folder: &Folder, header: &Header, shard: Shard, done: u64) {
        if self.is_json {
            return self.line(&json!({
                "event": "start",
                "corpus": folder.dir(),
                "campaign": header.number,
                "build": header.identity.build,
                "plans": header.identity.source,
                "defects": header.identity.defects,
                "shard": shard.to_string(),
                "done": done,
            }));
        }
        let again = if done > 0 { format!(", {done} seeds are done already") } else { String::new() };
        let part = if shard.count > 1 { format!(", shard {shard}") } else { String::new() };
        self.say(&format!("campaign {} in {}{part}{again}\n", header.number, folder.dir().display()));
    }

    /// The plan that must fail does not.
    pub fn canary_lives(&self) {
        let text =
            "the canary, a plan that must fail, did not: this build would not notice a failure, and no seed was run";
        match self.is_json {
            true => self.line(&json!({ "event": "canary", "text": text, "status": crate::exit::VOID })),
            false => self.say(&format!("{text}\n")),
        }
    }

    /// What earlier campaigns have kept was run again.
    pub fn replayed(&self, known: usize, still_fail: usize) {
        match self.is_json {
            true => self.line(&json!({ "event": "replayed", "known": known, "still_fail": still_fail })),
            false => self.say(&format!("of {known} failures that are known, {still_fail} still fail as they did\n")),
        }
    }

    /// Runs begin: so many, if that is known.
    pub fn begins(&self, runs: Option<u64>) {
        if !self.is_json {
            *self.bar.borrow_mut() = match runs {
                Some(runs) => progress::bar(runs),
                None => progress::spinner(),
            };
        }
    }

    /// The last run is done.
    pub fn ends(&self) {
        self.bar.borrow().finish_and_clear();
    }

    /// A run is done, and what it found is on the disk.
    pub fn ran(&self, ran: &Ran, done: &Done, kept: Option<&Kept>) {
        self.runs.set(self.runs.get() + 1);
        self.failed.set(self.failed.get() + u64::from(kept.is_some()));
        let outcome = &done.outcome;
        let verdict = &outcome.verdict;
        kept.iter().flat_map(|kept| &kept.notes).for_each(|note| self.note(note));
        if self.is_json {
            self.line(&json!({
                "event": "run",
                "seed": ran.seed.to_string(),
                "class": verdict.class,
                "fingerprint": verdict.fingerprint,
                "step": verdict.step,
                "trace": format!("{:016x}", outcome.trace_hash),
                "twice": ran.is_twice,
                "unconfirmed": done.is_unconfirmed,
                "kept": kept.map(|kept| &kept.folder),
                "news": kept.map(|kept| match kept.news {
                    News::New => "new",
                    News::Faster => "faster",
                    News::Known => "known",
                }),
            }));
            return;
        }
        self.bar.borrow().inc(1);
        if let Some(kept) = kept.filter(|kept| kept.news == News::New) {
            let (class, folder, seed) = (verdict.class, kept.folder.display(), ran.seed);
            let doubt = if done.is_unconfirmed { "\n  not confirmed: whoever ran it again was killed" } else { "" };
            self.say(&format!("{class}: {} (seed {seed}){doubt}\n  kept in {folder}\n", verdict.fingerprint));
        }
        self.bar.borrow().set_message(format!("{} failed", self.failed.get()));
        if !std::io::stderr().is_terminal() && self.last_line.get().elapsed() >= LINE_EVERY {
            self.last_line.set(Instant::now());
            let text = format!("{} runs, {} failed\n", self.runs.get(), self.failed.get());
            // Nobody is left to tell when standard error is closed.
            let _ = anstream::stderr().write_all(text.as_bytes());
        }
    }

    /// A failure that cannot be kept is told in full instead.
    pub fn homeless(&self, plan: &Plan, done: &Done) {
        let text = failure::report(plan, &done.outcome, &done.stderr);
        match self.is_json {
            true => self.line(&json!({
                "event": "not-kept",
                "seed": plan.seed.to_string(),
                "outcome": done.outcome,
                "plan": plan.to_string(),
            })),
            false => self.say(&format!("this failure could not be kept; its plan follows\n{text}\n{plan}\n")),
        }
    }

    /// Shrinking of a failure begins.
    pub fn shrinks(&self, failure: &Failure) {
        if !self.is_json {
            let (fingerprint, steps) = (&failure.record.fingerprint, failure.record.plan_steps);
            self.say(&format!("shrinking {fingerprint} ({steps} steps)\n"));
        }
    }

    /// A failure was shrunk, as far as the time went.
    pub fn shrunk(&self, failure: &Failure) {
        let Some(shrunk) = &failure.record.shrunk else { return };
        if self.is_json {
            return self.line(&json!({
                "event": "shrunk",
                "fingerprint": failure.record.fingerprint,
                "folder": failure.folder,
                "shrunk": shrunk,
            }));
        }
        self.say(&match &shrunk.trouble {
            Some(trouble) => format!("  {trouble}\n"),
            None => format!(
                "  {} steps of {}, {} attempts{}\n",
                shrunk.plan_steps,
                failure.record.plan_steps,
                shrunk.attempts,
                if shrunk.is_done { "" } else { ", ended by the budget" }
            ),
        });
    }

    /// The end.
    pub fn report(&self, overview: &Overview, totals: &Totals, gaps: &[Gap], shard: Shard, status: u8) {
        let failures = overview.failures.iter();
        if self.is_json {
            let failures = failures.map(|sorted| {
                json!({
                    "status": sorted.status,
                    "count": sorted.count,
                    "folder": sorted.failure.folder,
                    "failure": sorted.failure.record,
                })
            });
            return self.line(&json!({
                "event": "report",
                "shard": shard.to_string(),
                "honesty": honesty::as_json(totals, gaps),
                "failures": failures.collect::<Vec<_>>(),
                "status": status,
            }));
        }
        self.say(&text(overview, totals, gaps, status));
    }

    fn say(&self, text: &str) {
        self.bar.borrow().suspend(|| output::print(text));
    }

    fn line(&self, value: &serde_json::Value) {
        output::print(&format!("{value}\n"));
    }
}

/// The end of a campaign in words.
pub fn text(overview: &Overview, totals: &Totals, gaps: &[Gap], status: u8) -> String {
    let mut text = format!("\n{}", honesty::table(totals, gaps));
    if !overview.failures.is_empty() {
        text.push_str(&format!("\nfailures: {}\n", in_words(overview)));
    }
    for sorted in overview.failures.iter().filter(|sorted| matches!(sorted.status, Status::New | Status::Ongoing)) {
        let record = &sorted.failure.record;
        text.push_str(&format!(
            "{} {}: {} ({} seeds)\n  {}\n",
            sorted.status.as_str(),
            record.class,
            record.fingerprint,
            sorted.count,
            sorted.failure.reproduce()
        ));
    }
    if status == crate::exit::INTERRUPTED {
        text.push_str("interrupted: what was done is kept, and the same command goes on from there\n");
    } else if totals.runs == 0 {
        text.push_str("nothing was run: no seed of the interval belongs to this shard\n");
    }
    text
}
