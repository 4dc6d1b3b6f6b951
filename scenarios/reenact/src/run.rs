//! `run`: seeds to plans to verdicts.
//!
//! Runs finish in any order; everything is shown in the order of plans, so that two campaigns over the same seeds print
//! the same, with one job or with many. A failure is kept as soon as it is known: whoever ends the rest has lost nothing.

use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf};

use scenarios::{
    catalog::{self, GenerateOptions, Scenario},
    plan::{Nanos, Plan},
    run::RunOptions,
    verdict::Class,
};
use serde_json::json;

use crate::{
    campaign::{
        self, interrupt, keep,
        pool::{Done, Pool},
        tally::Tally,
    },
    exit, input,
    output::{self, case::Case, failure, progress, server, table},
    seeds::Seeds,
    worker::Job,
};

/// So many failures are shown in full; all are kept.
const SHOWN: usize = 3;

/// What to run.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios; all without
    scenarios: Vec<String>,
    /// One seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..20")]
    seeds: Seeds,
    /// Carries a historic defect; alone, it picks its scenario. May be repeated
    #[arg(long, value_name = "ID")]
    defect: Vec<String>,
    /// Leaves a check out. May be repeated
    #[arg(long, value_name = "NAME")]
    without_check: Vec<String>,
    #[command(flatten)]
    pool: PoolArgs,
    /// Stops at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Where failing plans are kept
    #[arg(long, value_name = "DIR", default_value = "target/reenact")]
    out: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: server::Args,
}

/// How runs are spread over processes.
#[derive(clap::Args)]
pub struct PoolArgs {
    /// Worker processes; as many as there are processors without
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// A run that takes longer in real time is ended, and reported
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = timeout)]
    run_timeout: Nanos,
}

impl PoolArgs {
    /// The pool that these ask for.
    pub fn pool(&self, confirm: bool) -> Pool {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or_else(processors, usize::from);
        Pool {
            jobs,
            run_timeout: self.run_timeout.duration(),
            confirm,
            one_twice_of: 0,
            hear: false,
            leak_entropy: false,
        }
    }
}

