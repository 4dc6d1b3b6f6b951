//! The region cache: whole regions held in memory beside the engine, so that reads need not look through old versions.
//!
//! A cached region goes through the states of [`region::State`]. Apply brings it in: it takes the engine snapshot from
//! which the region is loaded in the background, and hands everything that it writes afterwards to the cache, too. The
//! raft loop asks for loads (a new leader, a peer that is to lead) and tells what ends caching: whatever changes a
//! region's range, epoch or data without passing through apply's writes has to evict it first ([`Cache::meet`]).
//!
//! A state that should not be is met with eviction, a fact, and a new load; never with a panic, for the engine has all the
//! data. Historic defects behave as upstream did.
//!
//! Not here: the state machine ([`manager`]), the data ([`memory`]), and what a read asks.

mod background;
pub mod fact;
pub mod manager;
pub mod memory;
pub mod options;
pub mod region;
pub mod site;
mod view;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use failpoints::defect;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use options::Options;
pub use view::View;

use self::{
    fact::Fact,
    manager::{Manager, Prepared},
    memory::{Memory, Stamp, Version},
    region::{Span, State},
};
use crate::{
    defects,
    engine::{Engine, SafePoint, Snapshot},
    env::Env,
    region::{Region, RegionId},
};

/// What ends the caching of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A received snapshot replaces the region's data.
    ApplySnapshot,
    /// The region is about to be merged into its neighbour.
    PrepareMerge,
    /// A neighbour was merged into the region.
    CommitMerge,
    /// The region is not merged after all.
    RollbackMerge,
    /// A range is deleted.
    DeleteRange,
    /// The peer goes.
    DestroyPeer,
    /// The peer leads no more.
    BecomeFollower,
}

impl Event {
    /// As facts write it.
    pub fn name(self) -> &'static str {
        match self {
            Event::ApplySnapshot => "apply-snapshot",
            Event::PrepareMerge => "prepare-merge",
            Event::CommitMerge => "commit-merge",
            Event::RollbackMerge => "rollback-merge",
            Event::DeleteRange => "delete-range",
            Event::DestroyPeer => "destroy-peer",
            Event::BecomeFollower => "become-follower",
        }
    }
}

/// Asks the store to load a region, if it is still here.
pub type AskForLoad = Arc<dyn Fn(RegionId, &'static str) + Send + Sync>;

/// One version that apply writes.
#[derive(Debug)]
pub struct Write {
    /// The user key.
    pub user_key: Bytes,
    /// The version.
    pub version: Version,
}

/// The region cache of one store. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    options: Options,
    engine: Engine,
    safe_point: SafePoint,
    ask: AskForLoad,
    inner: Mutex<Inner>,
    /// How many regions there are, to be seen without the lock.
    regions: AtomicUsize,
    /// Facts that wait to be stated, in order.
    outbox: Mutex<VecDeque<Fact>>,
    stating: Mutex<()>,
    wake: Notify,
    /// How often apply has written what it had.
    flushes: AtomicU64,
    flushed: Notify,
    /// Whether a round is due.
    stirred: AtomicBool,
    /// Whether rounds are under way.
    rounding: AtomicBool,
    scans: AtomicU64,
    unexpected: AtomicU64,
}

#[derive(Default)]
struct Inner {
    manager: Manager,
    memory: Memory,
    /// What was written while its region was loading, by load.
    buffers: BTreeMap<u64, Vec<(Write, Stamp)>>,
    /// Loads that wait to be begun.
    loads: Vec<Load>,
    /// Reads of regions that are not cached, since the last round.
    hot: BTreeMap<RegionId, u64>,
}

struct Load {
    number: u64,
    span: Span,
    snapshot: Snapshot,
    /// How often apply had written what it had.
    flushes: u64,
}

impl Cache {
    /// An empty cache whose background work is done by tasks of the process.
    ///
    /// `safe_point` says below which timestamp old versions of a user key may be dropped; `ask` asks for a load.
    pub fn start(env: &Env, options: Options, engine: Engine, safe_point: SafePoint, ask: AskForLoad) -> Cache {
        let shared = Shared {
            env: env.clone(),
            options,
            engine,
            safe_point,
            ask,
            inner: Mutex::default(),
            regions: AtomicUsize::new(0),
            outbox: Mutex::default(),
            stating: Mutex::default(),
            wake: Notify::new(),
            flushes: AtomicU64::new(0),
            flushed: Notify::new(),
            stirred: AtomicBool::new(false),
            rounding: AtomicBool::new(false),
            scans: AtomicU64::new(0),
            unexpected: AtomicU64::new(0),
        };
        let cache = Cache { shared: Arc::new(shared) };
        env.spawn("cache", cache.clone().run());
        cache
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Does something under the lock; what it did is told and set going afterwards.
    fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let (result, work) = {
            let mut inner = self.shared.inner.lock();
            let result = act(&mut inner);
            // In the order in which it happened, whoever states it.
            self.shared.outbox.lock().extend(inner.manager.facts.drain(..));
            self.shared.regions.store(inner.manager.count(), SeqCst);
            (result, !inner.loads.is_empty() || !inner.manager.jobs.is_empty())
        };
        self.state_waiting();
        if work {
            self.shared.wake.notify_one();
        }
        result
    }

