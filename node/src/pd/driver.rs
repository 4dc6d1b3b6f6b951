//! The placement driver's mind: every request is answered from memory, and notes what has to be durable first.
//!
//! A pure state machine: time comes in as arguments, and what is to be written and stated goes out as [`Effects`], which
//! whoever owns the disk carries out before any answer leaves. So a batch of requests costs one write, and most
//! batches none.

mod even;
mod stores;
mod tables;

use std::{cell::RefCell, collections::BTreeSet, sync::Arc, time::Duration};

use failpoints::Points;

use crate::{
    env::Instant,
    fact::Text,
    region::{Region, RegionId, StoreId},
    wire::{
        placement::{
            Answer, Ask, AskSplit, Bootstrap, ChildIds, Ids, Located, MergeRegions, Next, Nothing, Range, Reason,
            RegionHeartbeat, SafePoint, SplitIds, Store, StoreState, Stores as StoreList, Truth, Version,
        },
        recovery::{Heard, Plan, RemoveFailedStores, Report},
    },
};

use super::{
    Options,
    fact::Fact,
    kept::Change,
    operators::Operators,
    progress::Stated,
    recovery::Recovery,
    regions::{Known, Put, Regions},
    releases::Releases,
    repair::{View, Wish, wish},
    rules::Rules,
    stores::{Entry, Refused, Stores, is_columnar},
    timestamps::{Sequence, nanos, span, timestamp_at},
};

/// What has to happen before the answers leave.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To write, in order.
    pub changes: Vec<Change>,
    /// Whether the write has to be durable: heartbeats bring lost regions back, nothing else is told twice.
    pub sync: bool,
    /// To state once it is written.
    pub facts: Vec<Fact>,
}

/// What was read back at the start.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub cluster: bool,
    pub ids: u64,
    pub timestamps: u64,
    pub safe_point: u64,
    pub recovery_step: u64,
    pub stores: Vec<Store>,
    /// The releases that each store ran as.
    pub ran: Vec<(StoreId, Vec<String>)>,
    pub regions: Vec<Region>,
    pub rules: Rules,
    /// Stores whose record was deleted: their ids never return.
    pub gone: BTreeSet<StoreId>,
}

/// The state of the placement driver.
pub(super) struct Driver {
    options: Options,
    is_founded: bool,
    ids: Sequence,
    timestamps: Sequence,
    safe_point: u64,
    stores: Stores,
    releases: Releases,
    regions: Regions,
    operators: Operators,
    rules: Rules,
    progress: Stated,
    recovery: Recovery,
    effects: Effects,
    points: Points,
}

impl Driver {
    /// Goes on from what was kept. Stores count as heard of now, so that none is given up for this process's own
    /// absence.
    pub(super) fn resume(options: Options, points: &Points, kept: Kept, now: Instant) -> Driver {
        let mut stores = Stores::resume(kept.gone);
        for record in kept.stores {
            stores.restore(record, now);
        }
        let mut releases = Releases::default();
        for (id, names) in kept.ran {
            releases.restore(id, names);
        }
        let mut regions = Regions::default();
        for region in kept.regions {
            regions.told(Arc::new(region));
        }
        let started = Fact::Started { stores: stores.len() as u64, regions: regions.len() as u64 };
        Driver {
            ids: Sequence::resume(kept.ids, options.ids_ahead),
            timestamps: Sequence::resume(kept.timestamps, span(options.timestamps_ahead)),
            recovery: Recovery::resume(kept.recovery_step, options.recovery_redispatch, points.clone()),
            options,
            is_founded: kept.cluster,
            safe_point: kept.safe_point,
            stores,
            releases,
            regions,
            operators: Operators::default(),
            rules: kept.rules,
            progress: Stated::default(),
            effects: Effects { facts: vec![started], ..Effects::default() },
            points: points.clone(),
        }
    }

