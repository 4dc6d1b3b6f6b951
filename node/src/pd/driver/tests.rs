//! Conversations with the placement driver, without a disk.

use std::time::Duration;

use super::*;
use crate::{
    region::{Epoch, Peer, PeerId, Role, StoreId},
    release::Release,
    wire::{
        command::ChangeKind,
        placement::{
            Count, Id, Key, Label, Progress, Regions as RegionList, RemoveStore, Step, StoreHeartbeat, StoreState,
            TiflashReplica, Version, Versions,
        },
    },
};

const SECOND: u64 = 1_000_000_000;

struct Talk {
    driver: Driver,
    now: u64,
    changes: Vec<Change>,
    facts: Vec<Fact>,
}

impl Talk {
    fn new(options: Options) -> Talk {
        let driver = Driver::resume(options, &Points::default(), Kept::default(), Instant(0));
        Talk { driver, now: 0, changes: vec![], facts: vec![] }
    }

    /// A founded cluster of three stores, with region 100 on store 1.
    fn founded(options: Options) -> Talk {
        let mut talk = Talk::new(options);
        talk.ask(Ask::Bootstrap(Bootstrap { store: store(1), region: region(&[(101, 1)], 1) })).expect("founded");
        for id in [2, 3] {
            talk.ask(Ask::PutStore(store(id))).expect("registered");
        }
        talk
    }

    fn ask(&mut self, ask: Ask) -> Result<Answer, Refused> {
        let answer = self.driver.answer(ask, Instant(self.now), self.now);
        self.collect();
        answer
    }

    fn collect(&mut self) {
        let effects = self.driver.take_effects();
        self.changes.extend(effects.changes);
        self.facts.extend(effects.facts);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
        self.driver.tick(Instant(self.now), self.now);
        self.collect();
    }

    fn next(&mut self, region: Region, pending: &[PeerId]) -> Option<Step> {
        for store in 1..=3 {
            let heartbeat = StoreHeartbeat { store, ..Default::default() };
            self.ask(Ask::StoreHeartbeat(heartbeat)).expect("a registered store");
        }
        let heartbeat = RegionHeartbeat {
            leader: region.peers[0],
            region,
            term: 6,
            pending: pending.to_vec(),
            ..Default::default()
        };
        match self.ask(Ask::RegionHeartbeat(heartbeat)) {
            Ok(Answer::Next(next)) => next.step,
            other => panic!("{other:?}"),
        }
    }

    /// The same placement driver after a restart, from what was written.
    fn restart(self, options: Options) -> Talk {
        let mut kept = Kept::default();
        for change in self.changes.iter().cloned() {
            match change {
                Change::Founded => kept.cluster = true,
                Change::Ids(upto) => kept.ids = upto,
                Change::Timestamps(upto) => kept.timestamps = upto,
                Change::SafePoint(safe_point) => kept.safe_point = safe_point,
                Change::RecoveryStep(step) => kept.recovery_step = step,
                Change::Store(record) => {
                    kept.stores.retain(|known| known.id != record.id);
                    kept.stores.push(record);
                }
                Change::NoStore(id) => {
                    kept.stores.retain(|record| record.id != id);
                    kept.gone.insert(id);
                }
                Change::Ran(id, names) => kept.ran.push((id, names)),
                Change::Region(region) => kept.regions.push(Region::clone(&region)),
                Change::NoRegion(id) => kept.regions.retain(|region| region.id != id),
                Change::Rule(rule) => kept.rules.restore(rule).expect("it is a table's"),
                Change::NoRule(_) => kept.rules = Rules::default(),
            }
        }
        Talk { driver: Driver::resume(options, &Points::default(), kept, Instant(0)), ..self }
    }
}

fn options() -> Options {
    Options::new("pd:1")
}

fn store(id: StoreId) -> Store {
    Store { id, address: format!("store-{id}"), state: 0, release: Release::DEFAULT.into(), ..Store::default() }
}

fn region(voters: &[(PeerId, StoreId)], conf_ver: u64) -> Region {
    let peers = voters.iter().map(|&(id, store)| Peer { id, store, role: Role::Voter as i32 }).collect();
    Region { id: 100, start: "".into(), end: "".into(), epoch: Epoch { conf_ver, version: 1 }, peers }
}

