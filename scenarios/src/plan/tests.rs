//! Printing and parsing are inverse, over arbitrary plans; and what each mistake is told, as data.
//!
//! `tests/errors.txt` holds plans with one mistake each and the error they get. To accept new messages, run the tests
//! with `REENACT_REWRITE=1` and read the difference: only commit it if you understand what caused it.

use proptest::prelude::*;

use super::{action::KINDS, field::Field, *};
use crate::verdict::Class;

/// The names that plans of these tests may use.
pub(crate) fn vocabulary() -> Vocabulary {
    let fact = |name, fields| FactSpec { name, doc: "", fields };
    Vocabulary {
        facts: vec![
            fact("elected", vec![("region", FieldKind::Number), ("term", FieldKind::Number)]),
            fact(
                "snapshot-generating",
                vec![
                    ("region", FieldKind::Number),
                    ("to", FieldKind::Node),
                    ("cf", FieldKind::Text),
                    ("again", FieldKind::Flag),
                ],
            ),
        ],
        defects: vec!["tikv-11746", "tikv-2923"],
        plants: vec!["compaction-drops-a-key"],
        checks: vec!["durable-applying-has-files"],
        sites: vec!["site-a", "snapshot-before-build"],
        scenarios: vec!["snapshot-gc", "concurrent-split"],
        histories: vec!["tikv-11746", "tikv-2923"],
        releases: vec!["8.1.0", "8.1.2-pre"],
        triggers: vec!["restarted-while-applying"],
        workloads: vec!["registers"],
        failpoint_action: Some(|text| match text {
            "off" | "1*pause" => Ok(()),
            other => Err(format!("no action `{other}`")),
        }),
    }
}

/// The plan of the design's text, word for word but for what it leaves open.
const STORY: &str = r#"reenact = 1
scenario = "snapshot-gc"
seed = "7"
defects = ["tikv-11746"]
cluster = { stores = 3, tiflash = 1, release = "8.1.0", regions = 4 }
knobs = { "engine.memtable" = "32KiB", "snapshot.gc-tick" = "1s" }
workload = { kind = "registers", clients = 3, rate = 40, keys = 128, value-bytes = [16, 4096], for = "10s" }
trigger = ["snapshot-generating"]
steps = [
  { at = "1.25s", do = "crash", node = "store-2", keep = "prefix" },
  { at = "3s", do = "restart", node = "store-2", release = "8.1.2-pre" },
  { at = "4s", do = "partition", sides = [["store-1"], ["store-2", "store-3"]], for = "2s" },
  { at = "5s", do = "split", key = "k0042" },
  { after = 4, wait = "10ms", do = "clock", node = "store-3", drift-ppm = 200 },
  { on = { fact = "snapshot-generating", node = "store-1", nth = 2 }, within = "5s", do = "compact", node = "store-1" },
  { after = 6, on = { fact = "elected", region = 2 }, within = "1s", do = "flush", node = "store-1" },
  { at = "9s", do = "heal" },
]
converge-within = "30s"

[recorded] # what happened when this file was kept; it never affects a run
class = "crash"
check = "durable-applying-has-files"
fingerprint = "durable-applying-has-files: region # lacks its files"
step = 18422
trace = "00c0ffee00c0ffee"
build = "debug"
"#;

#[test]
fn a_plan_prints_as_it_was_written() {
    let plan = Plan::parse(STORY, &vocabulary()).unwrap_or_else(|error| panic!("{}", error.render("story", STORY)));
    assert_eq!(plan.to_string(), STORY);
    assert_eq!(plan.knobs.get(knobs::SNAPSHOT_GC_TICK), Nanos::secs(1));
    assert_eq!(plan.knobs.get(knobs::SNAPSHOT_GC_TIMEOUT), Nanos::secs(60));
}

#[test]
fn what_a_plan_leaves_out_has_its_default() {
    let text = "reenact = 1\nscenario = \"snapshot-gc\"\nseed = \"18446744073709551615\"\n\
                cluster = { stores = 1, release = \"8.1.0\" }\n";
    let plan = Plan::parse(text, &vocabulary()).expect("the least plan");
    assert_eq!(plan.seed, u64::MAX);
    assert_eq!(plan.workload, Workload::default());
    assert_eq!(plan.converge_within, DEFAULT_CONVERGE_WITHIN);
    assert_eq!((plan.steps.len(), plan.recorded), (0, None));
}

#[test]
fn the_example_of_every_kind_of_step_is_a_step() {
    for kind in KINDS {
        let text = format!(
            "reenact = 1\nscenario = \"snapshot-gc\"\nseed = \"1\"\n\
             cluster = {{ stores = 3, spare = 1, release = \"8.1.0\" }}\nsteps = [{}]\n",
            kind.example
        );
        let plan =
            Plan::parse(&text, &vocabulary()).unwrap_or_else(|error| panic!("{}", error.render(kind.name, &text)));
        assert_eq!(plan.steps[0].action.kind(), kind.name);
        assert!(!kind.doc.trim().is_empty());
    }
}

