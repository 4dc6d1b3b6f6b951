//! Where the raft log lies: the directory names of its layouts.
//!
//! A release knows one layout as its own. Both hold the same segments and records, so that taking over another layout's
//! log is reading it there and writing it here; [`Layout::found`] says which ones exist, whose log that is. Nothing is
//! taken over unasked: an empty log created beside a real one is how logs get lost (tikv#12045).

use std::io;

use crate::{
    env::{Disk, Stat},
    release::{RaftLogLayout, Release},
};

/// A raft log's place in a store's directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// `raft`, as releases before 6.1 have it.
    Old,
    /// `raft-engine`.
    #[default]
    New,
}

impl Layout {
    /// Every layout, the oldest first.
    pub const ALL: [Layout; 2] = [Layout::Old, Layout::New];

    /// The layout in which a release keeps its log.
    pub fn of(release: &Release) -> Layout {
        match release.raft_log {
            RaftLogLayout::Old => Layout::Old,
            RaftLogLayout::New | RaftLogLayout::NewImportingOld => Layout::New,
        }
    }

    /// Its number, the oldest is 1.
    pub fn version(self) -> u64 {
        self as u64 + 1
    }

    /// The directory's name.
    pub fn directory(self) -> &'static str {
        match self {
            Layout::Old => "raft",
            Layout::New => "raft-engine",
        }
    }

    /// The directory's path inside a store's directory, which may be the root.
    pub fn path(self, dir: &str) -> String {
        join(dir, self.directory())
    }

    /// The layouts that have a segment in a store's directory.
    pub async fn found(disk: &dyn Disk, dir: &str) -> io::Result<Vec<Layout>> {
        let mut found = Vec::new();
        for layout in Layout::ALL {
            let path = layout.path(dir);
            if disk.stat(&path).await? == Some(Stat::Dir)
                && disk.list(&path).await?.iter().any(|name| super::segment::number(name).is_some())
            {
                found.push(layout);
            }
        }
        Ok(found)
    }
}

/// A path inside `dir`, which may be the root.
pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}
