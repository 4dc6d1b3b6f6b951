//! The driver's part about stores' lives: taken out of service and back, drained, buried, forgotten.
//!
//! A store is buried by itself once nothing is on it: no region that is known has a peer there, none is being added,
//! and the known regions leave no hole in which one could hide. A tombstone's record is deleted by command, or when it is
//! old, and never while a region has a peer there, or one that is not known may have one, as after a recovery: of such a
//! peer nobody could say any more whether it is lost.

use super::{Driver, Refused, done};
use crate::{
    env::Instant,
    pd::{fact::Fact, kept::Change, timestamps::nanos},
    region::StoreId,
    wire::placement::{Answer, Ids, RemoveStore, StoreState},
};

impl Driver {
    /// Takes a store out of service.
    pub(super) fn remove_store(&mut self, ask: RemoveStore) -> Result<Answer, Refused> {
        if let Some(record) = self.stores.remove(ask.store, ask.is_destroyed)? {
            self.keep_store(record);
        }
        Ok(done())
    }

    /// Takes a store that is being drained back.
    pub(super) fn up_store(&mut self, id: StoreId) -> Result<Answer, Refused> {
        if let Some(record) = self.stores.up(id)? {
            self.keep_store(record);
        }
        Ok(done())
    }

    /// Makes a store a tombstone that nothing was heard of, whatever is on it.
    pub(super) fn bury_store(&mut self, id: StoreId, now: Instant, wall_ns: u64) -> Result<Answer, Refused> {
        if let Some(record) = self.stores.bury_by_force(id, now, self.options.store_disconnected, wall_ns)? {
            self.keep_store(record);
        }
        Ok(done())
    }

    /// Deletes the records of tombstones on which there is nothing.
    pub(super) fn remove_tombstones(&mut self) -> Answer {
        let tombstones = self.stores.all().filter(|(_, entry)| entry.state() == StoreState::Tombstone);
        let tombstones: Vec<StoreId> = tombstones.map(|(id, _)| id).collect();
        Answer::Ids(Ids { ids: tombstones.into_iter().filter(|&id| self.delete_store(id)).collect() })
    }

    /// What happens to stores by time alone.
    pub(super) fn tend_stores(&mut self, wall_ns: u64) {
        let offline = self.stores.all().filter(|(_, entry)| entry.state() == StoreState::Offline);
        let drained: Vec<StoreId> = offline.map(|(id, _)| id).filter(|&id| self.is_drained(id)).collect();
        for id in drained {
            if let Some(record) = self.stores.bury(id, wall_ns) {
                self.keep_store(record);
            }
        }
        let keep_ns = nanos(self.options.tombstone_kept);
        // One that was lost in a disaster has no time of its own: its record stays until somebody takes it away.
        let is_old = |buried_ns: u64| buried_ns > 0 && wall_ns.saturating_sub(buried_ns) >= keep_ns;
        let tombstones = self.stores.all().filter(|(_, entry)| entry.state() == StoreState::Tombstone);
        let old = tombstones.filter(|(_, entry)| is_old(entry.record.buried_ns)).map(|(id, _)| id);
        for id in old.collect::<Vec<StoreId>>() {
            self.delete_store(id);
        }
    }

    fn is_drained(&self, id: StoreId) -> bool {
        self.regions.count_on(id) == 0 && self.operators.adding(id) == 0 && self.regions.cover_all()
    }

    /// Deletes a tombstone's record, unless something is or may be left on it. Whether it did.
    fn delete_store(&mut self, id: StoreId) -> bool {
        let regions = self.regions.count_on(id) as u64;
        if regions > 0 {
            self.effects.facts.push(Fact::TombstoneHasPeers { store: id, regions });
            // The defect deletes the record all the same.
            if !failpoints::defect!(self.points, crate::defects::PD_3664) {
                return false;
            }
        } else if !self.regions.cover_all() {
            return false;
        }
        self.stores.delete(id);
        self.keep(Change::NoStore(id), Fact::StoreDeleted { store: id });
        true
    }
}
