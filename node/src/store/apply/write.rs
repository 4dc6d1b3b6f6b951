//! Applies writes by the rules in the head comment of `wire::command`.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::{Apply, Delegate};
use crate::{
    cache,
    engine::{Error, Family, record::Record},
    key,
    region::RegionId,
    wire::{
        command::{Body, Command, Mutation, Write},
        kv::{Answer as Said, Outcome, Written},
    },
};

/// The newest version of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Newest {
    /// Its timestamp, 0 when there is none.
    pub timestamp: u64,
    /// Whether it is a value rather than a tombstone.
    pub is_value: bool,
}

/// What comes of one mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    Repeated,
    Conflict,
    Unexpected,
}

fn judge(newest: Newest, timestamp: u64, expect: Option<u64>, safe_point: u64) -> Verdict {
    if newest.timestamp == timestamp {
        return Verdict::Repeated;
    }
    if newest.timestamp > timestamp || timestamp <= safe_point {
        return Verdict::Conflict;
    }
    match expect {
        Some(0) if newest.is_value => Verdict::Unexpected,
        Some(expected) if expected != 0 && !(newest.is_value && newest.timestamp == expected) => Verdict::Unexpected,
        _ => Verdict::Write,
    }
}

/// The command of an entry; none of an empty one and of a membership change.
pub(super) fn command_of(region: RegionId, entry: &Entry) -> Option<Command> {
    if entry.data.is_empty() || entry.get_entry_type() != EntryType::EntryNormal {
        return None;
    }
    match prost::Message::decode(entry.data.clone()) {
        Ok(command) => Some(command),
        Err(error) => panic!("region {region}: the command at {} does not parse: {error}", entry.index),
    }
}

/// The newest writes of a region, as far back as writes overtake each other. It spares most of them a look into the engine.
#[derive(Debug)]
pub(super) struct Recent {
    /// Key and timestamp, in the order of writing.
    writes: VecDeque<(Bytes, u64)>,
    /// No version of the region that is not among these is newer.
    floor: u64,
}

impl Recent {
    const KEPT: usize = 32;

    /// Nothing but that no version is newer than `newest`.
    pub(super) fn new(newest: u64) -> Recent {
        Recent { writes: VecDeque::new(), floor: newest }
    }

    fn add(&mut self, key: &Bytes, timestamp: u64) {
        if self.writes.len() == Recent::KEPT
            && let Some((_, oldest)) = self.writes.pop_front()
        {
            self.floor = self.floor.max(oldest);
        }
        self.writes.push_back((key.clone(), timestamp));
    }

    /// Whether no version of the key is as new as that, for certain.
    fn is_newer(&self, key: &Bytes, timestamp: u64) -> bool {
        timestamp > self.floor && !self.writes.iter().any(|(known, stamp)| *stamp >= timestamp && known == key)
    }
}

/// Whether a mutation goes through, as can be said without a look at what its key has.
fn is_above(mutation: &Mutation, delegate: &Delegate) -> bool {
    let (state, timestamp) = (&delegate.state, mutation.timestamp);
    let is_newest = || timestamp > state.newest || delegate.recent.is_newer(&mutation.key, timestamp);
    mutation.expect.is_none() && timestamp > state.safe_point && is_newest()
}

impl Apply {
    /// Applies a write, all of it or nothing.
    pub(super) async fn write(&mut self, region: RegionId, write: &Write) -> Result<Said, Error> {
        for mutation in &write.mutations {
            let delegate = &self.delegates[&region];
            if is_above(mutation, delegate) {
                continue;
            }
            let safe_point = delegate.state.safe_point;
            let newest = self.newest(&mutation.key).await?;
            let outcome = match judge(newest, mutation.timestamp, mutation.expect, safe_point) {
                Verdict::Write => continue,
                Verdict::Repeated => Outcome::Ok,
                Verdict::Conflict => Outcome::Conflict,
                Verdict::Unexpected => Outcome::Unexpected,
            };
            let found = if outcome == Outcome::Unexpected { newest.timestamp } else { 0 };
            return Ok(Said::Written(Written { outcome: outcome as i32, found }));
        }
        Ok(self.put(region, write))
    }

