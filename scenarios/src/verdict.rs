//! What a run came to: a class, the check that spoke, and a fingerprint by which failures are sorted.
//!
//! A check's violation brings its own fingerprint: check, rule and site. What no check says, a panic or a failure of
//! Reenact itself, gets one from its text, without what changes from run to run: numbers, ids, keys, times.
//!
//! Not here: exit statuses, which are the program's, and how a verdict is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Every check was content, and every trigger was reached.
    Pass,
    /// A promise was broken.
    Safety,
    /// The cluster did not come to rest after healing.
    Liveness,
    /// A process panicked, or ends again and again.
    Crash,
    /// Nothing was wrong, but a trigger of the plan was never reached: the run proves nothing.
    Unarmed,
    /// A check ran out of its budget.
    Inconclusive,
    /// Reenact itself failed: a bug of its own, a worker lost, a trace that differs.
    Harness,
}

impl Class {
    /// Every class.
    pub const ALL: &[Self] =
        &[Self::Pass, Self::Safety, Self::Liveness, Self::Crash, Self::Unarmed, Self::Inconclusive, Self::Harness];

    /// Its name in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Safety => "safety",
            Self::Liveness => "liveness",
            Self::Crash => "crash",
            Self::Unarmed => "unarmed",
            Self::Inconclusive => "inconclusive",
            Self::Harness => "harness",
        }
    }

    /// Whether the store under test is accused.
    pub const fn is_violation(self) -> bool {
        matches!(self, Self::Safety | Self::Liveness | Self::Crash)
    }

    /// Whether the run proves nothing either way.
    pub const fn is_void(self) -> bool {
        matches!(self, Self::Unarmed | Self::Inconclusive | Self::Harness)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its class.
    pub class: Class,
    /// The check that spoke; empty for a pass.
    pub check: String,
    /// What it says, beginning with the rule and the site; empty for a pass.
    pub detail: String,
    /// By which failures are sorted; empty for a pass.
    pub fingerprint: String,
    /// The step of the trace at which it was reached.
    pub step: u64,
    /// Simulated time at which it was reached, in nanoseconds.
    pub time_ns: u64,
    /// The rolling hash of the whole trace.
    #[serde(with = "hex")]
    pub trace: u64,
}

impl Verdict {
    /// Everything was as it should be.
    pub fn pass(step: u64, time_ns: u64, trace: u64) -> Self {
        let empty = String::new;
        Self { class: Class::Pass, check: empty(), detail: empty(), fingerprint: empty(), step, time_ns, trace }
    }

    /// `check` says `detail`, at this step and time.
    pub fn new(class: Class, check: &str, detail: impl Into<String>, step: u64, time_ns: u64, trace: u64) -> Self {
        let detail = detail.into();
        let fingerprint = fingerprint(check, &detail);
        Self { class, check: check.to_owned(), detail, fingerprint, step, time_ns, trace }
    }

    /// A check accuses. The violation brings its own fingerprint, of check, rule and site.
    pub fn accused(violation: &crate::check::Violation, step: u64, trace: u64) -> Self {
        Self {
            class: violation.class,
            check: violation.check.clone(),
            detail: format!("{}\n{}", violation.headline(), violation.detail),
            fingerprint: violation.fingerprint(),
            step,
            time_ns: violation.time_ns,
            trace,
        }
    }

    /// Reenact itself failed before there was a trace.
    pub fn harness(check: &str, detail: impl Into<String>) -> Self {
        Self::new(Class::Harness, check, detail, 0, 0, 0)
    }
}

/// The check and the first line of its detail, without what changes from run to run.
pub fn fingerprint(check: &str, detail: &str) -> String {
    match normal(detail) {
        detail if detail.is_empty() => check.to_owned(),
        detail => format!("{check}: {detail}"),
    }
}

