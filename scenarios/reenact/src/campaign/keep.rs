//! What is kept of a failure: its plan with what happened, and beside it a report in plain text.
//!
//! A file is there whole or not at all: it is written under another name and then renamed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use scenarios::{
    plan::{Plan, Recorded},
    run::Outcome,
};

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

/// Writes a file whole.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
