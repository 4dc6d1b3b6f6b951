//! `corpus`: looks into what campaigns have kept, clears it up, and joins what machines have found apart.
//!
//! Who only looks changes nothing, and may look while a campaign runs.
//!
//! | file | what it holds |
//! |---|---|
//! | `folder` | what is where, whose campaign it is, who may write |
//! | `shard` | what one part of a campaign has done |
//! | `failure` | one failure |
//! | `sorted` | failures against the campaigns before |
//! | `reader` | damaged and foreign files |
//! | `prune`, `merge` | the commands that change something |

pub mod failure;
pub mod folder;
mod merge;
mod prune;
pub mod reader;
pub mod shard;
pub mod sorted;

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use self::{
    failure::{Failure, ORIGINAL, REPORT, SHRUNK, folder_name},
    folder::Folder,
    reader::Reader,
    sorted::{Overview, Sorted},
};
use crate::{exit, input::Refused, output};

/// Where a corpus is if nobody says.
pub const DEFAULT: &str = "target/reenact/corpus";

/// What to do with a corpus.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Every failure, sorted: new, ongoing, rare, resolved
    List(ListArgs),
    /// One failure in full, with lines to paste
    Show(ShowArgs),
    /// Removes failures that are resolved, and what was set aside
    Prune(prune::Args),
    /// Takes what other corpora hold into one
    Merge(merge::Args),
}

/// Which corpus.
#[derive(clap::Args)]
pub struct Which {
    /// The corpus
    #[arg(long, value_name = "DIR", default_value = DEFAULT)]
    corpus: PathBuf,
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ShowArgs {
    /// The name of its folder, its fingerprint, or how either begins
    #[arg(value_name = "FAILURE")]
    name: String,
    #[command(flatten)]
    which: Which,
}

/// Does it.
pub fn corpus(args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::List(args) => list(&args.which.corpus, args.json),
        Command::Show(args) => show(&args.which.corpus, &args.name),
        Command::Prune(args) => prune::prune(&args),
        Command::Merge(args) => merge::merge(&args),
    }
}

fn list(dir: &Path, is_json: bool) -> anyhow::Result<u8> {
    let folder = Folder::existing(dir)?;
    let mut reader = Reader::looking();
    let overview = Overview::of(&folder, &mut reader)?;
    if is_json {
        let failures = overview.failures.iter().map(|sorted| {
            json!({
                "status": sorted.status,
                "count": sorted.count,
                "folder": sorted.failure.folder,
                "failure": sorted.failure.record,
            })
        });
        let summary = overview.summary.as_ref().map(
            |summary| json!({ "campaign": summary.campaign, "seeds": summary.seeds, "end": summary.end.to_string() }),
        );
        let object = json!({
            "campaign": summary,
            "failures": failures.collect::<Vec<_>>(),
            "notes": reader.notes,
        });
        output::print(&format!("{object}\n"));
        return Ok(exit::PASSED);
    }
    tell_notes(&reader);
    if let Some(summary) = &overview.summary {
        let identity = &summary.campaign.identity;
        let defects =
            if identity.defects.is_empty() { String::new() } else { format!(" with {}", identity.defects.join(", ")) };
        output::print(&format!(
            "campaign {}, build {}, {}{defects}: {} seeds\n",
            summary.campaign.number, identity.build, identity.source, summary.seeds
        ));
    }
    match overview.failures.is_empty() {
        true => output::print("no failures\n"),
        false => output::print(&table(&overview.failures)),
    }
    Ok(exit::PASSED)
}

