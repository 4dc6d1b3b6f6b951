//! The room of one run: its processes, its witness and its true time.
//!
//! A [`Room`] is what the owner of a run holds; the code that runs inside gets a [`Handle`](crate::Handle) of its process and
//! nothing else.
//!
//! Not in here: how a run begins and ends; that is the [`world`](crate::world).

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use madsim::runtime::NodeHandle;
use parking_lot::Mutex;

use crate::{
    agenda::{Agenda, Driver, Due},
    clock::{ClockCell, Segment, WALL_ORIGIN_NS},
    disk::{DiskCell, DiskConfig},
    event::{ClockChange, ClockEvent, Event, Fact, Observer, Step},
    fabric::{Fabric, FabricCell},
    process::{Cell, Process, ProcessId},
    seed::{Seed, Stream},
    trace::{Trace, Tracer},
};

/// Everything that a run shares.
pub(crate) struct Core {
    pub(crate) seed: Seed,
    pub(crate) agenda: Arc<Agenda>,
    pub(crate) fabric: FabricCell,
    pub(crate) runtime: madsim::runtime::Handle,
    /// Where the room's own tasks run: the agenda's driver and what the owner spawns.
    node: NodeHandle,
    tracer: Tracer,
    observers: Vec<Arc<dyn Observer>>,
    processes: Mutex<Vec<Arc<Cell>>>,
    disk_config: DiskConfig,
    over: AtomicBool,
}

impl Core {
    pub(crate) fn new(
        seed: Seed,
        observers: Vec<Arc<dyn Observer>>,
        recording: bool,
        disk_config: DiskConfig,
    ) -> Arc<Self> {
        let runtime = madsim::runtime::Handle::current();
        let agenda = Arc::new(Agenda::new(madsim::time::TimeHandle::current()));
        let core = Arc::new(Core {
            seed,
            fabric: FabricCell::new(seed.split("fabric")),
            agenda,
            node: runtime.create_node().name("room").build(),
            runtime,
            tracer: Tracer::new(recording),
            observers,
            processes: Mutex::default(),
            disk_config,
            over: AtomicBool::new(false),
        });
        core.node.spawn(Driver::new(core.clone()));
        core
    }

    /// Numbers, hashes and keeps a step, and tells the observers.
    pub(crate) fn step(&self, process: ProcessId, incarnation: u32, event: Event) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let mut step = Step { number: 0, true_ns: self.agenda.now_ns(), process, incarnation, event };
        self.tracer.number(&mut step);
        for observer in &self.observers {
            observer.observe(&step);
        }
        self.tracer.keep(step);
    }

    pub(crate) fn incarnation_of(&self, process: ProcessId) -> u32 {
        self.cell(process).map_or(0, |cell| cell.incarnation())
    }

    pub(crate) fn cell(&self, process: ProcessId) -> Option<Arc<Cell>> {
        self.processes.lock().get(process.number() as usize).cloned()
    }

    pub(crate) fn fall_due(self: &Arc<Self>, due: Due) {
        match due {
            Due::Frame(pipe, transit) => self.deliver(&pipe, transit),
            Due::Arrival(arrival) => self.arrive(arrival),
            Due::Clock(cell, generation) => cell.fall_due(self, generation),
            Due::Wake(nap) => nap.over(),
            Due::Restart(process, token) => {
                if let Some(cell) = self.cell(process) {
                    Process::new(self.clone(), cell).restart_after_backoff(token);
                }
            }
        }
    }

    pub(crate) fn trace(&self) -> Trace {
        self.tracer.snapshot(true)
    }

    /// Ends the world: nothing is witnessed any more, and every task of every node is dropped.
    pub(crate) fn end(self: &Arc<Self>) {
        self.over.store(true, Ordering::Relaxed);
        let cells = self.processes.lock().clone();
        for cell in cells {
            Process::new(self.clone(), cell).end_with_world();
        }
        self.runtime.kill(self.node.id());
        self.agenda.clear();
        self.fabric.clear();
    }
}

/// The room, as its owner sees it.
#[derive(Clone)]
pub struct Room {
    pub(crate) core: Arc<Core>,
}

impl Room {
    /// The process of this name, which is defined by asking for it; it does not run before it is started.
    pub fn process(&self, name: &str) -> Process {
        let mut processes = self.core.processes.lock();
        if let Some(cell) = processes.iter().find(|cell| &*cell.name == name) {
            return Process::new(self.core.clone(), cell.clone());
        }
        let id = ProcessId::from_index(processes.len());
        let seed = self.core.seed.split("process").split(name);
        // Origins differ as they do between machines, so that comparing monotonic times of two processes shows.
        let origin_ns = seed.split("clock").stream().range(1_000_000_000..=1_000_000_000_000);
        let segment = Segment {
            true_ns: self.core.agenda.now_ns(),
            mono_ns: origin_ns,
            wall_ns: WALL_ORIGIN_NS + self.core.agenda.now_ns() as i64,
            drift_ppm: 0,
        };
        let clock = ClockCell::new(id, self.core.agenda.clone(), segment);
        let disk = DiskCell::new(id, seed.split("disk"), self.core.disk_config.clone());
        let cell = Arc::new(Cell::new(id, name.into(), seed, clock, disk));
        processes.push(cell.clone());
        drop(processes);
        self.core.step(id, 0, Event::Clock(ClockEvent { change: ClockChange::Began, segment }));
        Process::new(self.core.clone(), cell)
    }

    /// The process of this id.
    pub fn process_by_id(&self, id: ProcessId) -> Option<Process> {
        Some(Process::new(self.core.clone(), self.core.cell(id)?))
    }

    /// All processes, in order of definition.
    pub fn processes(&self) -> Vec<Process> {
        let cells = self.core.processes.lock().clone();
        cells.into_iter().map(|cell| Process::new(self.core.clone(), cell)).collect()
    }

    /// The network.
    pub fn fabric(&self) -> Fabric {
        Fabric { core: self.core.clone() }
    }

    /// The seed of the run.
    pub fn seed(&self) -> Seed {
        self.core.seed
    }

    /// A stream for the owner's own draws.
    pub fn stream(&self, name: &str) -> Stream {
        self.core.seed.split("room").split(name).stream()
    }

    /// True nanoseconds since the world began.
    pub fn true_ns(&self) -> u64 {
        self.core.agenda.now_ns()
    }

    /// Completes when true time has passed by `duration`.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.core.agenda.nap(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1))
    }

    /// Runs a task of the owner's, outside of every process, until the world ends. A panic in it ends the run.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.core.node.spawn(task);
    }

    /// States a fact that belongs to no process.
    pub fn fact(&self, fact: Fact) {
        self.core.step(ProcessId::ROOM, 0, Event::Fact(fact));
    }

    /// The rolling hash and number of steps so far, and the last thirty of them; not the record.
    pub fn trace(&self) -> Trace {
        self.core.tracer.snapshot(false)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("seed", &self.core.seed).finish_non_exhaustive()
    }
}
