//! What is kept of a failure: its plan with what happened, and beside it a report in plain text.
//!
//! A file is there whole or not at all: it is written under another name and then renamed.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use scenarios::{
    plan::{Plan, Recorded},
    run::Outcome,
};

/// How the name of a file ends that is still being written.
pub const PARTIAL: &str = "partial";

/// A failure that was kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The plan, with `[recorded]`.
    pub plan: PathBuf,
    /// The report.
    pub report: PathBuf,
}

/// Keeps a failure in a folder, which is made if need be. A failure of the same plan is written over.
pub fn keep(out: &Path, plan: &Plan, outcome: &Outcome, stderr: &str, build: &str) -> anyhow::Result<Kept> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let mut plan = plan.clone();
    plan.recorded = Some(Recorded::of(&outcome.verdict, build));
    let marks = plan.defects.iter().chain(&plan.plant).map(|mark| format!("-{mark}")).collect::<String>();
    let stem = format!("{}-{}{marks}", plan.scenario, plan.seed);
    let kept = Kept { plan: out.join(format!("{stem}.toml")), report: out.join(format!("{stem}.txt")) };
    write(&kept.plan, &plan.to_string())?;
    write(&kept.report, &crate::output::failure::report(&plan, outcome, stderr))?;
    Ok(kept)
}

/// Writes a file whole, or leaves what was there: also when the disk is full, or the machine stops in between. What a link
/// points to is written, and what is no file of bytes, like a pipe, as it is.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let target = std::fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
        return written.with_context(|| format!("cannot write {}", path.display()));
    }
    let partial = path.with_extension(format!("{}.{PARTIAL}", std::process::id()));
    let written = File::create(&partial)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // What cannot be written is reported; what is left of it may be gone already.
        let _ = std::fs::remove_file(&partial);
    }
    written.with_context(|| format!("cannot write {}", path.display()))?;
    sync_folder_of(path)
}

/// Makes a new name in a folder last.
pub fn sync_folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("cannot sync {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use scenarios::{
        registry,
        run::TriggerCount,
        verdict::{Class, Verdict},
    };

    use super::*;

    #[test]
    fn links_and_pipes_stay_what_they_are() {
        let folder = tempfile::tempdir().expect("a folder for two files");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "before").expect("a file of ours");
        std::os::unix::fs::symlink(&file, &link).expect("a link of ours");
        write(&link, "after").expect("it can be written");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "after");
        write(Path::new("/dev/null"), "gone").expect("it takes everything");
        assert!(!Path::new("/dev/null").is_file());
    }

    #[test]
    fn a_kept_failure_can_be_read_again_and_says_all() {
        let vocabulary = registry::vocabulary();
        let text = "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\nplant = [\"worker-hangs\"]\n\
                    cluster = { stores = 3, release = \"8.1.0\" }\n";
        let plan = Plan::parse(text, &vocabulary).expect("a sound plan");
        let verdict =
            Verdict::new(Class::Safety, "some-check", "rule: site 3\nwhat happened", 12, 1_500_000_000, 0xabc);
        let mut outcome = Outcome::harness("", "");
        outcome.trace_hash = verdict.trace;
        outcome.verdict = verdict;
        outcome.triggers = vec![TriggerCount { fact: "elected".to_owned(), count: 2 }];
        outcome.last_events = vec!["11 frame".to_owned(), "12 sync".to_owned()];

        let folder = tempfile::tempdir().expect("a folder for two files");
        let out = folder.path().join("deep/er");
        let kept = keep(&out, &plan, &outcome, "panicked at x\n", "1 f00").expect("the folder can be made");
        assert_eq!(kept.plan.file_name().and_then(|name| name.to_str()), Some("hand-written-7-worker-hangs.toml"));

        let again =
            Plan::parse_bytes(&std::fs::read(&kept.plan).expect("it was kept"), &vocabulary).expect("it is sound");
        let recorded = again.recorded.clone().expect("what happened was recorded");
        assert_eq!(recorded.differences(&outcome.verdict, "1 f00"), Vec::<String>::new());
        let other = Verdict { step: 13, ..outcome.verdict.clone() };
        assert_eq!(recorded.differences(&other, "1 f00"), ["step: recorded 12, now 13"]);
        assert_eq!(recorded.differences(&other, "2 f00"), Vec::<String>::new(), "a step is of one build");
        assert_eq!(Plan { recorded: None, ..again }, plan);

        let report = std::fs::read_to_string(&kept.report).expect("it was kept");
        for word in [
            "safety: hand-written seed 7",
            "some-check",
            "what happened",
            "1.5s",
            "0000000000000abc",
            "elected 2",
            "12 sync",
            "panicked at x",
        ] {
            assert!(report.contains(word), "`{word}` should stand in:\n{report}");
        }
        let left: Vec<_> = std::fs::read_dir(&out).expect("it is there").collect();
        assert_eq!(left.len(), 2, "no partial file is left: {left:?}");
    }
}
