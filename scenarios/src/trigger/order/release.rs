//! Orders that are about releases: what one wrote and another meets.

use std::collections::{BTreeMap, BTreeSet};

use node::{engine::fact as engine, fact::Fact, release::Release, store::fact::lifecycle};

use super::Order;
use crate::event::{Body, Event, NodeId, RoomEvent};

/// The tag that notes a blob file's end.
const TAG_REMOVED: u64 = 12;

/// No memory: one of two facts, whose release has somewhere to go back to.
pub(super) struct WrittenWithAWayBack;

impl Order for WrittenWithAWayBack {
    fn on(&mut self, event: &Event) -> bool {
        let Body::Node(Fact::Engine(fact)) = &event.body else { return false };
        let release = match fact {
            engine::Fact::BlobWritten { release, .. } => release,
            engine::Fact::EditWritten { release, tag, .. } if *tag != TAG_REMOVED => release,
            _ => return false,
        };
        Release::parse(release.as_str()).is_ok_and(|row| !row.may_roll_back_to.is_empty())
    }
}

/// The headers of the blob files that each node has noted in its manifest.
pub(super) struct BlobFileMet {
    wanted: fn(u64, &Release) -> bool,
    /// By node and path: the header, and whether the manifest tells of the file.
    files: BTreeMap<(NodeId, String), (u64, bool)>,
}

impl BlobFileMet {
    pub(super) fn new(wanted: fn(u64, &Release) -> bool) -> BlobFileMet {
        BlobFileMet { wanted, files: BTreeMap::new() }
    }
}

impl Order for BlobFileMet {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Engine(engine::Fact::BlobWritten { path, header, .. })) => {
                self.files.insert((event.node, path.as_str().to_owned()), (*header, false));
                false
            }
            Body::Node(Fact::Engine(engine::Fact::EditWritten { tag, .. })) if *tag != TAG_REMOVED => {
                self.files
                    .iter_mut()
                    .filter(|((node, _), _)| *node == event.node)
                    .for_each(|(_, (_, noted))| *noted = true);
                false
            }
            Body::Node(Fact::Engine(engine::Fact::Removing { path })) => {
                self.files.remove(&(event.node, path.as_str().to_owned()));
                false
            }
            Body::Room(RoomEvent::ProcessStarted { release }) => {
                let mut noted = self.files.iter().filter(|((node, _), (_, noted))| *node == event.node && *noted);
                Release::parse(release.as_str())
                    .is_ok_and(|row| noted.any(|(_, (header, _))| (self.wanted)(*header, row)))
            }
            _ => false,
        }
    }
}

/// The nodes that met a raft log which their release did not read.
#[derive(Default)]
pub(super) struct StartedAgain {
    refused: BTreeSet<NodeId>,
}

impl Order for StartedAgain {
    fn on(&mut self, event: &Event) -> bool {
        match &event.body {
            Body::Node(Fact::Store(lifecycle::Fact::FormatRefused { format, version: 2, .. }))
                if format.as_str() == "raft-log" =>
            {
                self.refused.insert(event.node);
                false
            }
            Body::Room(RoomEvent::ProcessStarted { release }) => {
                self.refused.contains(&event.node)
                    && Release::parse(release.as_str())
                        .is_ok_and(|row| row.raft_log == node::release::RaftLogLayout::NewImportingOld)
            }
            _ => false,
        }
    }
}