fn timeout(text: &str) -> Result<Nanos, String> {
    match text.parse::<Nanos>() {
        Ok(Nanos::ZERO) => Err("no run ends in no time".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// A run that failed, and where it is kept, or why it could not be.
struct Failure {
    plan: Plan,
    done: Done,
    kept: anyhow::Result<keep::Kept>,
}

impl Failure {
    /// What leads back to it: lines to paste, or the plan itself where no file holds it.
    fn way_back(&self) -> String {
        match &self.kept {
            Ok(kept) => failure::lines_to_paste(kept),
            Err(_) => format!("this failure could not be kept; its plan follows\n\n{}\n", self.plan),
        }
    }
}

/// Runs, and says what happened.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let defects = input::defects(&args.defect)?;
    input::checks(&args.without_check)?;
    let scenarios = picked(&args.scenarios, &defects)?;
    let seeds = args.seed.map_or(args.seeds, |seed| Seeds { first: seed, last: seed });
    let server = args.server.server()?;
    input::out_folder("--out", &args.out)?;
    interrupt::listen()?;
    let options = RunOptions { without_checks: args.without_check.clone(), ..RunOptions::default() };
    let generate = GenerateOptions { defects };
    // Every plan has a number; a plan is a function of it, so none has to be kept until it has failed.
    let per_scenario = (seeds.last - seeds.first).saturating_add(1);
    let total = per_scenario.saturating_mul(scenarios.len() as u64);
    let plan_of = |number: u64| {
        let scenario = scenarios[(number / per_scenario) as usize];
        (scenario.generate)(seeds.first + number % per_scenario, &generate)
    };
    let jobs = (0..total).map(|number| Job { number, plan: plan_of(number).to_string(), options: options.clone() });

    let (bar, build) = (progress::bar(total), campaign::build());
    let (mut tally, mut failures) = (Tally::default(), BTreeMap::<u64, Failure>::new());
    let mut cases = BTreeMap::<u64, Case>::new();
    args.pool.pool(true).run(jobs, |done| {
        let plan = plan_of(done.number);
        tally.add(&plan, &done.outcome);
        bar.inc(1);
        let class = done.outcome.verdict.class;
        if server.wants_all() {
            cases.insert(done.number, Case::quiet(&plan, class));
        }
        if class != Class::Pass && class != Class::Unarmed {
            let kept = keep::keep(&args.out, &plan, &done.outcome, &done.stderr, &build);
            failures.insert(done.number, Failure { plan, done, kept });
            bar.set_message(format!("{} failed", failures.len()));
            if args.fail_fast {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();

    let status = if interrupt::happened() { exit::INTERRUPTED } else { tally.status() };
    let (table, failures) = (table::tally(&tally), failures.into_values().collect::<Vec<_>>());
    match (args.json, status) {
        (true, _) => output::print(&format!("{}\n", as_json(&tally, &failures, status))),
        (false, exit::NOTHING) => output::print("nothing was run: this build has no scenarios\n"),
        (false, _) => {
            output::print(&table);
            show(&failures);
        }
    }
    for Failure { plan, done, kept } in &failures {
        let paste = kept.as_ref().map(failure::lines_to_paste).unwrap_or_default();
        cases.insert(done.number, Case::failed(plan, &done.outcome, &done.stderr, paste));
    }
    server.tell("Reenact", &table, &cases.into_values().collect::<Vec<_>>())?;
    match failures.into_iter().find_map(|failure| failure.kept.err()) {
        Some(error) => Err(error),
        None => Ok(status),
    }
}

/// Shows one of each fingerprint, the first of them in the order of plans.
fn show(failures: &[Failure]) {
    let mut by_fingerprint = BTreeMap::<&str, Vec<usize>>::new();
    for (i, failure) in failures.iter().enumerate() {
        by_fingerprint.entry(&failure.done.outcome.verdict.fingerprint).or_default().push(i);
    }
    let mut first: Vec<&Vec<usize>> = by_fingerprint.values().collect();
    first.sort_by_key(|indices| indices[0]);
    for (shown, indices) in first.iter().enumerate() {
        let failure = &failures[indices[0]];
        let Failure { plan, done, .. } = failure;
        let again = match indices.len() {
            1 => String::new(),
            count => format!("({count} runs failed like this one)\n"),
        };
        let text = match shown < SHOWN {
            true => failure::report(plan, &done.outcome, &done.stderr),
            false => format!("{}: {}\n", done.outcome.verdict.class, done.outcome.verdict.fingerprint),
        };
        output::print(&format!("\n{text}{again}{}", failure.way_back()));
    }
}

/// The scenarios that were named; without names those of the defects; without these all.
fn picked(names: &[String], defects: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    let mut picked: Vec<&'static Scenario> = Vec::new();
    let mut pick = |scenario: &'static Scenario| {
        if !picked.iter().any(|known| known.name == scenario.name) {
            picked.push(scenario);
        }
    };
    if !names.is_empty() {
        for name in names {
            pick(input::scenario(name)?);
        }
    } else if !defects.is_empty() {
        for defect in defects {
            let of = catalog::of_defect(defect);
            let missing = || input::Refused(format!("no scenario re-enacts the defect `{defect}`: name one to run"));
            pick(of.ok_or_else(missing)?.0);
        }
    } else {
        catalog::all().iter().for_each(|scenario| pick(scenario));
    }
    Ok(picked)
}

fn as_json(tally: &Tally, failures: &[Failure], status: u8) -> serde_json::Value {
    let rows = tally.rows.iter().map(|((scenario, history), row)| {
        json!({
            "scenario": scenario,
            "history": if history.is_empty() { None } else { Some(history) },
            "tally": row,
        })
    });
    let failures = failures.iter().map(|Failure { plan, done, kept }| {
        let kept = kept.as_ref().ok();
        json!({
            "scenario": plan.scenario,
            "history": plan.history,
            "seed": plan.seed.to_string(),
            "defects": plan.defects,
            "armed": done.outcome.is_armed(),
            "outcome": done.outcome,
            "plan": kept.map(|kept| &kept.plan),
            "report": kept.map(|kept| &kept.report),
            "not-kept": kept.is_none().then(|| plan.to_string()),
        })
    });
    json!({
        "runs": tally.runs(),
        "rows": rows.collect::<Vec<_>>(),
        "failures": failures.collect::<Vec<_>>(),
        "status": status,
    })
}
