//! Runs through the program: plans printed and replayed, failures kept, traces compared, logs heard.
//!
//! Not here: bad input and lost workers, which need no run, and what scenarios find.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use scenarios::{plan::Plan, registry};

fn reenact(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reenact")).args(args).current_dir(folder).output().expect("the program was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What was said on standard output, once the exit status is right.
fn said(output: &Output, status: i32) -> String {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(status), "{said}{}", text(&output.stderr));
    said
}

/// A plan that no generator draws, so that no change of one can leave it unarmed.
const QUIET: &str = "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\n\
                     cluster = { stores = 3, release = \"8.5.0\" }\nworkload = { for = \"2s\" }\n";

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a small file");
}

#[test]
fn traces_are_equal_in_two_processes_with_one_job_and_with_two() {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    let with_jobs =
        |jobs| said(&reenact(folder.path(), &["determinism", "snapshot-gc", "--seeds", "1..4", "--jobs", jobs]), 0);
    let (one, two) = (with_jobs("1"), with_jobs("2"));
    assert!(one.starts_with("4 of 4 plans gave equal traces in two processes, "), "{one}");
    assert_eq!(one, two, "the line ends with a hash of all traces");
}

#[test]
fn a_leak_of_randomness_is_found_and_its_first_event_named() {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    let output = reenact(folder.path(), &["determinism", "snapshot-gc", "--seeds", "1..2", "--leak-entropy"]);
    let said = said(&output, 3);
    assert!(said.contains("differs: scenario = \"snapshot-gc\""), "{said}");
    let (_, found) = said.split_once("  first differing event: ").unwrap_or_else(|| panic!("{said}"));
    let (number, rest) = found.split_once('\n').expect("the events follow");
    let number: u64 = number.parse().expect("events are numbered");
    // What came before is shown and was equal; then the event itself, twice.
    let (mut before, mut left, mut right) = (0, "", "");
    for line in rest.lines() {
        match line.split_at_checked(6) {
            Some(("      ", _)) => before += 1,
            Some(("    < ", event)) => left = event,
            Some(("    > ", event)) => {
                right = event;
                break;
            }
            _ => break,
        }
    }
    assert!(before >= 1 && number > before, "{said}");
    assert!(left.starts_with(&format!("#{number} ")) && right.starts_with('#') && left != right, "{said}");
}

#[test]
fn a_ci_server_reads_what_runs_came_to() {
    let folder = tempfile::tempdir().expect("a folder for a file");
    let args = ["run", "concurrent-split", "--defect", "tikv-994", "--seeds", "1..2", "--junit", "runs.xml"];
    let run = Command::new(env!("CARGO_BIN_EXE_reenact"))
        .args(args)
        .current_dir(folder.path())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", folder.path().join("summary.md"))
        .output()
        .expect("the program was built");
    let annotations = text(&run.stderr);
    assert!(!said(&run, 1).contains("::error"), "standard output may be for a program");
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("it was written");
    let (junit, summary) = (read("runs.xml"), read("summary.md"));
    assert!(junit.contains("<testsuite name=\"concurrent-split\" tests=\"2\" failures=\"2\""), "{junit}");
    assert!(annotations.contains("::error title=concurrent-split seed 1"), "{annotations}");
    assert!(summary.contains("### safety: concurrent-split, seed 1"), "{summary}");
    assert!(summary.contains("Reproduce: cargo reenact replay "), "{summary}");
}

#[test]
fn what_an_interrupted_run_has_found_is_kept_and_told() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let args = ["run", "--defect", "tikv-10533", "--seeds", "1..1000000", "--out", "kept", "--junit", "runs.xml"];
    let mut run = Command::new(env!("CARGO_BIN_EXE_reenact"));
    let run = run.args(args).current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let run = run.spawn().expect("the program was built");
    let kept = || std::fs::read_dir(folder.path().join("kept")).map_or(0, |files| files.flatten().count());
    while kept() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // As `timeout` does it, to the process and to its group.
    let pid = rustix::process::Pid::from_child(&run);
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it has a million runs to do");
    }
    let said = said(&run.wait_with_output().expect("it was started"), 130);
    assert!(
        said.contains("concurrent-split  tikv-10533") && said.contains("Reproduce: cargo reenact replay "),
        "{said}"
    );
    let junit = std::fs::read_to_string(folder.path().join("runs.xml")).expect("it was written");
    assert!(junit.contains("<failure "), "{junit}");
    assert!(kept() >= 2, "a plan and its report");
}

