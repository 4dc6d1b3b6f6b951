//! What GitHub shows of a job: annotations beside the code, and the job's summary.
//!
//! GitHub shows ten errors of a step and refuses a summary of more than 1 MiB, without a word. So the most important come
//! first, one of each fingerprint, and what does not fit is counted.
//!
//! Annotations go to standard error, which GitHub reads as well: what goes to standard output may be for a program.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf};

use anyhow::Context as _;

use super::case::Case;

/// So many annotations of one step are shown.
const ANNOTATIONS: usize = 10;

/// A summary stays below this many bytes; GitHub's own limit is 1 MiB.
const SUMMARY_BYTES: usize = 1_000_000;

/// Of one failure's text, a summary has so many bytes at the most.
const TEXT_BYTES: usize = 16_000;

/// Where a job tells GitHub what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    annotates: bool,
    summary: Option<PathBuf>,
}

impl Job {
    /// By the variables that GitHub sets.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let summary = variable("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { annotates: variable("GITHUB_ACTIONS").as_deref() == Some("true"), summary }
    }

    /// Annotates what failed and appends to the job's summary; does nothing elsewhere. `table` is what people see at the end.
    pub fn tell(&self, title: &str, table: &str, cases: &[Case]) -> anyhow::Result<()> {
        if self.annotates {
            // Where nobody reads, nothing is annotated.
            let _ = anstream::stderr().write_all(annotations(cases).as_bytes());
        }
        if let Some(path) = &self.summary {
            let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
            open.and_then(|mut file| file.write_all(summary(title, table, cases).as_bytes()))
                .with_context(|| format!("cannot write the job's summary to {}", path.display()))?;
        }
        Ok(())
    }
}

/// The first failure of each fingerprint, and how many there are of it.
fn kinds(cases: &[Case]) -> Vec<(&Case, usize)> {
    let mut order = BTreeMap::<&str, usize>::new();
    let mut kinds = Vec::<(&Case, usize)>::new();
    for case in cases.iter().filter(|case| case.is_failure()) {
        let at = *order.entry(&case.fingerprint).or_insert(kinds.len());
        match kinds.get_mut(at) {
            Some((_, count)) => *count += 1,
            None => kinds.push((case, 1)),
        }
    }
    kinds
}

fn annotations(cases: &[Case]) -> String {
    let kinds = kinds(cases);
    // The last place is for the rest, when there is one.
    let shown = if kinds.len() > ANNOTATIONS { ANNOTATIONS - 1 } else { kinds.len() };
    let mut text = String::new();
    for (case, count) in &kinds[..shown] {
        let times = if *count > 1 { format!(" ({count} runs)") } else { String::new() };
        let title = property(&format!("{} {}: {}", case.suite, case.name, case.class));
        let message = data(&format!("{}{times}\n{}", case.headline, case.paste.trim_end()));
        text.push_str(&format!("::error title={title}::{message}\n"));
    }
    if shown < kinds.len() {
        text.push_str(&format!("::error title=Reenact::{} more kinds of failure\n", kinds.len() - shown));
    }
    text
}

/// As a command's message has to be written.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As a property of a command has to be written.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn summary(title: &str, table: &str, cases: &[Case]) -> String {
    let kinds = kinds(cases);
    let mut text = format!("## {title}\n\n{}\n", fenced(table.trim_end(), SUMMARY_BYTES / 2));
    for (at, (case, count)) in kinds.iter().enumerate() {
        let times = if *count > 1 { format!(", {count} runs") } else { String::new() };
        let entry = format!(
            "### {}: {}, {}{times}\n\n{}\n<details><summary>What happened</summary>\n\n{}\n</details>\n\n",
            case.class,
            case.suite,
            case.name,
            fenced(&format!("{}\n{}", case.headline, case.paste.trim_end()), TEXT_BYTES),
            fenced(case.text.trim_end(), TEXT_BYTES),
        );
        // Room is kept for the line that counts the rest.
        if text.len() + entry.len() > SUMMARY_BYTES - 100 {
            text.push_str(&format!("{} more kinds of failure do not fit here.\n", kinds.len() - at));
            break;
        }
        text.push_str(&entry);
    }
    text
}

/// As it is, without a line that would end the block, and not longer than `most` bytes.
fn fenced(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let rest = if end < text.len() { "\n…" } else { "" };
    format!("```text\n{}{rest}\n```\n", text[..end].replace("```", "'''"))
}

#[cfg(test)]
mod tests {
    use scenarios::verdict::Class;

    use super::*;

    fn case(number: usize, kind: usize, text: &str) -> Case {
        Case {
            suite: "snapshot-gc".to_owned(),
            name: format!("seed {number}, history tikv-994"),
            class: Class::Safety,
            fingerprint: format!("check: kind {kind}"),
            headline: format!("check: 100% of {kind}"),
            text: text.to_owned(),
            paste: format!("Reproduce: cargo reenact replay {number}.toml\n"),
        }
    }

    #[test]
    fn a_thousand_failures_stay_within_the_limits() {
        let cases: Vec<Case> = (0..1_000).map(|i| case(i, i, &"what happened\n".repeat(4_000))).collect();
        let annotations = annotations(&cases);
        assert_eq!(annotations.lines().count(), ANNOTATIONS);
        assert!(annotations.ends_with("::error title=Reenact::991 more kinds of failure\n"), "{annotations}");
        let summary = summary("Reenact", &"row\n".repeat(500_000), &cases);
        assert!(summary.len() < 1 << 20, "{} bytes", summary.len());
        assert!(summary.ends_with(" more kinds of failure do not fit here.\n"));
    }

    #[test]
    fn one_of_each_kind_is_shown_and_its_like_are_counted() {
        let cases: Vec<Case> = (0..10).map(|i| case(i, i % 2, "text")).collect();
        let text = annotations(&cases);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "::error title=snapshot-gc seed 0%2C history tikv-994%3A safety::check: 100%25 of 0 (5 runs)%0A\
             Reproduce: cargo reenact replay 0.toml"
        );
        assert_eq!(lines.len(), 2);
        let summary = summary("Reenact", "table", &cases);
        assert_eq!(summary.matches("### safety: ").count(), 2);
    }

    #[test]
    fn nothing_is_told_where_nobody_asks() {
        assert_eq!(Job::of(|_| None), Job::default());
        assert!(Job::default().tell("Reenact", "table", &[case(1, 1, "text")]).is_ok());
    }

    #[test]
    fn a_summary_is_appended_to_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder for a file");
        let path = folder.path().join("summary.md");
        std::fs::write(&path, "before\n").expect("a file of ours");
        let value = path.to_str().expect("a plain name").to_owned();
        let job = Job::of(|name| (name == "GITHUB_STEP_SUMMARY").then(|| value.clone()));
        job.tell("Reenact", "table", &[]).expect("it can be written");
        job.tell("Reenact", "table", &[]).expect("it can be written");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(text.starts_with("before\n") && text.matches("## Reenact").count() == 2, "{text}");
    }
}