    /// States what waits. Nothing is locked while a fact is stated: who hears it may come back here.
    fn state_waiting(&self) {
        while !self.shared.outbox.lock().is_empty() {
            let Some(_only_one) = self.shared.stating.try_lock() else { return };
            while let Some(fact) = { self.shared.outbox.lock().pop_front() } {
                self.shared.env.state(fact);
            }
        }
    }

    fn state(&self, fact: Fact) {
        self.shared.outbox.lock().push_back(fact);
        self.state_waiting();
    }

    fn is_empty(&self) -> bool {
        self.shared.regions.load(SeqCst) == 0
    }

    /// Something happened that the next round should look at.
    fn stir(&self) {
        if !self.shared.stirred.swap(true, SeqCst) {
            self.shared.wake.notify_one();
        }
    }

    /// Asks for a region to be loaded. It is pending from then on, unless that is refused; apply does the rest when it
    /// comes to the region next.
    pub fn load(&self, region: &Region, cause: &'static str) -> bool {
        let span = Span::of(region);
        let (id, version) = (span.id, span.version);
        let full = |inner: &Inner| inner.memory.bytes() >= self.shared.options.evict_bytes;
        self.with(|inner| {
            let done = if full(inner) { Err("memory-limit") } else { inner.manager.load(span, cause) };
            if let Err(why) = done {
                let (cause, why) = (cause.into(), why.into());
                inner.manager.facts.push(Fact::LoadRefused { region: id, version, cause, why });
            }
            done.is_ok()
        })
    }

    /// Whether a region with this range is to be loaded by the store that leads it.
    pub fn is_manual(&self, region: &Region) -> bool {
        self.shared.options.is_manual(&region.start, &region.end)
    }

    /// Whether a region serves reads.
    pub fn is_active(&self, region: RegionId) -> bool {
        let active = |inner: &Inner| inner.manager.get(region).is_some_and(|meta| meta.state == State::Active);
        !self.is_empty() && active(&self.shared.inner.lock())
    }

    /// Evicts what overlaps a region.
    pub fn evict(&self, region: &Region, cause: &'static str) {
        if !self.is_empty() {
            let span = Span::of(region);
            self.with(|inner| inner.manager.evict(&span, cause, false));
        }
    }

    /// An event that ends the caching of a region, before it takes effect.
    pub fn meet(&self, region: &Region, event: Event) {
        if self.is_empty() {
            return;
        }
        let span = Span::of(region);
        self.with(|inner| {
            let found = inner.manager.get(span.id).map(|meta| (meta.state, meta.span.version));
            if let Some((state, version)) = found {
                let (event, state) = (event.name().into(), state.name().into());
                inner.manager.facts.push(Fact::Met { region: span.id, event, state, version });
            }
            // The defects take events for none of the cache's business, or are not told of them. What a snapshot's region
            // has lost is deleted as ranges.
            let points = &self.shared.env.points;
            let unseen = match event {
                Event::ApplySnapshot | Event::DeleteRange => defect!(points, defects::TIKV_17405),
                Event::RollbackMerge => defect!(points, defects::TIKV_18008),
                _ => false,
            };
            if !unseen {
                inner.manager.evict(&span, event.name(), false);
            }
        });
    }

    /// A range of user keys is about to be deleted from the engine.
    pub fn meet_delete_range(&self, start: &Bytes, end: &Bytes) {
        let region = Region { start: start.clone(), end: end.clone(), ..Region::default() };
        self.meet(&region, Event::DeleteRange);
    }

    /// Before apply applies entries of a region: what the cache wants of it.
    pub fn prepare(&self, region: &Region) -> Prepared {
        if self.is_empty() {
            return Prepared::Absent;
        }
        let span = Span::of(region);
        let found = self.with(|inner| {
            let found = inner.manager.prepare(&span);
            if found == Prepared::Cached {
                inner.manager.begin_write(span.id);
            }
            found
        });
        if let Prepared::Unexpected(state, version) = found {
            self.unexpected(&span, "prepare-for-apply", state, version);
            return Prepared::Absent;
        }
        found
    }

