//! The state machine of the region cache: which regions are cached, and what becomes of them.
//!
//! Two maps have to agree: `regions` (id to region) and `ranges` (end to id); no two cached ranges overlap. Regions that
//! were split while somebody read them live on in `historical`, under end and version, until the last reader is gone;
//! nothing of their range is deleted, and no version that their readers need is dropped, before that.
//!
//! Pure: no clock, no lock, no data. What changes is told as facts, and what has to be done in the background as jobs.
//! What the machine does not expect is answered, never a panic.

use std::{collections::BTreeMap, ops::Bound};

use super::{
    fact::Fact,
    region::{Collecting, Evict, Meta, Span, State},
};
use crate::region::{End, RegionId};

/// What has to be done in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// The data of these ranges is to be deleted.
    Delete {
        /// The deletion's number.
        number: u64,
        /// The range.
        span: Span,
    },
    /// This region was evicted and is to be loaded again, if it is still here.
    Reload {
        /// The region.
        region: RegionId,
        /// Why.
        cause: &'static str,
    },
}

/// What apply is told of a region before it applies entries of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// What is written does not concern the cache.
    Absent,
    /// What is written goes to the cache, too.
    Cached,
    /// It is to be loaded now.
    Load,
    /// The cache knows the region at another version of its epoch, in a state in which it must not.
    Unexpected(State, u64),
}

/// The regions of one store's cache.
#[derive(Default)]
pub struct Manager {
    regions: BTreeMap<RegionId, Meta>,
    ranges: BTreeMap<End, RegionId>,
    historical: BTreeMap<(End, u64), Meta>,
    numbers: u64,
    /// What happened, in order.
    pub facts: Vec<Fact>,
    /// What is to be done.
    pub jobs: Vec<Job>,
}