fn reason(result: Result<Answer, Refused>) -> Option<Reason> {
    result.err().map(|refused| refused.0)
}

#[test]
fn a_cluster_is_founded_once_and_by_one() {
    let mut talk = Talk::new(options());
    assert_eq!(reason(talk.ask(Ask::GetRegion(Key { key: "a".into() }))), Some(Reason::NotBootstrapped));
    let by = |id, peer| Ask::Bootstrap(Bootstrap { store: store(id), region: region(&[(peer, 1)], 1) });
    assert_eq!(reason(talk.ask(by(2, 101))), Some(Reason::Invalid), "the first peer lives elsewhere");
    assert_eq!(talk.ask(by(1, 101)), Ok(done()));
    assert_eq!(talk.ask(by(1, 101)), Ok(done()), "its answer was lost and it asks again");
    let other = Ask::Bootstrap(Bootstrap { store: store(2), region: region(&[(7, 2)], 1) });
    assert_eq!(reason(talk.ask(other)), Some(Reason::AlreadyBootstrapped));
    let found = talk.ask(Ask::GetRegion(Key { key: "zzz".into() }));
    assert!(matches!(found, Ok(Answer::Region(located)) if located.region.id == 100 && located.leader.is_none()));
    let missing = talk.ask(Ask::GetStore(Id { id: 6365 }));
    assert_eq!(missing, Err((Reason::StoreNotFound, "invalid store ID 6365, not found".into())));
}