    /// Begins the load of a region that is to be loaded, from an engine snapshot that `take` takes. Everything that was
    /// applied so far has to be in the engine, and everything later has to go to the cache. Whether it does.
    pub fn begin_load(&self, region: &Region, take: impl FnOnce() -> Snapshot) -> bool {
        let span = Span::of(region);
        let waits = defect!(self.shared.env.points, defects::TIKV_17403);
        self.with(|inner| {
            let Some(number) = inner.manager.begin_load(&span, waits) else { return false };
            inner.buffers.insert(number, Vec::new());
            let flushes = self.shared.flushes.load(SeqCst);
            inner.loads.push(Load { number, span: span.clone(), snapshot: take(), flushes });
            inner.manager.begin_write(span.id);
            true
        })
    }

    /// A region is split into `after`, before anybody is told.
    pub fn split(&self, before: &Region, after: &[Span]) {
        if self.is_empty() {
            return;
        }
        let before = Span::of(before);
        if let Err((state, version)) = self.with(|inner| inner.manager.split(&before, after)) {
            self.unexpected(&before, "split-region", state, version);
        }
    }

    /// The cache knows a region as it is no more, and would serve it: some event passed it by.
    fn unexpected(&self, now: &Span, at: &'static str, state: State, cached_version: u64) {
        let points = &self.shared.env.points;
        let count = self.shared.unexpected.fetch_add(1, SeqCst) + 1;
        let (region, version) = (now.id, now.version);
        let state_name = state.name().into();
        self.state(Fact::Unexpected { region, at: at.into(), state: state_name, cached_version, version, count });
        if defect!(points, defects::TIKV_17405) || defect!(points, defects::TIKV_18008) {
            assert_eq!(state, State::Pending, "region {region} at version {cached_version}, {at} at {version}");
        }
        self.with(|inner| inner.manager.evict(now, "unexpected-state", true));
    }

    /// Takes what apply is about to write to the engine; `stamp` becomes the engine's number of that write.
    pub fn write(&self, writes: Vec<Write>, stamp: &Stamp) {
        let limit = self.shared.options.limit_bytes();
        self.with(|inner| {
            for write in writes {
                let Some(meta) = inner.manager.holds(&write.user_key) else { continue };
                let (id, load) = (meta.span.id, meta.load);
                let buffered = meta.state == State::Pending || (meta.state == State::Loading && !meta.direct);
                if buffered {
                    if let Some(buffer) = inner.buffers.get_mut(&load) {
                        buffer.push((write, stamp.clone()));
                    }
                } else if meta.state.takes_writes() {
                    if inner.memory.bytes() >= limit {
                        let span = meta.span.clone();
                        inner.manager.evict(&span, "memory-limit", false);
                        continue;
                    }
                    inner.memory.insert(write.version, stamp.clone());
                    if let Some(meta) = inner.manager.get_mut(id) {
                        meta.unchecked = true;
                    }
                }
            }
        });
        self.stir();
    }

    /// What apply had is in the engine.
    pub fn written(&self) {
        self.shared.flushes.fetch_add(1, SeqCst);
        self.shared.flushed.notify_waiters();
        if !self.is_empty() {
            self.with(|inner| inner.manager.end_writes());
        }
    }

    /// A view of a region as of an engine snapshot of now, for reads at `at` (0 for the newest) or later; none when the
    /// engine has to serve them.
    ///
    /// `safe_point` is the region's as of entries that are all in the snapshot: whatever is written later is above it.
    pub fn view(
        &self,
        region: &Region,
        snapshot: &Snapshot,
        at: u64,
        safe_point: u64,
        reads: u64,
    ) -> Option<Arc<View>> {
        let span = Span::of(region);
        let served = self.with(|inner| {
            let served = inner.manager.begin_read(&span, at, safe_point);
            if served {
                if let Some(meta) = inner.manager.get_mut(span.id) {
                    meta.reads += reads;
                }
            } else if inner.manager.get(span.id).is_none() {
                *inner.hot.entry(span.id).or_default() += reads;
            }
            served
        });
        self.stir();
        if !served {
            return None;
        }
        self.state(Fact::ReadsServed { region: span.id, version: span.version, reads });
        Some(Arc::new(View::new(self.clone(), span, snapshot.sequence(), safe_point)))
    }

    /// Whether the next scan is one of those that are compared with the engine.
    fn audits(&self) -> bool {
        let count = self.shared.scans.fetch_add(1, SeqCst);
        count.is_multiple_of(self.shared.options.audit_every.max(1))
    }
}
