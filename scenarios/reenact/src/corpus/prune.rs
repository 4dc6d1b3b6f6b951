//! `corpus prune`: removes what nobody needs any more: failures that are resolved, and files that were set aside.
//!
//! What is new, ongoing or rare stays: of a rare one nobody knows whether it is gone.

use std::path::PathBuf;

use super::{
    Which,
    folder::Folder,
    reader::{DAMAGED, Reader, names},
    sorted::{Overview, Status},
    tell_notes,
};
use crate::{exit, input::Refused, output};

/// What to remove.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Says what would be removed, and removes nothing
    #[arg(long)]
    dry_run: bool,
}

/// Removes it.
pub fn prune(args: &Args) -> anyhow::Result<u8> {
    let folder = Folder::existing(&args.which.corpus)?;
    let held = folder.lock()?;
    let mut reader = Reader::looking();
    let overview = Overview::of(&folder, &mut reader)?;
    tell_notes(&reader);
    let resolved = overview.failures.iter().filter(|sorted| sorted.status == Status::Resolved);
    let mut doomed: Vec<PathBuf> = resolved.map(|sorted| sorted.failure.folder.clone()).collect();
    let mut folders = ["", "failures", "shards", "campaigns"].map(|name| folder.dir().join(name)).to_vec();
    folders.extend(names(&folder.failures_dir())?.into_iter().filter(|path| path.is_dir()));
    for folder in folders {
        doomed.extend(names(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == DAMAGED)));
    }
    for path in &doomed {
        if !args.dry_run {
            let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.map_err(|error| Refused(format!("cannot remove {}: {error}", path.display())))?;
        }
        output::print(&format!("{} {}\n", if args.dry_run { "would remove" } else { "removed" }, path.display()));
    }
    if doomed.is_empty() {
        output::print("nothing to remove\n");
    }
    drop(held);
    Ok(exit::PASSED)
}
