//! A release reads every format that it is said to read: none that was shipped is refused or misread.
//!
//! A format that the release's row in the table does not have may be refused, and has to be: then whoever wrote it, or
//! started this release, is to blame, not the release. A blob file that is called corrupt, or in which something unknown
//! is found, although no fault ever lay on it, was misread.
//!
//! Source: tikv#18263 (titan#329), titan#221.

use std::collections::BTreeMap;

use node::{
    engine::fact as engine,
    fact::Fact,
    release::{RaftLogLayout, Release},
    store::fact::lifecycle,
};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent, Witness},
    verdict::Class,
};

/// The check's row.
pub const OPENED_IS_READABLE: Entry = Entry {
    name: "opened-is-readable",
    family: "format",
    class: Class::Safety,
    property: "a release reads every format on disk that it is said to read",
    source: "tikv#18263 (titan#329), titan#221",
    hears: &[Hall::Engine, Hall::Store, Hall::Disk],
    make: || Box::new(OpenedIsReadable::default()),
};

#[derive(Default)]
struct OpenedIsReadable {
    /// Paths that a fault was laid on or that met an injected error; an empty one stands for all.
    faulty: BTreeMap<NodeId, Vec<String>>,
    judged: u64,
}

impl OpenedIsReadable {
    fn has_fault(&self, node: NodeId, path: &str) -> bool {
        self.faulty.get(&node).is_some_and(|paths| paths.iter().any(|known| known.is_empty() || known == path))
    }
}

impl Check for OpenedIsReadable {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let node = event.node;
        match &event.body {
            Body::Room(RoomEvent::DiskFault { path, .. } | RoomEvent::DiskError { path, injected: true, .. }) => {
                let paths = self.faulty.entry(node).or_default();
                if !paths.iter().any(|known| known == path.as_str()) {
                    paths.push(path.as_str().to_owned());
                }
                Ok(())
            }
            Body::Node(Fact::Engine(engine::Fact::BlobOpened { .. })) => {
                self.judged += 1;
                Ok(())
            }
            Body::Node(Fact::Engine(
                engine::Fact::Corruption { path, detail } | engine::Fact::FormatUnknown { path, what: detail },
            )) if path.as_str().ends_with(".blob") && known.has(Witness::Room) => {
                self.judged += 1;
                if self.has_fault(node, path.as_str()) {
                    return Ok(());
                }
                let text = format!("{} cannot read {path} ({detail}), and no fault lies there", known.name(node));
                // What an unknown format is read as depends on the bytes that happen to lie there.
                let is_unknown = matches!(&event.body, Body::Node(Fact::Engine(engine::Fact::FormatUnknown { .. })));
                Err(Violation::new("shipped-format-misread", text).at(if is_unknown {
                    "unknown"
                } else {
                    detail.as_str()
                }))
            }
            Body::Node(Fact::Store(lifecycle::Fact::FormatRefused { path, format, version, release })) => {
                self.judged += 1;
                let reads = Release::parse(release.as_str()).is_ok_and(|row| reads(row, format.as_str(), *version));
                if !reads {
                    return Ok(());
                }
                let text = format!(
                    "{} runs as {release} and refuses {path}, of {format} version {version}, which that release reads",
                    known.name(node)
                );
                Err(Violation::new("shipped-format-refused", text).at(format.as_str()))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}

fn reads(release: &Release, format: &str, version: u64) -> bool {
    let among = |all: &[u8]| all.iter().any(|known| u64::from(*known) == version);
    match format {
        "blob-header" => among(release.blob_headers_read),
        "manifest-tag" => among(release.manifest_tags_read),
        "raft-log" => match release.raft_log {
            RaftLogLayout::Old => version == 1,
            RaftLogLayout::New => version == 2,
            RaftLogLayout::NewImportingOld => true,
        },
        _ => false,
    }
}
