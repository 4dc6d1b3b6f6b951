//! Moving a raft log from one layout to the other, and refusing one that a release cannot read.
//!
//! At every moment one of the two directories is whole, and a marker file beside them says which: while it says `copy`, the
//! source is; once it says `clear`, the target is. Without a marker at most one of them holds a log. Whoever starts first
//! brings to an end what an earlier life has left half done: an unfinished copy is thrown away, an unfinished clearing is
//! finished. A crash between any two steps therefore loses nothing, and no log is ever taken for another.
//!
//! What is moved is each region's position, entries and hard state; the copy is one segment, with nothing dead in it.
//!
//! Not here: when a log has to be moved; the release says so.

use std::fmt;

use bytes::Bytes;
use failpoints::{defect, point};

use super::{
    Error, Found, Layout, Options, collect,
    fact::Fact,
    layout::join,
    memory::Segment,
    record::{self, Op},
    recover,
    segment::{self, FRAME, Frame, HEADER},
    site,
};
use crate::{
    defects,
    env::{Env, Open, Stat},
    fact::Text,
    release::{RaftLogLayout, Release},
};

const MARKER: &str = "MOVING-RAFT-LOG";
const MARKER_NEW: &str = "MOVING-RAFT-LOG.tmp";
/// A frame of the copy holds about so many bytes of entries.
const FRAME_BYTES: usize = 256 << 10;

/// Which of the two directories is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Copy,
    Clear,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Copy => "copy",
            Stage::Clear => "clear",
        })
    }
}

/// Refuses a log that the release cannot read, before anything is changed.
pub async fn check(env: &Env, dir: &str, release: &Release) -> Result<(), Error> {
    let mut found = Layout::found(&*env.disk, dir).await.map_err(|error| Error::io("list", dir, error))?;
    // Of a move that was cut short only one side counts: the other one goes when it is settled.
    if let Some((stage, from, to)) = marked(env, dir).await? {
        let whole = if stage == Stage::Copy { from } else { to };
        found.retain(|layout| *layout == whole);
    }
    let own = Layout::of(release);
    let imports = release.raft_log == RaftLogLayout::NewImportingOld;
    let Some(other) = found.into_iter().find(|layout| *layout != own && !imports) else { return Ok(()) };
    if defect!(env.points, defects::TIKV_12045, own == Layout::Old) {
        // It has made room for a log of its own before it looks at what there is.
        let path = own.path(dir);
        env.disk.create_dir(&path).await.map_err(|error| Error::io("create", &path, error))?;
        env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
    }
    Err(Error::Refused { path: other.path(dir), layout: other.version(), release: release.name })
}

/// Ends what an earlier life has left half done, and imports the other layout's log if the release does that.
pub async fn take_over(env: &Env, dir: &str, release: &Release, options: &Options) -> Result<(), Error> {
    settle(env, dir).await?;
    if release.raft_log != RaftLogLayout::NewImportingOld {
        return Ok(());
    }
    let found = Layout::found(&*env.disk, dir).await.map_err(|error| Error::io("list", dir, error))?;
    let is_directory_there = exists(env, &Layout::Old.path(dir)).await?;
    let is_old_there = found.contains(&Layout::Old) || defect!(env.points, defects::TIKV_12045, is_directory_there);
    if !is_old_there {
        return Ok(());
    }
    if found.contains(&Layout::New) {
        if defect!(env.points, defects::TIKV_12045) {
            clear(env, &Layout::New.path(dir)).await?;
        } else {
            return Err(Error::TwoLogs { old: Layout::Old.path(dir), new: Layout::New.path(dir) });
        }
    }
    relocate(env, dir, (Layout::Old, Layout::New), release, options).await
}

/// Brings the log back to the old layout, before a release runs that knows no other.
pub async fn export(env: &Env, dir: &str, release: &Release, options: &Options) -> Result<(), Error> {
    settle(env, dir).await?;
    let found = Layout::found(&*env.disk, dir).await.map_err(|error| Error::io("list", dir, error))?;
    match found[..] {
        [] | [Layout::Old] => Ok(()),
        [Layout::New] => relocate(env, dir, (Layout::New, Layout::Old), release, options).await,
        _ => Err(Error::TwoLogs { old: Layout::Old.path(dir), new: Layout::New.path(dir) }),
    }
}