/// The first line of a text, without numbers, ids, paths and values in backticks; at most 120 characters.
///
/// Letters that follow a digit inside a word go with it, so that hashes and `k0042` vanish as a whole, while names
/// that only end in digits after a dash (`store-1`) keep their stem.
pub fn normal(text: &str) -> String {
    let mut normal = String::new();
    for (position, word) in text.lines().next().unwrap_or("").split(' ').enumerate() {
        if position > 0 {
            normal.push(' ');
        }
        // A path as a whole: files of one kind have many forms of names.
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        match bare.contains('/') && bare.contains(|c: char| c.is_ascii_digit()) {
            true => normal.push_str(&word.replace(bare, "#")),
            false => normal.push_str(word),
        }
    }
    let normal = without_values(&normal);
    // Lists of different lengths are one failure: `#, #, #` is `#`.
    let mut words: Vec<&str> = Vec::new();
    for word in normal.split_whitespace() {
        let bare = |word: &str| word.chars().all(|c| !c.is_alphabetic());
        if bare(word) && words.last().is_some_and(|last| bare(last)) {
            continue;
        }
        words.push(word);
    }
    words.join(" ").chars().take(120).collect::<String>().trim_end().to_owned()
}

/// Where an error comes from, of a text in which each cause stands behind the one that it made: its first clause, and
/// those up to the first of more than one word. What lies deeper differs with the moment.
pub fn cause(text: &str) -> String {
    let mut clauses = Vec::new();
    for clause in normal(text).split(": ") {
        clauses.push(clause.to_owned());
        if clause.contains(' ') {
            break;
        }
    }
    clauses.join(": ")
}

fn without_values(text: &str) -> String {
    let mut normal = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // What stands in backticks is a value.
            '`' => {
                let mut inner = String::new();
                while let Some(next) = rest.next_if(|next| *next != c) {
                    inner.push(next);
                }
                rest.next();
                // An identifier in backticks is a name of the code, and says which rule it is.
                let is_value = |c: char| c.is_ascii_digit() || c.is_whitespace() || c == '#';
                match inner.contains(is_value) || inner.is_empty() {
                    true => normal.push('#'),
                    false => normal.push_str(&inner),
                }
            }
            c if c.is_alphanumeric() => {
                let mut word = String::from(c);
                while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                match word.contains(|c: char| c.is_ascii_digit()) {
                    true => normal.push('#'),
                    false => normal.push_str(&word),
                }
            }
            other => normal.push(other),
        }
    }
    normal
}

/// A hash in JSON: sixteen hexadecimal digits, because many readers of JSON round large numbers.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(hash: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{hash:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("`{text}` is no hash in hexadecimal")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_forgets_what_changes_and_keeps_the_rule() {
        let first = fingerprint("raft-log", "matched above durable at peer 17 of region 3: 120 > 118");
        let second = fingerprint("raft-log", "matched above durable at peer 4 of region 12: 9 > 7\nmore lines");
        assert_eq!(first, "raft-log: matched above durable at peer # of region #:");
        assert_eq!(first, second);
        assert_ne!(first, fingerprint("raft-log", "vote not durable at peer 17 of region 3"));
        assert_eq!(fingerprint("no-panic", ""), "no-panic");
    }

    #[test]
    fn values_and_hashes_vanish_and_names_stay() {
        assert_eq!(fingerprint("c", "key `k0042` of store-1 reads 9f3ac2"), "c: key # of store-# reads #");
        assert_eq!(fingerprint("c", "panic in `apply_snapshot`"), "c: panic in apply_snapshot");
        assert_eq!(fingerprint("c", "peers 1, 2, 3 differ"), fingerprint("c", "peers 4, 5 differ"));
        assert_eq!(normal("snap/gen_2_6_40.meta has vanished"), normal("snap/rev_1_7_9_default.sst has vanished"));
        assert_eq!(normal("node/src/store/snapshot/build panicked"), "node/src/store/snapshot/build panicked");
    }

    #[test]
    fn a_cause_is_where_an_error_comes_from() {
        assert_eq!(cause("store: `engine/000012.table` is corrupt: block 3: checksum"), "store: # is corrupt");
        assert_eq!(cause("corrupt data"), "corrupt data");
        assert_eq!(
            cause("called `Result::unwrap()` on an `Err` value: \"open: x\""),
            "called Result::unwrap() on an Err value"
        );
    }
}
