//! `shrink`: from a failing plan to the smallest one that fails in the same way.
//!
//! The search is the library's; here its attempts run in worker processes. Of several that fail in the same way the
//! first in the search's order counts, however many jobs there are, so that two searches find the same plan if both have
//! the time. The best plan so far is written whenever there is a better one: an interrupted search has not been in vain.
//! What it was shrunk from is never written over.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use scenarios::{
    plan::{Nanos, Plan, Recorded},
    registry,
    run::{Outcome, RunOptions},
    shrink::{Attempt, Search},
    verdict::Class,
};

use crate::{
    campaign::{
        self, interrupt, keep,
        pool::{self, Pool},
    },
    exit, input,
    output::{self, progress},
    run::PoolArgs,
    worker::Job,
};

/// What to shrink.
#[derive(clap::Args)]
pub struct Args {
    /// A plan that fails
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// Where the smaller plan goes; beside the plan, as FILE.shrunk.toml, without
    #[arg(short, long, value_name = "OUT.toml")]
    out: Option<PathBuf>,
    /// Real time after which the best plan so far is the answer
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = budget)]
    budget: Nanos,
    #[command(flatten)]
    pool: PoolArgs,
}

fn budget(text: &str) -> Result<Nanos, String> {
    text.parse::<Nanos>().map_err(|error| error.to_string())
}

/// Shrinks the plan, and says what is left of it.
pub fn shrink(args: Args) -> anyhow::Result<u8> {
    let vocabulary = registry::vocabulary();
    let plan = input::plan_file(&args.file, &vocabulary)?;
    let out = args.out.clone().unwrap_or_else(|| args.file.with_extension("shrunk.toml"));
    input::out_file("--out", &out)?;
    if same_file(&args.file, &out) {
        return Err(input::Refused(format!("--out: {} is the plan itself: name another file", out.display())).into());
    }
    interrupt::listen()?;
    let runner = Runner { pool: args.pool.pool(false), ends: Instant::now() + args.budget.duration() };
    let first = runner.confirmed(&plan)?;
    if interrupt::happened() {
        output::print(&format!("{}: interrupted: nothing was shrunk\n", args.file.display()));
        return Ok(exit::INTERRUPTED);
    }
    if !first.verdict.class.is_violation() {
        output::print(&format!("{}: {}", args.file.display(), why_not(&first)));
        return Ok(if first.verdict.class == Class::Pass { exit::PASSED } else { exit::VOID });
    }
    let shrunk = runner.search(&plan, first, |best| keep(&out, best))?;
    keep(&out, &shrunk)?;
    let Shrunk { plan: small, outcome, attempts, is_done } = &shrunk;
    let end = match (interrupt::happened(), *is_done) {
        (true, _) => ", interrupted: it may become smaller still",
        (false, false) => ", ended by the budget: it may become smaller still",
        (false, true) => "",
    };
    output::print(&format!("{small}\n"));
    output::print(&format!(
        "{}: {}\n{} steps of {}, {} attempts{}\nReproduce: cargo reenact replay {}\n",
        outcome.verdict.class,
        outcome.verdict.fingerprint,
        small.steps.len(),
        plan.steps.len(),
        attempts,
        end,
        out.display()
    ));
    Ok(if interrupt::happened() { exit::INTERRUPTED } else { exit::PASSED })
}

/// Why a plan that gave this is not shrunk.
fn why_not(outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    match verdict.class {
        Class::Harness if verdict.check == pool::NOT_REPEATABLE => format!(
            "it does not end in the same way twice: nothing was shrunk\n{}\nremedy: `cargo reenact determinism`\n",
            verdict.detail
        ),
        Class::Harness => {
            format!("harness: {}: {}: only a failure of the store can be shrunk\n", verdict.check, verdict.detail)
        }
        class => format!("{class}: only a failure can be shrunk\n"),
    }
}

/// Whether two names are of one file.
fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The smallest plan so far, and what it gave.
pub struct Shrunk {
    /// The plan, without `[recorded]`.
    pub plan: Plan,
    /// What it gave.
    pub outcome: Outcome,
    /// How many plans were run.
    pub attempts: u64,
    /// Whether nothing smaller can be found, or only the time was up.
    pub is_done: bool,
}

