//! One process's clock.
//!
//! Monotonic time drifts by parts per million and never steps. Wall time drifts likewise, has an offset, and steps both ways. A sleeping
//! process sleeps by its own monotonic time, so a change of drift moves its timers. All of it is exact integer arithmetic on a
//! [`ClockMap`], which checks can hold and ask too.
//!
//! Both run on while the process is paused, as they do for one that was stopped by a signal: whoever was paused sees at once how late
//! it is. Timers that fall due meanwhile fire when it goes on, each once. A missed tick of an [`Interval`] is skipped, never made up for
//! in a burst.
//!
//! Not modelled: leap seconds, time zones, a coarse resolution.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    agenda::{Agenda, Due},
    event::{ClockChange, ClockEvent, Event},
    process::{Life, ProcessId},
    room::Core,
};

/// What every wall clock shows when the world begins, before its offset: 2023-11-14T22:13:20Z, in nanoseconds since 1970.
pub const WALL_ORIGIN_NS: i64 = 1_700_000_000_000_000_000;

const MILLION: i128 = 1_000_000;

/// A stretch of true time over which a clock keeps its rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// True nanoseconds at its beginning.
    pub true_ns: u64,
    /// Monotonic nanoseconds at its beginning.
    pub mono_ns: u64,
    /// Wall nanoseconds since 1970 at its beginning.
    pub wall_ns: i64,
    /// How much faster than true time, in parts per million.
    pub drift_ppm: i32,
}

impl Segment {
    fn elapsed_ns(&self, true_ns: u64) -> u64 {
        let elapsed = true_ns.saturating_sub(self.true_ns);
        // Few clocks drift, and the division of wide numbers is slow.
        if self.drift_ppm == 0 {
            return elapsed;
        }
        (i128::from(elapsed) * (MILLION + i128::from(self.drift_ppm)) / MILLION) as u64
    }

    /// Monotonic time at a true time not before the segment.
    pub fn mono_ns_at(&self, true_ns: u64) -> u64 {
        self.mono_ns + self.elapsed_ns(true_ns)
    }

    /// Wall time at a true time not before the segment.
    pub fn wall_ns_at(&self, true_ns: u64) -> i64 {
        self.wall_ns + self.elapsed_ns(true_ns) as i64
    }

    /// The first true time at which monotonic time has reached `mono_ns`, were the segment to last forever; none beyond the end of
    /// what can be counted.
    pub fn true_ns_at(&self, mono_ns: u64) -> Option<u64> {
        let Some(ahead) = mono_ns.checked_sub(self.mono_ns).filter(|&ahead| ahead > 0) else {
            return Some(self.true_ns);
        };
        if self.drift_ppm == 0 {
            return self.true_ns.checked_add(ahead);
        }
        let rate = MILLION + i128::from(self.drift_ppm);
        let true_ahead = (i128::from(ahead) * MILLION + rate - 1) / rate;
        u64::try_from(i128::from(self.true_ns) + true_ahead).ok()
    }
}

/// How a clock has mapped true time, from the beginning of the world on. Its segments are ordered and leave no gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClockMap {
    segments: Vec<Segment>,
}

impl ClockMap {
    /// A clock of one segment.
    pub fn new(first: Segment) -> Self {
        ClockMap { segments: vec![first] }
    }

    /// Adds a segment, as a [`ClockEvent`] tells it: so a check can keep its own map.
    pub fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Monotonic nanoseconds at a true time.
    pub fn mono_ns_at(&self, true_ns: u64) -> u64 {
        self.segment_at(true_ns).mono_ns_at(true_ns)
    }

    /// Wall nanoseconds since 1970 at a true time.
    pub fn wall_ns_at(&self, true_ns: u64) -> i64 {
        self.segment_at(true_ns).wall_ns_at(true_ns)
    }

    /// The first true time at which monotonic time reaches `mono_ns`; none beyond the end of what can be counted.
    pub fn true_ns_at(&self, mono_ns: u64) -> Option<u64> {
        let after = self.segments.partition_point(|segment| segment.mono_ns < mono_ns);
        self.segments[after.saturating_sub(1)].true_ns_at(mono_ns)
    }

    fn segment_at(&self, true_ns: u64) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.true_ns <= true_ns);
        &self.segments[after.saturating_sub(1)]
    }

    fn current(&self) -> &Segment {
        self.segments.last().expect("a clock map begins with one segment and only grows")
    }
}

struct Timer {
    waker: Waker,
    life: Arc<Life>,
}

