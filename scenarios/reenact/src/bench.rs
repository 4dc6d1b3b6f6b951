//! `bench`: how fast plans run, as ratios from one process.
//!
//! Everything is measured in processor time of this process and divided by something measured in the same process, or
//! is a count per processor second; a figure of another machine is not comparable, a ratio is. What is compared is
//! measured in turns (A B A B), and the median of the turns counts, so that a machine that slows down slows both.
//!
//! A plan that does not pass measures nothing: its figures are left out with the reason, and the exit status says so.
//!
//! Not here: targets as promises; a figure that misses its target fails nothing.

pub(crate) mod meter;
mod shape;

use std::time::Duration;

use anyhow::Context;
use scenarios::{
    bare::{self, Shape},
    plan::{Nanos, Plan},
    run::{self, Outcome, RunOptions},
    verdict::Class,
};

use self::meter::{ENOUGH_SECONDS, median, peak_memory, timed};
use crate::{exit, output};

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// How much simulated time each run has; more is steadier
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = |text: &str| text.parse::<Nanos>())]
    simulated: Nanos,
    /// Turns of each comparison, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Measures only the bare loop: raft-rs over the room's fabric, which full runs are compared with
    #[arg(long)]
    bare: bool,
    /// Prints one JSON array
    #[arg(long)]
    json: bool,
}

/// One figure.
#[derive(serde::Serialize)]
struct Figure {
    name: String,
    /// None where there was nothing to measure.
    value: Option<f64>,
    unit: &'static str,
    target: &'static str,
}

impl Figure {
    fn new(name: impl Into<String>, value: impl Into<Option<f64>>, unit: &'static str, target: &'static str) -> Self {
        Figure { name: name.into(), value: value.into(), unit, target }
    }
}

/// Measures all figures, in order.
pub fn bench(args: Args) -> anyhow::Result<u8> {
    if args.bare {
        let figures = ceiling(&args)?;
        print(&figures, args.json)?;
        return Ok(exit::PASSED);
    }
    let mut bench = Bench { args, refused: Vec::new() };
    let figures = bench.measure()?;
    print(&figures, bench.args.json)?;
    for reason in &bench.refused {
        anstream::eprintln!("not measured: {reason}");
    }
    Ok(if bench.refused.is_empty() { exit::PASSED } else { exit::VOID })
}

struct Bench {
    args: Args,
    /// Why figures are missing.
    refused: Vec<String>,
}

/// The turns of a full run and the bare loop.
#[derive(Default)]
struct Compared {
    full: Option<f64>,
    bare: Option<f64>,
    ratio: Option<f64>,
}

impl Bench {
    fn measure(&mut self) -> anyhow::Result<Vec<Figure>> {
        let simulated = self.args.simulated;
        // First of all: memory is kept by the process once it had it.
        let mixed = shape::mixed(3, 10, simulated);
        let first = self.full(&mixed, &RunOptions::default())?;
        let memory = first.map(|_| peak_memory()).transpose()?;

        let base = self.compare(&shape::puts(3, 10, simulated))?;
        let (share, operations) = self.checks(&mixed)?;
        let idle = self.idle(&shape::idle(simulated))?;
        let stores = self.compare(&shape::puts(30, 10, simulated))?;
        let regions = self.compare(&shape::puts(3, 1_000, simulated))?;
        let flat = |other: &Compared| Some(base.ratio? / other.ratio?);
        let mut figures = Vec::new();
        for (shape, compared) in
            [("3 stores, 10 regions", &base), ("30 stores, 10 regions", &stores), ("3 stores, 1000 regions", &regions)]
        {
            let name = |what: &str| format!("{shape}: {what}");
            let target = if figures.is_empty() { "0.4, at first 0.2" } else { "" };
            figures.extend([
                Figure::new(name("proposals, everything on"), compared.full, "per CPU second", ""),
                Figure::new(name("proposals, bare loop"), compared.bare, "per CPU second", ""),
                Figure::new(name("everything on over bare"), compared.ratio, "", target),
            ]);
        }
        figures.extend([
            Figure::new("that ratio, 3 stores over 30", flat(&stores), "", "< 1.3"),
            Figure::new("that ratio, 10 regions over 1000", flat(&regions), "", "< 1.3"),
            Figure::new("share of time that checks cost", share, "%", "< 15, at first < 25"),
            Figure::new(
                "client operations committed and checked",
                operations,
                "per CPU second",
                "10000, at first 5000",
            ),
            Figure::new("ten idle regions, hibernating", idle, "simulated s per CPU s", "10000, at first 3000"),
            Figure::new("peak memory of one run", memory, "MB", "< 40"),
        ]);
        Ok(figures)
    }