impl Shrunk {
    /// The file of a shrunk plan: what happened as a comment, the plan, and what was recorded.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.comment() {
            text.push_str(format!("# {line}").trim_end());
            text.push('\n');
        }
        let plan =
            Plan { recorded: Some(Recorded::of(&self.outcome.verdict, &campaign::build())), ..self.plan.clone() };
        text.push('\n');
        text.push_str(&plan.to_string());
        text
    }

    /// What was promised, what happened instead, and how it came to that.
    fn comment(&self) -> Vec<String> {
        let verdict = &self.outcome.verdict;
        let mut lines = vec![format!("{}: {}", verdict.class, verdict.check)];
        if let Ok(check) = scenarios::check::entry(&verdict.check) {
            lines.push(format!("promised: {} ({})", check.property, check.source));
        }
        lines.extend(verdict.detail.lines().map(str::to_owned));
        for defect in registry::defect_entries().into_iter().filter(|entry| self.plan.defects.contains(&entry.name)) {
            lines.push(format!("carries {}: {}", defect.name, defect.doc));
        }
        if !self.outcome.chronicle.is_empty() {
            lines.extend([String::new(), "What happened since clients began:".to_owned()]);
            lines.extend(self.outcome.chronicle.iter().cloned());
        }
        lines
    }
}

fn keep(out: &Path, shrunk: &Shrunk) -> anyhow::Result<()> {
    keep::write(out, &shrunk.text())
}

/// Runs attempts until a point in real time.
pub struct Runner {
    /// Where they run. Failures are not confirmed one by one; the end of the search is.
    pub pool: Pool,
    /// When to stop.
    pub ends: Instant,
}

impl Runner {
    /// What a plan gives; of class `harness` unless two processes give the same. One that was interrupted is, too.
    pub fn confirmed(&self, plan: &Plan) -> anyhow::Result<Outcome> {
        let mut outcome = None;
        let job = Job { number: 0, plan: plan.to_string(), options: RunOptions::default() };
        Pool { confirm: true, jobs: 1, ..self.pool }.run(std::iter::once(job), |done| {
            outcome = Some(done.outcome);
            ControlFlow::Continue(())
        })?;
        Ok(outcome.unwrap_or_else(|| Outcome::harness("interrupted", "the run was ended before it gave anything")))
    }

    /// Searches from a plan that gave `first`; `better` hears of each improvement.
    pub fn search(
        &self,
        plan: &Plan,
        first: Outcome,
        mut better: impl FnMut(&Shrunk) -> anyhow::Result<()>,
    ) -> anyhow::Result<Shrunk> {
        let vocabulary = registry::vocabulary();
        let mut search = Search::new(plan, &vocabulary);
        let mut best = Shrunk { plan: search.best().clone(), outcome: first, attempts: 0, is_done: false };
        let bar = progress::bar(0);
        loop {
            let attempts = search.attempts();
            if attempts.is_empty() {
                best.is_done = true;
                break;
            }
            let (found, tried) = self.first(&attempts, &best.outcome)?;
            best.attempts += tried;
            match found {
                Some((place, outcome)) => {
                    let attempt = attempts.into_iter().nth(place).expect("it is one of them");
                    bar.set_message(format!("{} steps: {}", attempt.plan.steps.len(), attempt.what));
                    search.adopt(attempt);
                    (best.plan, best.outcome) = (search.best().clone(), outcome);
                    better(&best)?;
                }
                None if Instant::now() >= self.ends || interrupt::happened() => break,
                None => search.reject(),
            }
        }
        bar.finish_and_clear();
        if interrupt::happened() {
            best.is_done = false;
            return Ok(best);
        }
        // Each was run once, by a worker that had run others: what is kept has to come back in a fresh process.
        match self.confirmed(&best.plan)? {
            outcome if outcome == best.outcome => Ok(best),
            _ if interrupt::happened() => Ok(Shrunk { is_done: false, ..best }),
            _ => anyhow::bail!("the shrunk plan gives another trace in a fresh process: {}", best.plan),
        }
    }

    /// The first attempt that fails as `wanted` did, and how many were run.
    fn first(&self, attempts: &[Attempt], wanted: &Outcome) -> anyhow::Result<(Option<(usize, Outcome)>, u64)> {
        // Attempts behind the first that was found are of no interest; those before it are.
        let limit = AtomicU64::new(attempts.len() as u64);
        let jobs = (0..).zip(attempts).map_while(|(number, attempt)| {
            let is_wanted = number < limit.load(Ordering::Relaxed) && Instant::now() < self.ends;
            is_wanted.then(|| Job { number, plan: attempt.plan.to_string(), options: RunOptions::default() })
        });
        let (mut found, mut tried) = (None, 0);
        self.pool.run(jobs, |done| {
            tried += 1;
            if is_same(&done.outcome, wanted) && done.number < limit.load(Ordering::Relaxed) {
                limit.store(done.number, Ordering::Relaxed);
                found = Some((done.number as usize, done.outcome));
            }
            ControlFlow::Continue(())
        })?;
        Ok((found, tried))
    }
}

/// Whether two runs failed in the same way. One that reached every trigger must go on reaching them: a regression whose
/// trigger is never reached would prove nothing once the bug is mended.
fn is_same(one: &Outcome, other: &Outcome) -> bool {
    let of = |outcome: &Outcome| (outcome.verdict.class, outcome.verdict.fingerprint.clone());
    of(one) == of(other) && (one.is_armed() || !other.is_armed())
}
