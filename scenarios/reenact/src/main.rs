//! `reenact`: runs, replays, lists and measures plans.
//!
//! | file | what it is |
//! |---|---|
//! | `run`, `replay`, `plan`, `list`, `check`, `determinism`, `fuzz`, `corpus`, `shrink`, `zoo`, `bench` | one command each |
//! | `worker` | the process in which plans run, hidden from help |
//! | `campaign` | many runs: worker processes, what they add up to, what is kept |
//! | `output` | tables, progress and the text of a failure |
//! | `input`, `seeds`, `exit` | plan files, intervals of seeds, exit statuses |
//!
//! Not here: anything that a run depends on; that is the library, which knows no terminal.

mod bench;
mod campaign;
mod check;
mod corpus;
mod determinism;
mod exit;
mod fuzz;
mod input;
mod list;
mod output;
mod plan;
mod replay;
mod run;
mod seeds;
mod shrink;
mod worker;
mod zoo;

use std::{io::Write, panic::AssertUnwindSafe, process::ExitCode};

use clap::{Parser, Subcommand};

/// Re-enacts the failures of a distributed store, from plans, bit for bit.
#[derive(Parser)]
#[command(name = "reenact", bin_name = "cargo reenact", version, about, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes plans from seeds, runs them, and keeps each that fails
    Run(run::Args),
    /// Runs plans again and says whether what they recorded came back
    Replay(replay::Args),
    /// Prints the plan of a seed without running it
    Plan(plan::Args),
    /// Shows a registry: names, fields, units, defaults and a line to copy
    List(list::Args),
    /// Judges recorded histories, also those of other stores
    Check(check::Args),
    /// Runs each plan in two processes and compares the traces
    Determinism(determinism::Args),
    /// Runs plans of the swarm until told to stop, and keeps, sorts and shrinks what fails
    Fuzz(fuzz::Args),
    /// Looks into what campaigns have kept
    Corpus(corpus::Args),
    /// Finds a smaller plan that fails in the same way
    Shrink(shrink::Args),
    /// Has the swarm alone look for each historic defect
    Zoo(zoo::Args),
    /// Measures, in one process, and prints the figures as ratios
    Bench(bench::Args),
    /// Runs plans that come on standard input
    #[command(hide = true)]
    Worker(worker::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // A panic here is a bug of Reenact's own, and 101 would say that cargo failed. The hook has told about it.
    let status = std::panic::catch_unwind(AssertUnwindSafe(|| match command {
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::replay(args),
        Command::Plan(args) => plan::plan(args),
        Command::List(args) => list::list(args),
        Command::Check(args) => check::check(args),
        Command::Determinism(args) => determinism::determinism(args),
        Command::Fuzz(args) => fuzz::fuzz(args),
        Command::Corpus(args) => corpus::corpus(args),
        Command::Shrink(args) => shrink::shrink(args),
        Command::Zoo(args) => zoo::zoo(args),
        Command::Bench(args) => bench::bench(args),
        Command::Worker(args) => worker::serve(args),
    }));
    ExitCode::from(match status {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            // Nobody is left to tell when standard error is closed.
            let _ = anstream::stderr().write_all(format!("error: {error:#}\n").as_bytes());
            if error.is::<input::Refused>() { exit::USAGE } else { exit::VOID }
        }
        Err(_) => exit::VOID,
    })
}