    /// What has to happen before the answers given so far may leave.
    pub(super) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Answers one request.
    pub(super) fn answer(&mut self, ask: Ask, now: Instant, wall_ns: u64) -> Result<Answer, Refused> {
        let needs_cluster =
            !matches!(ask, Ask::IsBootstrapped(_) | Ask::Bootstrap(_) | Ask::AllocIds(_) | Ask::Timestamps(_));
        if needs_cluster && !self.is_founded {
            return Err((Reason::NotBootstrapped, "the cluster is not bootstrapped".into()));
        }
        match ask {
            Ask::IsBootstrapped(_) => Ok(Answer::Truth(Truth { yes: self.is_founded })),
            Ask::Bootstrap(founders) => self.bootstrap(founders, now),
            Ask::AllocIds(ask) => {
                let first = self.alloc_ids(ask.count)?;
                Ok(Answer::Range(Range { first, count: ask.count }))
            }
            Ask::Timestamps(ask) => {
                let given = self.timestamps.give(ask.count, timestamp_at(wall_ns));
                let given = given.ok_or_else(|| invalid(format!("{} timestamps at once", ask.count)))?;
                if let Some(upto) = given.save {
                    self.keep(Change::Timestamps(upto), Fact::TimestampsReserved { upto });
                }
                Ok(Answer::Range(Range { first: given.first, count: ask.count }))
            }
            Ask::CheckRelease(record) => {
                self.check_release(&record)?;
                self.note_admitted(&record);
                Ok(done())
            }
            Ask::PutStore(record) => {
                self.check_release(&record)?;
                if let Some(record) = self.stores.put(record, now)? {
                    self.keep_store(record);
                }
                Ok(done())
            }
            Ask::GetStore(ask) => self.stores.get(ask.id).map(|entry| Answer::Store(entry.record.clone())),
            Ask::AllStores(_) => {
                let stores = self.stores.all().map(|(_, entry)| entry.record.clone()).collect();
                Ok(Answer::Stores(StoreList { stores }))
            }
            Ask::StoreHeartbeat(mut heartbeat) => {
                let (store, report) = (heartbeat.store, heartbeat.report.take());
                self.stores.heard(heartbeat, now)?;
                let plan = self.store_reported(store, report, now);
                let recovering = self.recovery.is_running();
                Ok(Answer::Heard(Heard { safe_point: self.safe_point, plan, recovering }))
            }
            Ask::RemoveFailedStores(ask) => self.remove_failed_stores(&ask, now),
            Ask::ShowRecovery(_) => Ok(Answer::Recovery(self.recovery.progress())),
            Ask::RegionHeartbeat(heartbeat) => self.region_heartbeat(heartbeat, now),
            Ask::GetRegion(ask) => {
                let found = self.regions.at(&ask.key).map(located);
                found.ok_or_else(|| (Reason::RegionNotFound, "no region is known for the key".into()))
            }
            Ask::GetRegionById(ask) => self.region_by_id(ask.id),
            Ask::Outdated(ask) => Ok(self.outdated(&ask.regions)),
            Ask::AskSplit(ask) => self.ask_split(&ask),
            Ask::Merge(ask) => self.merge(ask, now),
            Ask::ReportSplit(report) => {
                for region in report.regions {
                    self.check_region(&region)?;
                    let region = Arc::new(region);
                    let put = self.regions.told(Arc::clone(&region));
                    self.keep_region(region.id, put);
                }
                Ok(done())
            }
            Ask::GetSafePoint(_) => Ok(self.safe_point()),
            Ask::AdvanceSafePoint(ask) => {
                if ask.timestamp > self.timestamps.last() {
                    return Err(invalid("a safe point above every timestamp given out".into()));
                }
                self.raise_safe_point(ask.timestamp);
                Ok(self.safe_point())
            }
            Ask::SetTiflashReplica(ask) => self.set_tiflash_replica(ask),
            Ask::AllRules(_) => Ok(self.all_rules()),
            Ask::TableProgress(ask) => self.table_progress(ask.id, now),
            Ask::RemoveStore(ask) => self.remove_store(ask),
            Ask::UpStore(ask) => self.up_store(ask.id),
            Ask::BuryStore(ask) => self.bury_store(ask.id, now, wall_ns),
            Ask::RemoveTombstones(_) => Ok(self.remove_tombstones()),
        }
    }

    /// What happens by time alone: operators expire, drained stores are buried, the safe point follows the clock.
    pub(super) fn tick(&mut self, now: Instant, wall_ns: u64) {
        self.recovery.tick(now);
        self.carry_out_recovery();
        if let Some(before) = now.0.checked_sub(nanos(self.options.operator_timeout)) {
            let ended = self.operators.expire(Instant(before));
            self.effects.facts.extend(ended);
        }
        self.tend_stores(wall_ns);
        self.note_progress(now);
        self.even_out(now);
        // Never above what was given out: the wall clock may have leaped, timestamps have not followed yet.
        let aim = timestamp_at(wall_ns).min(self.timestamps.last());
        let aim = aim.saturating_sub(span(self.options.safe_point_retention));
        if self.is_founded && aim >= self.safe_point.saturating_add(span(self.options.safe_point_step)) {
            self.raise_safe_point(aim);
        }
    }

