//! `determinism`: each plan in two processes, in different places of different batches; their traces must be equal.
//!
//! Where they differ, both are run once more with their traces written out, and the first event that differs is named
//! with what came before it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::Path,
};

use scenarios::{
    catalog::{self, GenerateOptions},
    run::{Outcome, RunOptions},
};

use crate::{
    campaign::pool::Pool,
    exit, input,
    output::{self, progress},
    run::PoolArgs,
    seeds::Seeds,
    worker::Job,
};

/// So many events before the difference are shown.
const CONTEXT: usize = 10;

/// What to compare.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios; all without
    scenarios: Vec<String>,
    /// Seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..20")]
    seeds: Seeds,
    /// Carries a historic defect. May be repeated
    #[arg(long, value_name = "ID")]
    defect: Vec<String>,
    #[command(flatten)]
    pool: PoolArgs,
    /// Lets randomness of the kernel's into runs: for the test which shows that this command notices
    #[arg(long, hide = true)]
    leak_entropy: bool,
}

impl Args {
    fn pool(&self) -> Pool {
        Pool { leak_entropy: self.leak_entropy, ..self.pool.pool(false) }
    }
}

/// Compares, and names the first difference of each plan.
pub fn determinism(args: Args) -> anyhow::Result<u8> {
    let generate = GenerateOptions { defects: input::defects(&args.defect)? };
    let scenarios = match args.scenarios.is_empty() {
        true => catalog::all().to_vec(),
        false => args.scenarios.iter().map(|name| input::scenario(name)).collect::<Result<_, _>>()?,
    };
    let plans: Vec<String> = scenarios
        .iter()
        .flat_map(|scenario| args.seeds.iter().map(|seed| (scenario.generate)(seed, &generate).to_string()))
        .collect();
    if plans.is_empty() {
        output::print("nothing was run: this build has no scenarios\n");
        return Ok(exit::NOTHING);
    }
    let bar = progress::bar(2 * plans.len() as u64);
    let batch = |order: Vec<usize>| -> std::io::Result<BTreeMap<u64, Outcome>> {
        let mut outcomes = BTreeMap::new();
        let options = RunOptions::default;
        let jobs = order.into_iter().map(|i| Job { number: i as u64, plan: plans[i].clone(), options: options() });
        args.pool().run(jobs, |done| {
            outcomes.insert(done.number, done.outcome);
            bar.inc(1);
            ControlFlow::Continue(())
        })?;
        Ok(outcomes)
    };
    // Forwards, then backwards: no plan has the same runs before it in both batches, but for the middle one.
    let first = batch((0..plans.len()).collect())?;
    let second = batch((0..plans.len()).rev().collect())?;
    bar.finish_and_clear();

    let (mut differing, mut steps, mut failed, mut traces) = (0, 0, 0, 0_u64);
    for (number, plan) in (0..).zip(&plans) {
        let (a, b) = (&first[&number], &second[&number]);
        steps += a.stats.steps;
        // In the order of plans, so that it can be compared between job counts and builds.
        traces = traces.rotate_left(7) ^ a.trace_hash;
        if a == b {
            // Equal ends of a run that never ran prove nothing.
            failed += u64::from(a.verdict.class == scenarios::verdict::Class::Harness);
            continue;
        }
        differing += 1;
        output::print(&format!(
            "differs: {}\n  forwards:  {} at step {}, trace {:016x}\n  backwards: {} at step {}, trace {:016x}\n{}",
            plan.lines().skip(1).take(3).collect::<Vec<_>>().join(", "),
            a.verdict.class,
            a.verdict.step,
            a.trace_hash,
            b.verdict.class,
            b.verdict.step,
            b.trace_hash,
            first_difference(&args, plan)?
        ));
    }
    let equal = plans.len() as u64 - differing;
    output::print(&format!(
        "{equal} of {} plans gave equal traces in two processes, {steps} steps each, all together {traces:016x}\n",
        plans.len()
    ));
    if failed > 0 {
        output::print(&format!("{failed} of them ended as harness failures: see `run` for the reason\n"));
    }
    Ok(if differing + failed > 0 { exit::VOID } else { exit::PASSED })
}

/// Runs the plan twice with its trace written out, and names the first event that differs.
fn first_difference(args: &Args, plan: &str) -> anyhow::Result<String> {
    let folder = std::env::temp_dir().join(format!("reenact-determinism-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let paths = [folder.join("first.jsonl"), folder.join("second.jsonl")];
    for path in &paths {
        let options = RunOptions { record: Some(path.clone()), ..RunOptions::default() };
        let job = Job { number: 0, plan: plan.to_owned(), options };
        args.pool().run([job].into_iter(), |_| ControlFlow::Continue(()))?;
    }
    let text = compare(&paths[0], &paths[1]);
    std::fs::remove_dir_all(&folder)?;
    Ok(text?)
}

/// The first line in which two traces differ, with those before it.
fn compare(first: &Path, second: &Path) -> std::io::Result<String> {
    if !first.exists() || !second.exists() {
        return Ok("  no trace was written\n".to_owned());
    }
    let (mut a, mut b) = (BufReader::new(File::open(first)?).lines(), BufReader::new(File::open(second)?).lines());
    let mut before = std::collections::VecDeque::new();
    for number in 1u64.. {
        match (a.next().transpose()?, b.next().transpose()?) {
            (None, None) => break,
            (a, b) if a == b => {
                before.extend(a);
                if before.len() > CONTEXT {
                    before.pop_front();
                }
            }
            (a, b) => {
                let end = || "the end of the trace".to_owned();
                let before: String = before.iter().map(|line| format!("      {line}\n")).collect();
                let (a, b) = (a.unwrap_or_else(end), b.unwrap_or_else(end));
                return Ok(format!("  first differing event: {number}\n{before}    < {a}\n    > {b}\n"));
            }
        }
    }
    Ok("  two more runs in fresh processes were equal: what differs depends on the runs before it\n".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_named_with_what_came_before() {
        let folder = tempfile::tempdir().expect("a folder for two files");
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a small file");
            path
        };
        let (a, b) = (path("a", "x\ny\nz\n"), path("b", "x\ny\nw\n"));
        let text = compare(&a, &b).expect("both can be read");
        assert_eq!(text, "  first differing event: 3\n      x\n      y\n    < z\n    > w\n");
        let short = path("c", "x\n");
        assert!(compare(&a, &short).expect("both can be read").contains("> the end of the trace"));
        assert!(compare(&a, &a).expect("it can be read").contains("equal"));
    }
}