#[test]
fn every_knob_has_its_default_in_its_range() {
    for row in knobs::TABLE {
        let text = format!(
            "reenact = 1\nscenario = \"snapshot-gc\"\nseed = \"1\"\n\
             cluster = {{ stores = 3, release = \"8.1.0\" }}\nknobs = {{ \"{}\" = {} }}\n",
            row.name, row.default
        );
        let plan =
            Plan::parse(&text, &vocabulary()).unwrap_or_else(|error| panic!("{}", error.render(row.name, &text)));
        assert_eq!(plan.knobs.iter().next(), Some((row.name, row.default)));
    }
}

#[test]
fn a_generator_cannot_set_a_knob_outside_its_range() {
    let mut knobs = Knobs::default();
    knobs.set(knobs::RAFT_ELECTION_TICKS, 0);
    knobs.set(knobs::NET_DELAY, knobs::Between::new(Nanos::secs(20), Nanos::secs(1)));
    assert_eq!(knobs.get(knobs::RAFT_ELECTION_TICKS), 2);
    let delay = knobs.get(knobs::NET_DELAY);
    assert!(delay.least <= delay.most && delay.most <= Nanos::secs(10), "{delay:?}");
}

#[test]
fn no_prefix_of_a_plan_is_a_panic() {
    for end in 0..STORY.len() {
        let _ = Plan::parse(&STORY[..end], &vocabulary());
    }
    let half = Plan::parse(&STORY[..STORY.find("\"store-3\"]]").expect("the story has it")], &vocabulary());
    assert!(matches!(half.unwrap_err().problem, Problem::Syntax(_)));
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let error = Plan::parse_bytes(b"reenact = 1\nse\xff\xfe", &vocabulary()).unwrap_err();
    assert_eq!((error.place, error.problem), (Place { line: 2, column: 3 }, Problem::NotText));
    let error = Plan::parse_bytes(b"\x7fELF\x02\x00", &vocabulary()).unwrap_err();
    assert_eq!(error.problem, Problem::NotText);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own file, and the switch that rewrites it")]
fn every_mistake_gets_its_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/plan/tests/errors.txt");
    let kept = std::fs::read_to_string(path).expect("the file of mistakes stands beside this one");
    let mut now = String::new();
    for case in kept.split_inclusive("\n====\n") {
        let case = case.trim_end_matches("====\n").trim_end_matches('\n');
        let (plan, _) = case.split_once("\n----").expect("each mistake has a plan, a line of dashes and its error");
        // A case is a whole plan, or `| ` lines put into a plan that is otherwise sound.
        let text = match plan.strip_prefix("| ") {
            Some(lines) => sound_but(&lines.replace("\n| ", "\n")),
            None => plan.to_owned(),
        };
        let error = Plan::parse(&text, &vocabulary()).expect_err(&format!("this is a mistake:\n{text}"));
        now.push_str(&format!("{plan}\n----\n{}\n\n====\n", error.render("p.toml", &text)));
    }
    if std::env::var_os("REENACT_REWRITE").is_some() {
        std::fs::write(path, &now).expect("the file of mistakes can be written");
    }
    let difference = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
    assert!(kept == now, "run with REENACT_REWRITE=1 to accept; first difference: {difference:#?}");
}

/// A sound plan with these lines in the place of those that have the same keys.
fn sound_but(lines: &str) -> String {
    let sound = [
        ("reenact", "reenact = 1"),
        ("scenario", "scenario = \"snapshot-gc\""),
        ("seed", "seed = \"7\""),
        ("cluster", "cluster = { stores = 3, tiflash = 1, release = \"8.1.0\" }"),
    ];
    let kept = sound.iter().filter(|(key, _)| !lines.lines().any(|line| line.starts_with(key)));
    kept.map(|(_, line)| format!("{line}\n")).collect::<String>() + lines + "\n"
}

fn any_step(number: u64) -> impl Strategy<Value = Step> {
    let earlier =
        move || proptest::option::of(1..=(number - 1).max(1)).prop_map(move |step| step.filter(|_| number > 1));
    let fields = prop_oneof![
        Just(("elected".to_owned(), std::collections::BTreeMap::new())),
        any::<u32>().prop_map(|term| {
            let fields = [("term", FactValue::Number(term.into()))];
            ("elected".to_owned(), fields.map(|(name, value)| (name.to_owned(), value)).into())
        }),
        ("\\PC{0,6}", any::<bool>()).prop_map(|(cf, again)| {
            let to = FactValue::Text("store-2".to_owned());
            let fields = [("to", to), ("cf", FactValue::Text(cf)), ("again", FactValue::Flag(again))];
            ("snapshot-generating".to_owned(), fields.map(|(name, value)| (name.to_owned(), value)).into())
        }),
    ];
    let on = (fields, proptest::option::of(Node::any()), 1..9u64, Nanos::any(), earlier())
        .prop_map(|((fact, fields), node, nth, within, after)| When::On(On { fact, node, nth, fields, within, after }));
    let after = (earlier(), Nanos::any()).prop_map(|(step, wait)| match step {
        Some(step) => When::After { step, wait },
        None => When::At(wait),
    });
    let when = prop_oneof![Nanos::any().prop_map(When::At), after, on];
    (when, Action::any()).prop_map(|(when, action)| Step { when, action })
}

