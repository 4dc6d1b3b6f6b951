//! The corpus through the program: what is damaged, cannot be read or written, and what is joined from several.

#[path = "campaigns/stand.rs"]
mod stand;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use self::stand::{events, files, fuzz, reenact, report, said, seeds, stand, write};

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

/// The plan that must fail, in a folder and as a campaign has kept it: the folders of its failures.
fn found(stand: &Path, more: &[&str]) -> Vec<PathBuf> {
    write(stand, "canary.toml", include_str!("../src/fuzz/canary.toml"));
    said(&reenact(stand, &fuzz(&["canary.toml"], &[&["--seeds", "1..2"], more].concat())), 1);
    let kept = files(&stand.join("c/failures")).into_iter().filter(|path| path.ends_with("verdict.json"));
    let folders: Vec<PathBuf> = kept.map(|path| path.parent().expect("it has a folder").to_owned()).collect();
    assert!(!folders.is_empty(), "it must fail");
    folders
}

/// What the next campaign, in which every seed passes, says and makes of each failure.
fn next_campaign(stand: &Path) -> (String, Vec<String>) {
    let said = said(&reenact(stand, &fuzz(&["passes.toml"], &["--seeds", "1..9", "--new-build"])), 0);
    let of = |failure: &Value| failure["status"].as_str().expect("it is sorted").to_owned();
    let statuses = report(&said)["failures"].as_array().expect("a list").iter().map(of).collect();
    (said, statuses)
}

#[test]
fn a_failure_whose_shrunk_plan_is_damaged_is_replayed_from_its_original() {
    let stand = stand();
    let folders = found(stand.path(), &["--shrink-seconds", "2"]);
    for folder in &folders {
        assert!(folder.join("shrunk.toml").exists());
        write(folder, "shrunk.toml", "x");
    }
    assert!(
        said(&reenact(stand.path(), &["corpus", "list", "--corpus", "c"]), 0).contains("shrunk.toml: it is damaged")
    );
    let (next, statuses) = next_campaign(stand.path());
    assert_eq!(next.matches("shrunk.toml.damaged").count(), folders.len(), "{next}");
    assert_eq!(events(&next, "replayed")[0]["still_fail"], folders.len(), "{next}");
    assert!(statuses.iter().all(|status| status == "ongoing"), "{next}");
}

#[test]
fn a_failure_whose_plans_are_all_damaged_is_not_called_resolved_and_gets_the_next_plan_that_fails() {
    let stand = stand();
    let folders = found(stand.path(), &["--no-shrink"]);
    let whole: Vec<String> = folders
        .iter()
        .map(|folder| std::fs::read_to_string(folder.join("original.toml")).expect("it is text"))
        .collect();
    for (folder, whole) in folders.iter().zip(&whole) {
        write(folder, "original.toml", &whole[..whole.find("[recorded]").expect("it says what happened")]);
        write(folder, "shrunk.toml", "x");
    }
    let (next, statuses) = next_campaign(stand.path());
    assert!(events(&next, "replayed").is_empty() && statuses.iter().all(|status| status == "rare"), "{next}");
    let pruned = said(&reenact(stand.path(), &["corpus", "prune", "--corpus", "c", "--dry-run"]), 0);
    assert!(folders.iter().all(|folder| !pruned.contains(&format!("{}\n", folder.display()))), "{pruned}");

    // No line to paste speaks of a plan that is not there, until there is one again.
    let again = ["fuzz", "--corpus", "c", "--plan", "canary.toml", "--new-build", "--no-shrink", "--seeds"];
    said(&reenact(stand.path(), &[&again[..], &["1..2"]].concat()), 1);
    for (folder, whole) in folders.iter().zip(&whole) {
        assert_eq!(&std::fs::read_to_string(folder.join("original.toml")).expect("it is kept anew"), whole);
    }
}

#[test]
fn a_plan_that_is_damaged_gives_way_to_the_next_that_fails_like_it() {
    let stand = stand();
    said(&reenact(stand.path(), &fuzz(&["panics.toml"], &["--seeds", "1..1"])), 3);
    let original = files(&stand.path().join("c")).into_iter().find(|path| path.ends_with("original.toml"));
    let original = original.expect("it was kept");
    let whole = std::fs::read_to_string(&original).expect("it is text");
    std::fs::write(&original, &whole[..whole.len() / 2]).expect("a small file");
    let next = said(&reenact(stand.path(), &fuzz(&["panics.toml"], &["--seeds", "2..2"])), 3);
    assert_eq!(events(&next, "run")[0]["news"], "faster", "{next}");
    assert_eq!(std::fs::read_to_string(&original).expect("it is text"), whole.replace("\"1\"", "\"2\""));
}

