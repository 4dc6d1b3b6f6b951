//! Campaigns through the program: what is kept, what goes on after an end at any moment, and what is damaged.
//!
//! Plans here are as small as plans get, and fail because their worker does; what the swarm finds is not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TINY: &str = "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\n\
                    cluster = { stores = 1, release = \"8.5.0\" }\n\
                    workload = { clients = 1, rate = 10, for = \"100ms\" }\n";

/// A folder with plans that pass or lose their worker.
fn stand() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    write(folder.path(), "passes.toml", TINY);
    for plant in ["aborts", "allocates", "hangs", "overflows-stack", "panics"] {
        let text = format!("plant = [\"worker-{plant}\"]\n{TINY}");
        write(folder.path(), &format!("{plant}.toml"), &text);
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a small file");
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reenact"));
    command.args(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["CI_NODE_INDEX", "JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "BUILDKITE_PARALLEL_JOB"] {
        command.env_remove(name);
    }
    command
}

/// The arguments of a campaign over these plans.
fn fuzz<'a>(plans: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    let plans = plans.iter().flat_map(|plan| ["--plan", plan]);
    ["fuzz", "--json", "--jobs", "2", "--corpus", "c"].into_iter().chain(plans).chain(rest.iter().copied()).collect()
}

fn reenact(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("the program was built")
}

/// What was said, once the exit status is right.
fn said(output: &Output, status: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

/// The JSON lines of one kind of event.
fn events(said: &str, kind: &str) -> Vec<Value> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == kind).collect()
}

fn seeds(said: &str) -> Vec<u64> {
    let seed = |line: &Value| line["seed"].as_str().expect("seeds are text").parse().expect("and numbers");
    let mut seeds: Vec<u64> = events(said, "run").iter().map(seed).collect();
    seeds.sort_unstable();
    seeds
}

fn report(said: &str) -> Value {
    events(said, "report").pop().unwrap_or_else(|| panic!("no report:\n{said}"))
}

/// Every file of a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let listed = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    listed.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

fn kill(pid: i32, signal: Signal) {
    // Who is gone already cannot be killed, which is as well.
    let _ = kill_process(Pid::from_raw(pid).expect("it is no group"), signal);
}

