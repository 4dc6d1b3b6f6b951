//! A snapshot of one cached region: what it shows does not change until it is dropped.
//!
//! It sees the versions that an engine snapshot of the same moment sees, whatever is written, split or evicted meanwhile:
//! neither collection nor eviction takes away what a live view needs.

use bytes::Bytes;
use failpoints::point;

use super::{Cache, fact::Fact, memory::Version, region::Span, site};
use crate::{
    fact::Digest,
    key,
    wire::kv::{Got, Pair, Scan, Scanned},
};

/// Versions that one step of a scan looks at.
const STEP: usize = 16;

/// A region as of one moment.
pub struct View {
    cache: Cache,
    span: Span,
    sequence: u64,
    read_ts: u64,
}

impl Drop for View {
    fn drop(&mut self) {
        let mut inner = self.cache.shared.inner.lock();
        inner.manager.end_read(&self.span, self.read_ts);
        let work = !inner.manager.jobs.is_empty() || !inner.manager.facts.is_empty();
        drop(inner);
        // Stated and done by the cache's own task: whoever drops this may be no task at all.
        if work {
            self.cache.shared.wake.notify_one();
        }
    }
}

impl View {
    pub(super) fn new(cache: Cache, span: Span, sequence: u64, read_ts: u64) -> View {
        View { cache, span, sequence, read_ts }
    }

    /// The version of a key at or below a timestamp, 0 for the newest.
    pub fn get(&self, user_key: &[u8], at: u64) -> Got {
        let start = if at == 0 { key::data_key(user_key) } else { key::version_key(user_key, at) };
        let inner = self.cache.shared.inner.lock();
        match inner.memory.first(&start, &key::versions_end(user_key), self.sequence) {
            None => Got { timestamp: 0, value: None },
            Some(version) => got(&version),
        }
    }

    /// The pairs of a range, in steps between which others work.
    pub async fn scan(&self, scan: &Scan) -> Scanned {
        let end = if scan.end.is_empty() { &self.span.end } else { &scan.end };
        let mut pairs = Vec::new();
        let mut newest = Newest::new(key::range_start(&scan.start), key::range_end(end), scan.at);
        while (pairs.len() as u64) < scan.limit {
            let Some((user_key, version)) = newest.next() else {
                if newest.from.is_none() {
                    break;
                }
                point!(self.cache.shared.env.points, site::DURING_SCAN).await;
                newest.step(self);
                continue;
            };
            let got = got(&version);
            if got.value.is_some() {
                pairs.push(Pair { key: user_key, got });
            }
        }
        Scanned { pairs }
    }

    /// Digest and number of the keys that have a value.
    pub(super) fn content(&self) -> (Digest, u64) {
        content(&self.cache, &self.span, self.sequence)
    }

    /// Whether the next scan is one of those that are compared with the engine.
    pub fn audits(&self) -> bool {
        self.cache.audits()
    }

    /// States how a scan of this view and the same scan of the engine compare. A difference evicts the region.
    pub fn compared(&self, cached: &Scanned, engine: &Scanned) {
        let ((cached, cached_keys), (engine, engine_keys)) = (digest(cached), digest(engine));
        let (region, version) = (self.span.id, self.span.version);
        self.cache.state(Fact::ScanCompared { region, version, cached, cached_keys, engine, engine_keys });
        if (cached, cached_keys) != (engine, engine_keys) {
            self.cache.with(|inner| inner.manager.evict(&self.span, "cross-check", true));
        }
    }
}

fn digest(scanned: &Scanned) -> (Digest, u64) {
    let share = |pair: &Pair| {
        let value = pair.got.value.as_ref()?;
        Some(Digest::of(&pair.key, pair.got.timestamp, value))
    };
    let shares = scanned.pairs.iter().filter_map(share);
    shares.fold((Digest(0), 0), |(sum, keys), share| (sum + share, keys + 1))
}

fn got(version: &Version) -> Got {
    let (_, timestamp) = key::parse_version(&version.key).expect("the cache holds versions only");
    Got { timestamp, value: version.value() }
}

/// Digest and number of the keys of a range that have a value in the cache, as of an engine's sequence number.
pub(super) fn content(cache: &Cache, span: &Span, sequence: u64) -> (Digest, u64) {
    let (start, end) = (key::range_start(&span.start), key::range_end(&span.end));
    let (mut from, mut user_key) = (Some(start), None);
    let (mut sum, mut keys) = (Digest(0), 0);
    while let Some(begin) = from {
        let (versions, next) = cache.shared.inner.lock().memory.walk(&begin, &end, sequence, 1024);
        from = next;
        for version in versions {
            let Some((user, timestamp)) = key::parse_version(&version.key) else { continue };
            if user_key.as_ref() == Some(&user) {
                continue;
            }
            if let Some(value) = version.value() {
                sum = sum + Digest::of(&user, timestamp, &value);
                keys += 1;
            }
            user_key = Some(user);
        }
    }
    (sum, keys)
}

/// Walks through the newest versions of a range, step by step.
struct Newest {
    from: Option<Bytes>,
    end: Bytes,
    at: u64,
    done: Option<Bytes>,
    found: std::vec::IntoIter<Version>,
}

impl Newest {
    fn new(start: Bytes, end: Bytes, at: u64) -> Newest {
        Newest { from: Some(start), end, at, done: None, found: Vec::new().into_iter() }
    }

    /// Looks at the next versions.
    fn step(&mut self, view: &View) {
        if let Some(from) = self.from.take() {
            let inner = view.cache.shared.inner.lock();
            let (found, next) = inner.memory.walk(&from, &self.end, view.sequence, STEP);
            (self.found, self.from) = (found.into_iter(), next);
        }
    }

    /// The next key's newest version; none at the end of a step. The walk is over when there is no next step.
    fn next(&mut self) -> Option<(Bytes, Version)> {
        for version in self.found.by_ref() {
            let Some((user_key, timestamp)) = key::parse_version(&version.key) else { continue };
            if self.done.as_ref() == Some(&user_key) || (self.at != 0 && timestamp > self.at) {
                continue;
            }
            self.done = Some(user_key.clone());
            return Some((user_key, version));
        }
        None
    }
}
