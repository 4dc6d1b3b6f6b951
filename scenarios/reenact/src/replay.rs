//! `replay`: runs plans from files, and compares with what they recorded.

use std::{ops::ControlFlow, path::PathBuf};

use scenarios::{
    registry,
    run::{self, RunOptions},
    verdict::Class,
};

use crate::{
    campaign::{self, pool::Pool},
    exit, input,
    output::{self, failure},
    run::PoolArgs,
    worker::Job,
};

/// What to replay.
#[derive(clap::Args)]
pub struct Args {
    /// Plans
    #[arg(required = true, value_name = "FILE.toml")]
    files: Vec<PathBuf>,
    /// Shows what nodes log, from this level on
    #[arg(long, value_name = "LEVEL", value_parser = log_filter)]
    log: Option<String>,
    /// Writes the whole trace of the one plan, a JSON event a line
    #[arg(long, value_name = "FILE.jsonl")]
    record: Option<PathBuf>,
    /// Answers `git bisect run`: 0 for a pass, 1 for a violation, 125 for anything else
    #[arg(long)]
    bisect: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

fn log_filter(text: &str) -> Result<String, String> {
    run::check_log(text).map(|()| text.to_owned())
}

/// Replays all files; nothing runs unless all can be read.
pub fn replay(args: Args) -> anyhow::Result<u8> {
    let vocabulary = registry::vocabulary();
    if args.record.is_some() && args.files.len() > 1 {
        return Err(input::Refused("--record writes the trace of one plan: name one file".to_owned()).into());
    }
    let plans = args.files.iter().map(|file| input::plan_file(file, &vocabulary)).collect::<Result<Vec<_>, _>>()?;
    let record = args.record.as_ref().map(std::path::absolute).transpose()?;
    let options = RunOptions { log: args.log.clone(), record, ..RunOptions::default() };
    let jobs = (0..).zip(&plans).map(|(number, plan)| Job { number, plan: plan.to_string(), options: options.clone() });
    let mut results: Vec<_> = plans.iter().map(|_| None).collect();
    // What is listened to is run once: twice the same log would only confuse.
    let pool = Pool { hear: args.log.is_some(), ..args.pool.pool(args.log.is_none()) };
    pool.run(jobs, |done| {
        let index = usize::try_from(done.number).expect("jobs are numbered by the files");
        results[index] = Some(done);
        ControlFlow::Continue(())
    })?;
    let build = campaign::build();
    let mut worst = exit::PASSED;
    for ((file, plan), done) in args.files.iter().zip(&plans).zip(results) {
        let done = done.expect("nothing stops the pool before its last job");
        let verdict = &done.outcome.verdict;
        let differences = plan.recorded.as_ref().map(|recorded| recorded.differences(verdict, &build));
        let status = status(verdict.class, differences.as_deref(), args.bisect);
        let mut text = match verdict.class {
            Class::Pass => format!(
                "pass: {} seed {}\n  at:          step {}, trace {:016x}\n",
                plan.scenario, plan.seed, verdict.step, verdict.trace
            ),
            _ => failure::report(plan, &done.outcome, &done.stderr),
        };
        match differences.as_deref() {
            None => {}
            Some([]) => text.push_str("  as recorded\n"),
            Some(differences) => {
                text.push_str("  not as recorded:\n");
                differences.iter().for_each(|difference| text.push_str(&format!("    {difference}\n")));
            }
        }
        output::print(&format!("{}: {text}", file.display()));
        // What proves nothing goes first, then what did not come back, then what was found.
        let rank = |status: u8| {
            [exit::PASSED, exit::VIOLATION, exit::NOT_AS_RECORDED, exit::VOID, exit::BISECT_SKIP]
                .iter()
                .position(|known| *known == status)
        };
        if rank(status) > rank(worst) {
            worst = status;
        }
    }
    Ok(worst)
}

/// The exit status of one replayed plan; `differences` from what it recorded, if it recorded anything.
fn status(class: Class, differences: Option<&[String]>, bisect: bool) -> u8 {
    match (class, differences) {
        (class, _) if bisect && class.is_void() => exit::BISECT_SKIP,
        (Class::Pass, _) if bisect => exit::PASSED,
        (_, _) if bisect => exit::VIOLATION,
        (_, Some([])) => exit::PASSED,
        (Class::Harness, _) => exit::VOID,
        (_, Some(_)) => exit::NOT_AS_RECORDED,
        (class, None) if class.is_void() => exit::VOID,
        (Class::Pass, None) => exit::PASSED,
        (_, None) => exit::VIOLATION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_that_came_back_is_a_success() {
        let differs = ["class".to_owned()];
        assert_eq!(status(Class::Safety, Some(&[]), false), exit::PASSED);
        assert_eq!(status(Class::Pass, Some(&differs), false), exit::NOT_AS_RECORDED);
        assert_eq!(status(Class::Harness, Some(&differs), false), exit::VOID);
        assert_eq!(status(Class::Safety, None, false), exit::VIOLATION);
        assert_eq!(status(Class::Unarmed, None, false), exit::VOID);
        assert_eq!(status(Class::Pass, None, false), exit::PASSED);
    }

    #[test]
    fn bisect_asks_only_whether_there_is_a_violation() {
        assert_eq!(status(Class::Safety, Some(&[]), true), exit::VIOLATION);
        assert_eq!(status(Class::Pass, Some(&["class".to_owned()]), true), exit::PASSED);
        assert_eq!(status(Class::Unarmed, None, true), exit::BISECT_SKIP);
    }
}