#[test]
fn one_replica_grows_to_three_by_learners_that_become_voters() {
    let mut talk = Talk::founded(options());
    let mut now = region(&[(101, 1)], 1);
    let mut story = vec![];
    let mut pending = vec![];
    for _ in 0..12 {
        match talk.next(now.clone(), &pending) {
            None => pending.clear(),
            Some(Step::ChangePeers(change)) => {
                let [change] = &change.changes[..] else { panic!("one change at a time") };
                story.push((change.kind(), change.peer.store));
                now.epoch.conf_ver += 1;
                now.peers.retain(|peer| peer.id != change.peer.id);
                now.peers.push(change.peer);
                if change.kind() == ChangeKind::AddLearner {
                    pending.push(change.peer.id);
                }
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    use ChangeKind::{AddLearner, AddVoter};
    assert_eq!(story, [(AddLearner, 2), (AddVoter, 2), (AddLearner, 3), (AddVoter, 3)]);
    assert_eq!(now.peers.iter().map(|peer| peer.role()).collect::<Vec<_>>(), [Role::Voter; 3]);
    let ended = talk.facts.iter().filter(|fact| matches!(fact, Fact::OperatorEnded { .. })).count();
    assert_eq!(ended, 2);
}

#[test]
fn an_operator_that_gets_nowhere_times_out_and_is_made_again() {
    let mut talk = Talk::founded(Options { operator_timeout: Duration::from_secs(60), ..options() });
    let created = |talk: &Talk| talk.facts.iter().filter(|fact| matches!(fact, Fact::OperatorCreated { .. })).count();
    let alone = region(&[(101, 1)], 1);
    assert!(talk.next(alone.clone(), &[]).is_some());
    talk.pass(30);
    assert!(talk.next(alone.clone(), &[]).is_some());
    assert_eq!(created(&talk), 1);
    talk.pass(31);
    let timeout = |fact: &Fact| matches!(fact, Fact::OperatorEnded { outcome, .. } if outcome.as_str() == "timeout");
    assert!(talk.facts.iter().any(timeout));
    assert!(talk.next(alone, &[]).is_some());
    assert_eq!(created(&talk), 2);
}

#[test]
fn nothing_is_given_out_twice_across_restarts() {
    let mut talk = Talk::founded(options());
    let mut seen = std::collections::BTreeSet::new();
    let mut highest = 0;
    for _ in 0..4 {
        for _ in 0..40 {
            let ask = AskSplit { region: region(&[(101, 1), (102, 2)], 1), count: 2 };
            let Ok(Answer::SplitIds(ids)) = talk.ask(Ask::AskSplit(ask)) else { panic!("refused") };
            for child in ids.children {
                assert_eq!(child.peers.len(), 2);
                for id in child.peers.into_iter().chain([child.region]) {
                    assert!(seen.insert(id), "id {id} again");
                }
            }
        }
        let Ok(Answer::Range(range)) = talk.ask(Ask::Timestamps(Count { count: 5 })) else { panic!("refused") };
        assert!(range.first > highest, "timestamp {} after {highest}", range.first);
        highest = range.first + 4;
        talk = talk.restart(options());
        let Ok(Answer::Truth(truth)) = talk.ask(Ask::IsBootstrapped(Nothing {})) else { panic!("refused") };
        assert!(truth.yes);
    }
}

#[test]
fn a_split_is_routed_as_soon_as_it_is_reported() {
    let mut talk = Talk::founded(options());
    let mut right = region(&[(101, 1)], 1);
    right.epoch.version = 2;
    let mut left = right.clone();
    (left.id, left.end) = (200, "m".into());
    right.start = "m".into();
    assert_eq!(talk.ask(Ask::ReportSplit(RegionList { regions: vec![left, right] })), Ok(done()));
    for (key, id) in [("a", 200), ("m", 100)] {
        let Ok(Answer::Region(located)) = talk.ask(Ask::GetRegion(Key { key: key.into() })) else { panic!("{key}") };
        assert_eq!(located.region.id, id);
    }
    let stale = RegionHeartbeat { region: region(&[(101, 1)], 1), term: 9, ..Default::default() };
    assert_eq!(reason(talk.ask(Ask::RegionHeartbeat(stale))), Some(Reason::StaleRegion));
    let ask = AskSplit { region: region(&[(101, 1)], 1), count: 1 };
    assert_eq!(reason(talk.ask(Ask::AskSplit(ask))), Some(Reason::StaleRegion));
}

#[test]
fn who_was_let_in_as_a_release_may_have_run_as_it() {
    let at = |address: &str, release: &str| Store { address: address.into(), release: release.into(), ..store(1) };
    let mut talk = Talk::new(options());
    let first = Ask::Bootstrap(Bootstrap { store: at("store-1", "8.1.0"), region: region(&[(101, 1)], 1) });
    talk.ask(first).expect("founded");
    let check = |talk: &mut Talk, release| talk.ask(Ask::CheckRelease(at("store-1", release)));
    for release in ["8.1.2", "8.1.0", "8.1.2"] {
        assert!(check(&mut talk, release).is_ok(), "{release}");
    }
    // As 8.1.0 it could not read what it may have written; it ended before it registered.
    assert!(check(&mut talk, "8.5.0").is_ok());
    let mut talk = talk.restart(options());
    assert_eq!(reason(check(&mut talk, "8.1.0")), Some(Reason::ReleaseRefused));
    assert!(check(&mut talk, "8.5.0").is_ok());
}

#[test]
fn the_safe_point_follows_the_clock_and_never_passes_what_was_given_out() {
    let mut talk = Talk::founded(Options { safe_point_retention: Duration::from_secs(600), ..options() });
    let safe_point =
        |talk: &mut Talk| match talk.ask(Ask::StoreHeartbeat(StoreHeartbeat { store: 1, ..Default::default() })) {
            Ok(Answer::Heard(heard)) => heard.safe_point,
            other => panic!("{other:?}"),
        };
    talk.pass(3600);
    assert_eq!(safe_point(&mut talk), 0, "no timestamp was given out yet");
    talk.ask(Ask::Timestamps(Count { count: 1 })).expect("one timestamp");
    talk.pass(1);
    assert_eq!(safe_point(&mut talk), timestamp_at(3000 * SECOND));
    let beyond = Ask::AdvanceSafePoint(SafePoint { timestamp: u64::MAX });
    assert_eq!(reason(talk.ask(beyond)), Some(Reason::Invalid));
    talk.now = 0;
    talk.pass(0);
    assert_eq!(safe_point(&mut talk), timestamp_at(3000 * SECOND), "it never falls");
}

#[test]
fn a_table_is_available_once_its_replicas_are_reported() {
    let mut talk = Talk::founded(options());
    let columnar = Store { labels: vec![Label { key: "engine".into(), value: "tiflash".into() }], ..store(9) };
    talk.ask(Ask::PutStore(columnar)).expect("registered");
    let voters = [(101, 1), (102, 2), (103, 3)];
    talk.next(region(&voters, 5), &[]);
    let ask = TiflashReplica { table: 7, count: 1, ..Default::default() };
    assert_eq!(talk.ask(Ask::SetTiflashReplica(ask)), Ok(done()));
    let Some(Step::ChangePeers(step)) = talk.next(region(&voters, 5), &[]) else { panic!("a learner is wanted") };
    let learner = step.changes[0].peer;
    assert_eq!((learner.store, learner.role()), (9, Role::Learner));
    let mut grown = region(&voters, 6);
    grown.peers.push(learner);
    assert_eq!(talk.next(grown.clone(), &[]), None);

    // The region's list alone is not enough, and what was asked outlasts a restart.
    let mut talk = talk.restart(options());
    let progress = |talk: &mut Talk| match talk.ask(Ask::TableProgress(Id { id: 7 })) {
        Ok(Answer::Progress(Progress { regions, peers, available, stores, .. })) => (regions, peers, available, stores),
        other => panic!("{other:?}"),
    };
    assert_eq!(progress(&mut talk), (1, 0, 0, 1));
    let heartbeat = StoreHeartbeat { store: 9, caught_up: vec![100], ..Default::default() };
    talk.ask(Ask::StoreHeartbeat(heartbeat)).expect("a registered store");
    assert_eq!(progress(&mut talk), (1, 1, 1, 1));
    talk.pass(1);
    talk.pass(1);
    let stated = |fact: &&Fact| matches!(fact, Fact::TableProgress { table: 7, available: 1, .. });
    assert_eq!(talk.facts.iter().filter(stated).count(), 1, "only what is new is stated");
    // Nobody reports: nothing is available, whatever the region lists.
    talk.pass(60);
    assert_eq!(progress(&mut talk), (1, 0, 0, 0));
    talk.ask(Ask::SetTiflashReplica(TiflashReplica { table: 7, ..Default::default() })).expect("taken away");
    assert_eq!(reason(talk.ask(Ask::TableProgress(Id { id: 7 }))), Some(Reason::TableNotFound));
    let Some(Step::ChangePeers(step)) = talk.next(grown, &[]) else { panic!("the learner goes") };
    assert_eq!(step.changes[0].kind(), ChangeKind::Remove);
}

#[test]
fn a_store_is_drained_buried_and_forgotten() {
    let kept = Duration::from_secs(3600);
    let mut talk = Talk::founded(Options { tombstone_kept: kept, replicas: 1, ..options() });
    talk.next(region(&[(101, 1)], 1), &[]);
    talk.ask(Ask::RemoveStore(RemoveStore { store: 1, is_destroyed: false })).expect("it was up");
    talk.pass(1);
    let state = |talk: &mut Talk, id| match talk.ask(Ask::GetStore(Id { id })) {
        Ok(Answer::Store(store)) => Some(store.state()),
        _ => None,
    };
    assert_eq!(state(&mut talk, 1), Some(StoreState::Offline), "it still holds a region");
    let removed = |talk: &mut Talk| match talk.ask(Ask::RemoveTombstones(Nothing {})) {
        Ok(Answer::Ids(ids)) => ids.ids,
        other => panic!("{other:?}"),
    };
    assert!(removed(&mut talk).is_empty(), "it is no tombstone");
    talk.next(region(&[(102, 2)], 5), &[]);
    talk.pass(1);
    assert_eq!(state(&mut talk, 1), Some(StoreState::Tombstone));
    // A region that names it again keeps the record.
    talk.ask(Ask::RegionHeartbeat(RegionHeartbeat {
        region: region(&[(102, 2), (103, 1)], 6),
        term: 6,
        ..Default::default()
    }))
    .expect("it is newer");
    assert!(removed(&mut talk).is_empty());
    assert!(talk.facts.contains(&Fact::TombstoneHasPeers { store: 1, regions: 1 }));
    talk.ask(Ask::RegionHeartbeat(RegionHeartbeat { region: region(&[(102, 2)], 7), term: 6, ..Default::default() }))
        .expect("it is newer");
    talk.pass(3700);
    assert_eq!(state(&mut talk, 1), None, "old enough to be forgotten");
    let mut talk = talk.restart(options());
    assert_eq!(reason(talk.ask(Ask::PutStore(store(1)))), Some(Reason::StoreTombstone), "its id never returns");
}

#[test]
fn a_store_is_not_buried_while_regions_are_unknown() {
    let mut talk = Talk::founded(Options { replicas: 1, ..options() });
    talk.ask(Ask::RemoveStore(RemoveStore { store: 1, is_destroyed: false })).expect("it was up");
    // The other half of a split has not been heard of.
    let mut half = region(&[(102, 2)], 5);
    (half.start, half.epoch.version) = ("m".into(), 2);
    talk.ask(Ask::RegionHeartbeat(RegionHeartbeat { region: half, term: 6, ..Default::default() }))
        .expect("it is newer");
    talk.pass(1);
    assert!(
        !talk.facts.iter().any(|fact| matches!(fact, Fact::StorePut { state, .. } if state.as_str() == "tombstone"))
    );
}

#[test]
fn a_tombstones_record_stays_while_regions_are_unknown() {
    let mut talk = Talk::founded(Options { replicas: 1, ..options() });
    talk.ask(Ask::RemoveStore(RemoveStore { store: 1, is_destroyed: false })).expect("it was up");
    talk.next(region(&[(102, 2)], 5), &[]);
    talk.pass(1);
    let mut half = region(&[(102, 2)], 6);
    (half.start, half.epoch.version) = ("m".into(), 2);
    let mut removed = |heard: crate::region::Region| {
        talk.ask(Ask::RegionHeartbeat(RegionHeartbeat { region: heard, term: 6, ..Default::default() }))
            .expect("it is newer");
        match talk.ask(Ask::RemoveTombstones(Nothing {})) {
            Ok(Answer::Ids(ids)) => ids.ids,
            other => panic!("{other:?}"),
        }
    };
    assert!(removed(half.clone()).is_empty(), "the other half may be there");
    (half.start, half.epoch.version) = ("".into(), 3);
    assert_eq!(removed(half), [1], "all of it is elsewhere");
}

#[test]
fn of_a_region_nothing_is_said_before_its_leader_was_heard_of_nor_during_a_recovery() {
    let mut talk = Talk::founded(options());
    let about = |talk: &mut Talk, id| reason(talk.ask(Ask::GetRegionById(Id { id })));
    talk.next(region(&[(101, 1)], 1), &[]);
    assert_eq!([about(&mut talk, 100), about(&mut talk, 200)], [None, Some(Reason::RegionNotFound)]);
    let mut talk = talk.restart(options());
    // A split that was reported before it may be lost, and what is left of the parent covers all keys.
    let unknown = Some(Reason::RegionsUnknown);
    assert_eq!([about(&mut talk, 100), about(&mut talk, 200)], [unknown, unknown]);
    talk.next(region(&[(101, 1)], 1), &[]);
    assert_eq!([about(&mut talk, 100), about(&mut talk, 200)], [None, Some(Reason::RegionNotFound)]);
    talk.pass(3600);
    let lost = RemoveFailedStores { stores: vec![1], timeout_ms: 60_000 };
    talk.ask(Ask::RemoveFailedStores(lost)).expect("it is silent");
    assert_eq!([about(&mut talk, 100), about(&mut talk, 200)], [unknown, unknown]);
}

#[test]
fn a_store_hears_which_of_its_sleeping_regions_have_changed_once_that_is_certain() {
    let mut talk = Talk::founded(options());
    talk.next(region(&[(101, 1), (102, 2)], 7), &[]);
    let named = |conf_ver, version| Epoch { conf_ver, version };
    let ask =
        |talk: &mut Talk, id, epoch| match talk.ask(Ask::Outdated(Versions { regions: vec![Version { id, epoch }] })) {
            Ok(Answer::Ids(ids)) => ids.ids == [id],
            other => panic!("{other:?}"),
        };
    for (id, epoch, expected) in [
        (100, named(7, 1), false),
        (100, named(6, 1), true),
        (100, named(7, 0), true),
        // The driver has not heard yet of what the store has seen.
        (100, named(8, 1), false),
        (200, named(1, 1), true),
    ] {
        assert_eq!(ask(&mut talk, id, epoch), expected, "region {id} at {epoch:?}");
    }
    let mut talk = talk.restart(options());
    assert!(!ask(&mut talk, 200, named(1, 1)), "it may not have been heard of since the restart");
    assert!(ask(&mut talk, 100, named(6, 1)), "what was kept is enough to know better");
}
