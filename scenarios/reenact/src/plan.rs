//! `plan`: prints the plan of a seed, as `replay` reads it.

use scenarios::catalog::GenerateOptions;

use crate::{exit, input, output};

/// Which plan.
#[derive(clap::Args)]
pub struct Args {
    /// The scenario that makes it
    scenario: String,
    /// The seed that it is made from
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Carries a historic defect. May be repeated
    #[arg(long, value_name = "ID")]
    defect: Vec<String>,
}

/// Prints it.
pub fn plan(args: Args) -> anyhow::Result<u8> {
    let scenario = input::scenario(&args.scenario)?;
    let options = GenerateOptions { defects: input::defects(&args.defect)? };
    output::print(&(scenario.generate)(args.seed, &options).to_string());
    Ok(exit::PASSED)
}