#[test]
fn what_cannot_be_kept_is_told_in_full() {
    let folder = tempfile::tempdir().expect("a folder for files");
    // A file that may not grow says what a full disk says, but for the words.
    let program = env!("CARGO_BIN_EXE_reenact");
    let limited = format!("trap '' XFSZ; ulimit -f 0; exec {program} run --defect tikv-10533 --seeds 1..2 --out kept");
    let run = Command::new("sh").args(["-c", &limited]).current_dir(folder.path()).output().expect("there is a shell");
    assert!(text(&run.stderr).contains("cannot write kept/"), "{}", text(&run.stderr));
    let said = said(&run, 3);
    assert!(said.contains("2 runs: 2 safety") && said.contains("this failure could not be kept"), "{said}");
    let plan = &said[said.find("reenact = 1").expect("the plan follows")..];
    Plan::parse(plan, &registry::vocabulary()).expect("it can be used as it is");
}

#[test]
fn two_defects_that_one_check_accuses_have_two_fingerprints() {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    let told = |defect: &str| {
        let run = reenact(folder.path(), &["run", "--defect", defect, "--seeds", "1..5", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&said(&run, 1)).expect("it is one object");
        let verdicts = json["failures"].as_array().expect("a list").iter().map(|run| &run["outcome"]["verdict"]);
        let pair = |verdict: &serde_json::Value| (verdict["check"].to_string(), verdict["fingerprint"].to_string());
        verdicts.map(pair).collect::<std::collections::BTreeSet<_>>()
    };
    let (one, other) = (told("tikv-17405"), told("tikv-18008"));
    assert_eq!((one.len(), other.len()), (1, 1), "one each: {one:?} {other:?}");
    let ((check, fingerprint), (same, another)) = (&one.first().expect("one"), &other.first().expect("one"));
    assert!(check == same && fingerprint != another, "{one:?} {other:?}");
}

#[test]
fn what_was_shrunk_needs_each_of_its_steps() {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    let run = ["run", "--defect", "tikv-17403", "--seeds", "1..5", "--fail-fast", "--json", "--out", "kept"];
    let json: serde_json::Value = serde_json::from_str(&said(&reenact(folder.path(), &run), 1)).expect("one object");
    let plan = json["failures"][0]["plan"].as_str().expect("it was kept").to_owned();
    said(&reenact(folder.path(), &["shrink", &plan, "-o", "small.toml"]), 0);
    said(&reenact(folder.path(), &["replay", "small.toml"]), 0);
    let small = std::fs::read_to_string(folder.path().join("small.toml")).expect("it was written");
    let (small, recorded) = small.split_once("[recorded]").expect("it says what it came to");
    let fingerprint =
        recorded.lines().find_map(|line| line.strip_prefix("fingerprint = ")).expect("by which it is known");
    let is_step = |line: &&str| line.starts_with("  { ");
    assert!(small.lines().filter(is_step).count() >= 2, "{small}");
    assert!(!small.contains("after = "), "a step that another comes after cannot be left out by its line: {small}");
    for gone in small.lines().filter(is_step) {
        let names: Vec<String> = (1..=20).map(|seed| format!("without-{seed}.toml")).collect();
        for (seed, name) in (1..).zip(&names) {
            let of_seed = |line: &str| match line.starts_with("seed = ") {
                true => format!("seed = \"{seed}\"\n"),
                false => format!("{line}\n"),
            };
            let text: String = small.lines().filter(|line| *line != gone).map(of_seed).collect();
            write(folder.path(), name, &text);
        }
        let args: Vec<&str> = std::iter::once("replay").chain(names.iter().map(String::as_str)).collect();
        let told = text(&reenact(folder.path(), &args).stdout);
        assert_eq!(told.matches("without-").count(), 20, "every one was run: {told}");
        assert!(!told.contains(&format!("fingerprint: {}", fingerprint.trim_matches('"'))), "without {gone}:\n{told}");
    }
}

#[test]
fn a_recorded_trace_shows_frames_disk_calls_timers_and_facts_with_their_fields() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    write(folder.path(), "p.toml", QUIET);
    said(&reenact(folder.path(), &["replay", "p.toml", "--record", "trace.txt"]), 0);
    let trace = std::fs::read_to_string(folder.path().join("trace.txt")).expect("it was recorded");
    for (kind, words) in [
        (" frame Delivered ", &["len=", "hash="][..]),
        (" disk Sync ", &["durable-len="]),
        (" timer ", &["due="]),
        (" fact elected ", &["region: ", "peer: ", "term: ", "last_index: "]),
        (" fact entry-applied ", &["region: ", "index: ", "kind: "]),
    ] {
        let line = trace.lines().find(|line| line.contains(kind)).unwrap_or_else(|| panic!("no line has `{kind}`"));
        for word in words {
            assert!(line.contains(word), "`{word}` should stand in: {line}");
        }
    }
}