    fn region_by_id(&self, id: RegionId) -> Result<Answer, Refused> {
        let unknown = |cause: &str| Err((Reason::RegionsUnknown, format!("region {id}: {cause}")));
        // What was known may be ahead of what is left, until it is forgotten.
        if self.recovery.is_running() {
            return unknown("an unsafe recovery is under way");
        }
        // After a recovery, and after a restart, regions are heard of again one by one, and some only once they have
        // elected. What was read back may be older than what was last heard: heartbeats are not synced.
        match self.regions.get(id) {
            Some(known) if known.leader.is_some() => Ok(located(known)),
            Some(_) => unknown("its leader was not heard of yet"),
            None if !self.regions.are_heard() => unknown("some leaders were not heard of yet"),
            None => Err((Reason::RegionNotFound, format!("region {id} not found"))),
        }
    }

    /// Which of these regions are no longer as they are named. What is not certain is not said.
    fn outdated(&self, regions: &[Version]) -> Answer {
        let is_outdated = |named: &&Version| match self.regions.get(named.id) {
            Some(known) => {
                let (known, named) = (known.region.epoch, named.epoch);
                known.conf_ver > named.conf_ver || known.version > named.version
            }
            None => self.regions.are_heard(),
        };
        let sure = !self.recovery.is_running();
        Answer::Ids(Ids {
            ids: regions.iter().filter(|named| sure && is_outdated(named)).map(|named| named.id).collect(),
        })
    }

    fn bootstrap(&mut self, founders: Bootstrap, now: Instant) -> Result<Answer, Refused> {
        let Bootstrap { store, region } = founders;
        if self.is_founded {
            let again = self.regions.get(region.id).is_some() && self.stores.entry(store.id).is_some();
            let refused = || (Reason::AlreadyBootstrapped, "the cluster is already bootstrapped".into());
            return if again { Ok(done()) } else { Err(refused()) };
        }
        let spans_all = region.start.is_empty() && region.end.is_empty();
        let only_here = matches!(&region.peers[..], [peer] if peer.store == store.id && peer.id != 0);
        if region.id == 0 || !spans_all || !only_here {
            return Err(invalid(format!("a first region that is not the whole on store {}: {region:?}", store.id)));
        }
        let (store_id, region_id) = (store.id, region.id);
        let record = self.stores.put(store, now)?;
        self.is_founded = true;
        self.keep(Change::Founded, Fact::Bootstrapped { store: store_id, region: region_id });
        if let Some(record) = record {
            self.keep_store(record);
        }
        let put = self.regions.told(Arc::new(region));
        self.keep_region(region_id, put);
        Ok(done())
    }

    fn region_heartbeat(&mut self, heartbeat: RegionHeartbeat, now: Instant) -> Result<Answer, Refused> {
        self.check_region(&heartbeat.region)?;
        let RegionHeartbeat { region, leader, term, down, pending, approximate_size, approximate_keys } = heartbeat;
        let (id, epoch) = (region.id, region.epoch);
        let report = Known {
            region: Arc::new(region),
            leader: Some(leader),
            term,
            down,
            pending,
            size: approximate_size,
            keys: approximate_keys,
        };
        let put = self.regions.heard(report);
        if put == Put::Stale {
            return Err((Reason::StaleRegion, format!("region {id} is stale at {epoch:?}")));
        }
        self.keep_region(id, put);
        if self.recovery.is_running() {
            // Nothing is scheduled: what stores do now is theirs and the recovery's.
            return Ok(Answer::Next(Next { epoch, step: None }));
        }
        let Some(known) = self.regions.get(id) else { return Err(invalid(format!("region {id} vanished"))) };
        let (mut next, said) = self.operators.next(known);
        self.effects.facts.extend(said);
        if !self.operators.has(id) && self.operators.len() < self.options.operators_max {
            let adding = |store| self.operators.adding(store);
            let notes = RefCell::default();
            let (stores, rules, options, points) = (&self.stores, &self.rules, &self.options, &self.points);
            let view = View { stores, rules, options, now, adding: &adding, points, notes: &notes };
            let wish = wish(known, &view);
            self.effects.facts.append(&mut notes.into_inner());
            if let Some(wish) = wish {
                next = self.begin(id, wish, now)?;
            }
        }
        Ok(Answer::Next(next.unwrap_or(Next { epoch, step: None })))
    }

    /// Makes an operator; the fact of it.
    fn plan(&mut self, region: RegionId, wish: Wish, now: Instant) -> Result<Option<Fact>, Refused> {
        let new_peer = wish.needs_peer().then(|| self.alloc_ids(1)).transpose()?;
        let Some(known) = self.regions.get(region) else { return Ok(None) };
        Ok(self.operators.begin(known, wish, new_peer, now))
    }

