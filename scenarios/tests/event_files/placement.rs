//! Stories of tables, of stores' lives, and of copies that stay.

use std::sync::Arc;

use node::{
    pd::fact::Fact,
    region::{Peer, Region, Role},
    store::fact::{lifecycle, region as ranges},
};
use scenarios::event::RoomEvent;

use super::{
    Case, accuse, pass,
    story::{Story, key, region, with_peers},
};

pub fn cases() -> Vec<Case> {
    let mut all = tables();
    all.extend(states());
    all.extend(copies());
    all.extend(missing_stores());
    all
}

fn rule(s: &mut Story, table: u64, count: u64) {
    s.fact(0, Fact::RulePut { table, start: key(""), end: key(""), count });
}

/// A table of four regions with two replicas each, on so many stores.
fn progress(s: &mut Story, peers: u64, available: u64, stores: u64) {
    s.fact(0, Fact::TableProgress { table: 7, count: 2, regions: 4, peers, available, stores });
}

fn ended(s: &mut Story) {
    s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
}

fn tables() -> Vec<Case> {
    let check = "table-replicas-become-available";
    vec![
        accuse(check, "not-available", "a-region-without-a-peer", |s| {
            rule(s, 7, 2);
            progress(s, 6, 3, 2);
            ended(s);
        }),
        accuse(check, "not-available", "never-looked-at", |s| {
            rule(s, 7, 2);
            ended(s);
        }),
        accuse(check, "incomplete", "one-peer-short", |s| {
            rule(s, 7, 2);
            progress(s, 7, 4, 2);
            ended(s);
        }),
        pass(check, "grown-and-removed", |s| {
            rule(s, 7, 2);
            progress(s, 0, 0, 2);
            progress(s, 8, 4, 2);
            rule(s, 8, 1);
            s.fact(0, Fact::RuleRemoved { table: 8 });
            ended(s);
        }),
        pass(check, "fewer-stores-than-wanted", |s| {
            rule(s, 7, 2);
            progress(s, 4, 4, 1);
            ended(s);
            progress(s, 0, 0, 0);
            ended(s);
        }),
    ]
}

fn record(s: &mut Story, store: u64, state: &'static str) {
    let (address, release) = ("a".into(), "8.5.0".into());
    s.fact(0, Fact::StorePut { store, address, state: state.into(), release, columnar: store > 7 });
}

fn states() -> Vec<Case> {
    let check = "legal-store-states";
    vec![
        accuse(check, "risen", "up-after-tombstone", |s| {
            record(s, 3, "up");
            record(s, 3, "tombstone");
            record(s, 3, "up");
        }),
        accuse(check, "returned", "registered-after-deletion", |s| {
            record(s, 3, "tombstone");
            s.fact(0, Fact::StoreDeleted { store: 3 });
            record(s, 3, "up");
        }),
        accuse(check, "deleted-alive", "offline", |s| {
            record(s, 3, "offline");
            s.fact(0, Fact::StoreDeleted { store: 3 });
        }),
        pass(check, "there-and-back-and-away", |s| {
            for state in ["up", "offline", "up", "offline", "tombstone"] {
                record(s, 3, state);
            }
            s.fact(0, Fact::StoreDeleted { store: 3 });
            record(s, 4, "up");
        }),
    ]
}

/// Region 1 with voters on stores 1 to 3 and learners on the columnar stores 8 and 9, of which some have their range.
fn columnar(s: &mut Story, with_content: &[u64]) {
    record(s, 8, "up");
    record(s, 9, "up");
    let mut all: Region = (*region(1, "", "", 1)).clone();
    all.peers.extend([8, 9].map(|store| Peer { id: 10 + store, store, role: Role::Learner as i32 }));
    s.fact(0, Fact::RegionKnown { region: Arc::new(all), leader: 11, term: 6 });
    for &store in with_content {
        s.fact((store % 4) as u16, ranges::Fact::RegionInserted { region: 1, peer: 10 + store });
    }
}

fn removal(s: &mut Story, store: u64) {
    s.fact(0, Fact::RemovalAsked { region: 1, peer: 10 + store, store });
}

