//! Plans from their text to their trace: what is printed is what runs, and plans that a test wants by name.
//!
//! Not here: the grammar of the text, whose tests stand with it, and the program, whose tests are its own.

use scenarios::{
    catalog::{self, GenerateOptions},
    event::{Ask, Body, ClientEvent, schema},
    plan::Plan,
    registry,
    run::{self, RunOptions},
    verdict::Class,
};

fn parse(text: &str) -> Plan {
    Plan::parse(text, &registry::vocabulary()).unwrap_or_else(|error| panic!("{}", error.render("plan", text)))
}

#[test]
fn a_plan_that_is_printed_and_parsed_gives_the_trace_that_it_gave() {
    for scenario in catalog::all() {
        for seed in 1..=3 {
            let plan = (scenario.generate)(seed, &GenerateOptions::default());
            let again = parse(&plan.to_string());
            assert_eq!(again, plan, "{} seed {seed}", scenario.name);
            assert_eq!(again.to_string(), plan.to_string(), "{} seed {seed}", scenario.name);
            let (first, second) = (run::run(&plan, &RunOptions::default()), run::run(&again, &RunOptions::default()));
            assert!(first.stats.steps > 1_000, "{} seed {seed}: {:?}", scenario.name, first.verdict);
            assert_eq!(first, second, "{} seed {seed}", scenario.name);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the history of a run that is over, in a file of the test's own")]
fn a_key_that_a_compaction_drops_is_missed_without_any_client_reading_it() {
    let planted = parse(include_str!("plans/compaction-drops-a-key.toml"));
    let folder = tempfile::tempdir().expect("a folder for one file");
    let events = folder.path().join("events.jsonl");
    let options = RunOptions { events: Some(events.clone()), ..RunOptions::default() };
    let outcome = run::run(&planted, &options);
    assert_eq!(outcome.verdict.class, Class::Safety, "{:?}", outcome.verdict);
    let judges = ["content-equals-reference", "snapshot-equals-state"];
    assert!(judges.contains(&outcome.verdict.check.as_str()), "{:?}", outcome.verdict);

    let file = std::io::BufReader::new(std::fs::File::open(&events).expect("the history was written"));
    let mut reader = schema::Reader::new(file).expect("it has a header");
    let (mut asked, mut reads) = (0, 0);
    while let Some(event) = reader.next().transpose().expect("it is whole") {
        if let Body::Client(ClientEvent::Invoked { ask, .. }) = event.body {
            asked += 1;
            reads += u64::from(!matches!(ask, Ask::Write { .. }));
        }
    }
    assert!(asked > 50, "clients wrote: {asked}");
    assert_eq!(reads, 0, "no client read anything before the verdict");

    let sound = Plan { plant: Vec::new(), ..planted };
    let outcome = run::run(&sound, &RunOptions::default());
    assert_eq!(outcome.verdict.class, Class::Pass, "{:?}", outcome.verdict);
}

#[test]
fn a_cluster_whose_connections_are_reset_makes_new_ones_and_goes_on() {
    let plan = parse(include_str!("plans/connections-are-reset.toml"));
    let outcome = run::run(&plan, &RunOptions::default());
    assert_eq!(outcome.verdict.class, Class::Pass, "{:?}", outcome.verdict);
    let faults = &outcome.stats.faults_fired;
    assert_eq!(faults.get("reset-connections"), Some(&5), "{faults:?}");
    assert!(faults.get("connection-reset").is_some_and(|broken| *broken >= 10), "{faults:?}");
}