    /// A full run and the bare loop with the same shape and as many proposals, in turns.
    fn compare(&mut self, plan: &Plan) -> anyhow::Result<Compared> {
        let mut shape = Shape::of(plan);
        let (mut full, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.args.repeat {
            let taken = self.full(plan, &RunOptions::default())?;
            if let Some((outcome, seconds)) = &taken {
                // Every key is read once at the end, and a read is no proposal.
                shape.proposals = outcome.stats.operations_committed.saturating_sub(plan.workload.keys);
                full.push(shape.proposals as f64 / seconds);
            }
            bare.push(Bare::measure(&shape)?.proposals_per_second());
            if taken.is_some() {
                ratios.push(full[full.len() - 1] / bare[bare.len() - 1]);
            }
        }
        Ok(Compared { full: median(full), bare: median(bare), ratio: median(ratios) })
    }

    /// The share of time that checks cost, in percent, and checked operations a second.
    fn checks(&mut self, plan: &Plan) -> anyhow::Result<(Option<f64>, Option<f64>)> {
        let unchecked = RunOptions { without_any_check: true, ..RunOptions::default() };
        let (mut shares, mut operations) = (Vec::new(), Vec::new());
        for _ in 0..self.args.repeat {
            let with = self.full(plan, &RunOptions::default())?;
            let without = self.full(plan, &unchecked)?;
            if let (Some((with, with_seconds)), Some((_, without_seconds))) = (with, without) {
                shares.push(100.0 * (1.0 - without_seconds / with_seconds));
                operations.push(with.stats.operations_committed as f64 / with_seconds);
            }
        }
        Ok((median(shares), median(operations)))
    }

    /// Simulated seconds a second.
    fn idle(&mut self, plan: &Plan) -> anyhow::Result<Option<f64>> {
        let mut rates = Vec::new();
        for _ in 0..self.args.repeat {
            if let Some((outcome, seconds)) = self.full(plan, &RunOptions::default())? {
                rates.push(outcome.stats.simulated_ns as f64 / 1e9 / seconds);
            }
        }
        Ok(median(rates))
    }

    /// A full run and its processor seconds, if it passes.
    fn full(&mut self, plan: &Plan, options: &RunOptions) -> anyhow::Result<Option<(Outcome, f64)>> {
        let (outcome, seconds) = timed(|| run::run(plan, options))?;
        if outcome.verdict.class == Class::Pass {
            return Ok(Some((outcome, seconds)));
        }
        let (cluster, verdict) = (&plan.cluster, &outcome.verdict);
        let reason = format!(
            "{} stores, {} regions: {}: {} {}",
            cluster.stores, cluster.regions, verdict.class, verdict.check, verdict.detail
        );
        if !self.refused.contains(&reason) {
            self.refused.push(reason);
        }
        Ok(None)
    }
}

/// What the bare loop did in so many processor seconds.
struct Bare {
    committed: u64,
    messages: u64,
    simulated: Duration,
    seconds: f64,
}

impl Bare {
    /// Runs the loop, again and again until it has taken long enough to be measured.
    fn measure(shape: &Shape) -> anyhow::Result<Self> {
        let mut sum = Bare { committed: 0, messages: 0, simulated: Duration::ZERO, seconds: 0.0 };
        let mut runs = 1;
        while sum.seconds < ENOUGH_SECONDS {
            // A short run takes less than a tick: many are timed together, more each time.
            let (done, seconds) = timed(|| (0..runs).map(|_| bare::run(shape)).collect::<Result<Vec<_>, _>>())?;
            for done in done.context("the bare loop failed")? {
                sum.committed += done.committed;
                sum.messages += done.messages;
                sum.simulated += done.simulated;
            }
            sum.seconds += seconds;
            runs *= 2;
        }
        Ok(sum)
    }

    fn proposals_per_second(&self) -> f64 {
        self.committed as f64 / self.seconds
    }
}

/// The bare loop in the shapes that were measured when the fabric was designed.
fn ceiling(args: &Args) -> anyhow::Result<Vec<Figure>> {
    let mut turns = shape::MEASURED_BEFORE.map(|_| Vec::new());
    for _ in 0..args.repeat {
        for (turns, &shape) in turns.iter_mut().zip(&shape::MEASURED_BEFORE) {
            turns.push(Bare::measure(&shape::measured_before(shape, args.simulated.duration()))?);
        }
    }
    let mut figures = Vec::new();
    for (turns, (stores, regions, writes)) in turns.iter().zip(shape::MEASURED_BEFORE) {
        let name = format!("{stores} stores, {regions} regions, {writes} writes/s each");
        let middle = |rate: fn(&Bare) -> f64| median(turns.iter().map(rate).collect());
        let messages = middle(|bare| bare.messages as f64 / bare.seconds);
        let simulated = middle(|bare| bare.simulated.as_secs_f64() / bare.seconds);
        figures.push(Figure::new(&name, messages, "messages per CPU second", "500000"));
        figures.push(Figure::new(&name, middle(Bare::proposals_per_second), "proposals per CPU second", ""));
        figures.push(Figure::new(&name, simulated, "simulated s per CPU s", ""));
    }
    Ok(figures)
}

fn print(figures: &[Figure], json: bool) -> anyhow::Result<()> {
    if json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(figures)?));
        return Ok(());
    }
    for Figure { name, value, unit, target } in figures {
        let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let target = if target.is_empty() { String::new() } else { format!("target {target}") };
        output::print(format!("{name:<48} {value:>12} {unit:<24} {target}").trim_end());
        output::print("\n");
    }
    Ok(())
}
