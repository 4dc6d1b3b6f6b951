//! The witness of a run: turns what nodes, room and clients state into events, and takes each event round.
//!
//! An event goes to the checks, to the triggers that arm a run, to the steps of the plan that wait for a fact, and to
//! the judge of rest. The first violation freezes what is shown of the run. Steps that a fact sets off take effect before
//! the call that stated the fact returns, with nothing of the witness locked, since they state events of their own.
//!
//! Not here: what a step does (`nemesis`), and what the room's steps are to a check (`witness/translate`).

mod arm;
mod chronicle;
mod coverage;
mod ring;
mod states;
mod translate;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use node::fact::{Fact, Feed};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use arm::Arm;
pub use coverage::{Asked, Coverage};

use crate::{
    check::{Checks, Violation},
    event::{Body, ClientEvent, Event, Header, NodeId, Outcome, RoomEvent, schema},
    plan::Action,
    rest::Rest,
    room::{Mixer, Observer, ProcessId, Step},
    trigger::Triggers,
};

use self::ring::Ring;

/// Carries out the step of the plan with this position.
pub trait Fire: Send + Sync {
    /// The step's fact was stated.
    fn fire(&self, step: usize);
}

/// Hears everything in one run.
pub struct Witness {
    inner: Mutex<Inner>,
    /// The newest step of the trace, and when it was. A run has one thread: both are written and read apart.
    step: AtomicU64,
    time_ns: AtomicU64,
    fire: OnceLock<Weak<dyn Fire>>,
    accused: Notify,
    /// Whether steps of the trace are to carry what facts say, for printing.
    pub detailed: bool,
}

struct Inner {
    seq: u64,
    checks: Checks,
    triggers: Triggers,
    arms: Vec<Arm>,
    rest: Rest,
    ring: Ring,
    chronicle: chronicle::Chronicle,
    violation: Option<Accusation>,
    operations: u64,
    faults: BTreeMap<String, u64>,
    watching: coverage::Watching,
    record: Option<Vec<u8>>,
}

/// A violation and where in the trace it showed.
#[derive(Clone, Debug)]
pub struct Accusation {
    /// What the check says.
    pub violation: Violation,
    /// The step of the trace.
    pub step: u64,
    /// True time.
    pub time_ns: u64,
}

/// What a witness saw, at the end of a run.
pub struct Testimony {
    /// The first violation.
    pub accusation: Option<Accusation>,
    /// How often each trigger of the plan was reached.
    pub triggers: Vec<(String, u64)>,
    /// Events that went round.
    pub events: u64,
    /// Checks that judged at least once.
    pub checks_reached: Vec<String>,
    /// Client operations that were answered.
    pub operations: u64,
    /// How often each kind of fault took effect.
    pub faults: BTreeMap<String, u64>,
    /// What was reached.
    pub coverage: Coverage,
    /// The last events, for people.
    pub last_events: Vec<String>,
    /// What happened, for people, if somebody was accused.
    pub chronicle: Vec<String>,
    /// The history as text, if it was asked for.
    pub record: Option<Vec<u8>>,
}

impl Witness {
    /// A witness for these checks, triggers and waiting steps; `record` keeps the history as text, `detailed` has the
    /// trace carry what facts say.
    pub fn new(
        header: &Header,
        checks: Checks,
        triggers: Triggers,
        arms: Vec<Arm>,
        record: bool,
        detailed: bool,
    ) -> Arc<Self> {
        let record = record.then(|| {
            let mut bytes = Vec::new();
            schema::write_header(header, &mut bytes).expect("writing to memory does not fail");
            bytes
        });
        Arc::new(Self {
            inner: Mutex::new(Inner {
                seq: 0,
                checks,
                triggers,
                arms,
                rest: Rest::new(header),
                ring: Ring::new(header.nodes.clone()),
                chronicle: chronicle::Chronicle::new(header.nodes.clone()),
                violation: None,
                operations: 0,
                faults: BTreeMap::new(),
                watching: coverage::Watching::new(),
                record,
            }),
            step: AtomicU64::new(0),
            time_ns: AtomicU64::new(0),
            fire: OnceLock::new(),
            accused: Notify::new(),
            detailed,
        })
    }

    /// Who carries out the steps that wait for facts.
    pub fn set_fire(&self, fire: Weak<dyn Fire>) {
        assert!(self.fire.set(fire).is_ok(), "a run has one nemesis");
    }

    /// A node's fact, which the room has just numbered.
    pub fn node(&self, process: ProcessId, incarnation: u32, fact: Fact) {
        self.take(process, incarnation, Body::Node(fact));
    }

    /// A client's step, which the room has just numbered.
    pub fn client(&self, process: ProcessId, incarnation: u32, event: ClientEvent) {
        self.take(process, incarnation, Body::Client(event));
    }

    /// What the runner itself states about the room.
    pub fn room(&self, process: ProcessId, incarnation: u32, event: RoomEvent) {
        self.take(process, incarnation, Body::Room(event));
    }

