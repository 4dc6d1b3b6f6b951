//! `list`: the registries, from the tables that the code itself uses.

use clap::ValueEnum;
use scenarios::registry::{self, Entry};

use crate::{exit, output};

/// Which registry.
#[derive(clap::Args)]
pub struct Args {
    /// The registry
    #[arg(value_enum)]
    what: What,
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Scenarios,
    Defects,
    Checks,
    Points,
    Releases,
    Facts,
    Steps,
    Knobs,
    Workloads,
}

/// Prints it.
pub fn list(args: Args) -> anyhow::Result<u8> {
    let entries = match args.what {
        What::Scenarios => registry::scenario_entries(),
        What::Defects => registry::defect_entries(),
        What::Checks => registry::check_entries(),
        What::Points => registry::point_entries(),
        What::Releases => registry::release_entries(),
        What::Facts => registry::fact_entries(),
        What::Steps => registry::step_entries(),
        What::Knobs => registry::knob_entries(),
        What::Workloads => registry::workload_entries(),
    };
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&entries)?),
        false => entries.iter().map(show).collect(),
    };
    output::print(&text);
    Ok(exit::PASSED)
}

fn show(entry: &Entry) -> String {
    let mut text = format!("{}\n    {}\n", entry.name, entry.doc);
    for (key, value) in &entry.details {
        text.push_str(&format!("    {key}: {value}\n"));
    }
    text.push_str(&format!("    > {}\n\n", entry.line));
    text
}