struct State {
    map: ClockMap,
    /// By deadline in monotonic time, then in order of setting.
    timers: BTreeMap<(u64, u64), Timer>,
    sequence: u64,
    /// What the agenda holds for this clock: true deadline, and the generation that tells it from stale entries.
    entered: Option<(u64, u64)>,
    generation: u64,
    /// The process is paused: timers wait for it.
    held: bool,
}

/// A process's clock, which outlives its incarnations.
pub(crate) struct ClockCell {
    process: ProcessId,
    agenda: Arc<Agenda>,
    state: Mutex<State>,
}

impl ClockCell {
    pub(crate) fn new(process: ProcessId, agenda: Arc<Agenda>, first: Segment) -> Arc<Self> {
        let state = State {
            map: ClockMap::new(first),
            timers: BTreeMap::new(),
            sequence: 0,
            entered: None,
            generation: 0,
            held: false,
        };
        Arc::new(ClockCell { process, agenda, state: Mutex::new(state) })
    }

    pub(crate) fn map(&self) -> ClockMap {
        self.state.lock().map.clone()
    }

    fn mono_ns(&self) -> u64 {
        let state = self.state.lock();
        state.map.current().mono_ns_at(self.agenda.now_ns())
    }

    fn wall_ns(&self) -> i64 {
        let state = self.state.lock();
        state.map.current().wall_ns_at(self.agenda.now_ns())
    }

    /// Begins a new segment, changed by `edit`, and moves the timers accordingly.
    pub(crate) fn change(self: &Arc<Self>, core: &Core, change: ClockChange, edit: impl FnOnce(&mut Segment)) {
        let segment = {
            let mut state = self.state.lock();
            let true_ns = self.agenda.now_ns();
            let current = *state.map.current();
            let mut segment = Segment {
                true_ns,
                mono_ns: current.mono_ns_at(true_ns),
                wall_ns: current.wall_ns_at(true_ns),
                ..current
            };
            edit(&mut segment);
            state.map.push(segment);
            state.entered = None;
            self.enter_first(&mut state);
            segment
        };
        core.step(self.process, core.incarnation_of(self.process), Event::Clock(ClockEvent { change, segment }));
    }

    /// Called by the agenda: fires what is due and enters what is next.
    pub(crate) fn fall_due(self: &Arc<Self>, core: &Core, generation: u64) {
        loop {
            let ((deadline_ns, _), timer) = {
                let mut state = self.state.lock();
                if state.entered.is_none_or(|(_, entered)| entered != generation) {
                    return;
                }
                let mono_ns = state.map.current().mono_ns_at(self.agenda.now_ns());
                match state.timers.first_entry() {
                    Some(first) if first.key().0 <= mono_ns => first.remove_entry(),
                    _ => {
                        state.entered = None;
                        self.enter_first(&mut state);
                        return;
                    }
                }
            };
            core.step(self.process, timer.life.incarnation, Event::Timer { deadline_ns });
            timer.waker.wake();
        }
    }

    /// Lets no timer fire until [`release`](ClockCell::release): the process is paused. The clock itself runs on.
    pub(crate) fn hold(&self) {
        let mut state = self.state.lock();
        state.held = true;
        state.entered = None;
    }

    /// The process goes on: what fell due meanwhile is due now, in the order of deadlines.
    pub(crate) fn release(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.held = false;
        self.enter_first(&mut state);
    }

    /// Forgets all timers: their incarnation is dead.
    pub(crate) fn clear(&self) {
        let timers = std::mem::take(&mut self.state.lock().timers);
        drop(timers);
    }

    fn enter_first(self: &Arc<Self>, state: &mut State) {
        if state.held {
            return;
        }
        let Some((&(deadline_ns, _), _)) = state.timers.first_key_value() else { return };
        let Some(true_ns) = state.map.current().true_ns_at(deadline_ns) else { return };
        if state.entered.is_some_and(|(entered_ns, _)| entered_ns <= true_ns) {
            return;
        }
        state.generation += 1;
        state.entered = Some((true_ns, state.generation));
        self.agenda.enter(true_ns, Due::Clock(self.clone(), state.generation));
    }
}

/// The clock as its process sees it.
#[derive(Clone)]
pub struct Clock {
    pub(crate) cell: Arc<ClockCell>,
    pub(crate) life: Arc<Life>,
}

impl Clock {
    /// Monotonic nanoseconds. The origin is arbitrary and differs between processes; incarnations share it.
    pub fn now_ns(&self) -> u64 {
        self.cell.mono_ns()
    }

    /// Monotonic time since the arbitrary origin.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }

    /// Wall time in nanoseconds since 1970; it steps, also backwards.
    pub fn wall_ns(&self) -> i64 {
        self.cell.wall_ns()
    }

    /// Completes when monotonic time has passed by `duration`.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sleep_until_ns(self.now_ns().saturating_add(ns))
    }

    /// Completes when monotonic time has reached `deadline_ns`.
    pub fn sleep_until_ns(&self, deadline_ns: u64) -> Sleep {
        Sleep { clock: self.clone(), deadline_ns, key: None }
    }

    /// The future's result, or none if it takes longer than `limit`. The future is asked first.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(limit));
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Ticks every `period`, first after one period.
    ///
    /// # Panics
    /// If the period is zero.
    pub fn interval(&self, period: Duration) -> Interval {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        assert!(period_ns > 0, "an interval of zero ticks always");
        Interval { clock: self.clone(), period_ns, next_ns: self.now_ns().saturating_add(period_ns) }
    }
}

/// A wait by one process's clock. Of a dead incarnation it never ends.
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    clock: Clock,
    deadline_ns: u64,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.clock.life.is_alive() {
            return Poll::Pending;
        }
        let cell = &this.clock.cell;
        let mut state = cell.state.lock();
        match this.key {
            None => {
                // Also a deadline that has passed goes over the agenda: a loop of empty sleeps lets time pass.
                let key = (this.deadline_ns, state.sequence);
                state.sequence += 1;
                state.timers.insert(key, Timer { waker: context.waker().clone(), life: this.clock.life.clone() });
                this.key = Some(key);
                cell.enter_first(&mut state);
                Poll::Pending
            }
            Some(key) => match state.timers.get_mut(&key) {
                Some(timer) => {
                    if !timer.waker.will_wake(context.waker()) {
                        timer.waker = context.waker().clone();
                    }
                    Poll::Pending
                }
                None => Poll::Ready(()),
            },
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let timer = self.clock.cell.state.lock().timers.remove(&key);
            drop(timer);
        }
    }
}

/// A regular tick that skips what it missed.
pub struct Interval {
    clock: Clock,
    period_ns: u64,
    next_ns: u64,
}

impl Interval {
    /// Completes at the next tick.
    pub async fn tick(&mut self) {
        self.clock.sleep_until_ns(self.next_ns).await;
        let late_ns = self.clock.now_ns().saturating_sub(self.next_ns);
        self.next_ns += (late_ns / self.period_ns + 1) * self.period_ns;
    }
}

/// A process's clock as the owner of the room sees it.
#[derive(Clone)]
pub struct ClockControl {
    pub(crate) core: Arc<Core>,
    pub(crate) cell: Arc<ClockCell>,
}

impl ClockControl {
    /// From now on the clock is this much faster than true time, in parts per million.
    ///
    /// # Panics
    /// If it would run backwards: drift has to be above −1,000,000.
    pub fn set_drift_ppm(&self, ppm: i32) {
        assert!(ppm > -1_000_000, "a drift of {ppm} ppm stops or reverses the clock");
        self.cell.change(&self.core, ClockChange::Drift, |segment| segment.drift_ppm = ppm);
    }

    /// Steps wall time, both ways; monotonic time is not touched.
    pub fn step_wall_ns(&self, by_ns: i64) {
        self.cell.change(&self.core, ClockChange::WallStep, |segment| segment.wall_ns += by_ns);
    }

    /// How the clock has mapped true time so far.
    pub fn map(&self) -> ClockMap {
        self.cell.map()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_exact_and_inverts() {
        let first = Segment { true_ns: 0, mono_ns: 5, wall_ns: 100, drift_ppm: 0 };
        let mut map = ClockMap::new(first);
        map.push(Segment { true_ns: 1_000, mono_ns: 1_005, wall_ns: 1_100, drift_ppm: 500_000 });
        map.push(Segment { true_ns: 2_000, mono_ns: 2_505, wall_ns: 0, drift_ppm: -500_000 });
        assert_eq!(map.mono_ns_at(1_500), 1_755);
        assert_eq!(map.mono_ns_at(2_100), 2_555);
        assert_eq!(map.wall_ns_at(1_700), 2_150);
        assert_eq!(map.wall_ns_at(2_700), 350);
        for mono_ns in 5..2_600 {
            let true_ns = map.true_ns_at(mono_ns).expect("it is reached soon");
            assert!(map.mono_ns_at(true_ns) >= mono_ns, "{mono_ns}");
            assert!(true_ns == 0 || map.mono_ns_at(true_ns - 1) < mono_ns, "{mono_ns} is reached before {true_ns}");
        }
    }
}
