//! Checks: the promises of the store, each judged on every event.
//!
//! A check holds one property in one file: its name, the property in a sentence, where it comes from, and the halls it
//! hears. It sees events and what all checks know together ([`Known`]), never the cluster. [`Checks`] sends an event to
//! its hearers only. A check that has accused is heard no more, so one defect gives one violation a check.
//!
//! Not here: what a violation means for a run (its verdict), and whether a run reached what it was made for.

pub mod cache;
pub mod client;
pub mod dense;
pub mod format;
pub mod known;
pub mod lease;
pub mod liveness;
pub mod placement;
pub mod process;
pub mod raft;
pub mod reference;
pub mod region;
pub mod snapshot;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, Hall, Header, NodeId},
    verdict::{self, Class},
};

pub use known::Known;
pub use table::TABLE;

/// What a check says of an event.
pub type Judged = Result<(), Box<Violation>>;

/// One property, judged event by event.
pub trait Check: Send {
    /// Hears an event. An error is a violation; the check is not asked again.
    fn on(&mut self, event: &Event, known: &Known) -> Judged;

    /// Judges what could not be judged before the end of the run.
    fn finish(&mut self, known: &Known) -> Judged {
        let _ = known;
        Ok(())
    }

    /// How often the property was really put to the test.
    fn reached(&self) -> u64;
}

/// A row of the table of checks.
pub struct Entry {
    /// The check's name, as plans and reports write it.
    pub name: &'static str,
    /// Its family.
    pub family: &'static str,
    /// The class of its violations.
    pub class: Class,
    /// The property in a sentence.
    pub property: &'static str,
    /// Paper, TLA+ name or upstream issue.
    pub source: &'static str,
    /// What it hears.
    pub hears: &'static [Hall],
    /// Makes one for a run.
    pub make: fn() -> Box<dyn Check>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The check's name.
    pub check: String,
    /// The class.
    pub class: Class,
    /// Which rule of the check.
    pub rule: String,
    /// Where, in words that are the same whenever the same defect shows: a site, a kind. Part of the fingerprint.
    pub site: String,
    /// What happened, for people.
    pub detail: String,
    /// The event by which it showed; none at the end of the run.
    pub seq: Option<u64>,
    /// True time of that event.
    pub time_ns: u64,
    /// The process that the event is about.
    pub node: Option<NodeId>,
}

impl Violation {
    /// A violation of the rule; the dispatcher fills in check, class and event.
    pub fn new(rule: &'static str, detail: impl Into<String>) -> Box<Violation> {
        Box::new(Violation {
            check: String::new(),
            class: Class::Safety,
            rule: rule.to_owned(),
            site: String::new(),
            detail: detail.into(),
            seq: None,
            time_ns: 0,
            node: None,
        })
    }

    /// The same with a site. Numbers, paths and values in it do not count.
    pub fn at(mut self: Box<Self>, site: &str) -> Box<Violation> {
        self.site = verdict::normal(site);
        self
    }

    /// The same as an admission that the budget ended.
    pub fn inconclusive(mut self: Box<Self>) -> Box<Violation> {
        self.class = Class::Inconclusive;
        self
    }

    /// Rule and site in one line, which a verdict's detail begins with.
    pub fn headline(&self) -> String {
        if self.site.is_empty() { self.rule.clone() } else { format!("{}: {}", self.rule, self.site) }
    }

    /// By what failures are sorted: check, rule and site.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{}/{}", self.check, self.rule);
        if !self.site.is_empty() {
            text.push('/');
            text.push_str(&self.site);
        }
        text
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.check, self.rule, self.detail)
    }
}

/// All checks of a run.
pub struct Checks {
    known: Known,
    checks: Vec<Running>,
    hearers: [Vec<u16>; Hall::COUNT],
    violations: Vec<Violation>,
    finished: bool,
}

struct Running {
    entry: &'static Entry,
    check: Box<dyn Check>,
    accused: bool,
    heard: u64,
}

/// What one check did in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The check's name.
    pub check: String,
    /// Events that it heard.
    pub heard: u64,
    /// How often its property was put to the test.
    pub reached: u64,
}

