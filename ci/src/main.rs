//! The one check that people and machines run alike: `cargo check-all check`.
//!
//! It reads and reports, and changes nothing: what it builds goes to the target directory. Every finding names a place and a
//! remedy. The last line counts: each test of the workspace, and each other step as one.
//!
//! | room | what it is |
//! |---|---|
//! | `step` | the steps in order, and their summary |
//! | `tree` | the sources of this workspace as values, so that scanners are tested on small trees |
//! | `code` | a source as words, with comments apart from code |
//! | `style` | what one file must be |
//! | `layers` | which package and which room may name which |
//! | `production` | a production build holds no point and no defect |
//! | `cargo` | runs cargo as a child |

mod cargo;
mod code;
mod finding;
mod layers;
mod production;
mod step;
mod style;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What runs Reenact unattended")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks everything and changes nothing: format, style, layers, lints, tests, production build.
    Check {
        /// Only these steps.
        #[arg(long, value_delimiter = ',', value_name = "STEP")]
        only: Vec<step::Name>,
        /// Prints the steps and runs none.
        #[arg(long)]
        list: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Check { only, list } = Cli::parse().command;
    if list {
        for step in &step::STEPS {
            println!("{:<12}{}", step.name.as_str(), step.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("`ci` is a folder of the workspace");
    Ok(if step::run(root, &only)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
