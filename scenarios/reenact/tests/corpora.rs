//! The corpus through the program: what is damaged, cannot be read or written, and what is joined from several.

mod stand;

use std::{collections::BTreeSet, process::Command};

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
