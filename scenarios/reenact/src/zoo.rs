//! `zoo`: each historic defect in a cage of its own, and the swarm alone looks for it.
//!
//! For each defect and each of a few base seeds, plans of the swarm are run with that defect switched on, one seed after
//! the other, until a run is accused or the time is up. A plan that fails without the defect, too, finds nothing but a
//! bug of the node. What comes out is how many seeds and processor seconds a defect takes, and which check accuses it: a
//! table for people, and a file against which later builds are compared, so that a check that goes blind is noticed.
//!
//! Each search is a process of its own, whose processor time is therefore its own; which seed finds a defect does not
//! depend on how many searches run side by side.
//!
//! Not here: scenarios, which re-enact defects on purpose.

mod report;
mod search;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use scenarios::{catalog, registry};

use self::{
    report::{Expected, Row, Zoo},
    search::Search,
};
use crate::{
    campaign::keep,
    exit, input,
    output::{self, progress},
    worker,
};

/// Exit statuses, for people.
const HELP: &str = "Exit status: 0 looked everywhere, whatever was found, or all found again; 1 a seed fails without a \
defect, too, or a check has gone blind; 2 wrong usage or unreadable input; 3 a search failed, or had \
too little time to prove anything; 4 nothing was run.";

/// Base seeds are so far apart.
const STRIDE: u64 = 1_000_000;

/// What to look for, and how long.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A historic defect; all without. May be repeated
    #[arg(long, value_name = "ID")]
    defect: Vec<String>,
    /// Processor seconds for one defect from one base seed
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// From so many base seeds each defect is looked for; one that the first does not find is left
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    bases: u64,
    /// Searches side by side; as many as there are processors without
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Prints one JSON object
    #[arg(long, conflicts_with = "compare")]
    json: bool,
    /// Writes what was found to a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "compare")]
    out: Option<PathBuf>,
    /// Looks again for what such a file says was found, and fails where a check has gone blind
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Looks again for what took at most so many seeds on average
    #[arg(long, value_name = "N", default_value_t = 40, requires = "compare")]
    within: u64,
    /// The one search of this process: its first seed
    #[arg(long, hide = true)]
    from: Option<u64>,
    /// The one search of this process: at most so many runs
    #[arg(long, hide = true)]
    runs: Option<u64>,
    /// The one search of this process: only this check counts
    #[arg(long, hide = true)]
    by: Option<String>,
}

/// A search that is wanted.
struct Wanted {
    defect: String,
    first: u64,
    seconds: u64,
    runs: Option<u64>,
    by: Option<String>,
}

/// Looks, and says what was found.
pub fn zoo(args: Args) -> anyhow::Result<u8> {
    let mut defects = input::defects(&args.defect)?;
    if let (Some(first), [defect]) = (args.from, &defects[..]) {
        worker::end_with_parent();
        let search = search::search(defect, first, args.seconds, args.runs, args.by.as_deref())?;
        output::print(&format!("{}\n", serde_json::to_string(&search)?));
        return Ok(exit::PASSED);
    }
    if defects.is_empty() {
        defects = registry::vocabulary().defects.iter().map(|id| (*id).to_owned()).collect();
    }
    let jobs = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    if let Some(file) = &args.compare {
        let text = std::fs::read_to_string(file)
            .map_err(|error| input::Refused(format!("cannot read {}: {error}", file.display())))?;
        let before: Zoo = serde_json::from_str(&text)
            .map_err(|error| input::Refused(format!("{} is no result of `zoo`: {error}", file.display())))?;
        before.check(&args.defect).map_err(|error| input::Refused(format!("{}: {error}", file.display())))?;
        return compare(&before, &defects, &args, jobs);
    }
    if let Some(out) = &args.out {
        input::out_file("--out", out)?;
    }
    let mut zoo = Zoo::new(args.seconds);
    let wanted = |defect: &String, base: u64| Wanted {
        defect: defect.clone(),
        first: base * STRIDE + 1,
        seconds: args.seconds,
        runs: None,
        by: None,
    };
    let first: Vec<Wanted> = defects.iter().map(|defect| wanted(defect, 0)).collect();
    let (searches, mut failed) = all(first, jobs);
    for (defect, search) in defects.iter().zip(searches) {
        let expected = catalog::of_defect(defect).map(|(_, history)| history.check.to_owned());
        zoo.rows.push(Row { defect: defect.clone(), expected, searches: search.into_iter().collect() });
    }
    let found: Vec<usize> = (0..zoo.rows.len()).filter(|row| zoo.rows[*row].is_found()).collect();
    let further: Vec<(usize, u64)> =
        (1..args.bases).flat_map(|base| found.iter().map(move |row| (*row, base))).collect();
    let wishes = further.iter().map(|(row, base)| wanted(&zoo.rows[*row].defect, *base)).collect();
    let (searches, more_failed) = all(wishes, jobs);
    failed.extend(more_failed);
    for ((row, _), search) in further.into_iter().zip(searches) {
        zoo.rows[row].searches.extend(search);
    }
    match args.json {
        true => output::print(&format!("{}\n", serde_json::to_string(&zoo)?)),
        false => output::print(&zoo.table()),
    }
    if let Some(out) = &args.out {
        keep::write(out, &(serde_json::to_string_pretty(&zoo)? + "\n"))?;
    }
    whole(failed)?;
    Ok(if zoo.accuses_the_sound() { exit::VIOLATION } else { exit::PASSED })
}

