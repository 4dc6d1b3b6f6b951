//! Every check on recorded histories that it has to accuse, by rule, and on such that it must not.
//!
//! The histories lie in `tests/checks/<check>/` as event files, so that they can be read, and judged by the program,
//! without this test. The stories beside this file wrote them; with `REENACT_REWRITE=1` they are written again. A history
//! that a check passes has to pass every other check too.

#![expect(clippy::disallowed_methods, reason = "the test reads and writes real files; nothing of it is simulated")]

#[path = "event_files/story.rs"]
mod story;

#[path = "event_files/cache.rs"]
mod cache;
#[path = "event_files/client.rs"]
mod client;
#[path = "event_files/format.rs"]
mod format;
#[path = "event_files/placement.rs"]
mod placement;
#[path = "event_files/process.rs"]
mod process;
#[path = "event_files/raft.rs"]
mod raft;
#[path = "event_files/recovery.rs"]
mod recovery;
#[path = "event_files/region.rs"]
mod region;
#[path = "event_files/snapshot.rs"]
mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufReader,
    path::PathBuf,
};

use scenarios::{
    check::{self, Checks, Violation},
    event::schema::{Reader, write_event, write_header},
};
use story::Story;

/// A history of one check: with a rule when the check has to accuse it.
pub struct Case {
    check: &'static str,
    rule: Option<&'static str>,
    name: &'static str,
    story: Story,
}

/// A history that the check has to accuse by a rule.
pub fn accuse(check: &'static str, rule: &'static str, name: &'static str, tell: impl FnOnce(&mut Story)) -> Case {
    let mut story = Story::new();
    tell(&mut story);
    Case { check, rule: Some(rule), name, story }
}

/// A history that no check may accuse.
pub fn pass(check: &'static str, name: &'static str, tell: impl FnOnce(&mut Story)) -> Case {
    let mut story = Story::new();
    tell(&mut story);
    Case { check, rule: None, name, story }
}

impl Case {
    fn path(&self) -> PathBuf {
        let kind = if self.rule.is_some() { "accuse" } else { "pass" };
        folder().join(self.check).join(format!("{kind}-{}.jsonl", self.name))
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/checks")
}

fn cases() -> Vec<Case> {
    let all = [
        raft::cases(),
        region::cases(),
        snapshot::cases(),
        cache::cases(),
        client::cases(),
        format::cases(),
        placement::cases(),
        recovery::cases(),
        process::cases(),
    ];
    all.into_iter().flatten().collect()
}

/// All violations of a recorded history, and how often the named check was reached.
fn judge(case: &Case, only: Option<&str>) -> (Vec<Violation>, u64) {
    let path = case.path();
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = Reader::new(BufReader::new(file)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut checks = match only {
        Some(name) => Checks::only(reader.header().clone(), &[name]).expect("the table has this check"),
        None => Checks::all(reader.header().clone()),
    };
    for event in reader {
        checks.on(&event.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
    checks.finish();
    let reached = checks.tallies().into_iter().find(|tally| tally.check == case.check).map_or(0, |tally| tally.reached);
    (checks.violations().to_vec(), reached)
}

#[test]
fn the_files_are_what_the_stories_tell() {
    let rewrite = std::env::var_os("REENACT_REWRITE").is_some();
    for case in cases() {
        let path = case.path();
        let mut text = Vec::new();
        write_header(&Story::header(), &mut text).expect("a vector takes all");
        for event in case.story.events() {
            write_event(&event, &mut text).expect("a vector takes all");
        }
        if rewrite {
            std::fs::create_dir_all(path.parent().expect("files lie in a folder")).expect("the folder can be made");
            std::fs::write(&path, &text).expect("the file can be written");
        }
        let found = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == text, "{} differs from its story; REENACT_REWRITE=1 writes it again", path.display());
    }
}

#[test]
fn checks_accuse_what_they_have_to() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Some(rule) = case.rule else { continue };
        let path = case.path();
        match judge(&case, Some(case.check)).0.first() {
            None => wrong.push(format!("{}: not accused", path.display())),
            Some(found) if !found.fingerprint().starts_with(&format!("{}/{rule}", case.check)) => {
                wrong.push(format!("{}: {found}", path.display()));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_check_accuses_a_legal_history() {
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.rule.is_none()) {
        let (violations, reached) = judge(case, None);
        wrong.extend(violations.iter().map(|violation| format!("{}: {violation}", case.path().display())));
        if reached == 0 {
            wrong.push(format!("{}: the check has judged nothing", case.path().display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_has_both_kinds_of_files() {
    let mut kinds: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for case in cases() {
        kinds.entry(case.check).or_default().insert(case.rule.is_some());
        assert!(paths.insert(case.path()), "{} is told twice", case.path().display());
    }
    let complete = BTreeSet::from([false, true]);
    for entry in check::list() {
        assert_eq!(kinds.get(entry.name), Some(&complete), "{} needs a history to accuse and one to pass", entry.name);
    }
    for folder in std::fs::read_dir(folder()).expect("the folder of event files is there") {
        for file in std::fs::read_dir(folder.expect("readable").path()).expect("the folder is readable") {
            let path = file.expect("readable").path();
            assert!(paths.contains(&path), "{} belongs to no story", path.display());
        }
    }
}
