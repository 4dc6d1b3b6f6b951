//! A process: its starts and ends, and the fence around its dead incarnations.
//!
//! A process has a name, a disk and a clock, which outlive its incarnations. Each incarnation runs on a madsim node of its own. When
//! it ends, by whatever cause, it is fenced first and its tasks are dropped after: madsim runs their destructors, which a real
//! `kill -9` does not, so nothing that they try reaches disk, network, timers, tasks or facts.
//!
//! A panic in any task of a process ends that process, not the run.
//!
//! Not modelled: threads, memory limits, signals other than a request to stop.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use madsim::runtime::NodeHandle;
use parking_lot::Mutex;

use crate::{
    clock::{ClockCell, ClockControl},
    disk::{CrashKeep, DiskCell, DiskControl},
    event::{Cause, Event, ProcessEvent},
    room::Core,
    seed::Seed,
};

mod handle;
mod supervisor;

use handle::spawn_on;
pub use handle::{Handle, Task};
pub use supervisor::Supervision;

/// A small number that stands for a process, in order of definition from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(u32);

impl ProcessId {
    /// Stands for no process: the room itself.
    pub const ROOM: ProcessId = ProcessId(u32::MAX);

    pub(crate) fn from_index(index: usize) -> Self {
        ProcessId(u32::try_from(index).expect("a room holds far fewer than 2^32 processes"))
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOM { f.write_str("room") } else { write!(f, "p{}", self.0) }
    }
}

/// How a process's main ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Content.
    Done,
    /// With a stated cause.
    Failed(Arc<str>),
}

impl From<()> for Exit {
    fn from((): ()) -> Self {
        Exit::Done
    }
}

impl<E: fmt::Display> From<Result<(), E>> for Exit {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Exit::Done,
            Err(error) => Exit::Failed(error.to_string().into()),
        }
    }
}

type Main = Arc<dyn Fn(Handle) -> Pin<Box<dyn Future<Output = Exit> + Send>> + Send + Sync>;

/// One incarnation: what everything that it holds is fenced by.
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) incarnation: u32,
    alive: AtomicBool,
    stop: Mutex<(bool, Vec<Waker>)>,
    node: NodeHandle,
    spawned: AtomicU32,
}

impl Life {
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}

/// A process, alive or not.
pub(crate) struct Cell {
    pub(crate) id: ProcessId,
    pub(crate) name: Arc<str>,
    pub(crate) seed: Seed,
    pub(crate) clock: Arc<ClockCell>,
    pub(crate) disk: Arc<DiskCell>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    life: Option<Arc<Life>>,
    incarnations: u32,
    paused: bool,
    main: Option<Main>,
    last: Option<Cause>,
    waiting: Vec<Waker>,
    supervised: Option<supervisor::Watch>,
    /// Grows whenever the owner or the supervisor acts, so that a back-off from before is stale.
    touched: u64,
}

impl Cell {
    pub(crate) fn new(id: ProcessId, name: Arc<str>, seed: Seed, clock: Arc<ClockCell>, disk: Arc<DiskCell>) -> Self {
        Cell { id, name, seed, clock, disk, state: Mutex::default() }
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.state.lock().life.as_ref().map_or(0, |life| life.incarnation)
    }
}

/// A process, as the owner of the room sees it.
#[derive(Clone)]
pub struct Process {
    core: Arc<Core>,
    cell: Arc<Cell>,
}

impl Process {
    pub(crate) fn new(core: Arc<Core>, cell: Arc<Cell>) -> Self {
        Process { core, cell }
    }

    /// Its number.
    pub fn id(&self) -> ProcessId {
        self.cell.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.cell.name
    }

    /// Starts a new incarnation that runs `main`, which restarts will run too. An incarnation that still runs is killed first.
    ///
    /// The incarnation ends when `main` returns; all its other tasks end then.
    pub fn start<F, Fut>(&self, main: F)
    where
        F: Fn(Handle) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Into<Exit>,
    {
        let main: Main = Arc::new(move |handle| {
            let main = main(handle);
            Box::pin(async move { main.await.into() })
        });
        self.kill();
        self.cell.state.lock().main = Some(main);
        self.begin();
    }

    /// Kills what runs and starts a new incarnation with the main that the last start gave. False if there was never one.
    pub fn restart(&self) -> bool {
        self.kill();
        self.begin()
    }

    fn begin(&self) -> bool {
        let (main, handle) = {
            let mut state = self.cell.state.lock();
            let Some(main) = state.main.clone() else { return false };
            state.touched += 1;
            state.incarnations += 1;
            let node = self.core.runtime.create_node().name(&*self.cell.name).build();
            let life = Arc::new(Life {
                process: self.cell.id,
                incarnation: state.incarnations,
                alive: AtomicBool::new(true),
                stop: Mutex::default(),
                node,
                spawned: AtomicU32::new(0),
            });
            state.life = Some(life.clone());
            (main, Handle { core: self.core.clone(), cell: self.cell.clone(), life })
        };
        let started = ProcessEvent::Started { name: self.cell.name.clone() };
        self.core.step(self.cell.id, handle.life.incarnation, Event::Process(started));
        let process = self.clone();
        let life = handle.life.clone();
        // The closure runs inside the task, so that a panic in building the main is the process's own, too.
        let future = async move {
            let exit = main(handle).await;
            process.end(
                &life,
                match exit {
                    Exit::Done => Cause::Done,
                    Exit::Failed(why) => Cause::Failed(why),
                },
            );
        };
        let Some(life) = self.cell.state.lock().life.clone() else { return true };
        spawn_on(self, &life, Box::pin(future));
        true
    }

