//! `fuzz`: a campaign over plans of the swarm, which keeps, sorts and shrinks what fails.
//!
//! A seed is done when whatever it found is on the disk and its line is in the journal; so an end at any moment loses
//! nothing that was found, and the next start goes on with the seeds that are not done. First of all runs a canary, a
//! plan that must fail: a campaign that does not notice it proves nothing.
//!
//! | file | what it holds |
//! |---|---|
//! | `cases` | what CI servers are told |
//! | `source` | from a seed to a plan |
//! | `shard` | which seeds are this process's |
//! | `shrinking` | smaller plans of what was found |
//! | `telling` | progress for people, lines for machines |
//!
//! Not here: files (`corpus`), processes (`campaign::pool`), and what runs add up to (`campaign::honesty`).

mod cases;
pub mod shard;
mod shrinking;
mod source;
mod telling;

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use scenarios::{
    plan::{Plan, Vocabulary},
    registry,
    run::RunOptions,
    verdict::Class,
};

use self::{shard::Shard, source::Source, telling::Telling};
use crate::{
    campaign::{
        self,
        honesty::{self, Ran, Totals, gaps},
        interrupt,
        pool::{Done, Pool},
    },
    corpus::{
        failure::Record,
        folder::{Folder, Header, Identity, Kept, News},
        reader::Reader,
        shard::Writer,
        sorted::{Overview, Status},
        unusable,
    },
    exit,
    input::{self, Refused},
    output::server::{self, Server},
    run::PoolArgs,
    seeds::Seeds,
    worker::Job,
};

/// One of so many runs is run in two processes, to see that both give one trace.
const ONE_TWICE_OF: u64 = 20;

/// With so many schedules the canary is tried until it fails.
const CANARY_SEEDS: u64 = 3;

/// Of more seeds than this nobody waits for the end, and the bar does not say how many are left.
const COUNTED_MAX: u64 = 10_000_000;

/// What a job's summary calls it.
const TITLE: &str = "Reenact: campaign";

/// A plan that must fail.
const CANARY: &str = include_str!("fuzz/canary.toml");

/// What an exit status means here, beside what it means everywhere.
const HELP: &str = "Exit status, of all that the campaign has done so far: 0 all passed; 1 a violation was found; 2 the \
corpus cannot be used; 3 Reenact itself failed, the canary lived, or, in a campaign of the swarm of 200 runs or more, a \
knob or a kind of fault or step never did anything and nobody says why; 4 no seed was left to run, ever; 130 interrupted.\n\n\
The same command goes on where it was ended, however that was. A failure is shrunk when it is found, for at most \
--shrink-seconds and at most half of the time that has passed; what that leaves is shrunk after the last run.\n\n\
A failure is run again in a fresh process before it counts, and one that does not come back is Reenact's own. Where \
whoever runs it again is killed, twice in a row, it counts as it was found and is marked as not confirmed.\n\n\
--junit has a case for each failure, called by its fingerprint, and one for the canary; what is resolved passes, what is \
rare is skipped. Where GitHub runs the job, failures are annotated and the job has a summary.";