    fn begin(&mut self, region: RegionId, wish: Wish, now: Instant) -> Result<Option<Next>, Refused> {
        let begun = self.plan(region, wish, now)?;
        self.effects.facts.extend(begun);
        let Some(known) = self.regions.get(region) else { return Ok(None) };
        let (next, said) = self.operators.next(known);
        self.effects.facts.extend(said);
        Ok(next)
    }

    /// Gives stores up for good, and begins to recover what lost its majority with them.
    fn remove_failed_stores(&mut self, ask: &RemoveFailedStores, now: Instant) -> Result<Answer, Refused> {
        if self.recovery.is_running() {
            return Err((Reason::Recovering, "an unsafe recovery is under way".into()));
        }
        if ask.stores.is_empty() {
            return Err(invalid("no store is named as failed".into()));
        }
        for &store in &ask.stores {
            let entry = self.stores.get(store)?;
            let is_up = entry.state() == StoreState::Up && entry.silent(now) < self.options.store_disconnected;
            if is_up {
                return Err((Reason::NotFailed, format!("store {store} is up and connected")));
            }
        }
        for &store in &ask.stores {
            if let Some(record) = self.stores.bury_lost(store) {
                self.keep_store(record);
            }
        }
        let live = self.stores.all().filter(|(_, entry)| entry.state() != StoreState::Tombstone);
        let live = live.map(|(id, entry)| (id, entry.is_columnar()));
        self.recovery.begin(&ask.stores, live, now, Duration::from_millis(ask.timeout_ms));
        self.carry_out_recovery();
        Ok(done())
    }

    /// A store lives, and may have a report; what it is to do for a recovery.
    fn store_reported(&mut self, store: StoreId, report: Option<Report>, now: Instant) -> Option<Plan> {
        if !self.recovery.is_running() {
            return None;
        }
        let Driver { recovery, ids, effects, .. } = self;
        let mut give = || {
            let given = ids.give(2, 0)?;
            if let Some(upto) = given.save {
                effects.changes.push(Change::Ids(upto));
                effects.sync = true;
                effects.facts.push(Fact::IdsReserved { upto });
            }
            Some((given.first, given.first + 1))
        };
        let plan = recovery.heard(store, report, now, &mut give);
        self.carry_out_recovery();
        plan
    }

    /// Keeps and states what the recovery has come to.
    fn carry_out_recovery(&mut self) {
        let did = self.recovery.take_effects();
        if let Some(step) = did.step {
            self.effects.changes.push(Change::RecoveryStep(step));
            self.effects.sync = true;
        }
        self.effects.facts.extend(did.facts);
        if did.ended {
            let forgotten = self.regions.forget();
            self.effects.facts.push(Fact::RegionsForgotten { regions: forgotten.len() as u64 });
            for region in forgotten {
                self.effects.changes.push(Change::NoRegion(region));
                self.effects.facts.extend(self.operators.end(region, "stale"));
            }
        }
    }

    fn merge(&mut self, ask: MergeRegions, now: Instant) -> Result<Answer, Refused> {
        let known = |id| {
            let known = self.regions.get(id).filter(|known| known.leader.is_some()).cloned();
            known.ok_or_else(|| (Reason::RegionNotFound, format!("region {id} not found")))
        };
        let (source, target) = (known(ask.source)?, known(ask.target)?);
        if !source.region.adjoins(&target.region) {
            return Err(invalid(format!("regions {} and {} are no neighbours", ask.source, ask.target)));
        }
        if self.operators.has(ask.source) || self.operators.has(ask.target) {
            return Err(invalid(format!("region {} or {} is being changed", ask.source, ask.target)));
        }
        let count = target.region.peers.len() as u64;
        let first = self.alloc_ids(count)?;
        match self.operators.begin_merge(&source, &target, first..first + count, now) {
            Some(begun) => self.effects.facts.push(begun),
            None => return Err(invalid(format!("a replica of region {} would lose its vote", ask.source))),
        }
        Ok(done())
    }

