//! The program from outside: exit statuses, what is said about bad input, and what a lost worker costs.
//!
//! Not here: what runs come to; the tests of the library and of the scenarios say that.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use scenarios::event::{Body, Event, Exit, Header, RoomEvent, schema};

fn reenact(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reenact")).args(args).current_dir(folder).output().expect("the program was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts the exit status, and that each of these stands in what was said.
fn says(output: &Output, status: i32, words: &[&str]) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` should stand in:\n{said}");
    }
}

fn file(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a small file");
    path
}

const SOUND: &str = "reenact = 1\nscenario = \"hand-written\"\nseed = \"7\"\n\
                     cluster = { stores = 3, release = \"8.1.0\" }\n";

#[test]
fn a_bad_plan_is_refused_with_the_place_of_the_wrong_word_and_the_words_allowed() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    let steps = |steps: &str| format!("{SOUND}steps = [\n  {steps},\n]\n").into_bytes();
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        (
            "top-key",
            format!("{SOUND}stpes = []\n").into_bytes(),
            &[":5:1: unknown key `stpes`", "did you mean `steps`"],
        ),
        (
            "step-key",
            steps("{ at = \"1s\", do = \"crash\", noed = \"pd\" }"),
            &[":6:30: unknown key `noed`", "node, keep"],
        ),
        (
            "on-key",
            steps("{ on = { fact = \"elected\", x = 1 }, within = \"1s\", do = \"heal\" }"),
            &[":6:30: unknown key `x`", "fact, node, nth"],
        ),
        ("stray", steps("{ at = \"9s\", do = \"heal\", x = 1 }"), &[":6:29: unknown key `x`", "at, after"]),
        (
            "fact",
            steps("{ on = { fact = \"electde\" }, within = \"1s\", do = \"heal\" }"),
            &[":6:19: unknown fact `electde`", "did you mean `elected`"],
        ),
        (
            "node",
            steps("{ at = \"1s\", do = \"crash\", node = \"store-9\" }"),
            &[":6:37: unknown node `store-9`", "store-1, store-2, store-3, pd"],
        ),
        (
            "defect",
            format!("{SOUND}defects = [\"tikv-0\"]\n").into_bytes(),
            &[":5:12: unknown defect `tikv-0`", "tikv-18030, tikv-2923"],
        ),
        ("negative", steps("{ at = \"-9s\", do = \"heal\" }"), &[":6:10: `at` is \"-9s\": it is negative"]),
        ("version", SOUND.replace("= 1", "= 2").into_bytes(), &[":1:11: this build reads plans of version 1, not 2"]),
        ("half", SOUND.as_bytes()[..SOUND.len() - 10].to_vec(), &[":4:", "this is not TOML"]),
        ("empty", Vec::new(), &[":1:1: the plan is empty"]),
        ("binary", b"\x7fELF\x02\x01\x01\0\0\xff\xfe".to_vec(), &[":1:", "the file is not text"]),
        ("zeros", vec![0; 64], &[":1:1: the file is not text"]),
    ];
    for (name, content, words) in cases {
        let path = file(folder.path(), &format!("{name}.toml"), content);
        let output = reenact(folder.path(), &["replay", &path.display().to_string()]);
        says(&output, 2, words);
        assert!(text(&output.stderr).contains(&format!("{name}.toml:")), "the file is named: {output:?}");
        assert!(output.stdout.is_empty(), "nothing ran: {output:?}");
    }
}

#[test]
fn nothing_runs_unless_every_plan_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    file(folder.path(), "sound.toml", SOUND.as_bytes());
    let output = reenact(folder.path(), &["replay", "sound.toml", "absent.toml"]);
    says(&output, 2, &["cannot read the plan absent.toml"]);
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_usage_exits_with_two_and_says_what_would_do() {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "--seeds", "9..3"], &["9..3", "write `3..9`"]),
        (&["run", "--seeds", "a..b"], &["`a` is not a decimal number"]),
        (&["run", "--seed", "-1"], &["-1"]),
        (&["run", "no-such-scenario"], &["unknown scenario `no-such-scenario`", "snapshot-gc"]),
        (&["run", "--defect", "tikv-0"], &["unknown defect `tikv-0`", "tikv-18030"]),
        (&["run", "--without-check", "no-such-check"], &["unknown check `no-such-check`"]),
        (&["run", "--jobs", "0"], &["0"]),
        (&["run", "--run-timeout", "5"], &["its unit should be one of"]),
        (&["run", "--run-timeout", "0s"], &["no run ends in no time"]),
        (&["run", "--junit", "no-folder/runs.xml"], &["there is no folder no-folder: make it first"]),
        (&["run", "--out", "/dev/null"], &["/dev/null is no folder: name another one"]),
        (&["run", "--junit", "."], &["is a folder: name a file in it"]),
        (&["run", "--sedes", "1..2"], &["--sedes", "--seeds"]),
        (&["run", "--out", "/proc/self/mem/out"], &["/proc/self/mem is no folder: name another one"]),
        (&["zoo", "--out", "no-folder/zoo.json"], &["--out: there is no folder no-folder: make it first"]),
        (&["zoo", "--seconds", "0"], &["0"]),
        (&["zoo", "--compare", "no-such-file"], &["cannot read no-such-file"]),
        (&["zoo", "--compare", "zoo.json", "--json"], &["--compare <FILE>", "--json"]),
        (&["plan", "no-such-scenario", "--seed", "1"], &["unknown scenario"]),
        (&["determinism", "--seeds", "3..1"], &["write `1..3`"]),
        (&["replay"], &["FILE.toml"]),
        (&["list", "nothing"], &["steps", "knobs"]),
        (&[], &["Usage"]),
    ];
    for (args, words) in cases {
        says(&reenact(folder.path(), args), 2, words);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing was written");
}

#[test]
fn a_shrunk_plan_goes_nowhere_but_where_it_can_and_only_a_failure_of_the_store_is_shrunk() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    let panics = format!("{SOUND}plant = [\"worker-panics\"]\n");
    let path = file(folder.path(), "panics.toml", panics.as_bytes());
    std::os::unix::fs::symlink("panics.toml", folder.path().join("link.toml")).expect("a link of ours");
    let shrink = |out: &str| reenact(folder.path(), &["shrink", "panics.toml", "--out", out]);
    for (out, words) in [
        ("panics.toml", "panics.toml is the plan itself: name another file"),
        ("link.toml", "link.toml is the plan itself: name another file"),
        ("no-folder/out.toml", "there is no folder no-folder: make it first"),
        (".", "is a folder: name a file in it"),
    ] {
        says(&shrink(out), 2, &["--out: ", words]);
    }
    says(&shrink("out.toml"), 3, &["harness: run-panics", "only a failure of the store can be shrunk"]);
    assert_eq!(std::fs::read_to_string(path).expect("it is still there"), panics);
}

#[test]
fn a_zoo_of_another_version_or_with_unknown_defects_is_not_compared() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    let zoo = |version: u64, defect: &str| {
        format!("{{\"zoo\": {version}, \"seconds\": 1, \"rows\": [{{\"defect\": \"{defect}\", \"searches\": []}}]}}")
    };
    let compare = |text: String| {
        file(folder.path(), "zoo.json", text.as_bytes());
        reenact(folder.path(), &["zoo", "--compare", "zoo.json"])
    };
    says(&compare(zoo(9, "tikv-994")), 2, &["zoo.json: it is of version 9"]);
    says(&compare(zoo(1, "tikv-1")), 2, &["zoo.json: this build has no defect `tikv-1`"]);
    says(&compare(zoo(1, "tikv-994")), 4, &["nothing was run"]);
}

#[test]
fn registries_are_listed_for_people_and_for_machines() {
    let folder = tempfile::tempdir().expect("a folder to stand in");
    says(&reenact(folder.path(), &["list", "steps"]), 0, &["partition", "symmetric: true|false (default true)"]);
    says(&reenact(folder.path(), &["list", "knobs"]), 0, &["snapshot.gc-tick", "range: 10ms to 3600s"]);
    says(&reenact(folder.path(), &["list", "facts"]), 0, &["snapshot-generating", "attempt: number"]);
    let output = reenact(folder.path(), &["list", "steps", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("a JSON array");
    assert!(
        rows.iter()
            .any(|row| row["name"] == "crash" && row["line"].as_str().is_some_and(|line| line.contains("do = ")))
    );
}

#[test]
fn a_worker_that_dies_costs_one_run_and_is_reported() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    let planted = |plant: &str| {
        file(folder.path(), &format!("{plant}.toml"), format!("{SOUND}plant = [\"{plant}\"]\n").as_bytes())
    };
    for plant in ["worker-aborts", "worker-panics", "worker-hangs"] {
        planted(plant);
    }
    let args = [
        "replay",
        "worker-aborts.toml",
        "worker-panics.toml",
        "worker-hangs.toml",
        "--run-timeout",
        "1s",
        "--jobs",
        "2",
    ];
    let output = reenact(folder.path(), &args);
    says(
        &output,
        3,
        &[
            "worker-aborts.toml: harness",
            "the worker process died: signal: 6",
            "worker-panics.toml: harness",
            "the run panicked outside of any process: planted: the worker panics",
            "the worker's standard error ends with",
            "worker-hangs.toml: harness",
            "the run did not end within 1s",
        ],
    );
    assert!(output.stderr.is_empty(), "a worker's standard error is never the terminal's: {output:?}");
    says(&reenact(folder.path(), &["replay", "worker-aborts.toml", "--bisect"]), 125, &[]);
}

/// A history in which a store starts and then ends in this way.
fn history(cause: Exit) -> Vec<u8> {
    let mut text = Vec::new();
    let header = Header::new(vec!["store-1".to_owned()], "8.1.0");
    schema::write_header(&header, &mut text).expect("a Vec takes every write");
    for (seq, body) in [RoomEvent::ProcessStarted { release: "8.1.0".into() }, RoomEvent::ProcessExited { cause }]
        .into_iter()
        .enumerate()
    {
        let event = Event { seq: seq as u64, time_ns: 5, node: 0, incarnation: 1, body: Body::Room(body) };
        schema::write_event(&event, &mut text).expect("a Vec takes every write");
    }
    text
}

#[test]
fn a_history_is_judged_from_its_file() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    let panicked = Exit::Panicked { message: "no such file".into(), location: "snapshot.rs:227:9".into() };
    let bad = history(panicked);
    file(folder.path(), "bad.jsonl", &bad);
    file(folder.path(), "cut.jsonl", &bad[..bad.len() - 20]);
    file(folder.path(), "empty.jsonl", b"");
    file(folder.path(), "other.jsonl", b"{\"reenact_events\":99,\"nodes\":[]}\n");
    let words = ["bad.jsonl: 2 events", "no-panic", "no such file", "event 1", "at store-1"];
    says(&reenact(folder.path(), &["check", "bad.jsonl"]), 1, &words);
    says(&reenact(folder.path(), &["check", "bad.jsonl", "--without-check", "no-panic"]), 0, &["2 events"]);
    says(&reenact(folder.path(), &["check", "cut.jsonl"]), 2, &["cut.jsonl: line 3, column"]);
    says(&reenact(folder.path(), &["check", "empty.jsonl"]), 2, &["empty.jsonl: line 1: the history is empty"]);
    says(&reenact(folder.path(), &["check", "other.jsonl"]), 2, &["version 99"]);
    says(&reenact(folder.path(), &["check", "absent.jsonl"]), 2, &["cannot read the history absent.jsonl"]);
}

#[test]
fn a_worker_does_not_outlive_its_parent() {
    let folder = tempfile::tempdir().expect("a folder for small files");
    file(folder.path(), "hangs.toml", format!("{SOUND}plant = [\"worker-hangs\"]\n").as_bytes());
    let mut parent = Command::new(env!("CARGO_BIN_EXE_reenact"))
        .args(["replay", "hangs.toml", "--jobs", "1"])
        .current_dir(folder.path())
        .spawn()
        .expect("the program was built");
    let children = format!("/proc/{0}/task", parent.id());
    let worker = wait_for(|| {
        // A child is listed with the thread that started it.
        let tasks = std::fs::read_dir(&children).ok()?.flatten();
        let listed = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        listed.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).next()
    });
    parent.kill().expect("it hangs, so it is still there");
    parent.wait().expect("it was killed");
    wait_for(|| {
        let state = std::fs::read_to_string(format!("/proc/{worker}/stat")).ok();
        // Gone, or dead and not yet fetched by whoever inherited it.
        state.is_none_or(|state| state.contains(") Z ")).then_some(())
    });
}

/// Asks again until there is an answer; a minute without one is a failure.
fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("what was waited for did not happen within a minute");
}