fn any_recorded() -> impl Strategy<Value = Recorded> {
    let class = proptest::sample::select(Class::ALL);
    (class, String::any(), String::any(), u64::any(), any::<u64>(), String::any()).prop_map(
        |(class, check, fingerprint, step, trace, build)| Recorded { class, check, fingerprint, step, trace, build },
    )
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let cluster = (3..9u64, 1..4u64, 0..3u64, Release::any(), 1..50u64)
        .prop_map(|(stores, tiflash, spare, release, regions)| Cluster { stores, tiflash, spare, release, regions });
    let mix = proptest::collection::vec(0..1_000_000u64, Mix::KEYS.len()).prop_map(|weights| {
        let mut mix = Mix::default();
        for (key, weight) in Mix::KEYS.iter().zip(weights) {
            *mix.weight(key).expect("the list of keys is the mix's own") = weight;
        }
        mix
    });
    let workload = (1..1_000u64, 0..1_000_000u64, 1..1_000_000u64, 16..9_999u64, Nanos::any(), mix).prop_map(
        |(clients, rate, keys, least, lasting, mix)| Workload {
            kind: "registers".to_owned(),
            clients,
            rate,
            keys,
            value_bytes: [least, least + 7],
            lasting,
            mix,
        },
    );
    let steps = (0..6u64).prop_flat_map(|count| (1..=count).map(any_step).collect::<Vec<_>>());
    let names = |all: &'static [&'static str]| {
        proptest::sample::subsequence(all, 0..=all.len())
            .prop_map(|names| names.iter().map(|name| (*name).to_owned()).collect())
    };
    (
        (any::<u64>(), proptest::option::of(Just("tikv-2923".to_owned()))),
        (
            names(&["tikv-11746", "tikv-2923"]),
            names(&["compaction-drops-a-key"]),
            names(&["elected", "snapshot-generating"]),
        ),
        (cluster, Knobs::any(), workload, steps, Nanos::any(), proptest::option::of(any_recorded())),
    )
        .prop_map(
            |(
                (seed, history),
                (defects, plant, trigger),
                (cluster, knobs, workload, steps, converge_within, recorded),
            )| Plan {
                scenario: "concurrent-split".to_owned(),
                history,
                seed,
                defects,
                plant,
                cluster,
                knobs,
                workload,
                trigger,
                steps,
                converge_within,
                recorded,
            },
        )
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same_plan(plan in any_plan()) {
        let text = plan.to_string();
        match Plan::parse(&text, &vocabulary()) {
            Ok(parsed) => {
                prop_assert_eq!(&parsed, &plan);
                prop_assert_eq!(&parsed.to_string(), &text);
            }
            Err(error) => return Err(TestCaseError::fail(error.render("printed", &text))),
        }
        // One step a line.
        let steps = text.lines().filter(|line| line.starts_with("  { ")).count();
        prop_assert_eq!(steps, plan.steps.len());
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC*", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Plan::parse(&text, &vocabulary());
        let _ = Plan::parse_bytes(&bytes, &vocabulary());
    }

    #[test]
    fn a_spoilt_plan_is_no_panic_and_its_place_is_in_the_text(
        at in 0..STORY.len(), cut in 0..40usize, put in "[-a-z0-9\"{}\\[\\], =.é\n]{0,6}"
    ) {
        let end = (at + cut).min(STORY.len());
        let text = format!("{}{put}{}", &STORY[..at], &STORY[end..]);
        match Plan::parse(&text, &vocabulary()) {
            Ok(plan) => prop_assert_eq!(Plan::parse(&plan.to_string(), &vocabulary()), Ok(plan)),
            Err(error) => {
                // Just behind the last line is a place, too: something is missing there.
                prop_assert!(error.place.line <= text.lines().count() + 1, "{}", error);
                let line = text.lines().nth(error.place.line - 1).unwrap_or("");
                prop_assert!(error.place.column <= line.chars().count() + 1, "{}", error);
                let begins = error.render("p", &text).starts_with(&format!("p:{}:", error.place));
                prop_assert!(begins, "{}", error);
            }
        }
    }
}
