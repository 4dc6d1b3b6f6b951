//! Recoveries of small clusters that do what they are told, without a store.

use std::collections::BTreeSet;

use super::*;
use crate::{
    region::{Epoch, Peer, Region, Role},
    wire::recovery::{Gone, PeerReport},
};

const SECOND: u64 = 1_000_000_000;

/// Stores that carry out plans at once.
struct World {
    recovery: Recovery,
    now: u64,
    peers: BTreeMap<StoreId, Vec<PeerReport>>,
    facts: Vec<Fact>,
    next_id: u64,
    /// Force leaders that do not come about, so many times.
    refusals: BTreeMap<RegionId, u32>,
    /// What a force leader has in its log and applies only before it demotes anybody.
    unapplied: Vec<Peer>,
    /// What stores say is gone from them.
    gone: BTreeMap<StoreId, Vec<Gone>>,
}

/// A peer on a store: `last` and `term` of its log.
fn peer(region: &Region, store: StoreId, term: u64, last: u64) -> (StoreId, PeerReport) {
    let peer = region.peer_on(store).copied().expect("it names the store");
    let report = PeerReport {
        region: region.clone(),
        peer,
        last_term: term,
        last_index: last,
        commit: last,
        applied: last,
        is_force_leader: false,
        has_commit_merge: false,
    };
    (store, report)
}

/// Peers in words, by store: `1 2 5:learner`; their ids are `region * 10 + store`.
fn region(id: RegionId, start: &'static str, end: &'static str, version: u64, words: &str) -> Region {
    let of = |word: &str| {
        let (store, role) = word.split_once(':').unwrap_or((word, ""));
        let store: StoreId = store.parse().expect("a store's id");
        let role = match role {
            "learner" => Role::Learner,
            "incoming" => Role::IncomingVoter,
            "demoting" => Role::DemotingVoter,
            _ => Role::Voter,
        };
        Peer { id: id * 10 + store, store, role: role as i32 }
    };
    let peers = words.split_whitespace().map(of).collect();
    Region { id, start: start.into(), end: end.into(), epoch: Epoch { conf_ver: 1, version }, peers }
}

impl World {
    /// Stores 1.. with these peers; of them `failed` are lost and `columnar` hold learners.
    fn new(peers: Vec<(StoreId, PeerReport)>, failed: &[StoreId], live: &[StoreId], columnar: &[StoreId]) -> World {
        let mut world = World {
            recovery: Recovery::resume(7, Duration::from_secs(60), Points::default()),
            now: 0,
            peers: live.iter().map(|&store| (store, Vec::new())).collect(),
            facts: Vec::new(),
            next_id: 1000,
            refusals: BTreeMap::new(),
            unapplied: Vec::new(),
            gone: BTreeMap::new(),
        };
        for (store, report) in peers {
            if let Some(known) = world.peers.get_mut(&store) {
                known.push(report);
            }
        }
        let stores = live.iter().map(|store| (*store, columnar.contains(store)));
        world.recovery.begin(failed, stores, Instant(0), Duration::from_secs(600));
        world.collect();
        world
    }

    fn collect(&mut self) {
        self.facts.extend(self.recovery.take_effects().facts);
    }

    fn heard(&mut self, store: StoreId, report: Option<Report>) -> Option<Plan> {
        let next = &mut self.next_id;
        let mut ids = || {
            *next += 2;
            Some((*next, *next + 1))
        };
        let plan = self.recovery.heard(store, report, Instant(self.now), &mut ids);
        self.collect();
        plan
    }

    /// One round of heartbeats: every store is told, does it, and reports.
    fn round(&mut self) {
        self.now += SECOND;
        for store in self.peers.keys().copied().collect::<Vec<_>>() {
            if let Some(plan) = self.heard(store, None) {
                let step = plan.step;
                self.carry_out(store, plan);
                let report = self.report(store, step);
                // What comes back at once belongs to the next step, and is had again in the next round.
                self.heard(store, Some(report)).into_iter().for_each(|next| {
                    let step = next.step;
                    self.carry_out(store, next);
                    let report = self.report(store, step);
                    self.heard(store, Some(report));
                });
            }
        }
    }