    fn ask_split(&mut self, ask: &AskSplit) -> Result<Answer, Refused> {
        let region = &ask.region;
        self.check_region(region)?;
        if self.recovery.is_running() {
            return Err((Reason::Recovering, "an unsafe recovery is under way".into()));
        }
        if let Some(known) = self.regions.get(region.id)
            && known.region.epoch.version > region.epoch.version
        {
            return Err((Reason::StaleRegion, format!("region {} is stale at {:?}", region.id, region.epoch)));
        }
        let each = 1 + region.peers.len() as u64;
        let count = ask.count;
        let first = self.alloc_ids(count.saturating_mul(each))?;
        let children = (0..count).map(|number| {
            let region = first + number * each;
            ChildIds { region, peers: (region + 1..region + each).collect() }
        });
        let children = children.collect();
        self.effects.facts.push(Fact::SplitAsked { region: region.id, count });
        Ok(Answer::SplitIds(SplitIds { children }))
    }

    fn alloc_ids(&mut self, count: u64) -> Result<u64, Refused> {
        let given = self.ids.give(count, 0).ok_or_else(|| invalid(format!("{count} ids at once")))?;
        if let Some(upto) = given.save {
            self.keep(Change::Ids(upto), Fact::IdsReserved { upto });
        }
        Ok(given.first)
    }

    fn check_region(&self, region: &Region) -> Result<(), Refused> {
        let is_empty = !region.end.is_empty() && region.start >= region.end;
        if region.id == 0 || region.peers.is_empty() || is_empty {
            return Err(invalid(format!("no region is like {region:?}")));
        }
        Ok(())
    }

    fn safe_point(&self) -> Answer {
        Answer::SafePoint(SafePoint { timestamp: self.safe_point })
    }

    fn raise_safe_point(&mut self, timestamp: u64) {
        if timestamp > self.safe_point {
            self.safe_point = timestamp;
            self.keep(Change::SafePoint(timestamp), Fact::SafePointRaised { timestamp });
        }
    }

    fn keep(&mut self, change: Change, fact: Fact) {
        self.effects.changes.push(change);
        self.effects.sync = true;
        self.effects.facts.push(fact);
    }

    /// Refuses a store whose release does not fit, and states so.
    fn check_release(&mut self, record: &Store) -> Result<(), Refused> {
        let checked = self.releases.check(&record.address, &record.release, &self.stores);
        if let Err((Reason::ReleaseRefused, cause)) = &checked {
            let (address, release) = (record.address.clone().into(), record.release.clone().into());
            self.effects.facts.push(Fact::ReleaseRefused { address, release, cause: cause.clone().into() });
        }
        checked
    }

    /// Who is let in may change its directory, and end before it registers.
    fn note_admitted(&mut self, record: &Store) {
        let is_it = |(_, entry): &(StoreId, &Entry)| {
            entry.record.address == record.address && entry.state() != StoreState::Tombstone
        };
        let there = self.stores.all().find(is_it).map(|(id, _)| id);
        if let Some(id) = there {
            self.note_ran(id, &record.release);
        }
    }

    fn note_ran(&mut self, store: StoreId, release: &str) {
        if let Some(names) = self.releases.ran(store, release) {
            self.effects.changes.push(Change::Ran(store, names));
            self.effects.sync = true;
        }
    }

    fn keep_store(&mut self, record: Store) {
        self.note_ran(record.id, &record.release);
        let fact = Fact::StorePut {
            store: record.id,
            address: Text::from(record.address.clone()),
            state: record.state().name().into(),
            release: Text::from(record.release.clone()),
            columnar: is_columnar(&record),
        };
        self.keep(Change::Store(record), fact);
    }

    fn keep_region(&mut self, id: RegionId, put: Put) {
        let Some(known) = self.regions.get(id) else { return };
        match put {
            Put::Stale | Put::Same => return,
            Put::Leader => {}
            Put::Changed { displaced } => {
                for other in displaced {
                    self.effects.changes.push(Change::NoRegion(other));
                    self.effects.facts.push(Fact::RegionDisplaced { region: other, by: id });
                    self.effects.facts.extend(self.operators.end(other, "stale"));
                }
                self.effects.changes.push(Change::Region(Arc::clone(&known.region)));
            }
        }
        for peer in known.region.peers.iter().filter(|peer| self.stores.entry(peer.store).is_none()) {
            // As upstream puts it: lost the store, maybe you are recovering the PD cluster.
            self.effects.facts.push(Fact::LostTheStore { region: id, store: peer.store });
        }
        let leader = known.leader.map_or(0, |leader| leader.id);
        self.effects.facts.push(Fact::RegionKnown { region: Arc::clone(&known.region), leader, term: known.term });
    }
}

fn located(known: &Known) -> Answer {
    Answer::Region(Located { region: Region::clone(&known.region), leader: known.leader })
}

fn done() -> Answer {
    Answer::Done(Nothing {})
}

fn invalid(detail: String) -> Refused {
    (Reason::Invalid, detail)
}

#[cfg(test)]
mod tests;
