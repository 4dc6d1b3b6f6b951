//! `bench`: how fast plans run, as ratios from one process.
//!
//! Everything is measured in processor time of this process and divided by something measured in the same process, or
//! is a count per processor second; a figure of another machine is not comparable, a ratio is. The plans are written
//! here and not drawn, so that figures of two builds compare. A plan that does not pass measures nothing.

use anyhow::{Context, bail};
use scenarios::{
    plan::{Cluster, Knobs, Mix, Nanos, Plan, Release, Workload, knobs},
    run::{self, Outcome, RunOptions},
    verdict::Class,
};

use crate::{exit, output};

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// How much simulated time each run has; more is steadier
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = |text: &str| text.parse::<Nanos>())]
    simulated: Nanos,
    /// Runs of each figure, of which the fastest counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// One figure.
#[derive(serde::Serialize)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    target: &'static str,
}

/// What a run took.
struct Taken {
    outcome: Outcome,
    cpu_seconds: f64,
}

impl Taken {
    fn operations_per_second(&self) -> f64 {
        self.outcome.stats.operations_committed as f64 / self.cpu_seconds
    }

    fn steps_per_second(&self) -> f64 {
        self.outcome.stats.steps as f64 / self.cpu_seconds
    }
}

/// Measures all figures, in order.
pub fn bench(args: Args) -> anyhow::Result<u8> {
    let measure = |plan: &Plan, options: &RunOptions| fastest(plan, options, args.repeat);
    let checked = RunOptions::default();
    let unchecked = RunOptions { without_any_check: true, ..RunOptions::default() };

    let default = loaded(3, 10, args.simulated);
    let with = measure(&default, &checked)?;
    let memory = peak_memory()?;
    let without = measure(&default, &unchecked)?;
    let idle = measure(&idle(args.simulated), &checked)?;
    let stores = measure(&loaded(30, 10, args.simulated), &checked)?;
    let regions = measure(&loaded(3, 1_000, args.simulated), &checked)?;

    let figures = [
        Figure {
            name: "client operations committed and checked",
            value: with.operations_per_second(),
            unit: "per CPU second",
            target: "10000",
        },
        Figure {
            name: "share of time that checks cost",
            value: 100.0 * (1.0 - without.cpu_seconds / with.cpu_seconds),
            unit: "%",
            target: "< 15",
        },
        Figure {
            name: "simulated time of an idle cluster of ten regions, hibernating",
            value: idle.outcome.stats.simulated_ns as f64 / 1e9 / idle.cpu_seconds,
            unit: "seconds per CPU second",
            target: "10000",
        },
        Figure {
            name: "steps per CPU second, 3 stores over 30",
            value: with.steps_per_second() / stores.steps_per_second(),
            unit: "",
            target: "< 1.3",
        },
        Figure {
            name: "steps per CPU second, 10 regions over 1000",
            value: with.steps_per_second() / regions.steps_per_second(),
            unit: "",
            target: "< 1.3",
        },
        Figure { name: "peak memory of the default shape", value: memory, unit: "MB", target: "< 40" },
    ];
    if args.json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&figures)?));
    } else {
        for Figure { name, value, unit, target } in &figures {
            output::print(&format!("{name:<64} {value:>12.2} {unit:<24} target {target}\n"));
        }
    }
    Ok(exit::PASSED)
}

/// A cluster with work.
fn loaded(stores: u64, regions: u64, simulated: Nanos) -> Plan {
    let workload = Workload { clients: 8, rate: 1_000, keys: 10_000, lasting: simulated, ..Workload::default() };
    plan(stores, regions, workload, Knobs::default())
}

/// A cluster without work, whose regions hibernate. It takes so little that it is given a hundred times the time.
fn idle(simulated: Nanos) -> Plan {
    let lasting = Nanos(simulated.0.saturating_mul(100));
    let mut knobs = Knobs::default();
    knobs.set(knobs::RAFT_HIBERNATE, true);
    plan(3, 10, Workload { clients: 0, rate: 0, lasting, mix: Mix::default(), ..Workload::default() }, knobs)
}

fn plan(stores: u64, regions: u64, workload: Workload, knobs: Knobs) -> Plan {
    Plan {
        scenario: "hand-written".to_owned(),
        history: None,
        seed: 1,
        defects: Vec::new(),
        plant: Vec::new(),
        cluster: Cluster { stores, tiflash: 0, spare: 0, release: Release::new("8.1.0"), regions },
        knobs,
        workload,
        trigger: Vec::new(),
        steps: Vec::new(),
        converge_within: scenarios::plan::DEFAULT_CONVERGE_WITHIN,
        recorded: None,
    }
}

fn fastest(plan: &Plan, options: &RunOptions, repeat: u64) -> anyhow::Result<Taken> {
    let mut best: Option<Taken> = None;
    for _ in 0..repeat {
        let before = cpu_seconds()?;
        let outcome = run::run(plan, options);
        // A tick is the least that can be told apart.
        let cpu_seconds = (cpu_seconds()? - before).max(TICK_SECONDS);
        if outcome.verdict.class != Class::Pass {
            let verdict = &outcome.verdict;
            bail!("a plan of the bench did not pass: {}: {} {}\n{plan}", verdict.class, verdict.check, verdict.detail);
        }
        if best.as_ref().is_none_or(|best| cpu_seconds < best.cpu_seconds) {
            best = Some(Taken { outcome, cpu_seconds });
        }
    }
    best.context("nothing was measured")
}

/// The kernel counts processor time in hundredths of a second for programs, whatever its own tick is.
const TICK_SECONDS: f64 = 0.01;

/// Processor time of all threads of this process, those that have ended included.
fn cpu_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("cannot read this process's processor time")?;
    cpu_seconds_of(&text).context("/proc/self/stat has another form here")
}

/// Fields 14 and 15 of `/proc/self/stat`: user and system time in ticks. The second field, the name, may hold spaces.
fn cpu_seconds_of(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 * TICK_SECONDS)
}

/// The most memory that this process has held, in MB.
fn peak_memory() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("cannot read this process's memory")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/self/status has no VmHWM here")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmHWM is no number")?;
    Ok(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces() {
        let stat = "1 (a b) c) S 2 3 4 5 6 7 8 9 10 11 150 50 14 15";
        assert_eq!(cpu_seconds_of(stat), Some(2.0));
        assert_eq!(cpu_seconds_of("1 (a)"), None);
    }

    #[test]
    fn plans_of_the_bench_can_be_read_back() {
        let vocabulary = scenarios::registry::vocabulary();
        for plan in [loaded(30, 1_000, Nanos::secs(20)), idle(Nanos::secs(20))] {
            assert_eq!(Plan::parse(&plan.to_string(), &vocabulary).as_ref(), Ok(&plan));
        }
    }

    #[test]
    fn this_process_has_time_and_memory() {
        assert!(cpu_seconds().is_ok() && peak_memory().is_ok_and(|memory| memory > 0.0));
    }
}