    /// A fault of this kind took effect.
    pub fn fault(&self, kind: &str) {
        let mut inner = self.inner.lock();
        match inner.faults.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(inner.faults.insert(kind.to_owned(), 1)),
        }
    }

    /// A failpoint fired.
    pub fn point_fired(&self, _process: ProcessId, site: &'static failpoints::Site) {
        self.fault(site.name());
        self.inner.lock().watching.point_fired(site.name());
    }

    /// A process has this switchboard, whose counts are wanted at the end.
    pub fn watch_points(&self, points: failpoints::Points) {
        self.inner.lock().watching.watch_points(points);
    }

    /// The step of this position takes effect, at true time `now_ns`.
    pub fn step_done(&self, position: usize, action: &Action, now_ns: u64) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.watching.step_done(action.kind());
        inner.chronicle.step(now_ns, position, action);
    }

    /// The operator was asked for something of this kind.
    pub fn asked(&self, kind: &'static str) {
        self.inner.lock().watching.asked(kind);
    }

    /// Something of this kind that was asked for came about.
    pub fn succeeded(&self, kind: &'static str) {
        self.inner.lock().watching.succeeded(kind);
    }

    /// Chaos begins: arms the steps that come after no other.
    pub fn begin(&self, now_ns: u64) {
        let mut inner = self.inner.lock();
        inner.arms.iter_mut().for_each(|arm| arm.begin(now_ns));
        inner.chronicle.begin(now_ns);
    }

    /// Arms the steps that waited for step `position` to take effect, at true time `now_ns`.
    pub fn arm_after(&self, position: usize, now_ns: u64) {
        self.inner.lock().arms.iter_mut().for_each(|arm| arm.earlier_step_done(position, now_ns));
    }

    /// Whether a step still waits for its fact and may get it.
    pub fn is_waiting(&self, now_ns: u64) -> bool {
        self.inner.lock().arms.iter().any(|arm| arm.is_waiting(now_ns))
    }

    /// Whether a check has accused.
    pub fn is_accused(&self) -> bool {
        self.inner.lock().violation.is_some()
    }

    /// Completes when a check accuses.
    pub async fn accused(&self) {
        loop {
            let notified = self.accused.notified();
            if self.is_accused() {
                return;
            }
            notified.await;
        }
    }

    /// Looks at what is known of regions, peers and leaders.
    pub fn with_rest<T>(&self, look: impl FnOnce(&mut Rest) -> T) -> T {
        look(&mut self.inner.lock().rest)
    }

    /// Judges what can only be judged at the end.
    pub fn finish(&self) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.violation.is_none()
            && let Some(violation) = inner.checks.finish().cloned()
        {
            let (step, time_ns) = self.now();
            inner.violation = Some(Accusation { violation, step, time_ns });
        }
    }

    /// The newest step of the trace, and when it was.
    fn now(&self) -> (u64, u64) {
        (self.step.load(Relaxed), self.time_ns.load(Relaxed))
    }

    /// Everything that is to be known of the run.
    pub fn testimony(&self) -> Testimony {
        let mut inner = self.inner.lock();
        let reached = inner.checks.tallies().into_iter().filter(|tally| tally.reached > 0);
        Testimony {
            accusation: inner.violation.clone(),
            triggers: inner.triggers.counts(),
            events: inner.seq,
            checks_reached: reached.map(|tally| tally.check).collect(),
            operations: inner.operations,
            faults: inner.faults.clone(),
            coverage: inner.watching.ends(),
            last_events: inner.ring.lines(),
            chronicle: inner.violation.as_ref().map_or_else(Vec::new, |accusation| inner.chronicle.lines(accusation)),
            record: inner.record.take(),
        }
    }

    fn take(&self, process: ProcessId, incarnation: u32, body: Body) {
        let mut fired = Vec::new();
        let (step, time_ns) = self.now();
        {
            let mut inner = self.inner.lock();
            let inner = &mut *inner;
            if inner.violation.is_some() {
                return;
            }
            inner.seq += 1;
            let node = NodeId::try_from(process.number()).unwrap_or(0);
            let event = Event { seq: inner.seq, time_ns, node, incarnation, body };
            if let Some(record) = &mut inner.record {
                schema::write_event(&event, record).expect("writing to memory does not fail");
            }
            match &event.body {
                Body::Node(fact) => {
                    for arm in &mut inner.arms {
                        if arm.hears(node, fact, time_ns) {
                            fired.push(arm.position());
                        }
                    }
                }
                Body::Client(ClientEvent::Returned { outcome, .. }) => {
                    inner.operations += u64::from(!matches!(outcome, Outcome::Failed { .. } | Outcome::Unknown));
                }
                _ => {}
            }
            inner.triggers.on(&event);
            inner.rest.on(&event);
            inner.watching.on(&event);
            inner.chronicle.on(&event, !fired.is_empty());
            if let Some(violation) = inner.checks.on(&event) {
                inner.violation = Some(Accusation { violation: violation.clone(), step, time_ns });
                self.accused.notify_waiters();
            }
            inner.ring.push(step, event);
        }
        if let Some(nemesis) = self.fire.get().and_then(Weak::upgrade) {
            fired.into_iter().for_each(|step| nemesis.fire(step));
        }
    }
}

impl Observer for Witness {
    fn observe(&self, step: &Step) {
        self.step.store(step.number, Relaxed);
        self.time_ns.store(step.true_ns, Relaxed);
        if translate::says_nothing(step) {
            return;
        }
        if let Some(fault) = translate::fault(step) {
            self.fault(fault);
        }
        if let Some(event) = translate::room_event(step) {
            self.take(step.process, step.incarnation, Body::Room(event));
        }
    }
}

/// A content hash for the room's trace.
#[derive(Default)]
pub struct ContentHash(Mixer);

impl ContentHash {
    /// The hash so far.
    pub fn value(&self) -> u64 {
        self.0.value()
    }
}

impl Feed for ContentHash {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.bytes(bytes);
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.0.text(text);
    }

    #[inline]
    fn number(&mut self, number: u64) {
        self.0.word(number);
    }
}
