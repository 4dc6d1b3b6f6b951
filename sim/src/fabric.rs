//! The network: connections over directed links, and a chain of rules over them.
//!
//! Frames wait in the room's one agenda, ordered by (time, order of sending). A frame's fate is decided when it is sent, by the chain
//! and the link; only a cut also meets frames under way. Connecting takes a round trip: it is refused when nobody listens, and waits
//! while there is no way.
//!
//! Not modelled: packets, names other than addresses, a connection's slow start.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    agenda::Due,
    event::{ConnectionChange, ConnectionEvent, Event, Fate, FrameEvent},
    latency::Latency,
    process::{Life, ProcessId},
    room::Core,
    seed::{Seed, Stream},
};

mod channel;
mod link;
mod net;
mod rule;

use link::LinkCell;
use rule::Chain;

pub use channel::{Broken, Connection, Receiver, Sender, WINDOW_BYTES};
pub(crate) use channel::{Pipe, Transit};
pub use link::Link;
pub use net::{Listener, Net};
pub use rule::{Frame, Rule, RuleGuard, Verdict, Who};

/// What a connection promises for its frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Delivery {
    /// In order and once, until the connection breaks.
    Ordered,
    /// Each frame may be lost, doubled, delayed or overtaken.
    Lossy,
}

/// What arrives besides frames.
pub(crate) enum Arrival {
    Request(Arc<Attempt>),
    Answer(Arc<Attempt>, Option<(Arc<Pipe>, Arc<Pipe>)>),
    /// For the side that sends by the first pipe and receives by the second: the connection is broken.
    Reset(Arc<Pipe>, Arc<Pipe>),
    /// For the side that sends by the first pipe: nobody receives there any more.
    HangUp(Arc<Pipe>),
}

/// A connection being asked for.
pub(crate) struct Attempt {
    connection: u64,
    from: Arc<Life>,
    to: Option<ProcessId>,
    address: Arc<str>,
    delivery: Delivery,
    answer: Mutex<Answer>,
}

/// The answer once it has come, and who waits for it.
type Answer = (Option<Result<Connection, Broken>>, Option<Waker>);

struct Listening {
    life: Arc<Life>,
    backlog: Arc<Mutex<Backlog>>,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<Connection>,
    acceptor: Option<Waker>,
}

/// The state of the network.
pub(crate) struct FabricCell {
    seed: Seed,
    state: Mutex<State>,
    chain: Mutex<(Chain, Stream)>,
    /// While 0, no frame asks the chain.
    rules: AtomicUsize,
}

struct State {
    links: BTreeMap<(ProcessId, ProcessId), (Arc<LinkCell>, bool)>,
    default_link: Link,
    listening: BTreeMap<Arc<str>, Listening>,
    /// Who listened at an address last: the link that a request travels while nobody does.
    homes: BTreeMap<Arc<str>, ProcessId>,
    connections: BTreeMap<u64, (Weak<Pipe>, Weak<Pipe>)>,
    next_connection: u64,
    /// What waits for a way.
    parked: Vec<Arrival>,
}

/// Every so many connections, those that are gone are forgotten.
const CONNECTIONS_PER_SWEEP: u64 = 256;
/// How long a request to an address that nobody ever had takes in each direction.
const NOWHERE: Latency = Latency::between(200_000, 1_000_000);

impl FabricCell {
    pub(crate) fn new(seed: Seed) -> Self {
        let state = State {
            links: BTreeMap::new(),
            default_link: Link::default(),
            listening: BTreeMap::new(),
            homes: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 1,
            parked: Vec::new(),
        };
        let chain = Mutex::new((Chain::default(), seed.split("rules").stream()));
        FabricCell { seed, state: Mutex::new(state), chain, rules: AtomicUsize::new(0) }
    }

    fn link(&self, from: ProcessId, to: ProcessId) -> Arc<LinkCell> {
        let mut state = self.state.lock();
        let default_link = state.default_link;
        let seed = self.seed.split("link").split(from.number()).split(to.number());
        state.links.entry((from, to)).or_insert_with(|| (LinkCell::new(seed, default_link), false)).0.clone()
    }

    fn is_blocked(&self, from: ProcessId, to: ProcessId, link: &LinkCell) -> bool {
        (self.rules.load(Ordering::Relaxed) > 0 && self.chain.lock().0.is_cut(from, to)) || link.is_clogged()
    }

