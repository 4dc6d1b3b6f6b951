//! `sim` as what `node` asks for: the only folder that knows both.
//!
//! One file a trait of [`node::env`]. Each adapter is thin: it changes the shape of a call, never its meaning, so that
//! what a check sees in a run is what the room did. Facts go two ways: their hash into the room's trace, themselves to
//! the [`Witness`](crate::witness::Witness).
//!
//! It is also the one door to the machine room: whoever boots, disturbs or watches a cluster takes the room's own names
//! from here, so that this list is all that the rest of the library can do to it.

mod clock;
mod disk;
mod facts;
mod io_stats;
mod net;
mod points;
mod rng;
mod spawn;

use std::sync::Arc;

use node::env::Env;

use crate::witness::Witness;

pub use io_stats::StatsFault;
pub use points::{catalog, sites};
pub use spawn::span;
// A run: one world, its end, and what it leaves.
pub use sim::{End, Outcome, World};
// Its processes, and how they end.
pub use sim::{Exit, Handle, Process, ProcessId, Room, process::Supervision};
// Its disks and links, and their faults.
pub use sim::{
    Latency,
    disk::{CrashKeep, DiskConfig, Fault, FaultGuard, FaultRule},
    fabric::{Connection, Delivery, Link, Rule, RuleGuard, Verdict, Who},
};
// Its steps, as its trace has them.
pub use sim::{Observer, Step, event, trace::Mixer};

/// Takes out the remedy against randomness of the kernel's, in this whole process, for tests of what it does.
pub fn leak_entropy() {
    sim::entropy::set_remedy(false);
}

/// What one incarnation of a process of the room may touch, as a node asks for it.
pub fn env(handle: &sim::Handle, witness: &Arc<Witness>, stats: &StatsFault, defects: &[String]) -> Env {
    Env {
        clock: Arc::new(clock::RoomClock(handle.clock())),
        disk: Arc::new(disk::RoomDisk::new(handle.disk())),
        net: Arc::new(net::RoomNet(handle.net())),
        spawn: Arc::new(spawn::RoomSpawn(handle.clone())),
        rng: Arc::new(rng::RoomRng::new(handle.stream("env"))),
        io_stats: Arc::new(io_stats::RoomIoStats { disk: handle.disk(), fault: stats.clone() }),
        facts: Arc::new(facts::RoomFacts::new(handle.clone(), witness.clone())),
        points: points::switchboard(handle, witness, defects),
    }
}
