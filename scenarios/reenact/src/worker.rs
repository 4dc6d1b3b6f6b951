//! The process in which plans run: a job a line on standard input, a reply a line on standard output.
//!
//! A worker ends when its input does, when its parent does, and after any panic, which may leave memory behind. It never decides
//! anything; what its death means is the pool's business. Its standard error is a pipe of the pool's. Its address space is
//! bounded, so that a run that allocates without end takes nothing else with it.
//!
//! The planted bugs of workers are here because only a worker can die like a worker.

use std::{
    any::Any,
    io::{BufRead, Write},
    os::unix::process::parent_id,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenarios::{
    plan::Plan,
    registry,
    run::{self, Outcome, RunOptions},
};
use serde::{Deserialize, Serialize};

use crate::exit;

/// How often a worker looks whether its parent is still there.
const PARENT_TICK: Duration = Duration::from_millis(500);

/// The address space of a worker. The largest plans take a small part of it.
const ADDRESS_SPACE_MAX: u64 = 2 << 30;

/// One run to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its number among the jobs of its pool.
    pub number: u64,
    /// The plan's text.
    pub plan: String,
    /// How it is watched.
    pub options: RunOptions,
}

/// What a worker says of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The job's number.
    pub number: u64,
    /// What the run gave.
    pub outcome: Outcome,
    /// Memory that the worker holds now, in bytes.
    pub resident_bytes: u64,
    /// The run panicked past its own walls; the worker ends.
    pub panicked: bool,
}

/// How a worker works.
#[derive(clap::Args)]
pub struct Args {
    /// Lets randomness of the kernel's into runs: for the test which shows that traces then differ
    #[arg(long)]
    leak_entropy: bool,
}

/// Serves jobs until there are no more.
pub fn serve(args: Args) -> anyhow::Result<u8> {
    if args.leak_entropy {
        run::leak_entropy();
    }
    let vocabulary = registry::vocabulary();
    end_with_parent();
    bound(Resource::As, ADDRESS_SPACE_MAX);
    // Nights of aborts would fill the disk with dumps that nobody reads: the plan says it all.
    bound(Resource::Core, 0);
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let result = catch_unwind(AssertUnwindSafe(|| match Plan::parse(&job.plan, &vocabulary) {
            Ok(plan) => {
                misbehave(&plan);
                run::run(&plan, &job.options)
            }
            Err(error) => Outcome::harness("plan", format!("the worker cannot read the plan: {error}")),
        }));
        let panicked = result.is_err();
        let outcome = result.unwrap_or_else(|panic| {
            Outcome::harness("run-panics", format!("the run panicked outside of any process: {}", message(&*panic)))
        });
        let reply = Reply { number: job.number, outcome, resident_bytes: resident_bytes(), panicked };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&reply)?)?;
        out.flush()?;
        if panicked {
            break;
        }
    }
    Ok(exit::PASSED)
}

/// Ends this process when the one that started it is gone, even in the middle of a run that would never end.
pub fn end_with_parent() {
    let parent = parent_id();
    std::thread::spawn(move || {
        while parent_id() == parent {
            std::thread::sleep(PARENT_TICK);
        }
        std::process::exit(i32::from(exit::VOID));
    });
}

/// Lowers a limit of this process.
fn bound(resource: Resource, most: u64) {
    let hard = getrlimit(resource).maximum;
    let most = hard.map_or(most, |hard| hard.min(most));
    // Lowering is always allowed; where it is not, the run is none the worse.
    let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: hard });
}

/// Fails as the plan's planted bugs say.
fn misbehave(plan: &Plan) {
    for plant in &plan.plant {
        match plant.as_str() {
            "worker-aborts" => std::process::abort(),
            "worker-hangs" => loop {
                std::thread::park();
            },
            "worker-allocates" => {
                let mut held = Vec::new();
                loop {
                    held.push(vec![1_u8; 64 << 20]);
                }
            }
            "worker-overflows-stack" => drop(std::hint::black_box(descend(1))),
            "worker-panics" => panic!("planted: the worker panics"),
            _ => {}
        }
    }
}

/// Calls itself until the stack is used up.
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    if depth == 0 { 0 } else { descend(depth + 1) + frame[1] }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a value that is no text")
}

/// Memory of this process; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * 4096
}
