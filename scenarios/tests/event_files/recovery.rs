//! Stories of unsafe recovery: what a cut of history excuses, and what it does not.

use std::sync::Arc;

use node::{
    pd::fact::Fact as Placement,
    region::Region,
    store::fact::{lifecycle, recovery::Fact, region},
};
use scenarios::event::{Outcome, RoomEvent};

use super::{
    Case, accuse, pass,
    story::{Story, put, region, seen, with_peers},
};

pub fn cases() -> Vec<Case> {
    [cuts(), forgotten(), ends(), finished(), leaders()].into_iter().flatten().collect()
}

/// Region 1 on three stores. Entry 6 is everywhere, entry 7 on the first two: both are acknowledged.
fn two_writes(s: &mut Story) {
    let whole = region(1, "", "", 1);
    s.bootstrapped().changed(2, &whole, "snapshot", 5).changed(3, &whole, "snapshot", 5);
    for store in 1..=3 {
        s.fact(store, lifecycle::Fact::Started { store: store.into(), release: "8.1.0".into(), peers: 1 });
    }
    s.elected(1, 6, 5);
    for store in 1..=3 {
        s.appended(store, 6, 6, 6, 100);
    }
    s.applied(1, 6, 6, put(1, "a", 10, Some("x"))).put("a", 10, "x");
    s.appended(1, 7, 7, 6, 200).appended(2, 7, 7, 6, 200);
    s.applied(1, 7, 6, put(1, "a", 11, Some("y"))).put("a", 11, "y");
}

fn lost(s: &mut Story, stores: &[u16]) {
    for &store in stores {
        s.kill(store).room(store, RoomEvent::DiskWiped {});
    }
    for &store in stores {
        s.fact(0, Placement::RecoveryStoreFailed { store: store.into() });
    }
    begun(s);
}

fn begun(s: &mut Story) {
    s.fact(0, Placement::RecoveryBegun { step: 1, failed: 2, limit_ms: 40_000 });
    stage(s, "collect-report", 1, "");
}

fn stage(s: &mut Story, stage: &'static str, step: u64, cause: &'static str) {
    s.fact(0, Placement::RecoveryStage { stage: stage.into(), step, cause: cause.into() });
}

fn finish(s: &mut Story) {
    stage(s, "finished", 9, "");
    s.fact(0, Placement::RecoveryEnded { outcome: "finished".into(), step: 9, cause: "".into() });
}

/// The third store's peer leads without a majority, from entry 6 on.
fn led_by_force(s: &mut Story) {
    let fact = Fact::ForceLeaderEntered { region: 1, peer: 13, term: 7, last_index: 6, last_term: 6 };
    s.fact(3, fact).elected(3, 7, 6);
}

/// The first two stores are lost, and the third goes on without the second write.
fn recovered(s: &mut Story) {
    two_writes(s);
    lost(s, &[1, 2]);
    led_by_force(s);
    s.appended(3, 7, 7, 7, 200).applied(3, 6, 6, put(1, "a", 10, Some("x")));
    s.applied(3, 7, 7, put(1, "b", 12, Some("z"))).put("b", 12, "z");
}