#[test]
fn a_failure_whose_plan_carries_a_defect_is_replayed_by_a_campaign_that_carries_none() {
    let stand = stand();
    let folders = found(stand.path(), &["--no-shrink", "--defect", "tikv-2923"]);
    let (next, statuses) = next_campaign(stand.path());
    assert_eq!(events(&next, "replayed")[0]["still_fail"], folders.len(), "{next}");
    assert!(statuses.iter().all(|status| status == "ongoing"), "{next}");
}

#[test]
fn a_seed_that_two_corpora_have_run_in_different_parts_counts_once() {
    let stand = stand();
    for (shard, corpus) in [("1/1", "a"), ("1/2", "b")] {
        let args = ["fuzz", "--plan", "passes.toml", "--seeds", "1..10", "--shard", shard, "--corpus", corpus];
        said(&reenact(stand.path(), &args), 0);
    }
    let merge = |from: &[&str], into| {
        let args = [&["corpus", "merge"], from, &["--corpus", into]].concat();
        said(&reenact(stand.path(), &args), 0)
    };
    let seeds_of = |corpus| {
        let text = said(&reenact(stand.path(), &["corpus", "list", "--corpus", corpus, "--json"]), 0);
        serde_json::from_str::<Value>(&text).expect("one object")["campaign"]["seeds"].clone()
    };
    let merged = merge(&["a", "b"], "ab");
    assert!(merged.contains("a: 0 failures, 0 of them new; 10 seeds taken"), "{merged}");
    assert!(merged.contains("b: 0 failures, 0 of them new; 0 seeds taken"), "{merged}");
    assert_eq!(seeds_of("ab"), 10);
    // What cannot be told apart is left, and said to be.
    let merged = merge(&["b", "a"], "ba");
    assert!(merged.contains("a: 0 failures, 0 of them new; 0 seeds taken; 5 were left"), "{merged}");
    assert_eq!(seeds_of("ba"), 5);
}

#[test]
fn a_merge_takes_no_plan_that_is_damaged_and_leaves_nothing_half_made() {
    let stand = stand();
    let folders = found(stand.path(), &["--no-shrink"]);
    let originals =
        || folders.iter().map(|folder| std::fs::read_to_string(folder.join("original.toml"))).collect::<Vec<_>>();
    let copied = Command::new("cp").args(["-r", "c", "d"]).current_dir(stand.path()).status();
    assert!(copied.is_ok_and(|status| status.success()));
    for path in files(&stand.path().join("d/failures")) {
        let text = std::fs::read_to_string(&path).expect("it is text");
        if path.ends_with("original.toml") {
            std::fs::write(&path, &text[..text.len() / 2]).expect("a small file");
        }
        if path.ends_with("verdict.json") {
            let mut verdict: Value = serde_json::from_str(&text).expect("a verdict");
            verdict["step"] = 1.into();
            std::fs::write(&path, verdict.to_string()).expect("a small file");
        }
    }
    let before: Vec<String> = originals().into_iter().map(|text| text.expect("it is there")).collect();
    let merged = said(&reenact(stand.path(), &["corpus", "merge", "d", "--corpus", "c"]), 0);
    assert!(merged.contains("original.toml: it is damaged"), "{merged}");
    let after: Vec<String> = originals().into_iter().map(|text| text.expect("it is there")).collect();
    assert_eq!(before, after);
    let merged = said(&reenact(stand.path(), &["corpus", "merge", "d", "--corpus", "e"]), 0);
    assert!(merged.contains("original.toml: it is damaged") && merged.contains(" 0 of them new"), "{merged}");

    let full = format!("trap '' XFSZ; ulimit -f 0; exec {} corpus merge c --corpus f", env!("CARGO_BIN_EXE_reenact"));
    let full = Command::new("sh").args(["-c", &full]).current_dir(stand.path()).output().expect("there is a shell");
    let said = said(&full, 2);
    assert!(said.contains("the corpus cannot be used") && said.contains("original.toml"), "{said}");
    assert_eq!(std::fs::read_dir(stand.path().join("f/failures")).expect("it was made").count(), 0, "{said}");
}

