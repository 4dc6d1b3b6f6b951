//! A deterministic machine room.
//!
//! A program whose futures run in here sees processes, disks, a network and clocks that behave like real ones, faults included, and
//! the same seed gives the same run, bit for bit, whatever the host, the build or the runs before it.
//!
//! | module | what it is | when you would touch it |
//! |---|---|---|
//! | [`world`] | one seed, one thread, one run; panics become values | a run ends wrongly, or leaks |
//! | [`room`] | the room of one run: its processes, its witness, its time | something is to be reached from everywhere |
//! | [`seed`] | named splits, integer and ratio draws | a new kind of draw |
//! | [`entropy`] | what the process asks the kernel for; the one unsafe room | a dependency leaks randomness |
//! | [`process`] | start, stop, crash, restart, pause; supervisor; fencing | the life of a process |
//! | [`clock`] | one process's monotonic and wall time | time |
//! | [`disk`] | one process's disk: pending until synced; crashes and faults | storage |
//! | [`latency`] | how long a call or a frame takes | a new distribution |
//! | [`fabric`] | connections over directed links, and the rules over them | network |
//! | [`event`] | what the room witnesses, and the [`Observer`] that is told | a check needs to see more |
//! | [`trace`] | numbered steps, rolling hash, first difference | determinism |
//!
//! Not in here: what runs in the room. `sim` knows no protocol, no keys and no plans, and only Rust futures run inside.
//!
//! ```
//! use sim::{End, Exit, Seed, World};
//! use std::time::Duration;
//!
//! let outcome = World::new(Seed::new(7)).run(|room| async move {
//!     let one = room.process("one");
//!     one.start(|handle: sim::Handle| async move {
//!         handle.clock().sleep(Duration::from_secs(1)).await;
//!         Exit::Done
//!     });
//!     one.exited().await;
//!     room.true_ns()
//! });
//! assert!(matches!(outcome.end, End::Finished(ns) if ns >= 1_000_000_000));
//! ```

#[cfg(not(madsim))]
compile_error!(
    "`sim` needs `--cfg madsim`. This workspace sets it in .cargo/config.toml, which a RUSTFLAGS variable replaces silently: \
     run `env -u RUSTFLAGS cargo …`. A crate outside this workspace sets rustflags = [\"--cfg\", \"madsim\"] in its own .cargo/config.toml."
);

#[cfg(madsim)]
mod agenda;
#[cfg(madsim)]
pub mod clock;
#[cfg(madsim)]
pub mod disk;
#[cfg(madsim)]
pub mod entropy;
#[cfg(madsim)]
pub mod event;
#[cfg(madsim)]
pub mod fabric;
#[cfg(madsim)]
pub mod latency;
#[cfg(madsim)]
mod panics;
#[cfg(madsim)]
pub mod process;
#[cfg(madsim)]
pub mod room;
#[cfg(madsim)]
pub mod seed;
#[cfg(madsim)]
pub mod trace;
#[cfg(madsim)]
pub mod world;

#[cfg(madsim)]
pub use crate::{
    event::{Event, Observer, Step},
    latency::Latency,
    process::{Exit, Handle, Process, ProcessId},
    room::Room,
    seed::{Seed, Stream},
    world::{End, Outcome, World},
};