/// Looks again for what was found within few seeds. A check is blind when the seeds are used up; when the time is up before,
/// nothing is proved.
fn compare(before: &Zoo, defects: &[String], args: &Args, jobs: usize) -> anyhow::Result<u8> {
    let rows = before.rows.iter().filter(|row| defects.contains(&row.defect));
    let wanted: Vec<(&Row, Expected<'_>)> = rows.filter_map(|row| Some((row, row.expected(args.within)?))).collect();
    if wanted.is_empty() {
        output::print("nothing was run: the file has nothing that was found within so few seeds\n");
        return Ok(exit::NOTHING);
    }
    let wish = |(row, expected): &(&Row, Expected<'_>)| Wanted {
        defect: row.defect.clone(),
        first: expected.first,
        seconds: args.seconds,
        runs: Some(expected.runs),
        by: Some(expected.check.to_owned()),
    };
    let (searches, failed) = all(wanted.iter().map(wish).collect(), jobs);
    let (mut found, mut blind, mut cut) = (0, 0, 0);
    for ((row, expected), search) in wanted.iter().zip(searches) {
        let Some(search) = search else { continue };
        let (defect, check, runs) = (&row.defect, expected.check, search.runs);
        let text = match &search.found {
            Some(finding) => {
                found += 1;
                format!("{defect}: {check} at seed {}", finding.seed)
            }
            None if runs < expected.runs => {
                cut += 1;
                format!(
                    "{defect}: {check} not in {runs} runs of {}: the time was up, try more --seconds",
                    expected.runs
                )
            }
            None => {
                blind += 1;
                format!("{defect}: {check} has gone blind, {runs} runs without it")
            }
        };
        output::print(&format!("{text}\n"));
    }
    output::print(&format!("{found} of {} found again\n", wanted.len()));
    whole(failed)?;
    Ok(match (blind, cut) {
        (0, 0) => exit::PASSED,
        (0, _) => exit::VOID,
        _ => exit::VIOLATION,
    })
}

/// The first of the searches that failed, if any did.
fn whole(failed: Vec<anyhow::Error>) -> anyhow::Result<()> {
    let count = failed.len();
    match failed.into_iter().next() {
        Some(first) => Err(first.context(format!("{count} searches failed; what the others found stands above"))),
        None => Ok(()),
    }
}

/// Carries out searches in processes of their own, so many at a time; results in the order of the wishes, without those
/// that failed, which come behind.
fn all(wanted: Vec<Wanted>, jobs: usize) -> (Vec<Option<Search>>, Vec<anyhow::Error>) {
    let bar = progress::bar(wanted.len() as u64);
    let next = Mutex::new(wanted.iter().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(wanted.len()) {
            scope.spawn(|| {
                loop {
                    let job = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, wanted)) = job else { return };
                    let result = apart(wanted);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    let (mut searches, mut failed) = (Vec::new(), Vec::new());
    for (_, result) in done {
        match result {
            Ok(search) => searches.push(Some(search)),
            Err(error) => {
                searches.push(None);
                failed.push(error);
            }
        }
    }
    (searches, failed)
}

/// One search in a process of its own.
fn apart(wanted: &Wanted) -> anyhow::Result<Search> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["zoo", "--defect", &wanted.defect, "--from", &wanted.first.to_string()]);
    command.args(["--seconds", &wanted.seconds.to_string()]);
    if let Some(runs) = wanted.runs {
        command.args(["--runs", &runs.to_string()]);
    }
    if let Some(by) = &wanted.by {
        command.args(["--by", by]);
    }
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        anyhow::anyhow!("the search for {} from seed {} ended: {}: {last}", wanted.defect, wanted.first, output.status)
    })
}