#[test]
fn what_cannot_be_read_is_not_taken_for_damaged_or_empty() {
    let stand = stand();
    let corpus = stand.path().join("c");
    let args = fuzz(&["passes.toml", "panics.toml"], &["--seeds", "1..4"]);
    said(&reenact(stand.path(), &args), 3);
    let failure = files(&corpus).into_iter().find(|path| path.ends_with("original.toml")).expect("it was kept");
    let state = corpus.join("shards/0001-1-of-1.json");
    let list = || reenact(stand.path(), &["corpus", "list", "--corpus", "c"]);
    // A link to itself is what even a superuser cannot read.
    for path in [&state, &failure, &corpus.join("campaign.json"), &corpus.join("failures")] {
        let kept = stand.path().join("kept");
        std::fs::rename(path, &kept).expect("it is there");
        std::os::unix::fs::symlink(path, path).expect("nothing is in the way");
        for refused in [said(&reenact(stand.path(), &args), 2), said(&list(), 2)] {
            let is_named =
                refused.contains(&format!("c/{}", path.strip_prefix(&corpus).expect("it is in it").display()));
            assert!(is_named && refused.contains("--corpus names another folder"), "{refused}");
        }
        std::fs::remove_file(path).expect("it is a link");
        std::fs::rename(&kept, path).expect("nothing is in the way");
    }
    assert!(!files(&corpus).iter().any(|path| path.display().to_string().contains(".damaged")));
    assert_eq!(seeds(&said(&reenact(stand.path(), &args), 3)), [] as [u64; 0]);

    std::fs::remove_dir_all(corpus.join("failures")).expect("it is there");
    write(&corpus, "failures", "in the way");
    assert!(said(&list(), 2).contains("cannot read c/failures"));
    std::os::unix::fs::symlink("loop", stand.path().join("loop")).expect("nothing is in the way");
    let no_corpus = said(&reenact(stand.path(), &["corpus", "list", "--corpus", "loop"]), 2);
    assert!(no_corpus.contains("cannot read loop/campaign.json"), "{no_corpus}");
}

#[test]
fn what_a_killed_process_was_writing_goes_with_the_next_that_writes_it() {
    let stand = stand();
    let args = fuzz(&["passes.toml"], &["--seeds", "1..2"]);
    said(&reenact(stand.path(), &args), 0);
    let corpus = stand.path().join("c");
    let left = ["shards/0001-1-of-1.4194305.partial", "campaigns/0001.4194305.partial", "campaign.4194305.partial"];
    let of_another = "shards/0001-11-of-12.4194305.partial";
    left.iter().chain([&of_another]).for_each(|name| write(&corpus, name, "{\"ree"));
    said(&reenact(stand.path(), &args), 0);
    left.iter().for_each(|name| assert!(!corpus.join(name).exists(), "{name}"));
    assert!(corpus.join(of_another).exists(), "who has that shard may be writing it");
}

#[test]
fn what_earlier_campaigns_came_to_is_read_before_anything_is_run() {
    let stand = stand();
    said(&reenact(stand.path(), &fuzz(&["passes.toml", "panics.toml"], &["--seeds", "1..2"])), 3);
    let next = |more: &[&'static str]| fuzz(&["passes.toml"], &[&["--seeds", "1..2"], more].concat());
    said(&reenact(stand.path(), &next(&["--new-build"])), 0);
    let summary = stand.path().join("c/campaigns/0001.json");
    let text = std::fs::read_to_string(&summary).expect("it was written");
    let newer = text.replace("\"reenact_summary\":1", "\"reenact_summary\":2");
    std::fs::write(&summary, &newer).expect("a small file");
    for more in [&[][..], &["--defect", "tikv-2923", "--new-build"]] {
        let refused = said(&reenact(stand.path(), &next(more)), 2);
        assert!(
            refused.contains("0001.json: a newer build wrote it") && events(&refused, "start").is_empty(),
            "{refused}"
        );
    }
    assert_eq!(std::fs::read_to_string(&summary).expect("it is left alone"), newer);
    std::fs::write(&summary, "dear all").expect("a small file");
    let noted = said(&reenact(stand.path(), &next(&[])), 0);
    assert!(noted.contains("0001.json: it is damaged") && noted.contains("0001.json.damaged"), "{noted}");
    assert!(events(&said(&reenact(stand.path(), &next(&[])), 0), "note").is_empty());
}

#[test]
fn a_copy_of_a_failure_is_named_and_is_no_failure_of_its_own() {
    let stand = stand();
    let args = fuzz(&["panics.toml"], &["--seeds", "1..1"]);
    said(&reenact(stand.path(), &args), 3);
    let copied =
        Command::new("sh").args(["-c", "cp -r c/failures/* c/failures/copy"]).current_dir(stand.path()).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let next = said(&reenact(stand.path(), &args), 3);
    assert!(next.contains("failures/copy: it was left out"), "{next}");
    assert_eq!(report(&next)["failures"].as_array().map(Vec::len), Some(1), "{next}");
    assert!(stand.path().join("c/failures/copy").is_dir(), "whoever put it there may want it");

    std::fs::remove_file(stand.path().join("c/lock")).expect("it is there");
    std::fs::create_dir(stand.path().join("c/lock")).expect("nothing is in the way");
    let refused = said(&reenact(stand.path(), &args), 2);
    assert!(refused.contains("c/lock: ") && refused.contains("--corpus names another folder"), "{refused}");
}