fn cuts() -> Vec<Case> {
    vec![
        pass("acknowledged-writes-survive", "lost-with-all-who-had-it", |s| {
            recovered(s);
            s.get("a", 10, Some("x"));
            s.hashed(3, 1, 7, &[("a", 10, "x"), ("b", 12, "z")], "compute-hash");
        }),
        accuse("acknowledged-writes-survive", "lost-though-held", "a-voter-that-is-left-has-it", |s| {
            two_writes(s);
            lost(s, &[1]);
            led_by_force(s);
        }),
        pass("acknowledged-writes-survive", "who-had-it-was-given-up-and-comes-back", |s| {
            two_writes(s);
            s.kill(1).kill(2);
            for store in [1, 2] {
                s.fact(0, Placement::RecoveryStoreFailed { store });
            }
            begun(s);
            s.start(1).log_recovered(1, 6, 7, 6).peer_recovered(1, 7, (5, 5), (7, 6));
            led_by_force(s);
        }),
        accuse("acknowledged-writes-survive", "leader-without-acknowledged-write", "after-a-recovery", |s| {
            recovered(s);
            s.elected(3, 8, 6);
        }),
        pass("linearizable", "asked-for-before-the-cut", |s| {
            two_writes(s);
            let read = s.invoke_get("a");
            lost(s, &[1, 2]);
            led_by_force(s);
            s.returned(read, Outcome::Got(seen("a", 11, Some("y")))).get("a", 10, Some("x"));
        }),
        pass("log-terms-agree-with-snapshot", "what-was-cut-off-is-forgotten", |s| {
            two_writes(s);
            lost(s, &[1, 2]);
            led_by_force(s);
            s.appended(3, 7, 7, 7, 200).crash(3).start(3).log_recovered(3, 7, 7, 7).peer_recovered(
                3,
                6,
                (6, 6),
                (7, 7),
            );
        }),
        accuse("linearizable", "value-vanished", "more-than-was-lost", |s| {
            recovered(s);
            s.get("a", 0, None);
        }),
        accuse("linearizable", "stale-read", "back-in-the-recovery", |s| {
            recovered(s);
            s.put("b", 13, "w").get("b", 12, Some("z"));
        }),
        accuse("leader-completeness", "committed-entry-missing", "after-a-recovery", |s| {
            recovered(s);
            s.committed(3, 7, 7).elected(3, 8, 6);
        }),
        accuse("state-machine-safety", "entries-differ", "before-the-cut", |s| {
            two_writes(s);
            lost(s, &[1, 2]);
            led_by_force(s);
            s.applied(3, 6, 6, put(1, "a", 10, Some("other")));
        }),
        accuse("election-safety", "two-leaders", "of-those-that-are-left", |s| {
            recovered(s);
            s.elected(1, 7, 7);
        }),
        accuse("content-equals-reference", "content-differs", "what-was-lost-is-there", |s| {
            recovered(s);
            s.hashed(3, 1, 7, &[("a", 11, "y"), ("b", 12, "z")], "compute-hash");
        }),
    ]
}

