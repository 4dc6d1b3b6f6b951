//! Campaigns through the program: what is kept, and what goes on after an end at any moment.

#[path = "campaigns/stand.rs"]
mod stand;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use self::stand::{
    children, command, disturbed, events, files, fuzz, kill, reenact, report, said, seeds, stand, write,
};

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

/// Steps of the canary, so late that its run takes a while.
fn slow() -> String {
    let canary = include_str!("../src/fuzz/canary.toml").replace("rate = 100", "rate = 500");
    let canary = canary.replace("\"4s\"", "\"94s\"").replace("{ at = \"", "{ at = \"9");
    canary.lines().filter(|line| !line.starts_with("knobs")).map(|line| format!("{line}\n")).collect()
}

/// A campaign of a seed that passes and one that fails slowly; so many of the processes that run this again are killed.
fn killed_while_confirming(kills: usize) -> (tempfile::TempDir, Value) {
    let stand = stand();
    write(stand.path(), "slow.toml", &slow());
    // One job: whoever is started while the second seed is under way confirms it.
    let args = ["fuzz", "--json", "--jobs", "1", "--corpus", "c", "--plan", "slow.toml", "--plan", "passes.toml"];
    let args = [&args[..], &["--seeds", "1..2", "--no-shrink"]].concat();
    let (said, status) = disturbed(stand.path(), &args, 2, |child| {
        let mut seen: BTreeSet<i32> = children(child.id()).into_iter().collect();
        for _ in 0..kills {
            let worker = loop {
                let next = children(child.id()).into_iter().find(|worker| !seen.contains(worker));
                if let Some(worker) = next {
                    break worker;
                }
                assert!(child.try_wait().expect("it was started").is_none(), "nobody was there to be killed");
                std::thread::sleep(Duration::from_millis(1));
            };
            seen.insert(worker);
            kill(worker, Signal::KILL);
        }
    });
    assert_eq!((status, seeds(&said)), (Some(1), vec![1, 2]), "a violation, and no more than that: {said}");
    let run = events(&said, "run").pop().expect("there are two");
    (stand, run)
}

#[test]
fn a_worker_that_is_killed_while_it_confirms_a_violation_costs_nothing() {
    let (_stand, run) = killed_while_confirming(1);
    assert_eq!((&run["class"], &run["unconfirmed"]), (&"safety".into(), &false.into()), "{run}");
}

#[test]
fn a_violation_that_nobody_was_let_to_confirm_stays_one_and_says_so() {
    let (stand, run) = killed_while_confirming(2);
    assert_eq!((&run["class"], &run["unconfirmed"]), (&"safety".into(), &true.into()), "{run}");
    let folder = run["kept"].as_str().expect("it is kept").rsplit('/').next().expect("it has a name");
    let shown = said(&reenact(stand.path(), &["corpus", "show", folder, "--corpus", "c"]), 0);
    assert_eq!(shown.matches("not confirmed: ").count(), 2, "above the report and in it:\n{shown}");
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
fn one_shard_is_run_by_one_process_at_a_time_and_shards_of_one_count_at_once() {
    let stand = stand();
    let part = |shard| fuzz(&["hangs.toml"], &["--seeds", "1..1", "--shard", shard, "--run-timeout", "10m"]);
    let (_, status) = disturbed(stand.path(), &part("2/2"), 1, |child| {
        let second = said(&reenact(stand.path(), &part("2/2")), 2);
        assert!(second.contains("a campaign is running this shard in this folder"), "{second}");
        said(&reenact(stand.path(), &part("1/2")), 4);
        // Of another count it would share seeds with the one that runs.
        for shard in ["1/3", "1/1"] {
            let other = said(&reenact(stand.path(), &part(shard)), 2);
            assert!(other.contains("a campaign is running shard 2/2 in this folder"), "{other}");
        }
        assert!(said(&reenact(stand.path(), &["corpus", "list", "--corpus", "c"]), 0).contains("no failures"));
        kill(child.id().cast_signed(), Signal::TERM);
    });
    assert_eq!(status, Some(130));
    // Nobody runs it any more, so that parts of another count may go on.
    said(&reenact(stand.path(), &fuzz(&["hangs.toml"], &["--seeds", "1..1", "--shard", "1/3"])), 4);
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
    said(&run, 3);
    assert!(!String::from_utf8_lossy(&run.stdout).contains("::error"), "it may be for a program");
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