    fn judge(&self, pipe: &Pipe, bytes: &Bytes) -> Verdict {
        if self.rules.load(Ordering::Relaxed) == 0 {
            return Verdict::Pass;
        }
        let frame = Frame { from: pipe.from.process, to: pipe.to.process, delivery: pipe.delivery, bytes };
        let (chain, stream) = &mut *self.chain.lock();
        chain.judge(&frame, stream)
    }

    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let gone = (
            std::mem::take(&mut state.listening),
            std::mem::take(&mut state.parked),
            std::mem::take(&mut state.connections),
        );
        drop(state);
        drop(gone);
    }
}

impl Core {
    /// Sends something off: the chain and the link decide when it arrives, and whether.
    pub(crate) fn route(self: &Arc<Self>, pipe: &Arc<Pipe>, back: &Arc<Pipe>, transit: Transit) {
        let ordered = pipe.delivery == Delivery::Ordered;
        // What stands in line stays in line.
        if ordered && !pipe.state.lock().stalled.is_empty() {
            return pipe.state.lock().stalled.push_back(transit);
        }
        let verdict = match &transit {
            Transit::Frame(bytes) => self.fabric.judge(pipe, bytes),
            Transit::End => match self.fabric.is_blocked(pipe.from.process, pipe.to.process, &pipe.link) {
                true => Verdict::Stall,
                false => Verdict::Pass,
            },
        };
        let mut extra_ns = 0;
        let mut twice = false;
        match verdict {
            Verdict::Pass if pipe.link.is_clogged() => return self.stall(pipe, transit),
            Verdict::Pass => {}
            Verdict::Delay(delay) => {
                extra_ns = delay.as_nanos() as u64;
                self.witness(pipe, &transit, Fate::Delayed);
            }
            Verdict::Duplicate => twice = !ordered,
            Verdict::Stall => return self.stall(pipe, transit),
            Verdict::Cut if ordered => return self.stall(pipe, transit),
            Verdict::Cut => return self.lose(pipe, &transit),
            Verdict::Drop if !ordered => return self.lose(pipe, &transit),
            Verdict::Drop | Verdict::Reset => {
                self.witness(pipe, &transit, Fate::Reset);
                return self.break_both(pipe, back);
            }
        }
        let now_ns = self.agenda.now_ns();
        let len = if let Transit::Frame(bytes) = &transit { bytes.len() } else { 0 };
        let lossy = !ordered && matches!(transit, Transit::Frame(_));
        let passage = pipe.link.pass(now_ns, len, lossy);
        if passage.dropped {
            return self.lose(pipe, &transit);
        }
        if let Transit::Frame(bytes) = &transit
            && let Some(due_ns) = passage.duplicate_ns.or(twice.then_some(passage.due_ns))
        {
            pipe.state.lock().queued_bytes += bytes.len();
            self.witness(pipe, &transit, Fate::Duplicated);
            self.agenda.enter(due_ns, Due::Frame(pipe.clone(), Transit::Frame(bytes.clone())));
        }
        let mut due_ns = passage.due_ns + extra_ns;
        if !(lossy && (passage.reordered || extra_ns > 0)) {
            let mut state = pipe.state.lock();
            due_ns = due_ns.max(state.last_due_ns);
            state.last_due_ns = due_ns;
        }
        self.agenda.enter(due_ns, Due::Frame(pipe.clone(), transit));
    }

    fn witness(&self, pipe: &Pipe, transit: &Transit, fate: Fate) {
        let Transit::Frame(bytes) = transit else { return };
        let (from, to) = (pipe.from.process, pipe.to.process);
        let frame = FrameEvent { fate, from, to, connection: pipe.connection, bytes: bytes.clone() };
        self.step(to, pipe.to.incarnation, Event::Frame(frame));
    }

    fn stall(&self, pipe: &Pipe, transit: Transit) {
        self.witness(pipe, &transit, Fate::Stalled);
        pipe.state.lock().stalled.push_back(transit);
    }

    fn lose(&self, pipe: &Pipe, transit: &Transit) {
        self.witness(pipe, transit, Fate::Dropped);
        if let Transit::Frame(bytes) = transit {
            let writers = {
                let mut state = pipe.state.lock();
                state.queued_bytes -= bytes.len();
                if state.queued_bytes < WINDOW_BYTES { std::mem::take(&mut state.writers) } else { Vec::new() }
            };
            writers.into_iter().for_each(Waker::wake);
        }
    }