    /// Ends the incarnation at once, as `kill -9` does: what its disk has pending stays pending.
    pub fn kill(&self) {
        let life = self.cell.state.lock().life.clone();
        self.cell.state.lock().touched += 1;
        if let Some(life) = life {
            self.end(&life, Cause::Killed);
        }
    }

    /// Cuts the power: kills the process, and what its disk has pending becomes one of the states that a crash may leave.
    pub fn crash(&self, keep: CrashKeep) {
        self.kill();
        self.cell.disk.crash(keep);
        self.core.step(self.cell.id, 0, Event::Process(ProcessEvent::DiskCrashed));
    }

    /// Asks the incarnation to stop, and kills it if it has not within `limit` of true time.
    pub async fn stop(&self, limit: Duration) -> Option<Cause> {
        let life = self.cell.state.lock().life.clone()?;
        self.cell.state.lock().touched += 1;
        let wakers = {
            let mut stop = life.stop.lock();
            stop.0 = true;
            std::mem::take(&mut stop.1)
        };
        self.core.step(life.process, life.incarnation, Event::Process(ProcessEvent::StopRequested));
        wakers.into_iter().for_each(Waker::wake);
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mut nap = self.core.agenda.nap(limit_ns);
        let mut exited = Exited { cell: self.cell.clone(), incarnation: life.incarnation };
        let overdue = std::future::poll_fn(|context| match Pin::new(&mut exited).poll(context) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => Pin::new(&mut nap).poll(context).map(|()| true),
        })
        .await;
        if overdue {
            self.end(&life, Cause::StopOverdue);
        }
        self.last_exit()
    }

    /// Holds all its tasks and its timers. Its clocks run on; frames and disk calls complete meanwhile, unseen.
    pub fn pause(&self) {
        let mut state = self.cell.state.lock();
        let Some(life) = state.life.clone().filter(|_| !state.paused) else { return };
        state.paused = true;
        drop(state);
        self.core.runtime.pause(life.node.id());
        self.cell.clock.hold();
        self.core.step(life.process, life.incarnation, Event::Process(ProcessEvent::Paused));
    }

    /// Lets a paused process go on. Timers that fell due meanwhile fire now, each once.
    pub fn resume(&self) {
        let mut state = self.cell.state.lock();
        let Some(life) = state.life.clone().filter(|_| state.paused) else { return };
        state.paused = false;
        drop(state);
        self.core.runtime.resume(life.node.id());
        self.core.step(life.process, life.incarnation, Event::Process(ProcessEvent::Resumed));
        self.cell.clock.release();
    }

    /// Completes when no incarnation runs, with how the last one ended.
    pub fn exited(&self) -> impl Future<Output = Option<Cause>> + Send + use<> {
        Exited { cell: self.cell.clone(), incarnation: self.cell.incarnation() }
    }

    /// How the last incarnation ended.
    pub fn last_exit(&self) -> Option<Cause> {
        self.cell.state.lock().last.clone()
    }

    /// Whether an incarnation runs; a paused one does.
    pub fn is_running(&self) -> bool {
        self.cell.state.lock().life.is_some()
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.cell.state.lock().paused
    }

    /// The number of the incarnation that runs, or 0.
    pub fn incarnation(&self) -> u32 {
        self.cell.incarnation()
    }

    /// Its clock.
    pub fn clock(&self) -> ClockControl {
        ClockControl { core: self.core.clone(), cell: self.cell.clock.clone() }
    }

    /// Its disk.
    pub fn disk(&self) -> DiskControl {
        DiskControl { cell: self.cell.disk.clone() }
    }

    /// Ends an incarnation: fence, then drop. Only the first end of an incarnation counts.
    pub(crate) fn end(&self, life: &Arc<Life>, cause: Cause) {
        if !life.alive.swap(false, Ordering::Relaxed) {
            return;
        }
        let (waiting, was_paused) = {
            let mut state = self.cell.state.lock();
            state.life = None;
            state.last = Some(cause.clone());
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.paused))
        };
        self.cell.clock.clear();
        if was_paused {
            // madsim drops a paused node's tasks with its own lock held; a resumed node's are dropped by the executor.
            self.core.runtime.resume(life.node.id());
            self.cell.clock.release();
        }
        self.core.runtime.kill(life.node.id());
        self.core.step(life.process, life.incarnation, Event::Process(ProcessEvent::Exited(cause.clone())));
        self.core.reset_all_of(life.process, life.incarnation);
        waiting.into_iter().for_each(Waker::wake);
        self.supervise(life, &cause);
    }

    pub(crate) fn end_with_world(&self) {
        self.supervise_no_more();
        self.kill();
        self.cell.state.lock().main = None;
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({} {:?})", self.cell.id, self.cell.name)
    }
}

struct Exited {
    cell: Arc<Cell>,
    incarnation: u32,
}

impl Future for Exited {
    type Output = Option<Cause>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.cell.state.lock();
        if state.life.as_ref().is_none_or(|life| life.incarnation != self.incarnation) {
            return Poll::Ready(state.last.clone());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