    /// Applies a write of the region's present epoch for which nothing has to be read: nearly all entries are such.
    pub(super) fn plain(&mut self, region: RegionId, command: Option<&Command>) -> Option<Said> {
        let Command { epoch, body: Some(Body::Write(write)), .. } = command? else { return None };
        let delegate = &self.delegates[&region];
        let fits = delegate.region.epoch.version == epoch.version && delegate.merges.prepared.is_none();
        if fits { self.write_at_once(region, write) } else { None }
    }

    /// Applies a write for which nothing has to be read, if it is one.
    fn write_at_once(&mut self, region: RegionId, write: &Write) -> Option<Said> {
        let delegate = &self.delegates[&region];
        write.mutations.iter().all(|mutation| is_above(mutation, delegate)).then(|| self.put(region, write))
    }

    fn put(&mut self, region: RegionId, write: &Write) -> Said {
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        for mutation in &write.mutations {
            let version = key::version_key(&mutation.key, mutation.timestamp);
            let record = Record::of(mutation.value.as_ref());
            delegate.keys += 1;
            delegate.bytes += (version.len() + mutation.value.as_ref().map_or(0, Bytes::len)) as u64;
            delegate.state.newest = delegate.state.newest.max(mutation.timestamp);
            delegate.recent.add(&mutation.key, mutation.timestamp);
            if let (Record::Indirect, Some(value)) = (&record, &mutation.value) {
                self.batch.put(Family::Default, version.clone(), value.clone());
            }
            let stored = record.encode();
            if delegate.cached {
                let large = mutation.value.clone().filter(|_| matches!(record, Record::Indirect));
                let version = cache::memory::Version { key: version.clone(), record: stored.clone(), large };
                self.cached.push(cache::Write { user_key: mutation.key.clone(), version });
            }
            self.batch.put(Family::Write, version, stored);
            let newest = Newest { timestamp: mutation.timestamp, is_value: mutation.value.is_some() };
            self.pending.push((mutation.key.clone(), newest));
        }
        Said::Written(Written { outcome: Outcome::Ok as i32, found: 0 })
    }

    async fn newest(&self, user_key: &Bytes) -> Result<Newest, Error> {
        if let Some((_, newest)) = self.pending.iter().rev().find(|(key, _)| key == user_key) {
            return Ok(*newest);
        }
        let (start, end) = (key::data_key(user_key), key::versions_end(user_key));
        let Some((version, stored)) = self.shared.engine.first(Family::Write, &start, &end).await? else {
            return Ok(Newest::default());
        };
        let (_, timestamp) = key::parse_version(&version).expect("only versions lie in a key's range");
        Ok(Newest { timestamp, is_value: !Record::is_tombstone(&stored) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_overtaken_is_newer_than_what_its_key_has() {
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let mut recent = Recent::new(10);
        recent.add(&a, 20);
        recent.add(&b, 15);
        assert!(recent.is_newer(&a, 21) && recent.is_newer(&b, 16));
        assert!(!recent.is_newer(&a, 20) && !recent.is_newer(&a, 16), "it has a version as new or newer");
        assert!(!recent.is_newer(&Bytes::from_static(b"c"), 10), "nobody knows");
        (30..).take(Recent::KEPT).for_each(|timestamp| recent.add(&b, timestamp));
        assert!(!recent.is_newer(&a, 20) && recent.is_newer(&a, 21), "what is forgotten is not forgotten quite");
    }

    #[test]
    fn the_rules_of_writes() {
        use Verdict::*;
        let value = Newest { timestamp: 5, is_value: true };
        let tombstone = Newest { timestamp: 5, is_value: false };
        let none = Newest::default();
        for (newest, timestamp, expect, safe_point, verdict) in [
            (none, 1, None, 0, Write),
            (value, 6, None, 0, Write),
            (value, 5, None, 0, Repeated),
            (value, 5, Some(3), 9, Repeated),
            (value, 4, None, 0, Conflict),
            (value, 6, None, 6, Conflict),
            (value, 6, Some(5), 0, Write),
            (value, 6, Some(4), 0, Unexpected),
            (value, 6, Some(0), 0, Unexpected),
            (tombstone, 6, Some(0), 0, Write),
            (tombstone, 6, Some(5), 0, Unexpected),
            (none, 6, Some(0), 0, Write),
            (none, 6, Some(5), 0, Unexpected),
        ] {
            assert_eq!(judge(newest, timestamp, expect, safe_point), verdict, "{newest:?} {timestamp} {expect:?}");
        }
    }
}