    /// A frame is due at the far end.
    pub(crate) fn deliver(self: &Arc<Self>, pipe: &Arc<Pipe>, transit: Transit) {
        if !pipe.to.is_alive() {
            return self.lose(pipe, &transit);
        }
        let ordered = pipe.delivery == Delivery::Ordered;
        let (from, to) = (pipe.from.process, pipe.to.process);
        let behind = ordered && !pipe.state.lock().stalled.is_empty();
        if behind || self.fabric.is_blocked(from, to, &pipe.link) {
            let lost = !ordered && matches!(transit, Transit::Frame(_)) && !pipe.link.is_clogged();
            return if lost { self.lose(pipe, &transit) } else { self.stall(pipe, transit) };
        }
        self.witness(pipe, &transit, Fate::Delivered);
        match transit {
            Transit::End => pipe.end_receiving(Broken::Closed),
            Transit::Frame(bytes) => {
                let reader = {
                    let mut state = pipe.state.lock();
                    if state.recv_end.is_some() {
                        state.queued_bytes -= bytes.len();
                        return;
                    }
                    state.inbox.push_back(bytes);
                    state.reader.take()
                };
                if let Some(reader) = reader {
                    reader.wake();
                }
            }
        }
    }

    /// Something other than a frame is due.
    pub(crate) fn arrive(self: &Arc<Self>, arrival: Arrival) {
        let (from, to) = match &arrival {
            Arrival::Request(attempt) => (attempt.from.process, attempt.to),
            Arrival::Answer(attempt, _) => (attempt.to.unwrap_or(ProcessId::ROOM), Some(attempt.from.process)),
            Arrival::Reset(out, _) | Arrival::HangUp(out) => (out.to.process, Some(out.from.process)),
        };
        if let Some(to) = to
            && self.fabric.is_blocked(from, to, &self.fabric.link(from, to))
        {
            return self.fabric.state.lock().parked.push(arrival);
        }
        match arrival {
            Arrival::Request(attempt) => self.answer(attempt),
            Arrival::Answer(attempt, pipes) => self.take_answer(&attempt, pipes),
            Arrival::Reset(out, input) => {
                out.end_sending(Broken::Reset);
                input.end_receiving(Broken::Reset);
                self.connection_step(&out, ConnectionChange::Reset);
            }
            Arrival::HangUp(out) => {
                out.end_sending(Broken::Closed);
                self.connection_step(&out, ConnectionChange::Closed);
            }
        }
    }

    fn connection_step(&self, out: &Pipe, change: ConnectionChange) {
        let (from, to) = (out.from.process, Some(out.to.process));
        let event = ConnectionEvent { change, from, to, address: Arc::from(""), connection: out.connection };
        self.step(from, out.from.incarnation, Event::Connection(event));
    }

    /// A request has reached the process that listens, if one does.
    fn answer(self: &Arc<Self>, attempt: Arc<Attempt>) {
        if !attempt.from.is_alive() {
            return;
        }
        let listening = {
            let state = self.fabric.state.lock();
            state
                .listening
                .get(&attempt.address)
                .filter(|listening| listening.life.is_alive())
                .map(|listening| (listening.life.clone(), listening.backlog.clone()))
        };
        let pipes = listening.map(|(life, backlog)| {
            let pipe = |from: &Arc<Life>, to: &Arc<Life>| {
                Arc::new(Pipe {
                    connection: attempt.connection,
                    from: from.clone(),
                    to: to.clone(),
                    delivery: attempt.delivery,
                    link: self.fabric.link(from.process, to.process),
                    state: Mutex::default(),
                })
            };
            let (there, here) = (pipe(&attempt.from, &life), pipe(&life, &attempt.from));
            let mut state = self.fabric.state.lock();
            state.connections.insert(attempt.connection, (Arc::downgrade(&there), Arc::downgrade(&here)));
            if attempt.connection.is_multiple_of(CONNECTIONS_PER_SWEEP) {
                state.connections.retain(|_, (there, here)| there.strong_count() + here.strong_count() > 0);
            }
            drop(state);
            let acceptor = {
                let mut backlog = backlog.lock();
                backlog.waiting.push_back(Connection::new(self, &here, &there));
                backlog.acceptor.take()
            };
            if let Some(acceptor) = acceptor {
                acceptor.wake();
            }
            (there, here)
        });
        let delay_ns = self.delay_ns(attempt.to, Some(attempt.from.process));
        self.agenda.enter(self.agenda.now_ns() + delay_ns, Due::Arrival(Arrival::Answer(attempt, pipes)));
    }