fn table(failures: &[Sorted]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "class", "seeds", "steps", "shrunk", "failure"]);
    for column in 2..5 {
        table.column_mut(column).expect("the header has six columns").set_cell_alignment(CellAlignment::Right);
    }
    for Sorted { failure, status, count } in failures {
        let record = &failure.record;
        let shrunk = match &record.shrunk {
            None => "-".to_owned(),
            Some(shrunk) if shrunk.trouble.is_some() => "no".to_owned(),
            Some(shrunk) if shrunk.is_done => shrunk.plan_steps.to_string(),
            Some(shrunk) => format!("<={}", shrunk.plan_steps),
        };
        table.add_row([
            status.as_str().to_owned(),
            record.class.to_string(),
            count.to_string(),
            record.plan_steps.to_string(),
            shrunk,
            failure.folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn show(dir: &Path, name: &str) -> anyhow::Result<u8> {
    let folder = Folder::existing(dir)?;
    let mut reader = Reader::looking();
    let overview = Overview::of(&folder, &mut reader)?;
    tell_notes(&reader);
    let Sorted { failure, status, count } = named(&overview.failures, name, dir)?;
    let record = &failure.record;
    let defects =
        if record.defects.is_empty() { String::new() } else { format!(", with {}", record.defects.join(", ")) };
    output::print(&format!(
        "{}, {count} seeds of this campaign; first met in campaign {}\n",
        status.as_str(),
        record.first_campaign
    ));
    if record.is_unconfirmed {
        output::print("not confirmed: whoever ran it again in a fresh process was killed\n");
    }
    match std::fs::read_to_string(failure.folder.join(REPORT)) {
        Ok(report) => output::print(&report),
        Err(_) => output::print(&format!(
            "{}: {} seed {}{defects}\n  {}\n",
            record.class, record.scenario, record.seed, record.detail
        )),
    }
    let (original, shrunk) = (failure.folder.join(ORIGINAL), failure.folder.join(SHRUNK));
    if failure.shrunk.is_some()
        && let Ok(plan) = std::fs::read_to_string(&shrunk)
    {
        output::print(&format!("\n{plan}\n"));
    }
    output::print(&format!("{}\n", failure.reproduce()));
    if failure.shrunk.is_none() && failure.original.is_some() {
        let (original, shrunk) = (original.display(), shrunk.display());
        output::print(&format!("Shrink:    cargo reenact shrink {original} -o {shrunk}\n"));
    }
    Ok(exit::PASSED)
}

/// The one failure that is meant.
fn named<'a>(failures: &'a [Sorted], name: &str, dir: &Path) -> Result<&'a Sorted, Refused> {
    let of = |failure: &Failure| failure.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.trim_end_matches('/').rsplit_once("failures/").map_or(name, |(_, name)| name).trim_end_matches('/');
    let is_it = |sorted: &&Sorted| of(&sorted.failure) == name || sorted.failure.record.fingerprint == name;
    if let Some(found) = failures.iter().find(is_it) {
        return Ok(found);
    }
    let begins =
        |sorted: &&Sorted| of(&sorted.failure).starts_with(name) || sorted.failure.record.fingerprint.starts_with(name);
    let found: Vec<&Sorted> = failures.iter().filter(begins).collect();
    let list = |failures: Vec<String>| match failures.is_empty() {
        true => "it has none".to_owned(),
        false => failures.join(", "),
    };
    match found[..] {
        [one] => Ok(one),
        [] => Err(Refused(format!(
            "no failure in {} is called `{name}` or begins so; there are {}",
            dir.display(),
            list(failures.iter().map(|sorted| of(&sorted.failure)).collect())
        ))),
        _ => Err(Refused(format!(
            "`{name}` is the beginning of several: {}",
            list(found.iter().map(|sorted| of(&sorted.failure)).collect())
        ))),
    }
}

/// A corpus that cannot be written ends whatever was done with it; nothing that it holds is lost.
pub fn unusable(error: anyhow::Error) -> anyhow::Error {
    match error.is::<Refused>() {
        true => error,
        false => Refused(format!(
            "the corpus cannot be used: {error:#}\nWhat it holds is safe: mend this, and the same command goes on from there"
        ))
        .into(),
    }
}

/// Says what could not be read.
fn tell_notes(reader: &Reader) {
    for note in &reader.notes {
        output::print(&format!("note: {note}\n"));
    }
}

/// The folder of a failure in another corpus.
fn same_in(folder: &Folder, failure: &Failure) -> PathBuf {
    folder.failures_dir().join(folder_name(&failure.record.fingerprint))
}
