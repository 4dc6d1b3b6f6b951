//! The steps of the check, in order, and their summary.
//!
//! A step that fails does not keep the next from running: one run tells all that is wrong. The cheap steps come first.

use std::ops::AddAssign;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;

use crate::cargo::cargo;
use crate::finding::Finding;
use crate::tree::Tree;
use crate::{layers, production, style};

/// The name of a step, as `--only` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// The format of all sources.
    Format,
    /// What one file must be.
    Style,
    /// Which package and which room may name which.
    Layers,
    /// Clippy over everything.
    Lints,
    /// All tests.
    Tests,
    /// Seeded scenarios, as a pull request runs them.
    Scenarios,
    /// One trace in two builds.
    Profiles,
    /// The production build.
    Production,
    /// The tests of a build without points.
    Absent,
}

impl Name {
    /// The name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Style => "style",
            Self::Layers => "layers",
            Self::Lints => "lints",
            Self::Tests => "tests",
            Self::Scenarios => "scenarios",
            Self::Profiles => "profiles",
            Self::Production => "production",
            Self::Absent => "absent",
        }
    }
}

/// The program as `cargo test` leaves it.
const PROGRAM: &str = "target/sim/reenact";

/// One step.
pub struct Step {
    /// Its name.
    pub name: Name,
    /// What it checks, for `--list`.
    pub what: &'static str,
    run: fn(&Path) -> anyhow::Result<Count>,
}

/// What passed and what failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
}

impl Count {
    /// A step that counts as one.
    fn one(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed) }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// All steps, in order.
pub const STEPS: [Step; 9] = [
    Step { name: Name::Format, what: "cargo fmt --check", run: format },
    Step {
        name: Name::Style,
        what: "head comments, file lengths, file names, nothing unfinished, unsafe in one room",
        run: style,
    },
    Step { name: Name::Layers, what: "which package and which room may name which", run: layers },
    Step { name: Name::Lints, what: "clippy over the workspace, warnings are errors", run: lints },
    Step { name: Name::Tests, what: "all tests of the workspace, with points", run: tests },
    Step { name: Name::Scenarios, what: "seeded scenarios, and the seeds of this commit", run: scenarios },
    Step {
        name: Name::Profiles,
        what: "plans give the same traces in the debug and the optimised build",
        run: profiles,
    },
    Step { name: Name::Production, what: "the node built alone holds no site and no defect", run: production },
    Step {
        name: Name::Absent,
        what: "the tests of failpoints and node built for production, and the facts of their real cluster",
        run: absent,
    },
];

/// Runs the steps named in `only`, or all, and prints a summary. Whether all passed.
pub fn run(root: &Path, only: &[Name]) -> anyhow::Result<bool> {
    let mut total = Count::default();
    let mut lines = Vec::new();
    for step in STEPS.iter().filter(|step| only.is_empty() || only.contains(&step.name)) {
        println!("== {}: {}", step.name.as_str(), step.what);
        let started = Instant::now();
        let count = match (step.run)(root) {
            Ok(count) => count,
            Err(error) => {
                println!("{} could not be checked: {error:#}", step.name.as_str());
                Count::one(false)
            }
        };
        total += count;
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        lines.push(format!("{:<12}{verdict:<8}{:>4} s", step.name.as_str(), started.elapsed().as_secs()));
    }
    println!("\n{}", lines.join("\n"));
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

fn format(root: &Path) -> anyhow::Result<Count> {
    let formatted = cargo(root, &["fmt", "--all", "--check"], |_| ())?;
    if !formatted {
        println!("remedy: cargo fmt --all");
    }
    Ok(Count::one(formatted))
}

fn style(root: &Path) -> anyhow::Result<Count> {
    Ok(report(&style::check(&Tree::read(root)?)))
}

fn layers(root: &Path) -> anyhow::Result<Count> {
    Ok(report(&layers::check(&Tree::read(root)?)))
}

fn lints(root: &Path) -> anyhow::Result<Count> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--profile", "sim", "--", "-D", "warnings"];
    Ok(Count::one(cargo(root, &arguments, |_| ())?))
}

fn tests(root: &Path) -> anyhow::Result<Count> {
    count_tests(root, &["test", "--workspace", "--profile", "sim", "--no-fail-fast"])
}

/// The same seeds every time, and some that depend on the commit. Two of the same: what is red is the change's doing, and
/// over the weeks other seeds are tried as well.
fn scenarios(root: &Path) -> anyhow::Result<Count> {
    if !build_program(root)? {
        return Ok(Count::one(false));
    }
    let mut count = Count::one(program(root, &["run", "--seeds", "1..20", "--junit", "target/scenarios.xml"])?);
    if let Some(seed) = commit_seed(root) {
        count += Count::one(program(root, &["run", "--seed", &seed.to_string()])?);
    }
    Ok(count)
}