    fn report(&self, store: StoreId, step: u64) -> Report {
        let gone = self.gone.get(&store).cloned().unwrap_or_default();
        Report { step, peers: self.peers[&store].clone(), gone }
    }

    fn carry_out(&mut self, store: StoreId, plan: Plan) {
        let there: BTreeSet<PeerId> = self.peers.values().flatten().map(|peer| peer.peer.id).collect();
        let peers = self.peers.get_mut(&store).expect("a live store");
        for region in plan.tombstones {
            peers.retain(|peer| peer.region.id != region);
        }
        for region in plan.creates {
            let report =
                PeerReport { region, last_term: 5, last_index: 5, commit: 5, applied: 5, ..Default::default() };
            peers.push(PeerReport { peer: report.region.peers[0], ..report });
        }
        for demote in &plan.demotes {
            let mine = peers.iter_mut().find(|peer| peer.region.id == demote.region).expect("it is led here");
            assert!(mine.is_force_leader, "only a force leader can demote");
            mine.region.peers.append(&mut self.unapplied);
            for lost in &demote.failed {
                mine.region.peers.retain(|peer| peer.id != lost.id || peer.role() != Role::Learner);
                mine.region.peers.iter_mut().filter(|peer| peer.id == lost.id).for_each(|peer| {
                    peer.set_role(Role::Learner);
                });
            }
            let me = mine.peer.id;
            mine.region.peers.iter_mut().for_each(|peer| match peer.role() {
                Role::IncomingVoter => peer.set_role(Role::Voter),
                Role::DemotingVoter => peer.set_role(Role::Learner),
                Role::Learner if peer.id == me => peer.set_role(Role::Voter),
                _ => {}
            });
            mine.region.epoch.conf_ver += 1;
            mine.is_force_leader = false;
        }
        match plan.force_leader {
            Some(force) => {
                for region in force.regions {
                    let refusals = self.refusals.entry(region).or_default();
                    if *refusals > 0 {
                        *refusals -= 1;
                        continue;
                    }
                    let mine = peers.iter_mut().find(|peer| peer.region.id == region).expect("it has a peer here");
                    // All voters have to agree that can be expected to.
                    let agrees = |peer: &Peer| {
                        let lost = force.failed_stores.contains(&peer.store) || force.gone.contains(&peer.id);
                        lost || peer.role() == Role::Learner || there.contains(&peer.id)
                    };
                    mine.is_force_leader = mine.region.peers.iter().all(agrees);
                }
            }
            None => peers.iter_mut().for_each(|peer| peer.is_force_leader = false),
        }
    }

    fn run(&mut self) -> String {
        for _ in 0..200 {
            if !self.recovery.is_running() {
                break;
            }
            self.round();
        }
        self.stages()
    }

    fn stages(&self) -> String {
        let stage = |fact: &Fact| match fact {
            Fact::RecoveryStage { stage, .. } => Some(stage.as_str().to_owned()),
            _ => None,
        };
        self.facts.iter().filter_map(stage).collect::<Vec<_>>().join(" ")
    }

