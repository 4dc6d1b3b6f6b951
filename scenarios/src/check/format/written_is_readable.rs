//! What a release writes can be read by itself and by every release that it may be rolled back to.
//!
//! Judged at the step that writes: a file that nobody but its writer can read is an incident already, even though it shows
//! only when somebody rolls back. The table of releases says who may be rolled back to whom, and who reads what; the node
//! says which version of which format it has just written.
//!
//! Source: tikv#18003 (titan#323).

use node::{engine::fact as engine, fact::Fact, release::Release};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const WRITTEN_IS_READABLE: Entry = Entry {
    name: "written-is-readable",
    family: "format",
    class: Class::Safety,
    property: "what a release writes can be read by every release that it may be rolled back to",
    source: "tikv#18003 (titan#323)",
    hears: &[Hall::Engine],
    make: || Box::new(WrittenIsReadable { judged: 0 }),
};

/// The tag that notes a file's end; every release knows it.
const TAG_REMOVED: u64 = 12;

struct WrittenIsReadable {
    judged: u64,
}

impl Check for WrittenIsReadable {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Node(Fact::Engine(fact)) = &event.body else { return Ok(()) };
        let (path, format, version, release) = match fact {
            engine::Fact::BlobWritten { path, header, release, .. } => (path, "blob header", *header, release),
            engine::Fact::EditWritten { path, tag, release, .. } if *tag != TAG_REMOVED => {
                (path, "manifest tag", *tag, release)
            }
            _ => return Ok(()),
        };
        self.judged += 1;
        let Ok(writer) = Release::parse(release.as_str()) else { return Ok(()) };
        let targets = writer.may_roll_back_to.iter().filter_map(|name| Release::parse(name).ok());
        let reads = |reader: &Release| {
            let all = if format == "blob header" { reader.blob_headers_read } else { reader.manifest_tags_read };
            all.iter().any(|known| u64::from(*known) == version)
        };
        let Some(blind) = targets.chain([writer]).find(|reader| !reads(reader)) else { return Ok(()) };
        let detail = format!(
            "{} runs as {writer} and writes {path} with {format} {version}; it may be rolled back to {blind}, which does not \
             read that",
            known.name(event.node)
        );
        Err(Violation::new("unreadable-after-rollback", detail).at(format))
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