async fn exists(env: &Env, path: &str) -> Result<bool, Error> {
    let stat = env.disk.stat(path).await.map_err(|error| Error::io("look for", path, error))?;
    Ok(stat == Some(Stat::Dir))
}

async fn relocate(
    env: &Env,
    dir: &str,
    (from, to): (Layout, Layout),
    release: &Release,
    options: &Options,
) -> Result<(), Error> {
    let name = |layout: Layout| Text::from(layout.directory());
    env.state(Fact::Moving { from: name(from), to: name(to), release: release.name.into() });
    mark(env, dir, Stage::Copy, from, to).await?;
    let _ = point!(env.points, site::WHILE_MOVING).await;
    let (source, target) = (from.path(dir), to.path(dir));
    env.disk.create_dir(&target).await.map_err(|error| Error::io("create", &target, error))?;
    env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
    clear(env, &target).await?;
    let regions = copy(env, &source, &target, options).await?;
    let _ = point!(env.points, site::AFTER_COPY).await;
    mark(env, dir, Stage::Clear, from, to).await?;
    let _ = point!(env.points, site::BEFORE_CLEAR).await;
    finish(env, dir, from).await?;
    env.state(Fact::Moved { from: name(from), to: name(to), release: release.name.into(), regions });
    Ok(())
}

/// Removes the source and then the marker: the move is done.
async fn finish(env: &Env, dir: &str, from: Layout) -> Result<(), Error> {
    let source = from.path(dir);
    if exists(env, &source).await? {
        clear(env, &source).await?;
        env.disk.remove_dir(&source).await.map_err(|error| Error::io("remove", &source, error))?;
        env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
    }
    unmark(env, dir).await
}

async fn settle(env: &Env, dir: &str) -> Result<(), Error> {
    match marked(env, dir).await? {
        None => Ok(()),
        Some((Stage::Copy, _, to)) => {
            let target = to.path(dir);
            if exists(env, &target).await? {
                clear(env, &target).await?;
            }
            unmark(env, dir).await
        }
        Some((Stage::Clear, from, _)) => finish(env, dir, from).await,
    }
}

/// Removes every segment of a directory, durably.
async fn clear(env: &Env, path: &str) -> Result<(), Error> {
    let names = env.disk.list(path).await.map_err(|error| Error::io("list", path, error))?;
    for name in names.iter().filter(|name| segment::number(name).is_some()) {
        let path = join(path, name);
        env.state(Fact::Removing { path: path.clone().into() });
        env.disk.remove(&path).await.map_err(|error| Error::io("remove", &path, error))?;
    }
    env.disk.sync_dir(path).await.map_err(|error| Error::io("sync", path, error))
}

/// Copies all logs into one segment of an empty directory, and says how many there are.
async fn copy(env: &Env, from: &str, to: &str, options: &Options) -> Result<u64, Error> {
    let memory = recover::replay(env, from, options).await?.memory;
    let path = join(to, &segment::name(1));
    let file = env.disk.open(&path, Open::Truncate).await.map_err(|error| Error::io("create", &path, error))?;
    let append = async |bytes: Bytes| file.append(bytes).await.map_err(|error| Error::io("append to", &path, error));
    append(segment::header(1, 1)).await?;
    let (mut end, mut sequence) = (HEADER as u64, 1);
    for (&region, log) in &memory.logs {
        let mut frames = vec![vec![
            (region, log.peer, Op::Base { index: log.base.index, term: log.base.term }),
            (region, log.peer, Op::HardState(log.hard)),
        ]];
        let mut bytes = 0;
        let mut part = Vec::new();
        for slot in &log.slots {
            part.push(match (&slot.cached, slot.place) {
                (Some(entry), _) => Found::Here((**entry).clone()),
                (None, place) => {
                    let place = place.expect("an entry that was read back has a place");
                    bytes += place.len as usize;
                    Found::There(place, segment_of(&memory.segments, place.segment))
                }
            });
            if bytes >= FRAME_BYTES || part.len() >= 1024 {
                let entries = collect::read(std::mem::take(&mut part)).await?;
                frames.push(vec![(region, log.peer, Op::Move(entries))]);
                bytes = 0;
            }
        }
        if !part.is_empty() {
            frames.push(vec![(region, log.peer, Op::Move(collect::read(part).await?))]);
        }
        for ops in frames {
            let (body, _) = record::encode(FRAME, &ops);
            let frame = Frame { segment: 1, offset: end, sequence, durable: 0 }.seal(body);
            end += frame.len() as u64;
            sequence += 1;
            append(frame).await?;
        }
    }
    file.sync().await.map_err(|error| Error::io("sync", &path, error))?;
    env.disk.sync_dir(to).await.map_err(|error| Error::io("sync", to, error))?;
    Ok(memory.logs.len() as u64)
}

