//! The room's agenda: one heap ordered by (time, sequence number), and the one task that works it off.
//!
//! Frames in flight, disk latencies, clocks and restarts all wait here. madsim is only asked to wake the task when the first is due:
//! one timer for thousands of frames, nothing shorter than madsim's smallest sleep is lost, and a tie is broken by the order of
//! entering.
//!
//! Not in here: what is done when something is due; the [`Core`] does it.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use madsim::time::{Duration, Instant, Sleep, TimeHandle};
use parking_lot::Mutex;

use crate::{
    clock::ClockCell,
    fabric::{Arrival, Pipe, Transit},
    process::ProcessId,
    room::Core,
};

/// What falls due.
pub(crate) enum Due {
    /// A frame reaches the far end of its pipe.
    Frame(Arc<Pipe>, Transit),
    /// A connection request, its answer or a reset arrives.
    Arrival(Arrival),
    /// The earliest timer of a clock; stale if the clock has been rearranged since.
    Clock(Arc<ClockCell>, u64),
    /// Somebody waits for true time to pass.
    Wake(Arc<Nap>),
    /// The supervisor's back-off is over; stale if the process has been touched since.
    Restart(ProcessId, u64),
}

/// When, in which order of entering, and where in the list of what falls due.
type Entry = Reverse<(u64, u64, u32)>;

/// What waits. Entries of the heap are small, because they are moved about; what falls due lies still.
#[derive(Default)]
struct State {
    heap: BinaryHeap<Entry>,
    due: Vec<Option<Due>>,
    free: Vec<u32>,
    sequence: u64,
    driver: Option<Alarm>,
}

/// How the driver is woken.
struct Alarm {
    waker: Waker,
    sleep: Sleep,
    origin: Instant,
    /// Deadlines that madsim will wake the driver at: it keeps a timer per poll of a sleep, and forgets none.
    armed: BTreeSet<u64>,
    /// The driver sleeps until then; zero while it is awake.
    until_ns: u64,
}

impl Alarm {
    /// Has madsim wake the driver at a time that has not come yet.
    fn arm(&mut self, at_ns: u64) {
        self.until_ns = at_ns;
        if at_ns == u64::MAX || !self.armed.insert(at_ns) {
            return;
        }
        // `reset` is how a deadline nearer than a millisecond is had from madsim.
        Pin::new(&mut self.sleep).reset(self.origin + Duration::from_nanos(at_ns));
        if Pin::new(&mut self.sleep).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.waker.wake_by_ref();
        }
    }
}

impl State {
    fn push(&mut self, at_ns: u64, due: Due) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.due.push(None);
            u32::try_from(self.due.len() - 1).expect("far fewer than 2^32 things wait at once")
        });
        self.due[place as usize] = Some(due);
        self.heap.push(Reverse((at_ns, self.sequence, place)));
        self.sequence += 1;
    }

    fn pop(&mut self) -> Option<Due> {
        let Reverse((_, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.due[place as usize].take()
    }

    /// When the next one is due.
    fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ns, _, _))| *at_ns)
    }
}

/// The heap.
pub(crate) struct Agenda {
    state: Mutex<State>,
    time: TimeHandle,
}

impl Agenda {
    pub(crate) fn new(time: TimeHandle) -> Self {
        Agenda { state: Mutex::default(), time }
    }

    /// True nanoseconds since the world began.
    pub(crate) fn now_ns(&self) -> u64 {
        let elapsed = self.time.elapsed();
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// Enters something that falls due at `at_ns`, or at once if that has passed.
    pub(crate) fn enter(&self, at_ns: u64, due: Due) {
        let mut state = self.state.lock();
        state.push(at_ns, due);
        if let Some(alarm) = &mut state.driver
            && at_ns < alarm.until_ns
        {
            alarm.arm(at_ns);
        }
    }

    /// Waits until true time has passed by `ns`; zero does not wait at all.
    pub(crate) fn nap(self: &Arc<Self>, ns: u64) -> Napping {
        let nap = (ns > 0).then(|| {
            let nap = Arc::new(Nap::default());
            self.enter(self.now_ns() + ns, Due::Wake(nap.clone()));
            nap
        });
        Napping { nap }
    }

    fn pop_due(&self, now_ns: u64) -> Option<Due> {
        let mut state = self.state.lock();
        if state.next_ns().is_some_and(|at_ns| at_ns <= now_ns) { state.pop() } else { None }
    }

    /// The driver works: what is entered now needs no alarm.
    fn awake(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let alarm = state.driver.get_or_insert_with(|| Alarm {
            waker: waker.clone(),
            sleep: self.time.sleep(Duration::ZERO),
            origin: self.time.now_instant() - self.time.elapsed(),
            armed: BTreeSet::new(),
            until_ns: 0,
        });
        alarm.until_ns = 0;
        alarm.waker.clone_from(waker);
    }

    /// The driver sleeps until the next is due, unless that is now.
    fn asleep(&self, now_ns: u64) -> bool {
        let mut state = self.state.lock();
        let next_ns = state.next_ns().unwrap_or(u64::MAX);
        if next_ns <= now_ns {
            return false;
        }
        let alarm = state.driver.as_mut().expect("the driver is awake");
        while alarm.armed.first().is_some_and(|&at_ns| at_ns <= now_ns) {
            alarm.armed.pop_first();
        }
        alarm.arm(next_ns);
        true
    }

    /// Forgets everything, at the end of the world.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let State { heap, due, free, driver, .. } = &mut *state;
        heap.clear();
        free.clear();
        let gone = (std::mem::take(due), driver.take());
        drop(state);
        drop(gone);
    }
}

/// One wait of true time.
#[derive(Default)]
pub(crate) struct Nap {
    state: Mutex<(bool, Option<Waker>)>,
}

impl Nap {
    pub(crate) fn over(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The future of [`Agenda::nap`].
pub(crate) struct Napping {
    nap: Option<Arc<Nap>>,
}

impl Future for Napping {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(nap) = &self.nap else { return Poll::Ready(()) };
        let mut state = nap.state.lock();
        if state.0 {
            return Poll::Ready(());
        }
        match &mut state.1 {
            Some(waker) if waker.will_wake(context.waker()) => {}
            slot => *slot = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// The task that works the agenda off, until its node is killed.
pub(crate) struct Driver {
    core: Arc<Core>,
}

impl Driver {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Driver { core }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let agenda = &self.core.agenda;
        agenda.awake(context.waker());
        // True time stands still while a task has its turn.
        let now_ns = agenda.now_ns();
        loop {
            while let Some(due) = agenda.pop_due(now_ns) {
                self.core.fall_due(due);
            }
            if agenda.asleep(now_ns) {
                return Poll::Pending;
            }
        }
    }
}