impl Manager {
    /// Whether there is nothing in the cache.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty() && self.historical.is_empty()
    }

    /// A region.
    pub fn get(&self, region: RegionId) -> Option<&Meta> {
        self.regions.get(&region)
    }

    /// A region, to count what happens to it.
    pub fn get_mut(&mut self, region: RegionId) -> Option<&mut Meta> {
        self.regions.get_mut(&region)
    }

    /// How many regions there are.
    pub fn count(&self) -> usize {
        self.regions.len()
    }

    /// All regions.
    pub fn regions(&self) -> impl Iterator<Item = &Meta> {
        self.regions.values()
    }

    /// The region whose range holds a user key.
    pub fn holds(&self, key: &[u8]) -> Option<&Meta> {
        let from = Bound::Excluded(End::Key(bytes::Bytes::copy_from_slice(key)));
        let (_, id) = self.ranges.range((from, Bound::Unbounded)).next()?;
        self.regions.get(id).filter(|meta| meta.span.contains(key))
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn overlapping(&self, span: &Span) -> Vec<RegionId> {
        let from = Bound::Excluded(End::Key(span.start.clone()));
        let behind = self.ranges.range((from, Bound::Unbounded)).map(|(_, id)| &self.regions[id]);
        // The first one may end right where the span begins only if it is excluded by the bound.
        behind.take_while(|meta| span.overlaps(&meta.span)).map(|meta| meta.span.id).collect()
    }

    fn told(&mut self, span: &Span, from: &'static str, to: &'static str, cause: &'static str) {
        let (region, version) = (span.id, span.version);
        self.facts.push(Fact::Transition { region, from: from.into(), to: to.into(), version, cause: cause.into() });
    }

    fn insert(&mut self, meta: Meta) {
        self.ranges.insert(meta.span.end_key(), meta.span.id);
        self.regions.insert(meta.span.id, meta);
    }

    fn take(&mut self, region: RegionId) -> Option<Meta> {
        let meta = self.regions.remove(&region)?;
        let end = meta.span.end_key();
        if self.ranges.get(&end) == Some(&region) {
            self.ranges.remove(&end);
        }
        Some(meta)
    }

    fn remove(&mut self, region: RegionId, cause: &'static str) {
        if let Some(meta) = self.take(region) {
            self.told(&meta.span, meta.state.name(), "removed", cause);
        }
    }

    fn become_(&mut self, region: RegionId, next: State, cause: &'static str) {
        let Some(meta) = self.regions.get_mut(&region) else { return };
        debug_assert!(meta.state.may_become(next), "{:?} -> {next:?}", meta.state);
        let before = std::mem::replace(&mut meta.state, next);
        let span = meta.span.clone();
        self.told(&span, before.name(), next.name(), cause);
    }

    /// A region is to be loaded, once apply comes to it. Refused with the reason when its range is not free.
    pub fn load(&mut self, span: Span, cause: &'static str) -> Result<(), &'static str> {
        if let Some(meta) = self.regions.get(&span.id)
            && meta.state != State::Pending
        {
            return Err(if meta.state.takes_writes() { "cached" } else { "being-evicted" });
        }
        if self.historical.values().any(|meta| meta.span.overlaps(&span)) {
            return Err("historical-readers");
        }
        let overlapping = self.overlapping(&span);
        let settled = |id: &RegionId| self.regions[id].state != State::Pending;
        if overlapping.iter().any(settled) {
            return Err("overlaps");
        }
        if self.regions.get(&span.id).is_some_and(|meta| meta.span == span || meta.load != 0) {
            return Err("pending");
        }
        for id in overlapping {
            self.remove(id, "replaced");
        }
        self.remove(span.id, "replaced");
        self.told(&span, "none", State::Pending.name(), cause);
        self.insert(Meta::pending(span, cause));
        Ok(())
    }

    /// What has to be done before entries of a region are applied.
    pub fn prepare(&mut self, now: &Span) -> Prepared {
        let Some(meta) = self.regions.get_mut(&now.id) else { return Prepared::Absent };
        if meta.span.version != now.version {
            if meta.state != State::Pending {
                // What is on its way out is as old as what it is evicted for.
                let out = !meta.state.takes_writes();
                return if out { Prepared::Absent } else { Prepared::Unexpected(meta.state, meta.span.version) };
            }
            if meta.span.version > now.version {
                return Prepared::Absent;
            }
            // The epoch of what is pending may lag: it is brought up to date, or given up when its range is another.
            let cause = meta.cause;
            let fits = meta.span.covers(now) && meta.load == 0;
            self.remove(now.id, "stale");
            if !fits || !self.overlapping(now).is_empty() {
                return Prepared::Absent;
            }
            self.told(now, "none", State::Pending.name(), cause);
            self.insert(Meta::pending(now.clone(), cause));
            return Prepared::Load;
        }
        match meta.state {
            State::Pending if meta.load == 0 => Prepared::Load,
            State::Pending | State::Loading | State::Active => Prepared::Cached,
            State::LoadingCanceled | State::PendingEvict | State::Evicting => Prepared::Absent,
        }
    }

    /// The load of a pending region is scheduled: its number. The region is loading from now on, unless it is to wait
    /// for the load to begin, as a defect has it.
    pub fn begin_load(&mut self, now: &Span, waits: bool) -> Option<u64> {
        let pending = |meta: &&Meta| meta.span == *now && meta.state == State::Pending && meta.load == 0;
        self.regions.get(&now.id).filter(pending)?;
        let number = self.number();
        self.regions.get_mut(&now.id)?.load = number;
        if !waits {
            self.become_(now.id, State::Loading, "scheduled");
        }
        Some(number)
    }

    /// The load of a region begins in the background.
    pub fn load_started(&mut self, region: RegionId, load: u64) {
        if self.regions.get(&region).is_some_and(|meta| meta.load == load && meta.state == State::Pending) {
            self.become_(region, State::Loading, "started");
        }
        self.facts.push(Fact::LoadStarted { region, load });
    }

    /// The ranges that a load still has to fill.
    pub fn wanted(&self, load: u64) -> Vec<Span> {
        let loading = |meta: &&Meta| meta.load == load && meta.state == State::Loading;
        self.regions.values().filter(loading).map(|meta| meta.span.clone()).collect()
    }

    /// From now on writes go to the cache, also where it is still loading.
    pub fn write_directly(&mut self, load: u64) {
        for meta in self.regions.values_mut().filter(|meta| meta.load == load) {
            meta.direct = true;
        }
    }

    /// A load has put everything into the cache.
    pub fn loaded(&mut self, load: u64) {
        for span in self.wanted(load) {
            self.become_(span.id, State::Active, "loaded");
        }
        self.stop_canceled(load);
    }

    /// A load gave up; with `reload` it is to be tried again.
    pub fn load_failed(&mut self, load: u64, cause: &'static str) {
        for span in self.wanted(load) {
            let deletion = self.number();
            if let Some(meta) = self.regions.get_mut(&span.id) {
                meta.evict = Some(Evict { cause, deletion, reload: false });
            }
            self.become_(span.id, State::Evicting, cause);
            self.jobs.push(Job::Delete { number: deletion, span });
        }
        self.stop_canceled(load);
    }

    /// What was to be evicted while it was loading may go now.
    fn stop_canceled(&mut self, load: u64) {
        let canceled = |meta: &&Meta| meta.load == load && meta.state == State::LoadingCanceled;
        let ids: Vec<RegionId> = self.regions.values().filter(canceled).map(|meta| meta.span.id).collect();
        for id in ids {
            if self.may_go(id) {
                self.delete(id);
            } else {
                self.become_(id, State::PendingEvict, self.cause(id));
            }
        }
    }

    fn cause(&self, region: RegionId) -> &'static str {
        self.regions.get(&region).and_then(|meta| meta.evict).map_or("evicted", |evict| evict.cause)
    }

    /// Whether nobody reads a region, now or as what it was split from, and nobody works on it.
    fn may_go(&self, region: RegionId) -> bool {
        let Some(meta) = self.regions.get(&region) else { return false };
        let read = !meta.snapshots.is_empty()
            || self.historical.values().any(|historical| historical.span.overlaps(&meta.span));
        !read && !meta.is_written && meta.collecting.is_none()
    }

    fn delete(&mut self, region: RegionId) {
        let number = self.number();
        let cause = self.cause(region);
        let Some(meta) = self.regions.get_mut(&region) else { return };
        let reload = meta.evict.is_some_and(|evict| evict.reload);
        meta.evict = Some(Evict { cause, deletion: number, reload });
        let span = meta.span.clone();
        self.become_(region, State::Evicting, cause);
        self.jobs.push(Job::Delete { number, span });
    }

    /// Evicts everything that overlaps a range, and the region itself wherever it is thought to be. How many were there.
    pub fn evict(&mut self, span: &Span, cause: &'static str, reload: bool) -> usize {
        let mut ids = self.overlapping(span);
        if self.regions.contains_key(&span.id) && !ids.contains(&span.id) {
            ids.push(span.id);
        }
        for &id in &ids {
            self.evict_one(id, cause, reload && id == span.id);
        }
        ids.len()
    }

    fn evict_one(&mut self, id: RegionId, cause: &'static str, reload: bool) {
        let Some(meta) = self.regions.get_mut(&id) else { return };
        let evict = Evict { cause, deletion: 0, reload };
        match meta.state {
            State::Pending => {
                self.remove(id, cause);
                if reload {
                    self.jobs.push(Job::Reload { region: id, cause });
                }
            }
            State::Loading => {
                meta.evict = Some(evict);
                self.become_(id, State::LoadingCanceled, cause);
            }
            State::Active => {
                meta.evict = Some(evict);
                self.become_(id, State::PendingEvict, cause);
                self.settle();
            }
            State::LoadingCanceled | State::PendingEvict | State::Evicting => {}
        }
    }

    /// Lets go whatever waits for nobody any more.
    pub fn settle(&mut self) {
        let waiting = |meta: &&Meta| meta.state == State::PendingEvict;
        let ids: Vec<RegionId> = self.regions.values().filter(waiting).map(|meta| meta.span.id).collect();
        for id in ids {
            if self.may_go(id) {
                self.delete(id);
            }
        }
    }

    /// The data of a deletion is gone: so are its regions.
    pub fn deleted(&mut self, number: u64) {
        let gone =
            |meta: &&Meta| meta.state == State::Evicting && meta.evict.is_some_and(|evict| evict.deletion == number);
        let all: Vec<(RegionId, Option<Evict>)> =
            self.regions.values().filter(gone).map(|meta| (meta.span.id, meta.evict)).collect();
        for (id, evict) in all {
            let (cause, reload) = evict.map_or(("evicted", false), |evict| (evict.cause, evict.reload));
            self.remove(id, "deleted");
            if reload {
                self.jobs.push(Job::Reload { region: id, cause });
            }
        }
    }

    /// A region was split: its parts are what it was. Told with its state and version when that cannot be.
    pub fn split(&mut self, before: &Span, after: &[Span]) -> Result<(), (State, u64)> {
        let Some(meta) = self.regions.get(&before.id) else { return Ok(()) };
        let (state, version) = (meta.state, meta.span.version);
        if meta.span != *before && state.takes_writes() {
            return Err((state, version));
        }
        if meta.span != *before && state != State::Pending {
            // On its way out as what it was when it was evicted.
            return Ok(());
        }
        let Some(source) = self.take(before.id) else { return Ok(()) };
        let held = !source.snapshots.is_empty();
        let count = after.len() as u64;
        self.facts.push(Fact::Split {
            region: before.id,
            version,
            state: state.name().into(),
            count,
            historical: held,
        });
        // A pending region may be older than the split's source: what is not its own is not wanted.
        let parts: Vec<&Span> = after.iter().filter(|part| source.span.covers(part)).collect();
        if !parts.iter().any(|part| part.id == before.id) {
            self.told(&source.span, state.name(), "removed", "split");
        }
        for part in parts {
            let from = if part.id == before.id { state.name() } else { "none" };
            self.told(part, from, state.name(), "split");
            self.insert(source.derive(part.clone()));
        }
        if held {
            self.historical.insert((source.span.end_key(), version), source);
        }
        Ok(())
    }

    /// A reader begins to read an active region. Refused when the region is not what the reader knows, or when versions
    /// that it needs may be gone: those at `at`, unless that is 0 for the newest.
    pub fn begin_read(&mut self, span: &Span, at: u64, read_ts: u64) -> bool {
        let Some(meta) = self.regions.get_mut(&span.id) else { return false };
        let collected = meta.collecting.map_or(0, |collecting| collecting.until).max(meta.safe_point);
        if meta.state != State::Active || meta.span != *span || (at != 0 && at < collected) {
            return false;
        }
        meta.snapshots.add(read_ts);
        true
    }

    /// A reader is done, of the region or of what it was.
    pub fn end_read(&mut self, span: &Span, read_ts: u64) {
        if let Some(meta) = self.regions.get_mut(&span.id)
            && meta.span.version == span.version
        {
            meta.snapshots.remove(read_ts);
        } else {
            let key = (span.end_key(), span.version);
            let Some(meta) = self.historical.get_mut(&key) else { return };
            meta.snapshots.remove(read_ts);
            if meta.snapshots.is_empty() {
                self.historical.remove(&key);
                self.facts.push(Fact::HistoricalRemoved { region: span.id, version: span.version });
            }
        }
        self.settle();
    }

    /// Old versions of an active region up to `wanted` are to be dropped: up to where that may be done now, and the
    /// collection's number. None when there is nothing to do. A defect overlooks the historical regions.
    pub fn begin_collect(&mut self, region: RegionId, wanted: u64, overlook: bool) -> Option<(Span, Collecting)> {
        let meta = self.regions.get(&region)?;
        if meta.state != State::Active || meta.collecting.is_some() || wanted <= meta.safe_point {
            return None;
        }
        let (span, safe_point) = (meta.span.clone(), meta.safe_point);
        let own = meta.snapshots.oldest();
        let overlapping = self.historical.values().filter(|historical| historical.span.overlaps(&span));
        let before = overlapping.filter_map(|historical| historical.snapshots.oldest()).min();
        let mut until = wanted;
        for (held, by, counts) in [(own, "own", true), (before, "historical", !overlook)] {
            let Some(held) = held.filter(|held| *held < wanted) else { continue };
            self.facts.push(Fact::CollectionHeld { region, wanted, held, by: by.into() });
            if counts {
                until = until.min(held);
            }
        }
        if until <= safe_point {
            return None;
        }
        let collecting = Collecting { number: self.number(), until };
        self.regions.get_mut(&region)?.collecting = Some(collecting);
        Some((span, collecting))
    }

    /// A collection is done, also in what was split off meanwhile.
    pub fn end_collect(&mut self, done: Collecting) {
        for meta in self.regions.values_mut().filter(|meta| meta.collecting == Some(done)) {
            meta.collecting = None;
            meta.safe_point = meta.safe_point.max(done.until);
        }
        self.settle();
    }

    /// Apply has writes of a region that are not in the cache yet.
    pub fn begin_write(&mut self, region: RegionId) {
        if let Some(meta) = self.regions.get_mut(&region) {
            meta.is_written = true;
        }
    }

    /// Everything that apply had is in the cache or dropped.
    pub fn end_writes(&mut self) {
        for meta in self.regions.values_mut() {
            meta.is_written = false;
        }
        self.settle();
    }

    /// Whether the maps agree and no two ranges overlap.
    pub fn agrees(&self) -> bool {
        let mut spans: Vec<&Span> = self.regions.values().map(|meta| &meta.span).collect();
        spans.sort_by(|a, b| a.start.cmp(&b.start));
        let apart = spans.windows(2).all(|pair| !pair[0].overlaps(pair[1]));
        let both = spans.iter().all(|span| self.ranges.get(&span.end_key()) == Some(&span.id));
        let held = self.historical.values().all(|meta| !meta.snapshots.is_empty());
        apart && both && held && self.ranges.len() == self.regions.len()
    }
}

#[cfg(test)]
mod tests;