/// What to do.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Real time after which no further run begins; without it and without seeds the campaign goes on until interrupted
    #[arg(long, value_name = "M", value_parser = minutes, conflicts_with = "seeds")]
    minutes: Option<Duration>,
    /// Seeds, both ends included; without them a campaign goes on where the last one ended
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// Runs one part of the campaign: `1/3`, or `auto` to take it from the engine that started this process. Parts that run
    /// at once in one folder are of one count
    #[arg(long, value_name = "I/N|auto")]
    shard: Option<String>,
    /// Where failures are kept, and what is done; made if need be
    #[arg(long, value_name = "DIR", default_value = crate::corpus::DEFAULT)]
    corpus: PathBuf,
    /// Carries a historic defect. May be repeated
    #[arg(long, value_name = "ID")]
    defect: Vec<String>,
    /// Runs this plan with each seed, instead of plans of the swarm. May be repeated: they take turns
    #[arg(long, value_name = "FILE.toml")]
    plan: Vec<PathBuf>,
    #[command(flatten)]
    pool: PoolArgs,
    /// Begins the next campaign in a corpus whose last one is of another build, or runs other plans
    #[arg(long)]
    new_build: bool,
    /// Leaves failures as they were found
    #[arg(long)]
    no_shrink: bool,
    /// Real time for each failure that is shrunk
    #[arg(long, value_name = "S", default_value_t = 60, conflicts_with = "no_shrink")]
    shrink_seconds: u64,
    /// Prints a JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: server::Args,
    /// Another canary: for the test which shows that one that lives is noticed
    #[arg(long, value_name = "FILE.toml", hide = true)]
    canary: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().map_err(|_| format!("`{text}` is no number of minutes"))?;
    if !(minutes > 0.0 && minutes < 1e9) {
        return Err("it should be more than none, and end within a life".to_owned());
    }
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// Runs the campaign, and says what came of it.
pub fn fuzz(args: Args) -> anyhow::Result<u8> {
    let vocabulary = registry::vocabulary();
    let shard = shard(args.shard.as_deref())?;
    let source = Source::new(&args.plan, input::defects(&args.defect)?, &vocabulary)?;
    let build = campaign::build();
    let identity = Identity { build, source: source.name(), defects: source.defects().to_vec() };
    let server = args.server.server()?;
    interrupt::listen()?;
    let telling = Telling::new(args.json);

    let folder = Folder::made(&args.corpus)?;
    let mut reader = Reader::mending();
    let entered = folder.lock().map_err(anyhow::Error::from).and_then(|held| {
        let header = folder.enter(&identity, args.new_build, &held, &mut reader)?;
        // Nobody else changes failures now, so that what is damaged can be set aside.
        folder.failures(&mut reader)?;
        let writer = folder.shard(&header, shard, &mut reader)?;
        Ok((header, writer))
    });
    reader.notes.iter().for_each(|note| telling.note(note));
    let (header, writer) = entered.map_err(unusable)?;

    let mut hunt = Hunt { folder, header, shard, source, pool: args.pool.pool(true), writer, telling };
    hunt.pool.one_twice_of = ONE_TWICE_OF;
    hunt.telling.started(&hunt.folder, &hunt.header, shard, hunt.writer.state.done.len());
    let has_canary_failed = hunt.canary_fails(args.canary.as_ref(), &vocabulary)?;
    if !has_canary_failed && !interrupt::happened() {
        hunt.telling.canary_lives();
        server.tell(TITLE, "the canary lives", &[cases::canary(false)])?;
        return Ok(exit::VOID);
    }
    hunt.replay().map_err(unusable)?;
    let budget = (!args.no_shrink).then_some(Duration::from_secs(args.shrink_seconds));
    hunt.run(args.seeds, args.minutes, budget)?;
    if let Some(budget) = budget {
        shrinking::shrink(&hunt, budget, usize::MAX).map_err(unusable)?;
    }
    hunt.conclude(&server)
}

fn shard(text: Option<&str>) -> Result<Shard, Refused> {
    match text {
        None => Ok(Shard::default()),
        Some("auto") => Shard::detect(|name| std::env::var(name).ok()).map_err(Refused),
        Some(text) => text.parse().map_err(|error| Refused(format!("--shard: {error}"))),
    }
}

/// A campaign that is going on.
struct Hunt {
    folder: Folder,
    header: Header,
    shard: Shard,
    source: Source,
    pool: Pool,
    writer: Writer,
    telling: Telling,
}