fn copies() -> Vec<Case> {
    let check = "last-copy-stays";
    vec![
        accuse(check, "last-copy-removed", "the-empty-one-stays", |s| {
            rule(s, 7, 1);
            columnar(s, &[8]);
            removal(s, 8);
        }),
        accuse(check, "last-copy-removed", "voter", |s| {
            columnar(s, &[1]);
            removal(s, 1);
        }),
        pass(check, "the-empty-one-goes", |s| {
            rule(s, 7, 1);
            columnar(s, &[8, 1, 2]);
            removal(s, 9);
            removal(s, 2);
        }),
        pass(check, "caught-up-before", |s| {
            rule(s, 7, 1);
            columnar(s, &[8]);
            s.fact(1, ranges::Fact::RegionInserted { region: 1, peer: 19 });
            removal(s, 8);
        }),
        accuse(check, "last-copy-removed", "long-after-a-disk-was-lost", |s| {
            columnar(s, &[1, 2]);
            s.room(2, RoomEvent::DiskWiped {});
            s.wait_ms(10_001);
            removal(s, 1);
        }),
        pass(check, "before-a-lost-disk-can-be-known", |s| {
            columnar(s, &[1, 2]);
            s.room(2, RoomEvent::DiskWiped {});
            s.wait_ms(4_000);
            removal(s, 1);
        }),
        pass(check, "nobody-wants-any", |s| {
            rule(s, 7, 1);
            columnar(s, &[8, 1, 2]);
            s.fact(0, Fact::RuleRemoved { table: 7 });
            removal(s, 8);
            removal(s, 1);
        }),
    ]
}

fn said(s: &mut Story, about: &'static str) {
    s.fact(1, lifecycle::Fact::LogLine { about: about.into(), store: 4 });
}

fn reconnected(s: &mut Story, cause: &'static str) {
    s.fact(1, lifecycle::Fact::Identified { store: 1 });
    s.fact(1, lifecycle::Fact::PlacementReconnected { address: "pd".into(), cause: cause.into() });
}

fn missing_stores() -> Vec<Case> {
    let unresolved = |s: &mut Story, reason: &'static str| {
        s.fact(1, lifecycle::Fact::ResolveAsked { store: 4 });
        s.fact(1, lifecycle::Fact::ResolveFailed { store: 4, reason: reason.into() });
    };
    let blocked = |s: &mut Story| {
        s.fact(1, lifecycle::Fact::Blocked { store: 4 });
    };
    let lives = |s: &mut Story| {
        s.fact(3, lifecycle::Fact::Started { store: 4, release: "8.5.0".into(), peers: 0 });
    };
    vec![
        accuse("retries-are-bounded", "log-lines", "twice-in-a-minute", |s| {
            said(s, "request-failed");
            s.wait_ms(5_000);
            said(s, "request-failed");
        }),
        accuse("retries-are-bounded", "questions", "without-a-pause", |s| {
            for _ in 0..13 {
                unresolved(s, "not-found");
                s.wait_ms(500);
            }
        }),
        pass("retries-are-bounded", "of-a-driver-that-does-not-answer", |s| {
            unresolved(s, "not-found");
            for _ in 0..20 {
                unresolved(s, "unreachable");
                s.wait_ms(250);
            }
        }),
        accuse("retries-are-bounded", "reconnections", "for-a-missing-store", |s| {
            reconnected(s, "not found");
        }),
        accuse("retries-are-bounded", "reconnections", "too-soon", |s| {
            reconnected(s, "it broke");
            s.wait_ms(100);
            reconnected(s, "it broke");
        }),
        pass("retries-are-bounded", "patient", |s| {
            for _ in 0..8 {
                unresolved(s, "not-found");
                said(s, "store-not-found");
                reconnected(s, "it broke");
                s.wait_ms(60_000);
            }
            said(s, "store-not-found");
            s.kill(1).start(1);
            said(s, "store-not-found");
        }),
        accuse("registered-stores-are-reachable", "blocked", "late-registration", |s| {
            blocked(s);
            record(s, 4, "up");
            lives(s);
            ended(s);
        }),
        pass("registered-stores-are-reachable", "tombstones-and-restarts", |s| {
            record(s, 4, "up");
            lives(s);
            blocked(s);
            s.kill(1).start(1);
            ended(s);
            record(s, 4, "tombstone");
            blocked(s);
            ended(s);
        }),
        accuse("peers-have-stores", "unknown-store", "deleted", |s| {
            for store in 1..=3 {
                record(s, store, "up");
            }
            s.changed(1, &region(1, "", "", 1), "create", 5);
            record(s, 3, "tombstone");
            s.fact(0, Fact::StoreDeleted { store: 3 });
            ended(s);
        }),
        pass("peers-have-stores", "moved-before", |s| {
            for store in 1..=3 {
                record(s, store, "up");
            }
            s.changed(1, &region(1, "", "", 1), "create", 5);
            s.changed(1, &with_peers(&region(1, "", "", 1), 2, &[(11, 1), (12, 2)]), "conf-change", 9);
            record(s, 3, "tombstone");
            s.fact(0, Fact::StoreDeleted { store: 3 });
            s.changed(2, &region(1, "", "", 1), "recover", 5);
            ended(s);
        }),
    ]
}
