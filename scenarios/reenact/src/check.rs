//! `check`: judges histories from files, whoever wrote them.
//!
//! A history is judged as it is read, and never held as a whole. It need not come from a run of ours: its header says
//! who speaks in it, and a check that needs another witness judges nothing, which is shown.

use std::{fs::File, io::BufReader, path::PathBuf};

use scenarios::{
    check::Checks,
    event::schema::{Reader, SchemaError},
    verdict::Class,
};

use crate::{exit, input, output};

/// What to judge.
#[derive(clap::Args)]
pub struct Args {
    /// Histories: a header line, then an event a line
    #[arg(required = true, value_name = "EVENTS.jsonl")]
    files: Vec<PathBuf>,
    /// Leaves a check out. May be repeated
    #[arg(long, value_name = "NAME")]
    without_check: Vec<String>,
    /// Shows every check, also those that had nothing to judge
    #[arg(long)]
    all: bool,
}

/// Judges all files, in order.
pub fn check(args: Args) -> anyhow::Result<u8> {
    input::checks(&args.without_check)?;
    // What proves nothing goes before what was found, and that before what passed.
    let rank =
        |status: u8| [exit::PASSED, exit::NOTHING, exit::VIOLATION, exit::VOID].iter().position(|s| *s == status);
    let mut worst = exit::PASSED;
    for file in &args.files {
        let status = judge(file, &args)?;
        if rank(status) > rank(worst) {
            worst = status;
        }
    }
    Ok(worst)
}

fn judge(file: &std::path::Path, args: &Args) -> anyhow::Result<u8> {
    let name = file.display();
    let refused = |error: SchemaError| input::Refused(format!("{name}: {error}"));
    let opened =
        File::open(file).map_err(|error| input::Refused(format!("cannot read the history {name}: {error}")))?;
    let reader = Reader::new(BufReader::new(opened)).map_err(refused)?;
    let nodes = reader.header().nodes.clone();
    let mut checks = Checks::without(reader.header().clone(), &args.without_check)?;
    let mut events = 0u64;
    for event in reader {
        checks.on(&event.map_err(refused)?);
        events += 1;
    }
    checks.finish();

    let tallies = checks.tallies();
    let reached = tallies.iter().filter(|tally| tally.reached > 0).count();
    let mut text = format!("{name}: {events} events, {reached} of {} checks had something to judge\n", tallies.len());
    for tally in tallies.iter().filter(|_| args.all) {
        text.push_str(&format!("  {}: heard {}, judged {}\n", tally.check, tally.heard, tally.reached));
    }
    for violation in checks.violations() {
        let node = violation.node.and_then(|node| nodes.get(usize::from(node)));
        let node = node.map(|node| format!(" at {node}")).unwrap_or_default();
        let seq = violation.seq.map_or_else(|| "the end".to_owned(), |seq| format!("event {seq}"));
        let time = scenarios::plan::Nanos(violation.time_ns);
        text.push_str(&format!("{}: {violation}\n  {seq}, {time}{node}\n", violation.class));
        text.push_str(&format!("  fingerprint: {}\n", violation.fingerprint()));
    }
    output::print(&text);
    let classes: Vec<Class> = checks.violations().iter().map(|violation| violation.class).collect();
    Ok(match classes.as_slice() {
        _ if events == 0 => exit::NOTHING,
        [] => exit::PASSED,
        classes if classes.iter().any(|class| class.is_violation()) => exit::VIOLATION,
        _ => exit::VOID,
    })
}
