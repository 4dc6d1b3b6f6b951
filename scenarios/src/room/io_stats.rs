//! The operating system's account of a process's disk traffic, which a plan can make unreadable.
//!
//! Real kernels keep the account in a file of the thread; on machines without task accounting, or for a thread that has
//! died, opening it fails. The fault lies beside the account, which goes on counting.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use node::env::{IoBytes, IoStats};

/// Whether one process's account can be read. Shared by the incarnations of the process and the nemesis.
#[derive(Clone, Default)]
pub struct StatsFault(Arc<AtomicBool>);

impl StatsFault {
    /// Makes the account unreadable, or readable again.
    pub fn set(&self, unreadable: bool) {
        self.0.store(unreadable, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct RoomIoStats {
    pub(super) disk: sim::disk::Disk,
    pub(super) fault: StatsFault,
}

impl IoStats for RoomIoStats {
    fn task_io_bytes(&self) -> io::Result<IoBytes> {
        if self.fault.is_set() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (read, written) = self.disk.io_bytes();
        Ok(IoBytes { read, written })
    }
}
