//! Where tests of campaigns stand: a folder with small plans, the program in it, and what it says.
//!
//! Plans here are as small as plans get, and fail because their worker does; what the swarm finds is not looked at.

#![allow(dead_code, reason = "each binary of tests uses its part")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub const TINY: &str = "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\n\
                    cluster = { stores = 1, release = \"8.5.0\" }\n\
                    workload = { clients = 1, rate = 10, for = \"100ms\" }\n";

/// A folder with plans that pass or lose their worker.
pub fn stand() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    write(folder.path(), "passes.toml", TINY);
    for plant in ["aborts", "allocates", "hangs", "overflows-stack", "panics"] {
        let text = format!("plant = [\"worker-{plant}\"]\n{TINY}");
        write(folder.path(), &format!("{plant}.toml"), &text);
    }
    folder
}

pub fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a small file");
}

pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reenact"));
    command.args(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["CI_NODE_INDEX", "JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "BUILDKITE_PARALLEL_JOB"] {
        command.env_remove(name);
    }
    command
}

/// The arguments of a campaign over these plans.
pub fn fuzz<'a>(plans: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    let plans = plans.iter().flat_map(|plan| ["--plan", plan]);
    ["fuzz", "--json", "--jobs", "2", "--corpus", "c"].into_iter().chain(plans).chain(rest.iter().copied()).collect()
}

pub fn reenact(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("the program was built")
}

/// What was said, once the exit status is right.
pub fn said(output: &Output, status: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

/// The JSON lines of one kind of event.
pub fn events(said: &str, kind: &str) -> Vec<Value> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == kind).collect()
}

pub fn seeds(said: &str) -> Vec<u64> {
    let seed = |line: &Value| line["seed"].as_str().expect("seeds are text").parse().expect("and numbers");
    let mut seeds: Vec<u64> = events(said, "run").iter().map(seed).collect();
    seeds.sort_unstable();
    seeds
}

pub fn report(said: &str) -> Value {
    events(said, "report").pop().unwrap_or_else(|| panic!("no report:\n{said}"))
}

/// Every file of a folder and below.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The processes that this one has started.
pub fn children(parent: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let listed = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    listed.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

pub fn kill(pid: i32, signal: Signal) {
    // Who is gone already cannot be killed, which is as well.
    let _ = kill_process(Pid::from_raw(pid).expect("it is no group"), signal);
}

/// Begins a campaign, hears so many lines, and then does something to it.
pub fn disturbed(
    folder: &Path,
    args: &[&str],
    lines: usize,
    disturb: impl FnOnce(&mut Child),
) -> (String, Option<i32>) {
    let mut child = command(folder, args).spawn().expect("the program was built");
    let mut reader = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut said = String::new();
    for _ in 0..lines {
        reader.read_line(&mut said).expect("it is text");
    }
    disturb(&mut child);
    while reader.read_line(&mut said).expect("it is text") > 0 {}
    (said, child.wait().expect("it was started").code())
}
