//! While a peer's durable state says that it is applying a snapshot, the snapshot's files are there.
//!
//! The state is what the store wrote, or what it read back after a restart; the files are the room's. A restart in that
//! state begins the applying again, from files that nothing else can replace. What has to be there is what was there when
//! the snapshot had been received whole. A state that was stated but lost in a crash is not read back and binds nothing.
//!
//! Source: tikv#11746.

use std::collections::{BTreeMap, BTreeSet};

use node::{
    fact::Fact,
    store::fact::{region, snapshot},
};

use super::{
    super::{Check, Entry, Judged, Known, Violation, known::files::file_name},
    name::{self, Key},
};
use crate::{
    event::{Body, Event, Hall, NodeId, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const DURABLE_APPLYING_HAS_FILES: Entry = Entry {
    name: "durable-applying-has-files",
    family: "snapshot",
    class: Class::Safety,
    property: "while a peer's durable state is Applying, the snapshot's files are there",
    source: "tikv#11746",
    hears: &[Hall::Region, Hall::Snapshot, Hall::Disk, Hall::Process],
    make: || Box::new(DurableApplying::default()),
};

#[derive(Default)]
struct DurableApplying {
    stores: BTreeMap<NodeId, Store>,
    judged: u64,
}

#[derive(Default)]
struct Store {
    /// Files of received snapshots, by snapshot.
    files: BTreeMap<Key, BTreeSet<String>>,
    /// What a received snapshot consisted of.
    whole: BTreeMap<Key, BTreeSet<String>>,
    /// By region: the snapshot that its state says is being applied.
    applying: BTreeMap<u64, Key>,
}

impl Store {
    fn state(&mut self, region: u64, state: &str, term: u64, index: u64) {
        match state {
            "applying" => self.applying.insert(region, (region, term, index)),
            _ => self.applying.remove(&region),
        };
    }

    fn appears(&mut self, path: &str) {
        if let Some(name) = name::parse(path).filter(|name| name.received && !name.temporary) {
            self.files.entry(name.key).or_default().insert(file_name(path).to_owned());
        }
    }

    /// The snapshot whose file vanishes, if it was one.
    fn vanishes(&mut self, path: &str) -> Option<Key> {
        let name = name::parse(path).filter(|name| name.received && !name.temporary)?;
        self.files.get_mut(&name.key)?.remove(file_name(path)).then_some(name.key)
    }
}

impl Check for DurableApplying {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let name = known.name(event.node);
        let store = self.stores.entry(event.node).or_default();
        match &event.body {
            Body::Node(Fact::Region(region::Fact::StateWritten { region, state, index, term, .. })) => {
                self.judged += u64::from(state.as_str() == "applying");
                store.state(region.id, state.as_str(), *term, *index);
            }
            Body::Node(Fact::Region(region::Fact::StateRecovered { region, state, index, term, .. })) => {
                store.state(region.id, state.as_str(), *term, *index);
                let key = (region.id, *term, *index);
                if state.as_str() == "applying"
                    && let Some(whole) = store.whole.get(&key)
                {
                    self.judged += 1;
                    let missing =
                        whole.iter().find(|file| !store.files.get(&key).is_some_and(|has| has.contains(*file)));
                    if let Some(file) = missing {
                        let detail =
                            format!("{name} comes back applying a snapshot of region {}, without {file}", region.id);
                        return Err(Violation::new("missing-after-restart", detail));
                    }
                }
            }
            Body::Node(Fact::Snapshot(snapshot::Fact::Received { region, term, index })) => {
                let key = (*region, *term, *index);
                if let Some(files) = store.files.get(&key) {
                    store.whole.insert(key, files.clone());
                }
            }
            Body::Room(RoomEvent::ProcessStarted { .. }) => store.applying.clear(),
            Body::Room(RoomEvent::FileCreated { path }) => store.appears(path.as_str()),
            Body::Room(RoomEvent::FileRenamed { from, to }) => {
                store.vanishes(from.as_str());
                store.appears(to.as_str());
            }
            Body::Room(RoomEvent::FileRemoved { path }) => {
                let Some(key) = store.vanishes(path.as_str()) else { return Ok(()) };
                if store.applying.get(&key.0) == Some(&key) {
                    let detail =
                        format!("{name} loses {path} while region {}'s state is Applying that snapshot", key.0);
                    return Err(Violation::new("removed-while-applying", detail));
                }
            }
            Body::Room(RoomEvent::DiskCrashed { gone, back, .. }) => {
                for path in gone {
                    store.vanishes(path.as_str());
                }
                for path in back {
                    store.appears(path.as_str());
                }
            }
            Body::Room(RoomEvent::DiskWiped {}) => *store = Store::default(),
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