/// Begins a campaign, hears so many lines, and then does something to it.
fn disturbed(folder: &Path, args: &[&str], lines: usize, disturb: impl FnOnce(&mut Child)) -> (String, Option<i32>) {
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

#[test]
fn a_campaign_goes_on_with_the_seeds_that_are_not_done() {
    let stand = stand();
    let run = |seeds| reenact(stand.path(), &fuzz(&["passes.toml"], &["--seeds", seeds]));
    assert_eq!(seeds(&said(&run("1..6"), 0)), [1, 2, 3, 4, 5, 6]);
    let more = said(&run("4..9"), 0);
    assert_eq!(seeds(&more), [7, 8, 9]);
    assert_eq!(report(&more)["honesty"]["seeds"], 9, "{more}");
    assert_eq!(seeds(&said(&run("1..9"), 0)), [] as [u64; 0]);
}

#[test]
fn kills_of_coordinator_and_workers_lose_no_failure_repeat_no_seed_and_leave_no_half_file() {
    const SEEDS: u64 = 60;
    let stand = stand();
    let args = fuzz(&["passes.toml", "panics.toml", "passes.toml"], &["--seeds", "1..60"]);
    let (mut done, mut kept) = (Vec::new(), BTreeSet::new());
    // The numbers of lines look random and are the same in every run of this test; what is under way then is not.
    for lines in [1, 4, 2, 7, 3, 5, 1, 9, 6, 2] {
        let (said, _) = disturbed(stand.path(), &args, lines, |child| {
            let workers = children(child.id());
            workers.iter().step_by(2).for_each(|worker| kill(*worker, Signal::KILL));
            if lines % 2 == 1 {
                std::thread::yield_now();
            }
            child.kill().expect("it has more to do, or nobody has waited for it");
        });
        done.extend(seeds(&said));
        kept.extend(events(&said, "run").iter().filter_map(|run| run["kept"].as_str().map(str::to_owned)));
        for folder in &kept {
            let verdict =
                std::fs::read(stand.path().join(folder).join("verdict.json")).expect("what was told is there");
            serde_json::from_slice::<Value>(&verdict).expect("and whole");
        }
    }
    // What is lost is a line that was not heard, and never a seed.
    let last = said(&reenact(stand.path(), &args), 3);
    done.extend(seeds(&last));
    let distinct: BTreeSet<u64> = done.iter().copied().collect();
    assert_eq!(distinct.len(), done.len(), "no seed twice: {done:?}");
    let report = report(&last);
    assert_eq!(report["honesty"]["seeds"], SEEDS);
    assert_eq!(report["honesty"]["classes"]["harness"], SEEDS / 3, "{report}");
    let count: u64 = report["failures"].as_array().expect("a list").iter().filter_map(|f| f["count"].as_u64()).sum();
    assert_eq!(count, SEEDS / 3, "every failure, each once: {report}");
    for path in files(&stand.path().join("c")) {
        let name = path.display().to_string();
        assert!(!name.ends_with(".partial") && !name.contains(".new-") && !name.ends_with(".damaged"), "{name}");
        let bytes = std::fs::read(&path).expect("it is there");
        if name.ends_with(".json") {
            serde_json::from_slice::<Value>(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        if name.ends_with(".toml") {
            scenarios::plan::Plan::parse_bytes(&bytes, &scenarios::registry::vocabulary()).expect("a whole plan");
        }
    }
}

#[test]
fn a_worker_that_is_killed_from_outside_costs_nothing() {
    let stand = stand();
    let args = fuzz(&["passes.toml"], &["--seeds", "1..30"]);
    let (said, status) = disturbed(stand.path(), &args, 3, |child| {
        children(child.id()).into_iter().for_each(|worker| kill(worker, Signal::KILL));
    });
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(seeds(&said), (1..=30).collect::<Vec<_>>());
}

#[test]
fn an_interrupt_keeps_what_is_done_and_ends_with_130() {
    let stand = stand();
    let args = fuzz(&["passes.toml"], &["--seeds", "1..100000"]);
    let (first, status) = disturbed(stand.path(), &args, 4, |child| kill(child.id().cast_signed(), Signal::INT));
    assert_eq!(status, Some(130), "{first}");
    let done = seeds(&first);
    assert_eq!(report(&first)["honesty"]["seeds"], done.len() as u64);
    let next = (1..=done.len() as u64 + 4).max().expect("there are some").to_string();
    let then = said(&reenact(stand.path(), &fuzz(&["passes.toml"], &["--seeds", &format!("1..{next}")])), 0);
    let all: BTreeSet<u64> = done.iter().copied().chain(seeds(&then)).collect();
    assert_eq!(all.len(), done.len() + seeds(&then).len(), "no seed twice");
}

#[test]
fn workers_that_die_hang_or_take_all_they_can_are_one_result_each() {
    let stand = stand();
    let plans = ["passes.toml", "aborts.toml", "hangs.toml", "allocates.toml", "overflows-stack.toml"];
    let mut child = command(stand.path(), &fuzz(&plans, &["--seeds", "0..9", "--run-timeout", "20s"]))
        .spawn()
        .expect("the program was built");
    let id = child.id();
    let mut text = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("it is a pipe"));
    while reader.read_line(&mut text).expect("it is text") > 0 {}
    assert_eq!(child.wait().expect("it was started").code(), Some(3), "{text}");
    assert!(children(id).is_empty(), "nothing is left");
    let mut by_fingerprint = BTreeMap::<String, u64>::new();
    for run in events(&text, "run") {
        *by_fingerprint.entry(run["fingerprint"].as_str().expect("it is text").to_owned()).or_default() += 1;
    }
    let counts: Vec<(&str, u64)> = by_fingerprint.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let expected = [
        ("", 2),
        ("run-timeout: the run did not end within # of real time and was ended", 2),
        ("worker-lost: out of memory; the worker process died: signal: # (SIGABRT)", 2),
        ("worker-lost: stack overflow; the worker process died: signal: # (SIGABRT)", 2),
        ("worker-lost: the worker process died: signal: # (SIGABRT)", 2),
    ];
    assert_eq!(counts, expected);
    assert_eq!(report(&text)["failures"].as_array().map(Vec::len), Some(4));
}

#[test]
fn shards_do_the_whole_and_each_seed_once() {
    let stand = stand();
    let run = |shard| {
        let said = said(&reenact(stand.path(), &fuzz(&["passes.toml"], &["--seeds", "5..14", "--shard", shard])), 0);
        seeds(&said)
    };
    let mut all = [run("1/3"), run("2/3"), run("3/3")].concat();
    all.sort_unstable();
    assert_eq!(all, (5..=14).collect::<Vec<_>>());
    // Whoever runs the whole afterwards finds it done.
    assert_eq!(run("1/1"), [] as [u64; 0]);
    let listed = said(&reenact(stand.path(), &["corpus", "list", "--corpus", "c", "--json"]), 0);
    let listed: Value = serde_json::from_str(&listed).expect("one object");
    assert_eq!(listed["campaign"]["seeds"], 10);
}

#[test]
fn an_engine_says_which_shard_this_is() {
    let stand = stand();
    let args = fuzz(&["passes.toml"], &["--seeds", "1..4", "--shard", "auto"]);
    let slurm = [("SLURM_ARRAY_TASK_ID", "2"), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_MIN", "1")];
    let output = command(stand.path(), &args).envs(slurm).output().expect("the program was built");
    assert_eq!(seeds(&said(&output, 0)), [1, 3]);
    assert!(said(&reenact(stand.path(), &args), 2).contains("--shard auto found no engine's variables"));
}

#[test]
fn one_shard_is_run_by_one_process_at_a_time() {
    let stand = stand();
    let args = fuzz(&["hangs.toml"], &["--seeds", "1..1", "--run-timeout", "10m"]);
    let (_, status) = disturbed(stand.path(), &args, 1, |child| {
        let second = said(&reenact(stand.path(), &args), 2);
        assert!(second.contains("a campaign is running this shard in this folder"), "{second}");
        let other = fuzz(&["hangs.toml"], &["--seeds", "2..2", "--shard", "2/2"]);
        said(&reenact(stand.path(), &other), 4);
        assert!(said(&reenact(stand.path(), &["corpus", "list", "--corpus", "c"]), 0).contains("no failures"));
        kill(child.id().cast_signed(), Signal::TERM);
    });
    assert_eq!(status, Some(130));
}

#[test]
fn another_build_does_not_go_on_unasked_and_sorts_what_it_finds_against_the_last() {
    let stand = stand();
    let args = |more: &[&'static str]| fuzz(&["passes.toml", "panics.toml"], &[&["--seeds", "1..10"], more].concat());
    let first = said(&reenact(stand.path(), &args(&[])), 3);
    let build = events(&first, "start")[0]["build"].as_str().expect("it says").to_owned();
    let header = stand.path().join("c/campaign.json");
    let shard = stand.path().join("c/shards/0001-1-of-1.json");
    for path in [&header, &shard] {
        let text = std::fs::read_to_string(path).expect("it is there");
        std::fs::write(path, text.replace(&build, "0.0.1 other")).expect("a small file");
    }
    let refused = said(&reenact(stand.path(), &args(&[])), 2);
    assert!(refused.contains("is of build 0.0.1 other") && refused.contains("--new-build"), "{refused}");
    let next = said(&reenact(stand.path(), &args(&["--new-build"])), 3);
    assert_eq!((events(&next, "start")[0]["campaign"].as_u64(), seeds(&next).len()), (Some(2), 10));
    assert_eq!(report(&next)["failures"][0]["status"], "ongoing");
    // Without an interval of seeds the next campaign goes on behind the last one.
    let sound = fuzz(&["passes.toml"], &["--minutes", "0.02", "--new-build"]);
    let sound = said(&reenact(stand.path(), &sound), 0);
    assert_eq!(seeds(&sound).first(), Some(&11));
    let status = report(&sound)["failures"][0]["status"].clone();
    assert!(["rare", "resolved"].iter().any(|word| status == *word), "{status}");
}

#[test]
fn what_an_earlier_campaign_kept_and_what_still_fails_is_ongoing_without_a_seed_that_meets_it() {
    let stand = stand();
    write(stand.path(), "canary.toml", include_str!("../src/fuzz/canary.toml"));
    said(&reenact(stand.path(), &fuzz(&["canary.toml"], &["--seeds", "1..3", "--no-shrink"])), 1);
    let next = said(&reenact(stand.path(), &fuzz(&["passes.toml"], &["--seeds", "1..2", "--new-build"])), 0);
    let replayed = events(&next, "replayed");
    assert!(replayed.len() == 1 && replayed[0]["still_fail"] == replayed[0]["known"], "{next}");
    assert_eq!(report(&next)["failures"][0]["status"], "ongoing");
}

#[test]
fn a_rebuild_in_the_middle_of_a_campaign_does_not_end_it() {
    let stand = stand();
    let program = stand.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_reenact"), &program).expect("there is room");
    // Panics, so that workers are started to the end.
    let args = fuzz(&["passes.toml", "panics.toml"], &["--seeds", "1..12"]);
    let mut child = Command::new(&program)
        .args(&args)
        .current_dir(stand.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was copied");
    let mut reader = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut text = String::new();
    reader.read_line(&mut text).expect("it is text");
    std::fs::remove_file(&program).expect("it is there");
    std::fs::write(&program, "another build").expect("a small file");
    while reader.read_line(&mut text).expect("it is text") > 0 {}
    assert_eq!(child.wait().expect("it was started").code(), Some(3), "{text}");
    assert_eq!(report(&text)["honesty"]["classes"]["harness"], 6, "{text}");
    assert!(!text.contains("worker-lost"), "{text}");
}

#[test]
fn what_is_damaged_is_named_and_set_aside_and_the_rest_goes_on() {
    let stand = stand();
    let args = fuzz(&["passes.toml", "panics.toml"], &["--seeds", "1..6"]);
    said(&reenact(stand.path(), &args), 3);
    let corpus = stand.path().join("c");
    let failure = files(&corpus.join("failures")).into_iter().find(|path| path.ends_with("verdict.json"));
    let failure = failure.expect("it was kept").parent().expect("it has a folder").to_owned();
    std::fs::write(corpus.join("campaign.json"), "{\"reenact_campaign\": 1, \"num").expect("a small file");
    std::fs::write(failure.join("verdict.json"), "[]").expect("a small file");
    std::fs::write(corpus.join("failures/letter.txt"), "dear all").expect("a small file");
    std::fs::create_dir(corpus.join("failures/empty")).expect("a folder");
    std::fs::write(corpus.join("shards/0001-1-of-1.journal"), "no line\n{\"seed\":").expect("a small file");
    let broken = ["campaign.json", "verdict.json", "letter.txt", "empty", "0001-1-of-1.journal"];

    // Who only looks changes nothing.
    let looked = said(&reenact(stand.path(), &["corpus", "list", "--corpus", "c"]), 0);
    for name in broken {
        assert!(looked.contains(&format!("{name}: ")), "`{name}` should be named:\n{looked}");
    }
    assert!(!files(&corpus).iter().any(|path| path.display().to_string().contains(".damaged")));

    let next = said(&reenact(stand.path(), &args), 3);
    assert_eq!(seeds(&next), [] as [u64; 0], "{next}");
    for name in broken {
        assert!(next.contains(&format!("{name}: ")) && next.contains(&format!("{name}.damaged")), "{name}:\n{next}");
    }
    assert_eq!(report(&next)["honesty"]["seeds"], 6, "what the other files say is still known");
    let quiet = said(&reenact(stand.path(), &args), 3);
    assert!(events(&quiet, "note").is_empty(), "{quiet}");
    let pruned = said(&reenact(stand.path(), &["corpus", "prune", "--corpus", "c"]), 0);
    assert!(pruned.contains("removed") && pruned.contains("letter.txt.damaged"), "{pruned}");
    assert_eq!(report(&said(&reenact(stand.path(), &args), 3))["failures"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_state_of_a_newer_build_is_refused_and_left_alone() {
    let stand = stand();
    let args = fuzz(&["passes.toml"], &["--seeds", "1..2"]);
    said(&reenact(stand.path(), &args), 0);
    let header = stand.path().join("c/campaign.json");
    let text = std::fs::read_to_string(&header).expect("it is there");
    let newer = text.replace("\"reenact_campaign\": 1", "\"reenact_campaign\": 2");
    std::fs::write(&header, &newer).expect("a small file");
    assert!(said(&reenact(stand.path(), &args), 2).contains("a newer build wrote it"));
    assert_eq!(std::fs::read_to_string(&header).expect("it is there"), newer);
}

#[test]
fn a_corpus_that_cannot_be_written_is_refused_and_a_full_disk_loses_nothing() {
    let stand = stand();
    write(stand.path(), "file", "in the way");
    let plans = ["passes.toml", "panics.toml"];
    let in_the_way = ["fuzz", "--plan", "passes.toml", "--corpus", "file", "--seeds", "1..2"];
    assert!(said(&reenact(stand.path(), &in_the_way), 2).contains("cannot use the corpus file"));
    let nowhere = ["corpus", "list", "--corpus", "nowhere"];
    assert!(said(&reenact(stand.path(), &nowhere), 2).contains("there is no corpus in nowhere"));

    // A file that may not grow says what a full disk says, but for the words.
    let args = fuzz(&plans, &["--seeds", "1..40"]);
    let limited = format!("trap '' XFSZ; ulimit -f 24; exec {} {}", env!("CARGO_BIN_EXE_reenact"), args.join(" "));
    let output =
        Command::new("sh").args(["-c", &limited]).current_dir(stand.path()).output().expect("there is a shell");
    let full = said(&output, 2);
    assert!(full.contains("the corpus cannot be used") && full.contains("cannot write"), "{full}");
    let done = seeds(&full);
    assert!(!done.is_empty() && done.len() < 40, "{full}");
    let rest = said(&reenact(stand.path(), &args), 3);
    let all: BTreeSet<u64> = done.iter().copied().chain(seeds(&rest)).collect();
    assert_eq!((all.len(), done.len() + seeds(&rest).len()), (40, 40), "each once");
    assert_eq!(report(&rest)["honesty"]["classes"]["harness"], 20);
}

#[test]
fn a_canary_that_lives_fails_the_campaign() {
    let stand = stand();
    let output = reenact(stand.path(), &fuzz(&["passes.toml"], &["--seeds", "1..2", "--canary", "passes.toml"]));
    let said = said(&output, 3);
    assert!(events(&said, "canary").len() == 1 && seeds(&said).is_empty(), "{said}");
}

#[test]
fn what_is_found_is_shrunk_shown_and_replayed() {
    let stand = stand();
    write(stand.path(), "canary.toml", include_str!("../src/fuzz/canary.toml"));
    let args = fuzz(&["canary.toml"], &["--seeds", "1..2", "--shrink-seconds", "6"]);
    let found = said(&reenact(stand.path(), &args), 1);
    let shrunk = events(&found, "shrunk");
    let folder = shrunk.first().and_then(|line| line["folder"].as_str()).unwrap_or_else(|| panic!("{found}"));
    let small = format!("{folder}/shrunk.toml");
    assert!(said(&reenact(stand.path(), &["replay", &small]), 0).contains("  as recorded"));
    assert!(said(&reenact(stand.path(), &["replay", &format!("{folder}/original.toml")]), 0).contains("  as recorded"));
    let name = folder.rsplit('/').next().expect("it has a name");
    let shown = said(&reenact(stand.path(), &["corpus", "show", &name[..name.len() - 3], "--corpus", "c"]), 0);
    for word in ["new, ", "fingerprint:", "plant = [\"compaction-drops-a-key\"]", &small] {
        assert!(shown.contains(word), "`{word}` should stand in:\n{shown}");
    }
    assert!(said(&reenact(stand.path(), &["corpus", "show", "no-such", "--corpus", "c"]), 2).contains(name));
}

#[test]
fn what_an_endless_campaign_finds_is_shrunk_before_it_is_interrupted() {
    let stand = stand();
    write(stand.path(), "canary.toml", include_str!("../src/fuzz/canary.toml"));
    let args = fuzz(&["canary.toml"], &["--shrink-seconds", "2"]);
    let mut child = command(stand.path(), &args).spawn().expect("the program was built");
    let mut reader = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut said = String::new();
    while events(&said, "shrunk").is_empty() && reader.read_line(&mut said).expect("it is text") > 0 {}
    let before = seeds(&said).len();
    while seeds(&said).len() == before && reader.read_line(&mut said).expect("it is text") > 0 {}
    kill(child.id().cast_signed(), Signal::INT);
    while reader.read_line(&mut said).expect("it is text") > 0 {}
    assert_eq!(child.wait().expect("it was started").code(), Some(130), "{said}");
    assert!(before > 0 && seeds(&said).len() > before, "seeds before and after:\n{said}");
    let folder = events(&said, "shrunk")[0]["folder"].as_str().expect("it is kept").to_owned();
    assert!(stand.path().join(folder).join("shrunk.toml").exists(), "{said}");
}

#[test]
fn a_ci_server_reads_what_a_campaign_came_to() {
    let stand = stand();
    let plans = &["passes.toml", "panics.toml"];
    let args = fuzz(plans, &["--seeds", "1..4", "--junit", "campaign.xml"]);
    let run = command(stand.path(), &args)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", stand.path().join("summary.md"))
        .output()
        .expect("the program was built");
    let annotations = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!said(&run, 3).contains("::error"), "standard output may be for a program");
    let read = |name| std::fs::read_to_string(stand.path().join(name)).expect("it was written");
    let (junit, summary) = (read("campaign.xml"), read("summary.md"));
    // The canary passes, and two seeds that panicked in one way are one case.
    assert!(junit.contains("<testsuites name=\"reenact\" tests=\"2\" failures=\"0\" errors=\"1\">"), "{junit}");
    assert!(junit.contains("<testcase name=\"canary\" classname=\"reenact.campaign\"/>"), "{junit}");
    assert!(junit.contains("<testcase name=\"run-panics"), "{junit}");
    assert_eq!(annotations.matches("::error title=").count(), 1, "{annotations}");
    assert!(
        summary.contains("## Reenact: campaign") && summary.contains("Reproduce: cargo reenact replay c/"),
        "{summary}"
    );
    let missing = reenact(stand.path(), &fuzz(plans, &["--seeds", "5..6", "--junit", "no/such.xml"]));
    assert!(said(&missing, 2).contains("make it first"));
}

#[test]
fn corpora_of_several_machines_are_joined_and_twice_is_as_good_as_once() {
    let stand = stand();
    for (shard, corpus) in [("1/2", "a"), ("2/2", "b")] {
        let plans = ["--plan", "passes.toml", "--plan", "panics.toml", "--plan", "aborts.toml"];
        let args = [&["fuzz", "--seeds", "1..9", "--shard", shard, "--corpus", corpus], &plans[..]].concat();
        said(&reenact(stand.path(), &args), 3);
    }
    let merge = ["corpus", "merge", "a", "b", "--corpus", "all"];
    let merged = said(&reenact(stand.path(), &merge), 0);
    assert!(merged.contains("a: 2 failures, 2 of them new; 4 seeds taken"), "{merged}");
    assert!(merged.contains("b: 2 failures, 0 of them new; 5 seeds taken"), "{merged}");
    let list = || {
        let text = said(&reenact(stand.path(), &["corpus", "list", "--corpus", "all", "--json"]), 0);
        serde_json::from_str::<Value>(&text).expect("one object")
    };
    let once = list();
    assert_eq!(once["campaign"]["seeds"], 9);
    let counts: Vec<_> = once["failures"].as_array().expect("a list").iter().map(|f| f["count"].clone()).collect();
    assert_eq!(counts, [3, 3]);
    assert!(said(&reenact(stand.path(), &merge), 0).contains("0 of them new; 0 seeds taken"));
    assert_eq!(list(), once);
    assert!(said(&reenact(stand.path(), &["corpus", "merge", "a", "--corpus", "a"]), 2).contains("into itself"));
}

#[test]
fn bad_usage_says_what_would_do_and_makes_no_corpus() {
    let stand = stand();
    let cases: &[(&[&str], &str)] = &[
        (&["fuzz", "--seeds", "9..3"], "write `3..9`"),
        (&["fuzz", "--minutes", "0"], "more than none"),
        (&["fuzz", "--minutes", "x"], "no number of minutes"),
        (&["fuzz", "--minutes", "1", "--seeds", "1..2"], "cannot be used with"),
        (&["fuzz", "--shard", "4/3"], "there is no part 4 of 3"),
        (&["fuzz", "--shard", "x"], "write `1/3`"),
        (&["fuzz", "--defect", "tikv-0"], "unknown defect `tikv-0`"),
        (&["fuzz", "--plan", "absent.toml"], "cannot read the plan absent.toml"),
        (&["corpus", "show", "x"], "there is no corpus in target/reenact/corpus"),
        (&["corpus", "merge"], "FROM"),
        (&["corpus"], "list"),
    ];
    for (args, word) in cases {
        let said = said(&reenact(stand.path(), args), 2);
        assert!(said.contains(word), "`{word}` should stand in:\n{said}");
    }
    assert!(!stand.path().join("target").exists(), "nothing was made");
}