/// What only lost stores knew has never been.
fn forgotten() -> Vec<Case> {
    let merged = |index| {
        let (region, source) = (1, 2);
        region::Fact::MergeCommitted { region, peer: 10 + index % 10, source, source_peer: 20, index, commit: 8 }
    };
    vec![
        pass("peers-have-stores", "a-peer-that-only-lost-stores-knew-of", |s| {
            let put = |store: u64, state: &'static str| {
                let (address, release) = ("a".into(), "8.1.0".into());
                Placement::StorePut { store, address, state: state.into(), release, columnar: false }
            };
            for store in 1..=4 {
                s.fact(0, put(store, "up"));
            }
            two_writes(s);
            s.changed(
                1,
                &with_peers(&region(1, "", "", 1), 5, &[(11, 1), (12, 2), (13, 3), (14, 4)]),
                "conf-change",
                8,
            );
            lost(s, &[1, 2]);
            led_by_force(s);
            demoted(s);
            finish(s);
            s.fact(0, put(4, "offline")).fact(0, put(4, "tombstone")).fact(0, Placement::StoreDeleted { store: 4 });
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
        pass("key-space-covered", "a-merge-that-only-lost-stores-knew-of", move |s| {
            s.bootstrapped();
            for store in 1..=3 {
                s.fact(store, lifecycle::Fact::Started { store: store.into(), release: "8.1.0".into(), peers: 1 });
                s.changed(store, &region(1, "", "m", 2), "split", 7).changed(store, &region(2, "m", "", 2), "split", 7);
            }
            s.fact(1, merged(11)).changed(1, &region(1, "", "", 4), "merge", 11);
            lost(s, &[1, 2]);
            led_by_force(s);
            s.changed(3, &with_peers(&region(1, "", "m", 2), 4, &[(13, 3)]), "conf-change", 12);
            s.changed(3, &with_peers(&region(2, "m", "", 2), 4, &[(23, 3)]), "conf-change", 12);
            finish(s);
            s.room(0, RoomEvent::AtRest {}).fact(3, merged(13));
        }),
    ]
}

fn ends() -> Vec<Case> {
    let check = "recovery-ends";
    vec![
        accuse(check, "gave-up", "the-limit-has-passed", |s| {
            begun(s);
            stage(s, "force-leader", 2, "");
            stage(s, "exit-force-leader", 3, "the time limit has passed");
        }),
        accuse(check, "gave-up", "in-its-last-stage", |s| {
            begun(s);
            stage(s, "exit-force-leader", 2, "");
            let (outcome, cause) = ("failed".into(), "the time limit has passed".into());
            s.fact(0, Placement::RecoveryEnded { outcome, step: 3, cause });
        }),
        accuse(check, "not-ended", "still-at-it", |s| {
            begun(s);
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
        pass(check, "finished-or-interrupted", |s| {
            recovered(s);
            demoted(s);
            finish(s);
            begun(s);
            s.fact(0, Placement::Started { stores: 1, regions: 1 });
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
    ]
}

/// The third store's peer is the only one of its region.
fn demoted(s: &mut Story) {
    s.changed(3, &with_peers(&region(1, "", "", 1), 4, &[(13, 3)]), "conf-change", 8);
}

fn finished() -> Vec<Case> {
    let check = "finished-means-covered";
    let alone = |start: &str, end: &str| -> Arc<Region> { with_peers(&region(1, start, end, 1), 4, &[(13, 3)]) };
    vec![
        accuse(check, "no-majority", "nobody-was-demoted", |s| {
            recovered(s);
            finish(s);
        }),
        accuse(check, "hole", "the-end-is-missing", move |s| {
            two_writes(s);
            lost(s, &[1, 2]);
            s.changed(3, &alone("", "m"), "conf-change", 8);
            finish(s);
        }),
        accuse(check, "names-a-failed-store", "in-the-end", |s| {
            recovered(s);
            demoted(s);
            finish(s);
            s.changed(3, &with_peers(&region(1, "", "", 1), 5, &[(13, 3), (12, 2)]), "conf-change", 9);
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
        pass(check, "interrupted", |s| {
            recovered(s);
            demoted(s);
            finish(s);
            // The next one is forgotten before it can demote anybody.
            begun(s);
            s.changed(3, &with_peers(&region(1, "", "", 1), 5, &[(13, 3), (12, 2)]), "conf-change", 9);
            s.fact(0, Placement::Started { stores: 3, regions: 1 });
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
        pass(check, "demoted", |s| {
            recovered(s);
            demoted(s);
            finish(s);
            s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
    ]
}

fn leaders() -> Vec<Case> {
    let exited = |reason: &'static str| Fact::ForceLeaderExited { region: 1, peer: 13, term: 7, reason: reason.into() };
    vec![
        accuse("force-leaders-stay", "stepped-down", "in-the-middle", move |s| {
            two_writes(s);
            lost(s, &[1, 2]);
            stage(s, "force-leader", 2, "");
            led_by_force(s);
            stage(s, "force-leader", 3, "");
            s.fact(3, exited("plan"));
        }),
        pass("force-leaders-stay", "afterwards", move |s| {
            two_writes(s);
            lost(s, &[1, 2]);
            stage(s, "force-leader", 2, "");
            led_by_force(s);
            stage(s, "demote-failed-voter", 3, "");
            s.fact(3, exited("plan"));
        }),
        accuse("force-leader-commits", "commits-nothing", "for-long", |s| {
            recovered(s);
            s.room(0, RoomEvent::Healed {}).wait_ms(11_000).committed(3, 7, 7);
        }),
        pass("force-leader-commits", "those-that-are-left-may-be-apart", |s| {
            recovered(s);
            s.wait_ms(11_000).room(0, RoomEvent::Healed {}).wait_ms(9_000);
            s.fact(3, Fact::CommitForwarded { region: 1, peer: 13, term: 7, index: 7 }).committed(3, 7, 7);
        }),
        pass("force-leader-commits", "soon", |s| {
            two_writes(s);
            lost(s, &[1, 2]);
            led_by_force(s);
            s.fact(3, Fact::CommitForwarded { region: 1, peer: 13, term: 7, index: 7 });
            s.room(0, RoomEvent::Healed {}).wait_ms(11_000).committed(3, 7, 7);
        }),
    ]
}
