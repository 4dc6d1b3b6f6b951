//! No file of a snapshot goes while the snapshot is in use.
//!
//! In use is what the manager's registry says: being sent, until the sending has ended, or being applied, until the
//! applying has. Removing is what the room says. Temporary files and what a failed attempt leaves are nobody's.
//!
//! Source: tikv#2923, tikv#3129 (a registered snapshot is not deleted).

use std::collections::BTreeMap;

use node::{fact::Fact, store::fact::snapshot};

use super::{
    super::{Check, Entry, Judged, Known, Violation},
    name::{self, Key},
};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const FILE_IN_USE_EXISTS: Entry = Entry {
    name: "file-in-use-exists",
    family: "snapshot",
    class: Class::Safety,
    property: "no file of a snapshot goes while the snapshot is being sent or applied",
    source: "tikv#2923, tikv#3129",
    hears: &[Hall::Snapshot, Hall::Disk, Hall::Process],
    make: || Box::new(FileInUseExists::default()),
};

#[derive(Default)]
struct FileInUseExists {
    /// By process, snapshot, and whether it was received: how many uses have not ended.
    uses: BTreeMap<(NodeId, Key, bool), i64>,
    judged: u64,
}

impl FileInUseExists {
    fn add(&mut self, node: NodeId, key: Key, received: bool, by: i64) {
        let uses = self.uses.entry((node, key, received)).or_default();
        *uses = (*uses + by).max(0);
    }
}

impl Check for FileInUseExists {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let node = event.node;
        match &event.body {
            Body::Node(Fact::Snapshot(fact)) => match fact {
                snapshot::Fact::Registered { region, term, index, purpose } => match purpose.as_str() {
                    "sending" => self.add(node, (*region, *term, *index), false, 1),
                    "applying" => self.add(node, (*region, *term, *index), true, 1),
                    _ => {}
                },
                snapshot::Fact::Sent { region, term, index, .. }
                | snapshot::Fact::SendFailed { region, term, index, .. } => {
                    self.add(node, (*region, *term, *index), false, -1);
                }
                snapshot::Fact::Applied { region, term, index, .. }
                | snapshot::Fact::ApplyFailed { region, term, index, .. } => {
                    self.add(node, (*region, *term, *index), true, -1);
                }
                snapshot::Fact::Deregistered { region, term, index, purpose } => {
                    // Where the end of the use was stated before, this one is already down; others are not touched.
                    let (key, received) = ((*region, *term, *index), purpose.as_str() == "applying");
                    if matches!(purpose.as_str(), "sending" | "applying") {
                        self.uses.remove(&(node, key, received));
                    }
                }
                _ => {}
            },
            Body::Room(RoomEvent::ProcessStarted { .. } | RoomEvent::ProcessExited { .. }) => {
                self.uses.retain(|(other, ..), _| *other != node);
            }
            Body::Room(RoomEvent::FileRemoved { path }) => {
                let Some(name) = name::parse(path.as_str()).filter(|name| !name.temporary) else { return Ok(()) };
                self.judged += 1;
                if self.uses.get(&(node, name.key, name.received)).is_some_and(|uses| *uses > 0) {
                    let what = if name.received { "applied" } else { "sent" };
                    let detail = format!("{} loses {path} while that snapshot is being {what}", known.name(node));
                    return Err(Violation::new("removed-in-use", detail).at(what));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