/// A seed from the commit's hash; none outside of a git checkout.
fn commit_seed(root: &Path) -> Option<u64> {
    let asked = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output().ok()?;
    seed_of(&String::from_utf8(asked.stdout).ok()?)
}

fn seed_of(hash: &str) -> Option<u64> {
    u64::from_str_radix(hash.get(..12)?, 16).ok()
}

/// Runs the same plans in both builds, each of them twice, and compares what is said about their traces.
fn profiles(root: &Path) -> anyhow::Result<Count> {
    let asked = ["determinism", "--seeds", "1..2"];
    let mut debug = Vec::new();
    let run = ["run", "--quiet", "--package", "reenact", "--"];
    if !cargo(root, &[&run[..], &asked].concat(), |line| debug.push(line.to_owned()))? || !build_program(root)? {
        return Ok(Count::one(false));
    }
    println!("$ {PROGRAM} {}", asked.join(" "));
    let said = Command::new(root.join(PROGRAM)).args(asked).current_dir(root).output();
    let said = said.with_context(|| format!("run {PROGRAM}"))?;
    let optimised = String::from_utf8(said.stdout).context("what the program says about traces")?;
    let same = said.status.success() && !debug.is_empty() && optimised.lines().eq(&debug);
    if !same {
        print!("{optimised}");
        println!("the traces differ between the debug and the optimised build");
        println!("remedy: `replay PLAN --record FILE` with both, and compare the files");
    }
    Ok(Count::one(same))
}

fn absent(root: &Path) -> anyhow::Result<Count> {
    let mut arguments = vec!["test", "--release", "-p", "failpoints", "-p", "node"];
    arguments.extend(["--target-dir", production::TARGET, "--no-fail-fast"]);
    let mut count = count_tests(root, &arguments)?;
    for facts in ["real-cluster", "real-storm"] {
        count += Count::one(judge(root, &format!("{}/tmp/{facts}.jsonl", production::TARGET))?);
    }
    Ok(count)
}

/// Has a history judged.
fn judge(root: &Path, facts: &str) -> anyhow::Result<bool> {
    Ok(build_program(root)? && program(root, &["check", facts])?)
}

/// Has the program built as the tests build it: alone it would be built a second time, with other features of its
/// dependencies.
fn build_program(root: &Path) -> anyhow::Result<bool> {
    cargo(root, &["test", "--workspace", "--profile", "sim", "--test", "cli", "--no-run"], |_| ())
}

/// Runs the program. Whether it exited with 0.
fn program(root: &Path, arguments: &[&str]) -> anyhow::Result<bool> {
    println!("$ {PROGRAM} {}", arguments.join(" "));
    let status = Command::new(root.join(PROGRAM)).args(arguments).current_dir(root).status();
    Ok(status.with_context(|| format!("run {PROGRAM}"))?.success())
}

fn production(root: &Path) -> anyhow::Result<Count> {
    let wrong = production::check(root)?;
    for line in &wrong {
        println!("{line}");
    }
    Ok(Count::one(wrong.is_empty()))
}

fn report(findings: &[Finding]) -> Count {
    for finding in findings {
        println!("{finding}");
    }
    Count::one(findings.is_empty())
}

/// Runs tests and counts each; a run that fails without a failed test, as when it does not build, counts as one failure.
fn count_tests(root: &Path, arguments: &[&str]) -> anyhow::Result<Count> {
    let mut count = Count::default();
    let succeeded = cargo(root, arguments, |line| {
        if let Some(result) = test_result(line) {
            count += result;
        }
    })?;
    if !succeeded && count.failed == 0 {
        count.failed = 1;
    }
    if succeeded && count.passed == 0 {
        println!("no test ran; remedy: look at the command above");
        count.failed = 1;
    }
    Ok(count)
}

/// Reads `test result: ok. 5 passed; 0 failed; …`.
fn test_result(line: &str) -> Option<Count> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| {
        let part = numbers.split("; ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<usize>().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_results_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(test_result("running 5 tests"), None);
        assert_eq!(test_result("test result: odd"), None);
    }

    #[test]
    fn a_commit_gives_a_seed() {
        assert_eq!(seed_of("00000000002a91d0f00d\n"), Some(42));
        assert_eq!(seed_of("no hash"), None);
    }

    #[test]
    fn each_step_has_its_name_once() {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names, Name::value_variants());
    }
}