/// A check's name that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no check `{name}`; `reenact list checks` names them all")]
pub struct UnknownCheck {
    /// The name.
    pub name: String,
}

impl Checks {
    /// All checks.
    pub fn all(header: Header) -> Checks {
        Checks::of(header, TABLE)
    }

    /// All checks but those named.
    pub fn without<S: AsRef<str>>(header: Header, names: &[S]) -> Result<Checks, UnknownCheck> {
        for name in names {
            entry(name.as_ref())?;
        }
        Ok(Checks::of(header, TABLE.iter().filter(|entry| names.iter().all(|name| name.as_ref() != entry.name))))
    }

    /// Only the checks named.
    pub fn only<S: AsRef<str>>(header: Header, names: &[S]) -> Result<Checks, UnknownCheck> {
        for name in names {
            entry(name.as_ref())?;
        }
        Ok(Checks::of(header, TABLE.iter().filter(|entry| names.iter().any(|name| name.as_ref() == entry.name))))
    }

    /// No checks at all: for measuring what they cost.
    pub fn none(header: Header) -> Checks {
        Checks::of(header, [])
    }

    fn of(header: Header, entries: impl IntoIterator<Item = &'static Entry>) -> Checks {
        let mut hearers = [const { Vec::new() }; Hall::COUNT];
        let mut checks = Vec::new();
        for entry in entries {
            for &hall in entry.hears {
                hearers[hall as usize].push(checks.len() as u16);
            }
            checks.push(Running { entry, check: (entry.make)(), accused: false, heard: 0 });
        }
        let known = Known::new(header, checks.iter().any(|running| known::needs_content(running.entry.name)));
        Checks { known, checks, hearers, violations: Vec::new(), finished: false }
    }

    /// Takes an event to its hearers and returns the first new violation, if there is one. Further ones of the same
    /// event, and those of later events, are in [`Checks::violations`].
    pub fn on(&mut self, event: &Event) -> Option<&Violation> {
        let hall = event.hall() as usize;
        let before = self.violations.len();
        self.known.on(event);
        for &position in &self.hearers[hall] {
            let running = &mut self.checks[usize::from(position)];
            if running.accused {
                continue;
            }
            running.heard += 1;
            if let Err(violation) = running.check.on(event, &self.known) {
                running.accused = true;
                self.violations.push(complete(*violation, running.entry, Some(event)));
            }
        }
        self.violations.get(before)
    }

    /// Judges what is left at the end of the run, once, and returns the first new violation. An admission that a budget
    /// ended comes last.
    pub fn finish(&mut self) -> Option<&Violation> {
        let before = self.violations.len();
        if !std::mem::replace(&mut self.finished, true) {
            for running in self.checks.iter_mut().filter(|running| !running.accused) {
                if let Err(violation) = running.check.finish(&self.known) {
                    running.accused = true;
                    self.violations.push(complete(*violation, running.entry, None));
                }
            }
            self.violations[before..].sort_by_key(|violation| violation.class == Class::Inconclusive);
        }
        self.violations.get(before)
    }

    /// All violations so far, in the order in which they showed.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What each check did.
    pub fn tallies(&self) -> Vec<Tally> {
        let tally = |running: &Running| Tally {
            check: running.entry.name.to_owned(),
            heard: running.heard,
            reached: running.check.reached(),
        };
        self.checks.iter().map(tally).collect()
    }

    /// What all checks know together.
    pub fn known(&self) -> &Known {
        &self.known
    }
}

fn complete(mut violation: Violation, entry: &Entry, event: Option<&Event>) -> Violation {
    violation.check = entry.name.to_owned();
    if violation.class == Class::Safety {
        violation.class = entry.class;
    }
    if let Some(event) = event {
        violation.seq = Some(event.seq);
        violation.time_ns = event.time_ns;
        violation.node = Some(event.node);
    }
    violation
}

/// The table's row for a name.
pub fn entry(name: &str) -> Result<&'static Entry, UnknownCheck> {
    TABLE.iter().find(|entry| entry.name == name).ok_or_else(|| UnknownCheck { name: name.to_owned() })
}

/// The table of all checks, in the order in which they hear an event.
pub fn list() -> &'static [Entry] {
    TABLE
}
