//! What the code inside a process holds, and the tasks that it runs.
//!
//! Asynchronous calls of a dead incarnation never complete, synchronous ones refuse. A panic in a task ends its incarnation.
//!
//! Not in here: how incarnations begin and end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use madsim::task::AbortHandle;

use super::{Cell, Exit, Life, Process, ProcessId};
use crate::{
    clock::Clock,
    disk::Disk,
    event::{Cause, Event, Fact},
    fabric::Net,
    panics,
    room::Core,
    seed::Stream,
};

/// What the code inside a process holds: all that it can do, and nothing of it once its incarnation has ended.
///
/// Asynchronous calls of a dead incarnation never complete, synchronous ones refuse.
#[derive(Clone)]
pub struct Handle {
    pub(super) core: Arc<Core>,
    pub(super) cell: Arc<Cell>,
    pub(super) life: Arc<Life>,
}

impl Handle {
    /// The process.
    pub fn id(&self) -> ProcessId {
        self.cell.id
    }

    /// The process's name.
    pub fn name(&self) -> &Arc<str> {
        &self.cell.name
    }

    /// Which incarnation this is, counting from 1.
    pub fn incarnation(&self) -> u32 {
        self.life.incarnation
    }

    /// Whether the incarnation still runs.
    pub fn is_alive(&self) -> bool {
        self.life.is_alive()
    }

    /// The process's clock.
    pub fn clock(&self) -> Clock {
        Clock { cell: self.cell.clock.clone(), life: self.life.clone() }
    }

    /// The process's disk.
    pub fn disk(&self) -> Disk {
        Disk { core: self.core.clone(), cell: self.cell.disk.clone(), life: self.life.clone() }
    }

    /// The network as seen from here.
    pub fn net(&self) -> Net {
        Net { core: self.core.clone(), life: self.life.clone() }
    }

    /// A stream of this incarnation's own draws. The same name gives the same stream again.
    pub fn stream(&self, name: &str) -> Stream {
        self.cell.seed.split(name).split(self.life.incarnation).stream()
    }

    /// Runs a task until it is done or the incarnation ends. A panic in it ends the incarnation. A dead one spawns nothing.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        self.spawn_boxed(Box::pin(task))
    }

    /// As [`spawn`](Handle::spawn), for a task that is boxed already.
    pub fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> Task {
        let process = Process { core: self.core.clone(), cell: self.cell.clone() };
        Task { abort: spawn_on(&process, &self.life, task) }
    }

    /// States a fact. False if the incarnation is dead: nothing is stated then.
    pub fn fact(&self, fact: Fact) -> bool {
        let alive = self.life.is_alive();
        if alive {
            self.core.step(self.life.process, self.life.incarnation, Event::Fact(fact));
        }
        alive
    }

    /// Whether the incarnation has been asked to stop.
    pub fn is_stop_requested(&self) -> bool {
        self.life.stop.lock().0
    }

    /// Completes when the incarnation is asked to stop.
    pub async fn stop_requested(&self) {
        std::future::poll_fn(|context| {
            let mut stop = self.life.stop.lock();
            if stop.0 {
                return Poll::Ready(());
            }
            if !stop.1.iter().any(|waker| waker.will_wake(context.waker())) {
                stop.1.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Ends the own incarnation at once with a stated cause. The calling task runs on to its next await, and no further.
    pub fn exit(&self, exit: Exit) {
        let cause = match exit {
            Exit::Done => Cause::Done,
            Exit::Failed(why) => Cause::Failed(why),
        };
        Process { core: self.core.clone(), cell: self.cell.clone() }.end(&self.life, cause);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} {:?}.{})", self.cell.id, self.cell.name, self.life.incarnation)
    }
}

/// A task that was spawned. Dropping this leaves it running.
#[derive(Debug)]
pub struct Task {
    abort: Option<AbortHandle>,
}

impl Task {
    /// Drops the task where it waits.
    pub fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.abort.as_ref().is_none_or(AbortHandle::is_finished)
    }
}

/// madsim keeps a weak reference per task that a node ever spawned; every so many spawns they are swept.
const SPAWNS_PER_SWEEP: u32 = 1024;

/// Runs a task in an incarnation, if it lives.
pub(super) fn spawn_on(
    process: &Process,
    life: &Arc<Life>,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> Option<AbortHandle> {
    if !life.is_alive() {
        panics::catch(move || drop(task)).ok();
        return None;
    }
    if life.spawned.fetch_add(1, Ordering::Relaxed) % SPAWNS_PER_SWEEP == SPAWNS_PER_SWEEP - 1 {
        let _swept = process.core.runtime.metrics().num_tasks();
    }
    let guarded = Guarded { process: process.clone(), life: life.clone(), task: Some(task) };
    Some(life.node.spawn(guarded).abort_handle())
}

/// A task whose panic ends its incarnation, also a panic of its destructors.
struct Guarded {
    process: Process,
    life: Arc<Life>,
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(task) = &mut this.task else { return Poll::Ready(()) };
        match panics::catch(|| task.as_mut().poll(context)) {
            Ok(polled) => polled,
            Err(panic) => {
                this.end_by(panic);
                Poll::Ready(())
            }
        }
    }
}

impl Guarded {
    fn end_by(&self, panic: panics::Panic) {
        self.process.end(&self.life, Cause::Panicked { message: panic.message, location: panic.location });
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let task = self.task.take();
        if let Err(panic) = panics::catch(move || drop(task)) {
            self.end_by(panic);
        }
    }
}
