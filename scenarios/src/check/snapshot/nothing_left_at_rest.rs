//! When the run is at rest, no snapshot has left anything behind.
//!
//! No temporary file, no entry in the manager's registry, and no received snapshot that was applied before the collector
//! last looked. A generated snapshot may wait for its age.
//!
//! Source: tikv#3129, tikv#3215.

use std::collections::{BTreeMap, BTreeSet};

use node::{fact::Fact, store::fact::snapshot};

use super::{
    super::{Check, Entry, Judged, Known, Violation},
    name::{self, Key, Name},
};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const NOTHING_LEFT_AT_REST: Entry = Entry {
    name: "nothing-left-at-rest",
    family: "snapshot",
    class: Class::Safety,
    property: "at rest no temporary snapshot file, no registration and no applied snapshot is left",
    source: "tikv#3129, tikv#3215",
    hears: &[Hall::Snapshot, Hall::Disk, Hall::Process, Hall::Plan],
    make: || Box::new(NothingLeft::default()),
};

#[derive(Default)]
struct NothingLeft {
    stores: BTreeMap<NodeId, Store>,
    rests: u64,
}

#[derive(Default)]
struct Store {
    files: BTreeMap<String, Name>,
    registered: BTreeMap<(Key, String), i64>,
    /// Applied, and how often the collector has finished a look since.
    applied: BTreeMap<Key, u32>,
    alive: bool,
}

impl Store {
    fn left(&self) -> Option<(&'static str, String)> {
        if let Some(((key, used), _)) = self.registered.iter().find(|(_, count)| **count > 0) {
            return Some(("registration-left", format!("the snapshot {key:?} is still registered as {used}")));
        }
        if let Some((path, _)) = self.files.iter().find(|(_, name)| name.temporary) {
            return Some(("temporary-file-left", format!("{path} is left")));
        }
        let old: BTreeSet<&Key> = self.applied.iter().filter(|(_, looks)| **looks >= 2).map(|(key, _)| key).collect();
        let (path, _) = self.files.iter().find(|(_, name)| name.received && old.contains(&name.key))?;
        Some(("applied-file-left", format!("{path} is left, and was applied long ago")))
    }
}

impl Check for NothingLeft {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Body::Room(RoomEvent::AtRest {}) = &event.body {
            self.rests += 1;
            let left = self.stores.iter().filter(|(_, store)| store.alive);
            let Some((node, (rule, what))) =
                left.map(|(node, store)| (node, store.left())).find_map(|(n, l)| Some((n, l?)))
            else {
                return Ok(());
            };
            return Err(Violation::new(rule, format!("{}: {what}", known.name(*node))));
        }
        let store = self.stores.entry(event.node).or_default();
        match &event.body {
            Body::Node(Fact::Snapshot(fact)) => match fact {
                snapshot::Fact::Registered { region, term, index, purpose } => {
                    *store.registered.entry(((*region, *term, *index), purpose.as_str().to_owned())).or_default() += 1;
                }
                snapshot::Fact::Deregistered { region, term, index, purpose } => {
                    *store.registered.entry(((*region, *term, *index), purpose.as_str().to_owned())).or_default() -= 1;
                }
                snapshot::Fact::Applied { region, term, index, .. } => {
                    store.applied.insert((*region, *term, *index), 0);
                }
                snapshot::Fact::Received { region, term, index } => {
                    store.applied.remove(&(*region, *term, *index));
                }
                snapshot::Fact::Collected { .. } => store.applied.values_mut().for_each(|looks| *looks += 1),
                _ => {}
            },
            Body::Room(RoomEvent::ProcessStarted { .. }) => {
                store.alive = true;
                store.registered.clear();
            }
            Body::Room(RoomEvent::ProcessExited { .. }) => store.alive = false,
            Body::Room(RoomEvent::DiskWiped {}) => *store = Store::default(),
            Body::Room(RoomEvent::FileRemoved { path }) => {
                store.files.remove(path.as_str());
            }
            Body::Room(RoomEvent::FileCreated { path }) => store.appears(path.as_str()),
            Body::Room(RoomEvent::FileRenamed { from, to }) => {
                store.files.remove(from.as_str());
                store.appears(to.as_str());
            }
            Body::Room(RoomEvent::DiskCrashed { gone, back, .. }) => {
                store.files.retain(|path, _| gone.iter().all(|gone| gone.as_str() != path));
                back.iter().for_each(|path| store.appears(path.as_str()));
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.rests
    }
}

impl Store {
    fn appears(&mut self, path: &str) {
        if let Some(name) = name::parse(path) {
            self.files.insert(path.to_owned(), name);
        }
    }
}
