//! A disk as the owner of the room sees it.
//!
//! Not in here: the power cut; that is [`Process::crash`](crate::Process::crash), because the process ends with it.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::{DiskCell, DiskConfig, fault::FaultRule, names::Node};

/// A process's disk as the owner of the room sees it: its faults, and the truth under them.
#[derive(Clone)]
pub struct DiskControl {
    pub(crate) cell: Arc<DiskCell>,
}

impl DiskControl {
    /// Lays a fault beside the disk, until the guard is lifted or dropped.
    #[must_use = "dropping the guard lifts the fault"]
    pub fn inject(&self, rule: FaultRule) -> FaultGuard {
        self.cell.faulty.fetch_add(1, Ordering::Relaxed);
        FaultGuard { cell: self.cell.clone(), id: Some(self.cell.faults.add(rule)) }
    }

    /// Lifts every fault, also those whose guards were kept for good.
    pub fn heal(&self) {
        self.cell.faults.clear();
        for inode in self.cell.names.lock().files() {
            inode.patches.lock().clear();
        }
    }

    /// Changes latencies and capacity from now on.
    pub fn set_config(&self, config: DiskConfig) {
        *self.cell.config.write() = config;
    }

    /// Latencies and capacity.
    pub fn config(&self) -> DiskConfig {
        self.cell.config.read().clone()
    }

    /// The bytes that all files hold.
    pub fn used_bytes(&self) -> u64 {
        self.cell.used_bytes.load(Ordering::Relaxed)
    }

    /// All paths that can be seen, sorted.
    pub fn visible_paths(&self) -> Vec<Arc<str>> {
        self.cell.names.lock().visible_paths()
    }

    /// All paths that every crash keeps, sorted.
    pub fn durable_paths(&self) -> Vec<Arc<str>> {
        self.cell.names.lock().durable_paths()
    }

    /// Whether the path can be seen, and whether every crash keeps it.
    pub fn exists(&self, path: &str) -> (bool, bool) {
        let names = self.cell.names.lock();
        (names.is_visible(path), names.is_durable(path))
    }

    /// The true bytes of a file that can be seen, whatever faults cover them.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.cell.names.lock().get(path)? {
            Node::File(inode) => Some(inode.content.lock().range(0, u64::MAX).to_vec()),
            Node::Dir => None,
        }
    }

    /// The length that every crash keeps of a file that can be seen.
    pub fn durable_len(&self, path: &str) -> Option<u64> {
        match self.cell.names.lock().get(path)? {
            Node::File(inode) => Some(inode.content.lock().durable_len()),
            Node::Dir => None,
        }
    }

    /// Somebody removes files under the process's feet: all that can be seen and match, `*` standing for any text. Returns
    /// their paths, which are gone from the names but not durably so.
    pub fn remove_matching(&self, pattern: &str) -> Vec<Arc<str>> {
        let mut names = self.cell.names.lock();
        let mut paths = names.visible_paths();
        paths.retain(|path| super::fault::matches(pattern, path) && matches!(names.get(path), Some(Node::File(_))));
        paths.iter().for_each(|path| names.remove(self.cell.next_sequence(), path));
        paths
    }

    /// Replaces the disk's content by nothing, as a new disk is put in. Not while the process runs.
    pub fn wipe(&self) {
        let names = std::mem::take(&mut *self.cell.names.lock());
        drop(names);
    }
}

impl fmt::Debug for DiskControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk of {}", self.cell.process)
    }
}

/// Keeps a fault in place; dropping it heals exactly what the fault spoiled.
pub struct FaultGuard {
    cell: Arc<DiskCell>,
    id: Option<u64>,
}

impl FaultGuard {
    /// Lifts the fault.
    pub fn lift(self) {}

    /// Leaves the fault in place until [`DiskControl::heal`].
    pub fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        self.cell.faults.lift(id);
        for inode in self.cell.names.lock().files() {
            inode.patches.lock().lift(id);
        }
    }
}