    fn regions(&self) -> String {
        let peers = self.peers.iter().flat_map(|(store, peers)| peers.iter().map(move |peer| (store, peer)));
        let text = peers.map(|(store, peer)| {
            let (start, end) = (String::from_utf8_lossy(&peer.region.start), String::from_utf8_lossy(&peer.region.end));
            format!("{store}:{}[{start},{end})", peer.region.id)
        });
        text.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_done() {
    let whole = region(1, "", "", 1, "1 2 3");
    let peers = [1, 2].map(|store| peer(&whole, store, 5, 9)).to_vec();
    let mut world = World::new(peers, &[3], &[1, 2], &[]);
    assert_eq!(world.run(), "collect-report finished");
}

#[test]
fn a_lost_majority_is_led_by_the_best_log_and_demoted() {
    let whole = region(1, "", "", 1, "1 2 3 4 5");
    // The longer log is of an older term.
    let peers = vec![peer(&whole, 1, 5, 20), peer(&whole, 2, 6, 9)];
    let mut world = World::new(peers, &[3, 4, 5], &[1, 2], &[]);
    assert_eq!(world.run(), "collect-report force-leader demote-failed-voter finished");
    let roles: Vec<_> = world.peers[&2][0].region.peers.iter().map(|peer| peer.role()).collect();
    let (voter, learner) = (Role::Voter, Role::Learner);
    assert_eq!(roles, [voter, voter, learner, learner, learner]);
}

#[test]
fn what_nobody_has_becomes_an_empty_region() {
    let (left, right) = (region(1, "", "m", 2, "1 2 3"), region(2, "m", "", 2, "3 4 5"));
    let peers = vec![peer(&left, 1, 5, 9), peer(&left, 2, 5, 9), peer(&right, 3, 5, 9)];
    let mut world = World::new(peers, &[3, 4, 5], &[1, 2], &[]);
    assert_eq!(world.run(), "collect-report create-empty-region finished");
    assert!(world.regions().contains("1002[m,)"), "{}", world.regions());
}

#[test]
fn stale_peers_whose_range_newer_regions_took_are_destroyed() {
    let old = region(1, "", "", 1, "1 4 5");
    let (left, right) = (region(1, "", "m", 2, "2 3 4"), region(2, "m", "", 2, "2 3 4"));
    let mut peers: Vec<_> = [2, 3].map(|store| peer(&left, store, 6, 9)).to_vec();
    peers.extend([2, 3].map(|store| peer(&right, store, 6, 9)));
    let mut stale = peer(&old, 1, 5, 9);
    stale.1.region.id = 9;
    peers.push(stale);
    let mut world = World::new(peers, &[4, 5], &[1, 2, 3], &[]);
    assert_eq!(world.run(), "collect-report demote-failed-voter finished");
    assert!(!world.regions().contains("9["), "{}", world.regions());
}

#[test]
fn a_peer_without_a_range_is_left_alone() {
    let (left, right) = (region(1, "", "m", 2, "1 2 3"), region(2, "m", "", 2, "3 4 5"));
    let bare = Region { peers: vec![], start: "".into(), end: "".into(), epoch: Epoch::default(), ..right.clone() };
    let mut newcomer = peer(&region(2, "m", "", 2, "1"), 1, 0, 0);
    newcomer.1.region = bare;
    let mut world = World::new(vec![peer(&left, 1, 5, 9), peer(&left, 2, 5, 9), newcomer], &[3, 4, 5], &[1, 2], &[]);
    assert_eq!(world.run(), "collect-report create-empty-region finished");
    assert!(world.regions().contains(":2["), "{}", world.regions());
}

#[test]
fn the_newest_learner_on_a_columnar_store_is_destroyed_and_removed_as_an_orphan() {
    let whole = region(1, "", "", 1, "1 2 3 4:learner");
    let peers = vec![peer(&whole, 1, 5, 9), peer(&whole, 4, 5, 12)];
    let mut world = World::new(peers, &[2, 3], &[1, 4], &[4]);
    let stages = "collect-report tombstone-tiflash-learner force-leader demote-failed-voter finished";
    assert_eq!(world.run(), stages);
    let stores: Vec<_> = world.peers[&1][0].region.peers.iter().map(|peer| peer.store).collect();
    assert_eq!(stores, [1, 2, 3], "the learner that was destroyed is no member any more");
}

#[test]
fn a_learner_that_was_destroyed_before_its_leader_knew_of_it_is_removed() {
    let (before, after) = (region(1, "", "", 1, "1 2 3"), region(1, "", "", 1, "1 2 3 4:learner"));
    let newer = Region { epoch: Epoch { conf_ver: 2, version: 1 }, ..after.clone() };
    let mut world = World::new(vec![peer(&before, 1, 5, 9), peer(&newer, 4, 5, 12)], &[2, 3], &[1, 4], &[4]);
    world.unapplied.extend(after.peer_on(4));
    let stages = "collect-report tombstone-tiflash-learner force-leader demote-failed-voter finished";
    assert_eq!(world.run(), stages);
    let stores: Vec<_> = world.peers[&1][0].region.peers.iter().map(|peer| peer.store).collect();
    assert_eq!(stores, [1, 2, 3]);
}

#[test]
fn a_voter_that_was_removed_before_the_only_one_left_knew_of_it_is_taken_to_agree() {
    let whole = region(1, "", "", 1, "1 2 3 4");
    let mut world = World::new(vec![peer(&whole, 1, 5, 9)], &[2, 3], &[1, 4], &[]);
    world.gone.insert(4, vec![Gone { region: 1, peer: 14 }]);
    assert_eq!(world.run(), "collect-report force-leader demote-failed-voter finished");
    let roles: Vec<_> = world.peers[&1][0].region.peers.iter().map(|peer| peer.role()).collect();
    assert_eq!(roles, [Role::Voter, Role::Learner, Role::Learner, Role::Learner]);
    // Of a newer peer on that store nothing is said.
    let mut world = World::new(vec![peer(&whole, 1, 5, 9), peer(&whole, 4, 5, 9)], &[2, 3], &[1, 4], &[]);
    world.gone.insert(4, vec![Gone { region: 1, peer: 13 }]);
    assert_eq!(world.run(), "collect-report force-leader demote-failed-voter finished");
    let roles: Vec<_> = world.peers[&1][0].region.peers.iter().map(|peer| peer.role()).collect();
    assert_eq!(roles, [Role::Voter, Role::Learner, Role::Learner, Role::Voter]);
}

#[test]
fn a_merge_is_finished_first() {
    let (left, right) = (region(1, "", "m", 2, "1 2 3"), region(2, "m", "", 2, "1 2 3"));
    let mut merging = peer(&right, 1, 5, 9);
    merging.1.has_commit_merge = true;
    let mut world = World::new(vec![peer(&left, 1, 5, 9), merging], &[2, 3], &[1], &[]);
    let stages = "collect-report force-leader-for-commit-merge force-leader demote-failed-voter finished";
    assert_eq!(world.run(), stages);
}

#[test]
fn a_joint_configuration_that_could_elect_once_left_demotes_nobody() {
    let whole = region(1, "", "", 1, "1 2:incoming 3:incoming 4:demoting 5:demoting");
    let peers = [1, 2, 3].map(|store| peer(&whole, store, 5, 9)).to_vec();
    let mut world = World::new(peers, &[4, 5], &[1, 2, 3], &[]);
    assert_eq!(world.run(), "collect-report force-leader demote-failed-voter finished");
    assert!(world.peers.values().flatten().any(|peer| peer.region.peers.iter().all(|peer| peer.role as u8 <= 1)));
}

#[test]
fn a_retry_leaves_the_force_leaders_that_stand() {
    let (left, right) = (region(1, "", "m", 2, "1 3 4"), region(2, "m", "", 2, "2 3 4"));
    let peers = vec![peer(&left, 1, 5, 9), peer(&right, 2, 5, 9)];
    let mut world = World::new(peers, &[3, 4], &[1, 2], &[]);
    world.refusals.insert(2, 2);
    let stages = world.run();
    assert_eq!(stages, "collect-report force-leader force-leader force-leader demote-failed-voter finished");
    let emptied = |fact: &&Fact| matches!(fact, Fact::RecoveryPlanDispatched { keeps_leaders: false, step, .. } if (10..12).contains(step));
    assert_eq!(world.facts.iter().filter(emptied).count(), 0);
}

#[test]
fn a_plan_without_an_answer_is_sent_again_and_a_late_report_is_ignored() {
    let whole = region(1, "", "", 1, "1 2 3");
    let peers = vec![peer(&whole, 1, 5, 9)];
    let mut world = World::new(peers.clone(), &[2, 3], &[1], &[]);
    let first = world.heard(1, None).expect("the first heartbeat brings a plan");
    world.now += 59 * SECOND;
    assert_eq!(world.heard(1, None), None);
    world.now += SECOND;
    assert_eq!(world.heard(1, None), Some(first.clone()));
    let late = Report { step: first.step - 1, peers: vec![peers[0].1.clone()], gone: vec![] };
    assert_eq!(world.heard(1, Some(late)), None);
    assert!(world.facts.iter().any(|fact| matches!(fact, Fact::RecoveryReportIgnored { store: 1, .. })));
    assert_eq!(world.stages(), "collect-report");
}

#[test]
fn a_recovery_that_takes_too_long_has_force_leaders_step_down_and_fails() {
    let whole = region(1, "", "", 1, "1 2 3");
    let mut world = World::new(vec![peer(&whole, 1, 5, 9)], &[2, 3], &[1, 4], &[]);
    world.heard(1, None).expect("a plan");
    world.now += 601 * SECOND;
    world.recovery.tick(Instant(world.now));
    world.collect();
    assert_eq!(world.stages(), "collect-report exit-force-leader");
    world.now += 61 * SECOND;
    world.recovery.tick(Instant(world.now));
    world.collect();
    assert_eq!(world.stages(), "collect-report exit-force-leader failed");
    assert_eq!(world.recovery.progress().cause, "the time limit has passed");
    let steps: Vec<u64> = world
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::RecoveryStage { step, .. } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(steps, [8, 9, 10], "steps go on behind what was kept");
}

#[test]
fn a_hole_that_a_late_snapshot_filled_is_looked_at_again() {
    let (left, right) = (region(1, "", "m", 2, "1 2 3"), region(2, "m", "", 2, "3 4 5 1:learner"));
    let mut world = World::new(vec![peer(&left, 1, 5, 9), peer(&left, 2, 5, 9)], &[3, 4, 5], &[1, 2], &[]);
    world.round();
    assert!(world.stages().ends_with("create-empty-region"), "{}", world.stages());
    // Instead of the empty region there is a learner of the lost one now, which cannot be elected.
    for store in [1, 2] {
        let plan = world.heard(store, None);
        let step = plan.map_or(world.recovery.step, |plan| plan.step);
        if store == 1 {
            world.peers.get_mut(&1).expect("it lives").push(peer(&right, 1, 5, 9).1);
        }
        world.peers.get_mut(&store).expect("it lives").retain(|peer| peer.region.id < 1000);
        let report = world.report(store, step);
        world.heard(store, Some(report));
    }
    let stages = world.run();
    assert!(stages.ends_with("force-leader demote-failed-voter finished"), "{stages}");
}

#[test]
fn the_regions_of_a_survey_never_overlap() {
    let stores = Stores { failed: BTreeSet::from([9]), ..Stores::default() };
    let reports: Vec<(StoreId, Report)> = vec![
        (1, Report { step: 1, peers: vec![peer(&region(1, "a", "z", 3, "1 2 9"), 1, 5, 9).1], gone: vec![] }),
        (2, Report { step: 1, peers: vec![peer(&region(2, "m", "p", 5, "2 1 9"), 2, 5, 9).1], gone: vec![] }),
        (3, Report { step: 1, peers: vec![peer(&region(3, "p", "", 4, "3 1 9"), 3, 5, 9).1], gone: vec![] }),
    ];
    let survey = Survey::of(reports.iter().map(|(store, report)| (*store, report)), &stores);
    let ids: Vec<_> = survey.newest.iter().map(|found| found.region().id).collect();
    assert_eq!(ids, [2, 3], "the older one overlaps both");
    assert_eq!(survey.holes(), [("".into(), "m".into(), Some(2))]);
    let hole = region(7, "", "m", 1, "2");
    assert_eq!(survey.overlapping(&hole).map(|found| found.region().id).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_stale_source_is_kept_while_the_region_that_took_it_in_lags_beside_it() {
    // Elsewhere the left region has taken in the right one; the learner on store 4 has both as they were.
    let merged = region(1, "", "", 3, "1 2 3 4:learner");
    let (left, right) = (region(1, "", "m", 1, "1 2 3 4:learner"), region(2, "m", "", 1, "1 2 3 4:learner"));
    let bare = Region { start: "".into(), end: "".into(), peers: vec![], epoch: Epoch::default(), ..left.clone() };
    for (name, target, kept) in
        [("it lags", Some(left), true), ("it waits for a snapshot", Some(bare), true), ("it is not there", None, false)]
    {
        let mut peers = vec![peer(&merged, 1, 5, 20), peer(&right, 4, 5, 12)];
        peers.extend(target.map(|target| {
            let (store, report) = peer(&merged, 4, 5, 12);
            (store, PeerReport { region: target, ..report })
        }));
        let mut world = World::new(peers, &[2, 3], &[1, 4], &[4]);
        assert_eq!(world.run(), "collect-report force-leader demote-failed-voter finished", "{name}");
        assert_eq!(world.regions().contains("4:2["), kept, "{name}: {}", world.regions());
    }
}

#[test]
fn a_removed_leader_whose_heirs_are_lost_makes_room_for_an_empty_region() {
    let mut leaving = peer(&region(1, "", "", 1, "1 2"), 1, 5, 9);
    leaving.1.region.peers.retain(|peer| peer.store == 2);
    let mut world = World::new(vec![leaving], &[2], &[1], &[]);
    assert_eq!(world.run(), "collect-report demote-failed-voter create-empty-region finished");
    assert_eq!(world.regions(), "1:1002[,)");
}

#[test]
fn a_hole_that_a_lagging_peer_covers_waits_for_it() {
    // The right region was on the lost stores and on store 2, which has not applied the split.
    let (whole, left) = (region(1, "", "", 1, "2 3 4"), region(1, "", "m", 2, "1 2 3"));
    let right = region(2, "m", "", 2, "2 3 4");
    let mut world = World::new(vec![peer(&left, 1, 6, 20), peer(&whole, 2, 5, 12)], &[3, 4], &[1, 2], &[]);
    for _ in 0..5 {
        world.round();
    }
    assert!(world.recovery.is_running() && !world.stages().contains("exit"), "{}", world.stages());
    *world.peers.get_mut(&2).expect("it lives") = vec![peer(&left, 2, 6, 20).1, peer(&right, 2, 5, 5).1];
    let stages = world.run();
    assert!(stages.ends_with("collect-report force-leader demote-failed-voter finished"), "{stages}");
    assert_eq!(world.regions(), "1:1[,m) 2:1[,m) 2:2[m,)");
}

#[test]
fn a_hole_is_not_kept_for_a_peer_that_its_region_has_left() {
    let left = region(1, "", "m", 2, "1 6 7");
    for (name, words, expected) in [
        ("it is stuck, and goes", "2 3 4", "collect-report demote-failed-voter create-empty-region finished"),
        ("it may be heard of elsewhere", "2 5 3", "collect-report exit-force-leader failed"),
    ] {
        let mut peers: Vec<_> = [1, 6, 7].map(|store| peer(&left, store, 6, 20)).into();
        peers.push(peer(&region(1, "", "", 1, words), 2, 5, 12));
        let mut world = World::new(peers, &[3, 4], &[1, 2, 5, 6, 7], &[]);
        assert_eq!(world.run(), expected, "{name}");
    }
}

#[test]
fn a_voter_whose_store_has_a_newer_peer_of_its_region_is_gone() {
    let old = region(1, "", "", 1, "1 2 3");
    let newcomer = Peer { id: 29, store: 2, role: 0 };
    let bare = Region { peers: vec![], epoch: Epoch::default(), ..old.clone() };
    let newcomer = PeerReport { region: bare, peer: newcomer, ..PeerReport::default() };
    let mut world = World::new(vec![peer(&old, 1, 5, 9), (2, newcomer)], &[3], &[1, 2], &[]);
    assert_eq!(world.run(), "collect-report force-leader demote-failed-voter finished");
}
