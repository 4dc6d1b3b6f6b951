//! The stores' records and how they were last heard of.
//!
//! A record's life: Up, Offline while it is drained, Tombstone when it holds nothing any more; at last the record can
//! be deleted, and the store is then as unknown as one that never was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    env::Instant,
    region::StoreId,
    release::Release,
    wire::placement::{Reason, Store, StoreHeartbeat, StoreState},
};

/// A store as it was last heard of.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub record: Store,
    /// When it was last heard of; since this process began, that is.
    pub heard: Instant,
    pub stats: StoreHeartbeat,
}

impl Entry {
    pub(super) fn state(&self) -> StoreState {
        self.record.state()
    }

    /// Whether the store's engine is a columnar one, which holds learners only.
    pub(super) fn is_columnar(&self) -> bool {
        is_columnar(&self.record)
    }

    /// For how long nothing was heard of it.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        now.since(self.heard)
    }
}

/// Whether a store's engine is a columnar one.
pub(super) fn is_columnar(record: &Store) -> bool {
    record.labels.iter().any(|label| label.key == "engine" && label.value == "tiflash")
}

/// Why a store's request is refused.
pub(super) type Refused = (Reason, String);

/// All stores' records.
#[derive(Debug, Default)]
pub(super) struct Stores {
    known: BTreeMap<StoreId, Entry>,
    /// Stores whose record was deleted.
    gone: BTreeSet<StoreId>,
}

impl Stores {
    /// Without records; stores of these ids never return.
    pub(super) fn resume(gone: BTreeSet<StoreId>) -> Stores {
        Stores { known: BTreeMap::new(), gone }
    }