    fn take_answer(self: &Arc<Self>, attempt: &Arc<Attempt>, pipes: Option<(Arc<Pipe>, Arc<Pipe>)>) {
        if !attempt.from.is_alive() {
            return;
        }
        let change = if pipes.is_some() { ConnectionChange::Opened } else { ConnectionChange::Refused };
        let (from, to, address) = (attempt.from.process, attempt.to, attempt.address.clone());
        let event = ConnectionEvent { change, from, to, address, connection: attempt.connection };
        self.step(from, attempt.from.incarnation, Event::Connection(event));
        let answer = pipes.map(|(out, input)| Connection::new(self, &out, &input)).ok_or(Broken::Refused);
        // Nobody waits any more: the connection is dropped, and the other side told.
        if Arc::strong_count(attempt) == 1 {
            return drop(answer);
        }
        let waker = {
            let mut slot = attempt.answer.lock();
            slot.0 = Some(answer);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn delay_ns(&self, from: Option<ProcessId>, to: Option<ProcessId>) -> u64 {
        match (from, to) {
            (Some(from), Some(to)) => {
                let now_ns = self.agenda.now_ns();
                self.fabric.link(from, to).pass(now_ns, 0, false).due_ns - now_ns
            }
            _ => NOWHERE.draw(&mut self.fabric.chain.lock().1),
        }
    }

    /// This side receives no more: the other side is to know.
    pub(crate) fn hang_up(&self, input: &Arc<Pipe>) {
        input.state.lock().recv_end = Some(Broken::Closed);
        let delay_ns = self.delay_ns(Some(input.to.process), Some(input.from.process));
        self.agenda.enter(self.agenda.now_ns() + delay_ns, Due::Arrival(Arrival::HangUp(input.clone())));
    }

    /// A connection is broken under way: both sides learn of it, this one at once.
    fn break_both(&self, out: &Arc<Pipe>, input: &Arc<Pipe>) {
        out.end_sending(Broken::Reset);
        input.end_receiving(Broken::Reset);
        self.send_reset(input, out);
    }

    /// Tells the side that sends by `out`, after what is under way to it.
    fn send_reset(&self, out: &Arc<Pipe>, input: &Arc<Pipe>) {
        let delay_ns = self.delay_ns(Some(out.to.process), Some(out.from.process));
        let due_ns = (self.agenda.now_ns() + delay_ns).max(input.state.lock().last_due_ns);
        self.agenda.enter(due_ns, Due::Arrival(Arrival::Reset(out.clone(), input.clone())));
    }

    /// An incarnation ended: its listeners are gone, and its peers get resets.
    pub(crate) fn reset_all_of(&self, process: ProcessId, incarnation: u32) {
        let (connections, gone) = {
            let mut state = self.fabric.state.lock();
            let mut gone = Vec::new();
            state.listening.retain(|_, listening| {
                let stays = listening.life.process != process || listening.life.incarnation != incarnation;
                if !stays {
                    gone.push(listening.backlog.clone());
                }
                stays
            });
            let connections: Vec<_> =
                state.connections.values().filter_map(|(a, b)| Some((a.upgrade()?, b.upgrade()?))).collect();
            (connections, gone)
        };
        drop(gone);
        let is_ours = |life: &Life| life.process == process && life.incarnation == incarnation;
        for (there, here) in connections {
            let (ours, theirs) = if is_ours(&there.from) { (there, here) } else { (here, there) };
            if !is_ours(&ours.from) {
                continue;
            }
            // `theirs` is what the peer sends by. What we had stalled dies with us.
            ours.state.lock().stalled.clear();
            if theirs.from.is_alive()
                && !(theirs.state.lock().send_end.is_some() && ours.state.lock().recv_end.is_some())
            {
                self.send_reset(&theirs, &ours);
            }
        }
    }

    /// Breaks the connections between a process and these under way: both sides get a reset. Returns how many.
    fn reset_between(&self, process: ProcessId, others: &Who) -> usize {
        let connections: Vec<_> = {
            let state = self.fabric.state.lock();
            state.connections.values().filter_map(|(a, b)| Some((a.upgrade()?, b.upgrade()?))).collect()
        };
        let mut count = 0;
        for (there, here) in connections {
            let (one, other) = (there.from.process, there.to.process);
            if !(one == process && others.is(other) || other == process && others.is(one)) {
                continue;
            }
            // A side that is dead, or has heard of an end in both directions, has nothing to learn.
            let is_open = |out: &Pipe, input: &Pipe| {
                out.from.is_alive() && !(out.state.lock().send_end.is_some() && input.state.lock().recv_end.is_some())
            };
            let (tells_one, tells_other) = (is_open(&there, &here), is_open(&here, &there));
            if tells_one {
                self.send_reset(&there, &here);
            }
            if tells_other {
                self.send_reset(&here, &there);
            }
            count += usize::from(tells_one || tells_other);
        }
        count
    }

    pub(crate) fn lift_rules(self: &Arc<Self>, ids: &[u64]) {
        {
            let mut chain = self.fabric.chain.lock();
            chain.0.lift(ids);
            self.fabric.rules.store(chain.0.len(), Ordering::Relaxed);
        }
        self.release();
    }

    /// The rules or links have changed: whatever waits tries again.
    fn release(self: &Arc<Self>) {
        let (parked, connections) = {
            let mut state = self.fabric.state.lock();
            let connections: Vec<_> =
                state.connections.values().filter_map(|(a, b)| Some((a.upgrade()?, b.upgrade()?))).collect();
            (std::mem::take(&mut state.parked), connections)
        };
        for arrival in parked {
            self.arrive(arrival);
        }
        for (there, here) in connections {
            for (pipe, back) in [(&there, &here), (&here, &there)] {
                if !pipe.from.is_alive() {
                    continue;
                }
                let stalled = std::mem::take(&mut pipe.state.lock().stalled);
                for transit in stalled {
                    self.route(pipe, back, transit);
                }
            }
        }
    }
}

/// The network as its owner sees it.
#[derive(Clone)]
pub struct Fabric {
    pub(crate) core: Arc<Core>,
}

impl Fabric {
    /// How all links are that were not set one by one.
    pub fn set_default_link(&self, link: Link) {
        {
            let mut state = self.core.fabric.state.lock();
            state.default_link = link;
            state.links.values().filter(|(_, set)| !set).for_each(|(cell, _)| cell.set(link));
        }
        self.core.release();
    }

    /// How one directed link is.
    pub fn set_link(&self, from: ProcessId, to: ProcessId, link: Link) {
        self.core.fabric.link(from, to).set(link);
        if let Some((_, set)) = self.core.fabric.state.lock().links.get_mut(&(from, to)) {
            *set = true;
        }
        self.core.release();
    }

    /// How a directed link is now.
    pub fn link(&self, from: ProcessId, to: ProcessId) -> Link {
        self.core.fabric.link(from, to).get()
    }

    /// Adds a rule to the end of the chain.
    pub fn add(&self, rule: Rule) -> RuleGuard {
        self.add_all([rule])
    }

    fn add_all(&self, rules: impl IntoIterator<Item = Rule>) -> RuleGuard {
        let mut chain = self.core.fabric.chain.lock();
        let ids = rules.into_iter().map(|rule| chain.0.add(rule)).collect();
        self.core.fabric.rules.store(chain.0.len(), Ordering::Relaxed);
        RuleGuard { core: self.core.clone(), ids }
    }

    /// No way between the two sides, in either direction.
    pub fn partition(&self, one: &[ProcessId], other: &[ProcessId]) -> RuleGuard {
        self.add_all([Rule::new(one, other, Verdict::Cut), Rule::new(other, one, Verdict::Cut)])
    }

    /// No way from these to those; the other direction stays open.
    pub fn cut(&self, from: &[ProcessId], to: &[ProcessId]) -> RuleGuard {
        self.add(Rule::new(from, to, Verdict::Cut))
    }

    /// No way to or from this process.
    pub fn isolate(&self, process: ProcessId) -> RuleGuard {
        self.add_all([Rule::new(process, Who::Any, Verdict::Cut), Rule::new(Who::Any, process, Verdict::Cut)])
    }

    /// Breaks every connection there is between a process and these, once; both sides learn of it after what was sent to
    /// them before, and may connect again. Returns how many.
    pub fn reset(&self, process: ProcessId, others: impl Into<Who>) -> usize {
        self.core.reset_between(process, &others.into())
    }

    /// Lifts every rule, also those whose guards were kept for good.
    pub fn heal(&self) {
        {
            let mut chain = self.core.fabric.chain.lock();
            chain.0.clear();
            self.core.fabric.rules.store(0, Ordering::Relaxed);
        }
        self.core.release();
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fabric")
    }
}