fn segment_of(segments: &std::collections::BTreeMap<u64, Segment>, number: u64) -> Segment {
    segments.get(&number).expect("a segment with living entries stays").clone()
}

async fn mark(env: &Env, dir: &str, stage: Stage, from: Layout, to: Layout) -> Result<(), Error> {
    let (path, new) = (join(dir, MARKER), join(dir, MARKER_NEW));
    let line = format!("{stage} {} {}", from.directory(), to.directory());
    let content = format!("{line} {:08x}\n", crc32c::crc32c(line.as_bytes()));
    let file = env.disk.open(&new, Open::Truncate).await.map_err(|error| Error::io("create", &new, error))?;
    file.write_at(0, content.into()).await.map_err(|error| Error::io("write", &new, error))?;
    file.sync().await.map_err(|error| Error::io("sync", &new, error))?;
    env.disk.rename(&new, &path).await.map_err(|error| Error::io("rename", &new, error))?;
    env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))
}

async fn unmark(env: &Env, dir: &str) -> Result<(), Error> {
    let path = join(dir, MARKER);
    env.disk.remove(&path).await.map_err(|error| Error::io("remove", &path, error))?;
    env.disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))
}

/// What the marker says, if there is one.
async fn marked(env: &Env, dir: &str) -> Result<Option<(Stage, Layout, Layout)>, Error> {
    let path = join(dir, MARKER);
    let Some(Stat::File(len)) = env.disk.stat(&path).await.map_err(|error| Error::io("look for", &path, error))? else {
        return Ok(None);
    };
    let file = env.disk.open(&path, Open::Read).await.map_err(|error| Error::io("open", &path, error))?;
    let content = crate::env::read_exact_at(&*file, 0, usize::try_from(len).expect("a line is short")).await;
    let content = content.map_err(|error| Error::io("read", &path, error))?;
    let corrupt = || Error::Corrupt { path: path.clone(), offset: 0, detail: "the marker does not parse" };
    parse(&content).ok_or_else(corrupt).map(Some)
}

fn parse(content: &[u8]) -> Option<(Stage, Layout, Layout)> {
    let (line, sum) = std::str::from_utf8(content).ok()?.strip_suffix('\n')?.rsplit_once(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == crc32c::crc32c(line.as_bytes())).then_some(())?;
    let mut words = line.split(' ');
    let stage = match words.next()? {
        "copy" => Stage::Copy,
        "clear" => Stage::Clear,
        _ => return None,
    };
    let mut layout = || {
        let name = words.next()?;
        Layout::ALL.into_iter().find(|layout| layout.directory() == name)
    };
    Some((stage, layout()?, layout()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftlog::room::{Room, run};

    #[test]
    fn a_release_is_refused_by_the_side_of_a_cut_move_that_is_whole() {
        use Layout::{New, Old};
        use Stage::{Clear, Copy};
        let cases = [
            ("an import is cut", (Copy, Old, New), ["5.4.0", "6.1.0"], ["8.1.0"]),
            ("an imported log is being cleared", (Clear, Old, New), ["6.1.0", "8.1.0"], ["5.4.0"]),
            ("an export is cut", (Copy, New, Old), ["6.1.0", "8.1.0"], ["5.4.0"]),
            ("an exported log is being cleared", (Clear, New, Old), ["5.4.0", "6.1.0"], ["8.1.0"]),
        ];
        run(async {
            for (name, (stage, from, to), read, refused) in cases {
                let room = Room::default();
                let env = room.env();
                for layout in Layout::ALL {
                    let path = layout.path("");
                    env.disk.create_dir(&path).await.unwrap();
                    env.disk.open(&join(&path, &segment::name(1)), Open::Truncate).await.unwrap();
                }
                mark(&env, "", stage, from, to).await.unwrap();
                let checked = async |release: &str| check(&env, "", Release::parse(release).expect("a release")).await;
                for release in read {
                    assert!(checked(release).await.is_ok(), "{name}: {release}");
                }
                for release in refused {
                    assert!(matches!(checked(release).await, Err(Error::Refused { .. })), "{name}: {release}");
                }
            }
        });
    }
}