#[test]
fn a_plan_that_was_printed_replays_to_one_trace_however_often_it_is_printed() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    let printed = said(&reenact(folder.path(), &["plan", "snapshot-gc", "--seed", "7"]), 0);
    let plan = Plan::parse(&printed, &registry::vocabulary()).expect("a printed plan is a plan");
    assert_eq!(plan.to_string(), printed);
    let lines = printed.lines().filter(|line| line.starts_with("  { ") && line.ends_with(" },")).count();
    assert!(lines > 0 && lines == plan.steps.len(), "one step a line:\n{printed}");
    write(folder.path(), "p.toml", &printed);
    let first = reenact(folder.path(), &["replay", "p.toml"]);
    // Whether the seed reaches its trigger is the generator's business.
    assert!([Some(0), Some(3)].contains(&first.status.code()), "{first:?}");
    let told = text(&first.stdout);
    assert!(told.contains(": snapshot-gc seed 7") && told.contains(", trace "), "{told}");
    write(folder.path(), "p.toml", &plan.to_string());
    let second = reenact(folder.path(), &["replay", "p.toml"]);
    assert_eq!((told, first.status.code()), (text(&second.stdout), second.status.code()));
}

#[test]
fn a_kept_failure_comes_back_and_does_not_without_its_defect() {
    let folder = tempfile::tempdir().expect("a folder for what is kept");
    let run = ["run", "--defect", "tikv-18030", "--seeds", "1..10", "--fail-fast", "--jobs", "1", "--out", "kept"];
    let report = said(&reenact(folder.path(), &run), 1);
    let line = report.lines().find_map(|line| line.strip_prefix("Reproduce: cargo reenact replay "));
    let kept = line.unwrap_or_else(|| panic!("a failure ends with a line to paste:\n{report}"));
    let again = said(&reenact(folder.path(), &["replay", kept]), 0);
    assert!(again.contains("  as recorded") && again.contains("no-panic"), "{again}");
    // The same verdict at the same step, with the same trace.
    let place = report.lines().find(|line| line.starts_with("  at: ")).expect("a failure has a place");
    assert!(again.lines().any(|line| line == place), "`{place}` should stand in:\n{again}");

    let plan = std::fs::read_to_string(folder.path().join(kept)).expect("it was kept");
    write(folder.path(), "sound.toml", &plan.replace("defects = [\"tikv-18030\"]\n", ""));
    let sound = said(&reenact(folder.path(), &["replay", "sound.toml"]), 5);
    assert!(sound.contains("  not as recorded:") && sound.contains("class: recorded crash, now pass"), "{sound}");
}

#[test]
fn what_nodes_log_is_heard_and_changes_no_trace() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    write(folder.path(), "p.toml", QUIET);
    let silent = reenact(folder.path(), &["replay", "p.toml"]);
    let heard = reenact(folder.path(), &["replay", "p.toml", "--log", "debug"]);
    assert_eq!(said(&silent, 0), said(&heard, 0));
    assert!(silent.stderr.is_empty(), "{}", text(&silent.stderr));
    let log = text(&heard.stderr);
    let line = log.lines().find(|line| line.contains("became leader")).unwrap_or_else(|| panic!("no leader:\n{log}"));
    for word in ["INFO", "node{name=store-", "raft: ", "term: "] {
        assert!(line.contains(word), "`{word}` should stand in: {line}");
    }
    let wrong = reenact(folder.path(), &["replay", "p.toml", "--log", "node=loud"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("is no log filter"), "{}", text(&wrong.stderr));
}
