//! What every [`Disk`] has to do, real or simulated, as one suite that runs on both.
//!
//! It covers what a node can see without a crash: names, errors, positions, lengths, and that an open file survives
//! its name. What a crash leaves is a property of the simulated disk and is tested there.

use std::{io::ErrorKind, sync::Arc};

use bytes::Bytes;

use super::{Disk, Open, Stat, read_exact_at};

macro_rules! ensure {
    ($is:expr, $($what:tt)+) => {
        if !$is {
            return Err(format!($($what)+));
        }
    };
}

/// Runs the suite on an empty disk. An error says what the disk did wrong.
pub async fn check(disk: Arc<dyn Disk>) -> Result<(), String> {
    names(&*disk).await?;
    opening(&*disk).await?;
    bytes(&*disk).await?;
    open_files_survive_their_names(&*disk).await
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn text(error: std::io::Error) -> String {
    format!("an operation failed that has to succeed: {error}")
}

async fn names(disk: &dyn Disk) -> Result<(), String> {
    ensure!(disk.list("").await.map_err(text)?.is_empty(), "the suite begins with an empty disk");
    disk.create_dir("dir").await.map_err(text)?;
    disk.create_dir("dir").await.map_err(|error| format!("an existing directory is no error: {error}"))?;
    ensure!(kind(disk.create_dir("none/dir").await) == Some(ErrorKind::NotFound), "a parent has to exist");
    for name in ["dir/b", "dir/a", "c"] {
        disk.open(name, Open::CreateNew).await.map_err(text)?;
    }
    ensure!(disk.list("dir").await.map_err(text)? == ["a", "b"], "names are sorted and relative");
    ensure!(disk.list("").await.map_err(text)? == ["c", "dir"], "the root lists files and directories");
    ensure!(kind(disk.list("none").await) == Some(ErrorKind::NotFound), "a missing directory is not listed");
    ensure!(disk.stat("dir").await.map_err(text)? == Some(Stat::Dir), "a directory is told as one");
    ensure!(disk.stat("c").await.map_err(text)? == Some(Stat::File(0)), "a new file is empty");
    ensure!(disk.stat("none").await.map_err(text)?.is_none(), "a missing name is told as none");
    ensure!(
        kind(disk.remove_dir("dir").await) == Some(ErrorKind::DirectoryNotEmpty),
        "a directory with names in it is not removed"
    );
    ensure!(kind(disk.remove("none").await) == Some(ErrorKind::NotFound), "a missing file is not removed");
    ensure!(kind(disk.rename("none", "x").await) == Some(ErrorKind::NotFound), "a missing file is not renamed");
    disk.open("c", Open::Write).await.map_err(text)?.append(Bytes::from_static(b"new")).await.map_err(text)?;
    disk.rename("c", "dir/a").await.map_err(text)?;
    ensure!(disk.stat("c").await.map_err(text)?.is_none(), "the old name is gone");
    ensure!(disk.stat("dir/a").await.map_err(text)? == Some(Stat::File(3)), "a rename replaces its target");
    disk.sync_dir("dir").await.map_err(text)?;
    disk.sync_dir("").await.map_err(text)?;
    ensure!(kind(disk.sync_dir("none").await) == Some(ErrorKind::NotFound), "a missing directory is not synced");
    disk.remove("dir/a").await.map_err(text)?;
    disk.remove("dir/b").await.map_err(text)?;
    disk.remove_dir("dir").await.map_err(text)?;
    ensure!(kind(disk.remove_dir("dir").await) == Some(ErrorKind::NotFound), "a directory is removed once");
    ensure!(disk.list("").await.map_err(text)?.is_empty(), "everything was removed");
    Ok(())
}

async fn opening(disk: &dyn Disk) -> Result<(), String> {
    for how in [Open::Read, Open::Write] {
        ensure!(kind(disk.open("file", how).await) == Some(ErrorKind::NotFound), "{how:?} creates nothing");
    }
    let file = disk.open("file", Open::Create).await.map_err(text)?;
    file.append(Bytes::from_static(b"kept")).await.map_err(text)?;
    ensure!(
        kind(disk.open("file", Open::CreateNew).await) == Some(ErrorKind::AlreadyExists),
        "CreateNew takes no existing file"
    );
    for how in [Open::Read, Open::Write, Open::Create] {
        let file = disk.open("file", how).await.map_err(text)?;
        ensure!(file.len().await.map_err(text)? == 4, "{how:?} keeps what is there");
    }
    let file = disk.open("file", Open::Truncate).await.map_err(text)?;
    ensure!(file.len().await.map_err(text)? == 0, "Truncate empties");
    ensure!(kind(disk.open("none/file", Open::Create).await) == Some(ErrorKind::NotFound), "a parent has to exist");
    disk.remove("file").await.map_err(text)
}

async fn bytes(disk: &dyn Disk) -> Result<(), String> {
    let file = disk.open("file", Open::CreateNew).await.map_err(text)?;
    ensure!(file.append(Bytes::from_static(b"hello")).await.map_err(text)? == 0, "the first append begins at 0");
    ensure!(file.append(Bytes::from_static(b" world")).await.map_err(text)? == 5, "an append begins at the end");
    file.write_at(6, Bytes::from_static(b"W")).await.map_err(text)?;
    let all = read_exact_at(&*file, 0, 11).await.map_err(text)?;
    ensure!(all == "hello World", "positions count from the beginning: {all:?}");
    ensure!(file.read_at(9, 10).await.map_err(text)? == "ld", "a read ends with the file");
    ensure!(file.read_at(11, 1).await.map_err(text)?.is_empty(), "there is nothing at the end");
    ensure!(file.read_at(99, 1).await.map_err(text)?.is_empty(), "there is nothing beyond the end");
    ensure!(
        kind(read_exact_at(&*file, 9, 10).await) == Some(ErrorKind::UnexpectedEof),
        "an exact read beyond the end fails"
    );
    file.write_at(14, Bytes::from_static(b"!")).await.map_err(text)?;
    let gap = read_exact_at(&*file, 11, 4).await.map_err(text)?;
    ensure!(gap == "\0\0\0!", "a gap reads as zeros: {gap:?}");
    file.truncate(2).await.map_err(text)?;
    file.truncate(4).await.map_err(text)?;
    let cut = read_exact_at(&*file, 0, 4).await.map_err(text)?;
    ensure!(cut == "he\0\0", "what was cut off comes back as zeros: {cut:?}");
    file.sync().await.map_err(text)?;
    let again = disk.open("file", Open::Read).await.map_err(text)?;
    ensure!(again.len().await.map_err(text)? == 4, "another handle sees the same file");
    ensure!(
        again.append(Bytes::from_static(b"x")).await.is_err() && again.truncate(0).await.is_err(),
        "a file that was opened for reading takes no writes"
    );
    file.append(Bytes::new()).await.map_err(text)?;
    ensure!(file.len().await.map_err(text)? == 4, "an empty append changes nothing");
    disk.remove("file").await.map_err(text)
}

async fn open_files_survive_their_names(disk: &dyn Disk) -> Result<(), String> {
    let old = disk.open("old", Open::CreateNew).await.map_err(text)?;
    old.append(Bytes::from_static(b"old")).await.map_err(text)?;
    let new = disk.open("new", Open::CreateNew).await.map_err(text)?;
    new.append(Bytes::from_static(b"newer")).await.map_err(text)?;
    disk.rename("new", "old").await.map_err(text)?;
    ensure!(old.read_at(0, 9).await.map_err(text)? == "old", "a replaced file stays what it was for who has it open");
    new.append(Bytes::from_static(b"!")).await.map_err(text)?;
    ensure!(disk.stat("old").await.map_err(text)? == Some(Stat::File(6)), "a handle follows a rename");
    disk.remove("old").await.map_err(text)?;
    ensure!(new.read_at(0, 9).await.map_err(text)? == "newer!", "a removed file can be read by who has it open");
    let fresh = disk.open("old", Open::CreateNew).await.map_err(text)?;
    ensure!(fresh.len().await.map_err(text)? == 0, "a name can be used again");
    disk.remove("old").await.map_err(text)
}