impl Hunt {
    /// Whether the plan that must fail does.
    fn canary_fails(&self, file: Option<&PathBuf>, vocabulary: &Vocabulary) -> anyhow::Result<bool> {
        let plan = match file {
            Some(file) => input::plan_file(file, vocabulary)?,
            None => Plan::parse(CANARY, vocabulary).context("the canary is no plan")?,
        };
        let mut fails = false;
        let jobs = (1..=CANARY_SEEDS).map(|seed| {
            let plan = Plan { seed, ..plan.clone() }.to_string();
            Job { number: seed, plan, options: RunOptions::default() }
        });
        Pool { jobs: 1, one_twice_of: 0, ..self.pool }.run(jobs, |done| {
            fails |= done.outcome.verdict.class.is_violation();
            if fails { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(fails)
    }

    /// Runs once what earlier campaigns have kept, whatever it carries: what still fails needs no seed to meet it. Where no
    /// plan can be read nobody knows.
    fn replay(&mut self) -> anyhow::Result<()> {
        if self.shard.index > 1 || self.writer.state.has_replayed {
            return Ok(());
        }
        let mut known = self.folder.failures(&mut Reader::looking())?;
        known.retain(|failure| {
            let Record { class, campaign, .. } = &failure.record;
            class.is_violation() && *campaign != self.header.number
        });
        let plans: Vec<_> = known.iter().filter_map(|failure| Some((failure, failure.plans().next()?.1))).collect();
        let jobs = (0..).zip(&plans).map(|(number, (_, plan))| {
            let plan = plan.to_string();
            Job { number, plan, options: RunOptions::default() }
        });
        let mut still_fail = BTreeSet::new();
        Pool { one_twice_of: 0, ..self.pool }.run(jobs, |done| {
            let fingerprint = &plans[done.number as usize].0.record.fingerprint;
            if done.outcome.verdict.fingerprint == *fingerprint {
                still_fail.insert(fingerprint.clone());
            }
            ControlFlow::Continue(())
        })?;
        if interrupt::happened() {
            return Ok(());
        }
        if !plans.is_empty() {
            self.telling.replayed(plans.len(), still_fail.len());
        }
        (self.writer.state.still_fail, self.writer.state.has_replayed) = (still_fail, true);
        self.writer.checkpoint()
    }

    /// Runs the seeds that are not done, and shrinks meanwhile what is found, each failure for at most `budget`.
    fn run(&mut self, seeds: Option<Seeds>, time: Option<Duration>, budget: Option<Duration>) -> anyhow::Result<()> {
        let (begun, mut shrinking) = (Instant::now(), Duration::ZERO);
        let Seeds { first, last } = seeds.unwrap_or(Seeds { first: self.header.first_seed, last: u64::MAX });
        let are_few = seeds.is_some() && last - first < COUNTED_MAX;
        // Another count of shards may have run in this folder before.
        let mut others = self.folder.shards(&self.header, &mut Reader::looking())?;
        others.retain(|state| state.shard != self.shard);
        // What an earlier start left is found as well.
        let has_found = AtomicBool::new(budget.is_some());
        loop {
            let is_over = || time.is_some_and(|time| begun.elapsed() >= time);
            // Whoever only shrinks finds nothing more.
            let may_shrink = || has_found.load(Ordering::Relaxed) && 2 * shrinking <= begun.elapsed();
            let done = self.writer.state.clone();
            let is_done = |seed: u64| done.has_done(seed) || others.iter().any(|state| state.has_done(seed));
            let todo = || self.shard.seeds(first, last).filter(|seed| !is_done(*seed));
            self.telling.begins(are_few.then(|| todo().count() as u64));

            let (source, telling, folder, header, pool) =
                (&self.source, &self.telling, &self.folder, &self.header, self.pool);
            let writer = &mut self.writer;
            let jobs = todo().take_while(|_| !is_over() && !may_shrink()).map(|seed| Job {
                number: seed,
                plan: source.plan(seed).to_string(),
                options: RunOptions::default(),
            });
            let mut trouble = None;
            pool.run(jobs, |done| match take(folder, header, source, pool, writer, telling, &done) {
                Ok(kept) => {
                    if budget.is_some() && kept.is_some_and(|kept| kept.news == News::New) {
                        has_found.store(true, Ordering::Relaxed);
                    }
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    trouble = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            self.telling.ends();
            if let Some(error) = trouble {
                return Err(unusable(error));
            }
            self.writer.checkpoint().map_err(unusable)?;
            match budget.filter(|_| !is_over() && !interrupt::happened() && may_shrink()) {
                None => return Ok(()),
                Some(budget) => {
                    let since = Instant::now();
                    let is_more = shrinking::shrink(self, budget, 1).map_err(unusable)?;
                    has_found.store(is_more, Ordering::Relaxed);
                    shrinking += since.elapsed();
                }
            }
        }
    }

    /// Says what happened, and what it amounts to.
    fn conclude(&self, server: &Server) -> anyhow::Result<u8> {
        let mut reader = Reader::looking();
        let overview = Overview::of(&self.folder, &mut reader).map_err(unusable)?;
        // What was damaged when it began has been set aside: this is of since then, or of other parts.
        reader.notes.iter().for_each(|note| self.telling.note(note));
        // A part answers for itself; who runs the whole also for what parts have done in this folder.
        let totals = match &overview.summary {
            Some(summary) if self.shard.count == 1 => &summary.totals,
            _ => &self.writer.state.totals,
        };
        let gaps = if self.source.is_swarm() { gaps::gaps(totals) } else { Vec::new() };
        let status = match interrupt::happened() {
            true => exit::INTERRUPTED,
            false => status(totals, &gaps),
        };
        self.telling.report(&overview, totals, &gaps, self.shard, status);
        let cases = cases::cases(&overview, totals, &holes(totals, &gaps));
        server.tell(TITLE, &telling::text(&overview, totals, &gaps, status), &cases)?;
        Ok(status)
    }
}

/// Puts a run that is done on the disk, and tells of it.
fn take(
    folder: &Folder,
    header: &Header,
    source: &Source,
    pool: Pool,
    writer: &mut Writer,
    telling: &Telling,
    done: &Done,
) -> anyhow::Result<Option<Kept>> {
    let plan = source.plan(done.number);
    let is_failure = honesty::is_kept(done.outcome.verdict.class);
    let is_twice = !is_failure && !done.is_unconfirmed && pool.is_run_twice(done.number);
    let ran = Ran::new(&plan, &done.outcome, is_twice);
    let kept = match is_failure {
        false => None,
        true => match folder.keep(&plan, done, header) {
            Ok(kept) => Some(kept),
            Err(error) => {
                // The one place left for it.
                telling.homeless(&plan, done);
                return Err(error);
            }
        },
    };
    writer.add(&ran)?;
    telling.ran(&ran, done, kept.as_ref());
    Ok(kept)
}

/// The gaps for which a campaign fails: none while it is small.
fn holes<'a>(totals: &Totals, gaps: &'a [gaps::Gap]) -> Vec<&'a gaps::Gap> {
    gaps.iter().filter(|gap| totals.runs >= gaps::RUNS_MIN && gap.is_hole()).collect()
}

/// The exit status that a campaign amounts to.
fn status(totals: &Totals, gaps: &[gaps::Gap]) -> u8 {
    let is_void = totals.count(Class::Harness) + totals.count(Class::Inconclusive) > 0
        || totals.unarmed().next().is_some()
        || !holes(totals, gaps).is_empty();
    if totals.runs == 0 {
        exit::NOTHING
    } else if is_void {
        exit::VOID
    } else if Class::ALL.iter().any(|class| class.is_violation() && totals.count(*class) > 0) {
        exit::VIOLATION
    } else {
        exit::PASSED
    }
}

/// How many failures a report counts under each status, in words.
fn in_words(overview: &Overview) -> String {
    let counts = Status::ALL.map(|status| format!("{} {}", overview.count(status), status.as_str()));
    counts.join(", ")
}
