//! The stores' records and how they were last heard of.
//!
//! A record's life: Up, Offline while it is drained, Tombstone when it holds nothing any more; at last the record can
//! be deleted, and the store is then as unknown as one that never was.

use std::{collections::BTreeMap, time::Duration};

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
        self.record.labels.iter().any(|label| label.key == "engine" && label.value == "tiflash")
    }

    /// For how long nothing was heard of it.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        now.since(self.heard)
    }
}

/// Why a store's request is refused.
pub(super) type Refused = (Reason, String);

/// All stores' records.
#[derive(Debug, Default)]
pub(super) struct Stores(BTreeMap<StoreId, Entry>);

impl Stores {
    /// Takes a record that was read back; the store counts as heard of now.
    pub(super) fn restore(&mut self, record: Store, now: Instant) {
        self.0.insert(record.id, Entry { record, heard: now, stats: StoreHeartbeat::default() });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (StoreId, &Entry)> {
        self.0.iter().map(|(&id, entry)| (id, entry))
    }

    pub(super) fn entry(&self, id: StoreId) -> Option<&Entry> {
        self.0.get(&id)
    }

    /// The record of a store, a tombstone's too.
    pub(super) fn get(&self, id: StoreId) -> Result<&Entry, Refused> {
        self.0.get(&id).ok_or_else(|| (Reason::StoreNotFound, format!("invalid store ID {id}, not found")))
    }

    /// Registers a store, or takes its new address, release and labels. Returns the record to keep, if it is new.
    pub(super) fn put(&mut self, mut record: Store, now: Instant) -> Result<Option<Store>, Refused> {
        if record.id == 0 || record.address.is_empty() {
            return Err((Reason::Invalid, format!("invalid put store {record:?}")));
        }
        Release::parse(&record.release).map_err(|error| (Reason::Invalid, error.to_string()))?;
        record.labels.sort_by(|a, b| a.key.cmp(&b.key));
        let old = self.0.get(&record.id);
        if old.is_some_and(|old| old.state() == StoreState::Tombstone) {
            return Err(tombstone(record.id));
        }
        let same_address = |(id, other): (StoreId, &Entry)| {
            (id != record.id && other.state() != StoreState::Tombstone && other.record.address == record.address)
                .then_some(other.record.id)
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
        let stats = old.map(|old| old.stats.clone()).unwrap_or_default();
        let changed = old.is_none_or(|old| old.record != record);
        self.0.insert(record.id, Entry { record: record.clone(), heard: now, stats });
        Ok(changed.then_some(record))
    }

    /// A store lives.
    pub(super) fn heard(&mut self, heartbeat: StoreHeartbeat, now: Instant) -> Result<(), Refused> {
        let id = heartbeat.store;
        if self.get(id)?.state() == StoreState::Tombstone {
            return Err(tombstone(id));
        }
        if let Some(entry) = self.0.get_mut(&id) {
            entry.heard = now;
            entry.stats = heartbeat;
        }
        Ok(())
    }

    /// Takes a store to its tombstone whatever it holds: it is lost. Returns the record to keep.
    pub(super) fn bury_lost(&mut self, id: StoreId) -> Option<Store> {
        let entry = self.0.get_mut(&id).filter(|entry| entry.state() != StoreState::Tombstone)?;
        entry.record.set_state(StoreState::Tombstone);
        Some(entry.record.clone())
    }

    /// Takes an Offline store that holds nothing any more to its tombstone. Returns the record to keep.
    pub(super) fn bury(&mut self, id: StoreId) -> Option<Store> {
        let entry = self.0.get_mut(&id).filter(|entry| entry.state() == StoreState::Offline)?;
        entry.record.set_state(StoreState::Tombstone);
        Some(entry.record.clone())
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
        assert_eq!(stores.bury(7), None, "an Up store is not buried");

        let mut drained = record(7, "b");
        drained.set_state(StoreState::Offline);
        stores.restore(drained.clone(), now);
        assert_eq!(stores.put(record(7, "b"), now), Ok(None), "it stays Offline");
        assert_eq!(stores.heard(StoreHeartbeat { store: 7, ..Default::default() }, Instant(9)), Ok(()));
        assert_eq!(stores.entry(7).map(|entry| entry.heard), Some(Instant(9)));
        drained.set_state(StoreState::Tombstone);
        assert_eq!(stores.bury(7), Some(drained));
        assert_eq!(stores.put(record(7, "b"), now).map_err(|refused| refused.0), Err(Reason::StoreTombstone));
        let heard = stores.heard(StoreHeartbeat { store: 7, ..Default::default() }, now);
        assert_eq!(heard.map_err(|refused| refused.0), Err(Reason::StoreTombstone));
        assert_eq!(stores.put(record(8, "b"), now), Ok(Some(record(8, "b"))), "a tombstone frees its address");
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
