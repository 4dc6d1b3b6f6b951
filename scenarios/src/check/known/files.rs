//! The files of every process as the room knows them: which bytes and which names would survive a crash now.

use std::collections::BTreeMap;

use crate::event::{NodeId, RoomEvent};

/// The files of all processes.
#[derive(Default)]
pub struct Files {
    nodes: Vec<BTreeMap<Box<str>, File>>,
}

#[derive(Clone, Copy)]
struct File {
    durable: u64,
    named: bool,
}

impl Files {
    /// Whether the first `end` bytes of a file would survive a crash now. None when the room never spoke of that file.
    pub fn covers(&self, node: NodeId, path: &str, end: u64) -> Option<bool> {
        let file = self.nodes.get(usize::from(node))?.get(path)?;
        Some(file.named && file.durable >= end)
    }

    pub(super) fn on(&mut self, node: NodeId, event: &RoomEvent) {
        let node = usize::from(node);
        if self.nodes.len() <= node {
            self.nodes.resize_with(node + 1, BTreeMap::new);
        }
        let files = &mut self.nodes[node];
        match event {
            RoomEvent::FileCreated { path } => {
                files.insert(path.as_str().into(), File { durable: 0, named: false });
            }
            RoomEvent::FileSynced { path, durable } => match files.get_mut(path.as_str()) {
                Some(file) => file.durable = file.durable.max(*durable),
                // The room speaks of it for the first time: it was there before the history began.
                None => drop(files.insert(path.as_str().into(), File { durable: *durable, named: true })),
            },
            RoomEvent::FileTruncated { path, len } => {
                if let Some(file) = files.get_mut(path.as_str()) {
                    file.durable = file.durable.min(*len);
                }
            }
            RoomEvent::FileRemoved { path } => drop(files.remove(path.as_str())),
            RoomEvent::FileRenamed { from, to } => {
                let file = files.remove(from.as_str()).unwrap_or(File { durable: u64::MAX, named: false });
                files.insert(to.as_str().into(), File { named: false, ..file });
            }
            RoomEvent::DirSynced { path } => {
                for (name, file) in files.iter_mut() {
                    file.named |= directory(name) == path.as_str();
                }
            }
            RoomEvent::DiskCrashed { kept, gone, back } => {
                for name in gone {
                    files.remove(name.as_str());
                }
                for name in back {
                    files.insert(name.as_str().into(), File { durable: u64::MAX, named: true });
                }
                for left in kept {
                    files.insert(left.path.as_str().into(), File { durable: left.len, named: true });
                }
                files.values_mut().for_each(|file| file.named = true);
            }
            RoomEvent::DiskWiped {} => files.clear(),
            _ => {}
        }
    }
}

/// The directory of a path; empty for the root.
pub fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
