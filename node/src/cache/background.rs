//! What the cache does in the background: loads, deletions, and rounds of collection, cross-checks and regions that turned
//! hot or cold.
//!
//! One task waits for work and starts a task for each piece, so that a slow load holds nothing else up. There is no tick: a
//! round comes a while after something happened, and none after nothing did.

use std::sync::atomic::Ordering::SeqCst;

use failpoints::{defect, point};

use super::{
    Cache, Load,
    fact::Fact,
    manager::Job,
    memory::{Version, stamped},
    region::{Meta, Span, State},
    site,
    view::{View, content},
};
use crate::{
    defects,
    engine::{Error, Family, Snapshot, record::Record},
    key,
    region::{Region, RegionId},
    store::snapshot::content::hash,
};

/// Versions that one step of a load or a collection takes.
const STEP: usize = 128;
/// Rounds with few reads after which a region that was loaded for its reads is evicted.
const COLD_ROUNDS: u64 = 10;

impl Cache {
    /// Starts what there is to do, as long as the process lives.
    pub(super) async fn run(self) {
        loop {
            self.state_waiting();
            let (loads, jobs) =
                self.with(|inner| (std::mem::take(&mut inner.loads), std::mem::take(&mut inner.manager.jobs)));
            for load in loads {
                let cache = self.clone();
                self.shared.env.spawn("cache-load", async move { cache.load_one(load).await });
            }
            for job in jobs {
                match job {
                    Job::Delete { number, span } => {
                        let cache = self.clone();
                        self.shared.env.spawn("cache-delete", async move { cache.delete(number, &span).await });
                    }
                    Job::Reload { region, cause } => (self.shared.ask)(region, cause),
                }
            }
            if self.shared.stirred.load(SeqCst) && !self.shared.rounding.swap(true, SeqCst) {
                let cache = self.clone();
                self.shared.env.spawn("cache-round", async move { cache.rounds().await });
            }
            self.shared.wake.notified().await;
        }
    }

    async fn load_one(&self, load: Load) {
        let Load { number, span, snapshot, flushes } = load;
        point!(self.shared.env.points, site::BEFORE_LOAD).await;
        self.with(|inner| inner.manager.load_started(span.id, number));
        let failed = match self.fill(number, &span, &snapshot).await {
            Ok(None) => self.finish(number, flushes).await,
            Ok(Some(why)) => Some(why),
            // A failed read is met again by whoever needs the data.
            Err(_) => Some("read-failed"),
        };
        drop(snapshot);
        self.with(|inner| {
            inner.buffers.remove(&number);
            match failed {
                None => inner.manager.loaded(number),
                Some(why) => {
                    inner.manager.facts.push(Fact::LoadFailed { region: span.id, load: number, cause: why.into() });
                    inner.manager.load_failed(number, why);
                }
            }
        });
        self.stir();
    }