    /// Takes a record that was read back; the store counts as heard of now.
    pub(super) fn restore(&mut self, record: Store, now: Instant) {
        self.known.insert(record.id, Entry { record, heard: now, stats: StoreHeartbeat::default() });
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (StoreId, &Entry)> {
        self.known.iter().map(|(&id, entry)| (id, entry))
    }

    pub(super) fn entry(&self, id: StoreId) -> Option<&Entry> {
        self.known.get(&id)
    }

    /// The record of a store, a tombstone's too.
    pub(super) fn get(&self, id: StoreId) -> Result<&Entry, Refused> {
        self.known.get(&id).ok_or_else(|| (Reason::StoreNotFound, format!("invalid store ID {id}, not found")))
    }

    /// Registers a store, or takes its new address, release and labels. Returns the record to keep, if it is new.
    pub(super) fn put(&mut self, mut record: Store, now: Instant) -> Result<Option<Store>, Refused> {
        if record.id == 0 || record.address.is_empty() {
            return Err((Reason::Invalid, format!("invalid put store {record:?}")));
        }
        Release::parse(&record.release).map_err(|error| (Reason::Invalid, error.to_string()))?;
        record.labels.sort_by(|a, b| a.key.cmp(&b.key));
        let old = self.known.get(&record.id);
        if old.is_some_and(|old| old.state() == StoreState::Tombstone) || self.gone.contains(&record.id) {
            return Err(tombstone(record.id));
        }
        let same_address = |(id, other): (StoreId, &Entry)| {
            let lives = other.state() != StoreState::Tombstone && !other.record.is_destroyed;
            (id != record.id && lives && other.record.address == record.address).then_some(other.record.id)
        };
        if let Some(other) = self.all().find_map(same_address) {
            let id = record.id;
            let detail = format!(
                "duplicated store address: {} of store {id}, already registered by store {other}",
                record.address
            );
            return Err((Reason::DuplicateAddress, detail));
        }
        // A store that is being drained stays so, whatever it thinks of itself.
        record.state = old.map_or(StoreState::Up, Entry::state) as i32;
        record.is_destroyed = old.is_some_and(|old| old.record.is_destroyed);
        record.buried_ns = 0;
        let stats = old.map(|old| old.stats.clone()).unwrap_or_default();
        let changed = old.is_none_or(|old| old.record != record);
        self.known.insert(record.id, Entry { record: record.clone(), heard: now, stats });
        Ok(changed.then_some(record))
    }

    /// A store lives.
    pub(super) fn heard(&mut self, heartbeat: StoreHeartbeat, now: Instant) -> Result<(), Refused> {
        let id = heartbeat.store;
        // One whose record was deleted before it heard of its tombstone hears of it now, as if it registered again.
        if self.gone.contains(&id) || self.get(id)?.state() == StoreState::Tombstone {
            return Err(tombstone(id));
        }
        if let Some(entry) = self.known.get_mut(&id) {
            entry.heard = now;
            entry.stats = heartbeat;
        }
        Ok(())
    }

    /// Takes a store to its tombstone whatever it holds: it is lost. Returns the record to keep.
    pub(super) fn bury_lost(&mut self, id: StoreId) -> Option<Store> {
        let entry = self.known.get_mut(&id).filter(|entry| entry.state() != StoreState::Tombstone)?;
        entry.record.set_state(StoreState::Tombstone);
        Some(entry.record.clone())
    }

    /// Takes a store out of service. Returns the record to keep, if that is news.
    pub(super) fn remove(&mut self, id: StoreId, is_destroyed: bool) -> Result<Option<Store>, Refused> {
        self.change(id, |record| {
            record.set_state(StoreState::Offline);
            record.is_destroyed |= is_destroyed;
            Ok(())
        })
    }

    /// Takes a store that is being drained back into service. Returns the record to keep, if that is news.
    pub(super) fn up(&mut self, id: StoreId) -> Result<Option<Store>, Refused> {
        self.change(id, |record| {
            if record.is_destroyed {
                return Err((Reason::StoreRemoved, format!("store {id} has been physically destroyed")));
            }
            record.set_state(StoreState::Up);
            Ok(())
        })
    }

    /// Takes an Offline store that holds nothing any more to its tombstone. Returns the record to keep.
    pub(super) fn bury(&mut self, id: StoreId, wall_ns: u64) -> Option<Store> {
        let entry = self.known.get_mut(&id).filter(|entry| entry.state() == StoreState::Offline)?;
        entry.record.set_state(StoreState::Tombstone);
        entry.record.buried_ns = wall_ns;
        Some(entry.record.clone())
    }

    /// Takes a store to its tombstone, whatever it holds: refused while it is heard of. Returns the record to keep.
    pub(super) fn bury_by_force(
        &mut self,
        id: StoreId,
        now: Instant,
        disconnected: Duration,
        wall_ns: u64,
    ) -> Result<Option<Store>, Refused> {
        let silent = self.get(id)?.silent(now);
        self.change(id, |record| {
            if silent < disconnected {
                return Err((Reason::StoreIsUp, format!("store {id} lives")));
            }
            record.set_state(StoreState::Tombstone);
            record.buried_ns = wall_ns;
            Ok(())
        })
    }

    /// Deletes a record; the id never returns.
    pub(super) fn delete(&mut self, id: StoreId) {
        self.known.remove(&id);
        self.gone.insert(id);
    }

    /// Changes the record of a store that is no tombstone. Returns what to keep, if it is another one now.
    fn change(
        &mut self,
        id: StoreId,
        change: impl FnOnce(&mut Store) -> Result<(), Refused>,
    ) -> Result<Option<Store>, Refused> {
        let mut record = self.get(id)?.record.clone();
        if record.state() == StoreState::Tombstone {
            return Err((Reason::StoreRemoved, format!("store {id} has been removed")));
        }
        change(&mut record)?;
        let entry = self.known.get_mut(&id).filter(|entry| entry.record != record);
        Ok(entry.map(|entry| {
            entry.record = record.clone();
            record
        }))
    }
}

fn tombstone(id: StoreId) -> Refused {
    (Reason::StoreTombstone, format!("store {id} is a tombstone: it has been removed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: StoreId, address: &str) -> Store {
        Store { id, address: address.into(), state: 0, release: Release::DEFAULT.into(), ..Store::default() }
    }

    #[test]
    fn a_record_lives_through_its_states_and_never_back() {
        let mut stores = Stores::default();
        let now = Instant(5);
        assert_eq!(stores.get(7).map(|_| ()), Err((Reason::StoreNotFound, "invalid store ID 7, not found".into())));
        assert_eq!(stores.put(record(7, "a"), now), Ok(Some(record(7, "a"))));
        assert_eq!(stores.put(record(7, "a"), now), Ok(None), "nothing new");
        assert_eq!(stores.put(record(8, "a"), now).map_err(|refused| refused.0), Err(Reason::DuplicateAddress));
        assert_eq!(stores.put(record(7, "b"), now), Ok(Some(record(7, "b"))), "it moved");
        assert_eq!(stores.bury(7, 9), None, "an Up store is not buried");

        let mut drained = record(7, "b");
        drained.set_state(StoreState::Offline);
        assert_eq!(stores.remove(7, false), Ok(Some(drained.clone())));
        assert_eq!(stores.up(7), Ok(Some(record(7, "b"))), "not drained yet");
        assert_eq!(stores.remove(7, false), Ok(Some(drained.clone())));
        assert_eq!(stores.remove(7, false), Ok(None));
        assert_eq!(stores.put(record(7, "b"), now), Ok(None), "it stays Offline");
        assert_eq!(stores.heard(StoreHeartbeat { store: 7, ..Default::default() }, Instant(9)), Ok(()));
        assert_eq!(stores.entry(7).map(|entry| entry.heard), Some(Instant(9)));
        drained.set_state(StoreState::Tombstone);
        drained.buried_ns = 9;
        assert_eq!(stores.bury(7, 9), Some(drained));
        for refused in [stores.remove(7, false), stores.up(7)] {
            assert_eq!(refused.map_err(|refused| refused.0), Err(Reason::StoreRemoved));
        }
        assert_eq!(stores.put(record(7, "b"), now).map_err(|refused| refused.0), Err(Reason::StoreTombstone));
        let heard = stores.heard(StoreHeartbeat { store: 7, ..Default::default() }, now);
        assert_eq!(heard.map_err(|refused| refused.0), Err(Reason::StoreTombstone));
        assert_eq!(stores.put(record(8, "b"), now), Ok(Some(record(8, "b"))), "a tombstone frees its address");
        stores.delete(7);
        assert_eq!(stores.get(7).map(|_| ()).map_err(|refused| refused.0), Err(Reason::StoreNotFound));
        assert_eq!(stores.put(record(7, "c"), now).map_err(|refused| refused.0), Err(Reason::StoreTombstone));
        let heard = stores.heard(StoreHeartbeat { store: 7, ..Default::default() }, now);
        assert_eq!(heard.map_err(|refused| refused.0), Err(Reason::StoreTombstone), "it had not heard of it before");
    }

    #[test]
    fn a_destroyed_store_stays_away_and_a_silent_one_can_be_buried() {
        let (mut stores, later) = (Stores::default(), Instant(30));
        for (id, address) in [(7, "a"), (8, "b")] {
            stores.put(record(id, address), Instant(0)).expect("registered");
        }
        stores.remove(7, true).expect("it was up");
        assert_eq!(stores.up(7).map_err(|refused| refused.0), Err(Reason::StoreRemoved));
        assert_eq!(stores.put(record(9, "a"), later).map(|put| put.is_some()), Ok(true), "its address is free");
        let disconnected = Duration::from_nanos(20);
        let bury = |stores: &mut Stores, id, now| {
            stores
                .bury_by_force(id, Instant(now), disconnected, 1)
                .map(|put| put.is_some())
                .map_err(|refused| refused.0)
        };
        assert_eq!(bury(&mut stores, 8, 19), Err(Reason::StoreIsUp));
        assert_eq!(bury(&mut stores, 8, 20), Ok(true));
        assert_eq!(bury(&mut stores, 8, 20), Err(Reason::StoreRemoved));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut stores = Stores::default();
        let odd = Store { release: "1.0".into(), ..record(1, "a") };
        for store in [record(0, "a"), record(1, ""), odd] {
            assert_eq!(stores.put(store, Instant(0)).map_err(|refused| refused.0), Err(Reason::Invalid));
        }
    }
}