    /// Puts everything that the engine had into the cache. What stopped it, if anything did.
    async fn fill(&self, number: u64, span: &Span, snapshot: &Snapshot) -> Result<Option<&'static str>, Error> {
        let (start, end) = (key::range_start(&span.start), key::range_end(&span.end));
        let mut entries = snapshot.iter(Family::Write, start, end);
        let stamp = stamped(snapshot.sequence());
        let (mut total, mut over) = (0, false);
        while !over {
            let mut step = Vec::with_capacity(STEP);
            while step.len() < STEP {
                let Some((key, record)) = entries.next().await? else {
                    over = true;
                    break;
                };
                let large = match Record::is_indirect(&record) {
                    true => snapshot.get(Family::Default, &key).await?,
                    false => None,
                };
                step.push(Version { key, record, large });
            }
            point!(self.shared.env.points, site::DURING_LOAD).await;
            let limit = self.shared.options.limit_bytes();
            let stopped = self.with(|inner| {
                let wanted = inner.manager.wanted(number);
                if wanted.is_empty() {
                    return Some("canceled");
                }
                if inner.memory.bytes() >= limit {
                    return Some("memory-limit");
                }
                for version in step {
                    let user_key = key::parse_version(&version.key).map(|(user_key, _)| user_key);
                    if user_key.is_some_and(|key| wanted.iter().any(|span| span.contains(&key))) {
                        inner.memory.insert(version, stamp.clone());
                        total += 1;
                    }
                }
                None
            });
            if stopped.is_some() {
                return Ok(stopped);
            }
        }
        // What was written meanwhile, and from now on at once.
        self.with(|inner| {
            let wanted = inner.manager.wanted(number);
            let buffer = inner.buffers.remove(&number).unwrap_or_default();
            let buffered = buffer.len() as u64;
            for (write, stamp) in buffer {
                if wanted.iter().any(|span| span.contains(&write.user_key)) {
                    inner.memory.insert(write.version, stamp);
                }
            }
            inner.manager.write_directly(number);
            inner.manager.facts.push(Fact::Loaded { region: span.id, load: number, versions: total, buffered });
        });
        Ok(None)
    }

    /// Looks once whether what was loaded is what the engine has, before anybody reads it.
    async fn finish(&self, number: u64, flushes: u64) -> Option<&'static str> {
        // What apply had when the load was scheduled is in the engine, or the comparison would not show that it was missed.
        loop {
            let flushed = self.shared.flushed.notified();
            if self.shared.flushes.load(SeqCst) > flushes {
                break;
            }
            flushed.await;
        }
        point!(self.shared.env.points, site::BEFORE_ACTIVE).await;
        let loading = {
            let inner = self.shared.inner.lock();
            inner.manager.wanted(number)
        };
        if loading.is_empty() {
            return Some("canceled");
        }
        let snapshot = self.shared.engine.snapshot();
        for part in loading {
            let cached = content(self, &part, snapshot.sequence());
            match self.cross_check(&part, cached, &snapshot, "load").await {
                Ok(true) => {}
                Ok(false) => return Some("cross-check"),
                Err(_) => return Some("read-failed"),
            }
        }
        None
    }

    /// Compares a content of the cache with the engine's of the same moment.
    async fn cross_check(
        &self,
        span: &Span,
        (cached, cached_keys): (crate::fact::Digest, u64),
        snapshot: &Snapshot,
        why: &'static str,
    ) -> Result<bool, Error> {
        let (start, end) = (span.start.clone(), span.end.clone());
        let range = Region { id: span.id, start, end, ..Region::default() };
        let found = hash(snapshot, &range).await?;
        let (region, version) = (span.id, span.version);
        let (engine, engine_keys, why) = (found.digest, found.keys, why.into());
        self.state(Fact::CrossChecked { region, version, cached, cached_keys, engine, engine_keys, why });
        Ok((cached, cached_keys) == (engine, engine_keys))
    }

    async fn delete(&self, number: u64, span: &Span) {
        point!(self.shared.env.points, site::BEFORE_DELETE).await;
        let (mut from, end) = (Some(key::range_start(&span.start)), key::range_end(&span.end));
        let mut versions = 0;
        while let Some(begin) = from {
            let step = self.shared.inner.lock().memory.delete(&begin, &end, 1024);
            (from, versions) = (step.next, versions + step.dropped);
        }
        self.with(|inner| {
            inner.manager.facts.push(Fact::RangeDeleted { region: span.id, versions });
            inner.manager.deleted(number);
        });
    }

    /// Rounds, as long as something happens between two of them.
    async fn rounds(&self) {
        while self.shared.stirred.swap(false, SeqCst) {
            self.shared.env.sleep(self.shared.options.tick).await;
            self.heat();
            if point!(self.shared.env.points, site::BEFORE_COLLECT).await.is_none() {
                self.collect();
            }
            self.check_one().await;
            self.make_room();
        }
        self.shared.rounding.store(false, SeqCst);
        // Something may have happened since the last look.
        self.shared.wake.notify_one();
    }

    /// Loads what is read much, and evicts what was loaded for that and is not.
    fn heat(&self) {
        let hot_reads = self.shared.options.hot_reads;
        let hot = self.with(|inner| {
            let mut cold = Vec::new();
            let ids: Vec<RegionId> = inner.manager.regions().map(|meta| meta.span.id).collect();
            for id in ids {
                let Some(meta) = inner.manager.get_mut(id) else { continue };
                let reads = std::mem::take(&mut meta.reads);
                meta.cold_rounds = if reads * 4 < hot_reads { meta.cold_rounds + 1 } else { 0 };
                if meta.cause == "auto" && meta.state == State::Active && meta.cold_rounds >= COLD_ROUNDS {
                    cold.push(meta.span.clone());
                }
            }
            for span in cold {
                inner.manager.evict(&span, "auto", false);
            }
            std::mem::take(&mut inner.hot)
        });
        for (region, _) in hot.into_iter().filter(|(_, reads)| *reads >= hot_reads) {
            (self.shared.ask)(region, "auto");
        }
    }

    /// Drops old versions that nobody needs.
    fn collect(&self) {
        let regions: Vec<Span> = {
            let inner = self.shared.inner.lock();
            inner.manager.regions().map(|meta| meta.span.clone()).collect()
        };
        // What is not in the engine yet does not make an older version an old one.
        let visible = self.shared.engine.snapshot().sequence();
        for span in regions {
            let wanted = (self.shared.safe_point)(&span.start);
            let overlook = defect!(self.shared.env.points, defects::TIKV_17282);
            let begun = self.with(|inner| inner.manager.begin_collect(span.id, wanted, overlook));
            let Some((span, collecting)) = begun else { continue };
            let (mut from, end) = (Some(key::range_start(&span.start)), key::range_end(&span.end));
            let mut dropped = 0;
            while let Some(begin) = from {
                let step = self.shared.inner.lock().memory.collect(&begin, &end, collecting.until, visible, STEP);
                (from, dropped) = (step.next, dropped + step.dropped);
            }
            self.with(|inner| {
                let until = collecting.until;
                inner.manager.facts.push(Fact::Collected { region: span.id, until, dropped });
                inner.manager.end_collect(collecting);
            });
        }
    }

    /// Compares one region that was written to since it was last compared with the engine.
    async fn check_one(&self) {
        let snapshot = self.shared.engine.snapshot();
        let next = self.with(|inner| {
            let unchecked = |meta: &&Meta| meta.unchecked && meta.state == State::Active;
            let meta = inner.manager.regions().find(unchecked)?;
            let (span, safe_point) = (meta.span.clone(), meta.safe_point);
            // What is written from now on is for the next time.
            inner.manager.get_mut(span.id)?.unchecked = false;
            let more = inner.manager.regions().any(|meta| unchecked(&meta));
            inner.manager.begin_read(&span, 0, safe_point).then_some((span, safe_point, more))
        });
        let Some((span, safe_point, more)) = next else { return };
        let view = View::new(self.clone(), span.clone(), snapshot.sequence(), safe_point);
        // A failed read is met again by whoever needs the data.
        let same = self.cross_check(&span, view.content(), &snapshot, "round").await.unwrap_or(true);
        if !same {
            self.with(|inner| inner.manager.evict(&span, "cross-check", true));
        }
        if more {
            self.stir();
        }
    }

    /// Evicts the region that is read least while there is too much.
    fn make_room(&self) {
        let limit = self.shared.options.evict_bytes;
        self.with(|inner| {
            if inner.memory.bytes() <= limit {
                return;
            }
            let active = inner.manager.regions().filter(|meta| meta.state == State::Active);
            let coldest = active.max_by_key(|meta| (meta.cold_rounds, meta.span.id)).map(|meta| meta.span.clone());
            if let Some(span) = coldest {
                inner.manager.evict(&span, "memory-limit", false);
            }
        });
    }
}
