//! Stories of the region cache.

use node::{cache::fact::Fact, fact::Digest, store::fact::apply};
use scenarios::event::RoomEvent;

use super::{
    Case, accuse, pass,
    story::{Story, region},
};

fn moves(s: &mut Story, node: u16, id: u64, version: u64, states: &[&'static str], cause: &'static str) {
    for pair in states.windows(2) {
        let (from, to) = (pair[0].into(), pair[1].into());
        s.fact(node, Fact::Transition { region: id, from, to, version, cause: cause.into() });
    }
}

fn split(s: &mut Story, node: u16, state: &'static str, version: u64) {
    let (state_name, historical) = (state.into(), false);
    s.fact(node, Fact::Split { region: 1, version, state: state_name, count: 2, historical });
    moves(s, node, 1, version + 1, &[state, state], "split");
    moves(s, node, 2, version + 1, &["none", state], "split");
}

fn persisted(s: &mut Story, node: u16, region: u64, index: u64) {
    let peer = region * 10 + u64::from(node);
    s.fact(node, apply::Fact::Persisted { region, peer, index, synced: false });
}

const LOADED: &[&str] = &["none", "pending", "loading", "active"];
const GONE: &[&str] = &["active", "pending-evict", "evicting", "removed"];

pub fn cases() -> Vec<Case> {
    let mut all = states();
    all.extend(epochs());
    all.extend(contents());
    all.extend(loads());
    all
}

fn states() -> Vec<Case> {
    vec![
        accuse("legal-cache-transitions", "illegal-transition", "active-again", |s| {
            moves(s, 1, 1, 1, LOADED, "manual");
            moves(s, 1, 1, 1, &["active", "pending-evict", "active"], "manual");
        }),
        accuse("legal-cache-transitions", "illegal-transition", "dropped-while-active", |s| {
            moves(s, 1, 1, 1, LOADED, "manual");
            moves(s, 1, 1, 1, &["active", "removed"], "manual");
        }),
        accuse("legal-cache-transitions", "another-state", "not-what-it-was", |s| {
            moves(s, 1, 1, 1, &["none", "pending"], "manual");
            moves(s, 1, 1, 1, &["loading", "active"], "loaded");
        }),
        accuse("legal-cache-transitions", "illegal-transition", "child-of-another-state", |s| {
            moves(s, 1, 1, 1, &["none", "pending"], "manual");
            let (state, count) = ("pending".into(), 2);
            s.fact(1, Fact::Split { region: 1, version: 1, state, count, historical: false });
            moves(s, 1, 2, 2, &["none", "active"], "split");
        }),
        pass("legal-cache-transitions", "around-and-around", |s| {
            moves(s, 1, 1, 1, LOADED, "manual");
            split(s, 1, "active", 1);
            moves(s, 1, 2, 2, GONE, "manual");
            moves(s, 1, 2, 2, &["none", "pending", "loading", "loading-canceled", "evicting", "removed"], "manual");
            moves(s, 1, 2, 2, &["none", "pending", "removed"], "manual");
            s.kill(1).start(1);
            moves(s, 1, 1, 2, LOADED, "manual");
        }),
    ]
}

fn epochs() -> Vec<Case> {
    vec![
        accuse("cache-epoch-current", "epoch-passed-by/applied-snapshot", "snapshot", |s| {
            s.state(2, &region(1, "", "", 1), "normal", 0, 0);
            moves(s, 2, 1, 1, LOADED, "preload");
            s.state(2, &region(1, "m", "", 2), "applying", 6, 40);
        }),
        accuse("cache-epoch-current", "epoch-passed-by/rollback-merge", "merge-rolled-back", |s| {
            s.state(2, &region(1, "", "m", 2), "merging", 0, 0);
            moves(s, 2, 1, 2, LOADED, "manual");
            s.state(2, &region(1, "", "m", 3), "normal", 0, 0);
        }),
        accuse("cache-epoch-current", "loaded-at-another-epoch", "old-load", |s| {
            s.state(2, &region(1, "", "", 4), "normal", 0, 0);
            moves(s, 2, 1, 3, &["none", "pending", "loading"], "manual");
        }),
        pass("cache-epoch-current", "told-first", |s| {
            s.state(2, &region(1, "", "", 1), "normal", 0, 0);
            moves(s, 2, 1, 1, LOADED, "manual");
            split(s, 2, "active", 1);
            s.state(2, &region(1, "m", "", 2), "normal", 0, 0).state(2, &region(2, "", "m", 2), "normal", 0, 0);
            moves(s, 2, 1, 2, GONE, "apply-snapshot");
            s.state(2, &region(1, "p", "", 3), "applying", 6, 40);
            // What is pending may lag.
            moves(s, 2, 1, 2, &["none", "pending"], "manual");
            s.state(2, &region(1, "p", "", 3), "normal", 0, 0);
        }),
    ]
}

fn checked(s: &mut Story, cached: (u64, u64), engine: (u64, u64)) {
    let ((cached, cached_keys), (engine, engine_keys)) = ((Digest(cached.0), cached.1), (Digest(engine.0), engine.1));
    let why = "load".into();
    s.fact(1, Fact::CrossChecked { region: 1, version: 1, cached, cached_keys, engine, engine_keys, why });
}

fn scanned(s: &mut Story, cached: (u64, u64), engine: (u64, u64)) {
    let ((cached, cached_keys), (engine, engine_keys)) = ((Digest(cached.0), cached.1), (Digest(engine.0), engine.1));
    s.fact(1, Fact::ScanCompared { region: 1, version: 1, cached, cached_keys, engine, engine_keys });
}

fn contents() -> Vec<Case> {
    vec![
        accuse("cache-content-equals-engine", "keys-missing", "a-key-less", |s| checked(s, (7, 1), (9, 2))),
        accuse("cache-content-equals-engine", "content-differs", "an-old-value", |s| checked(s, (7, 2), (9, 2))),
        pass("cache-content-equals-engine", "the-same", |s| checked(s, (9, 2), (9, 2))),
        accuse("cache-snapshot-reads-engine", "keys-missing", "a-key-less", |s| scanned(s, (7, 1), (9, 2))),
        accuse("cache-snapshot-reads-engine", "content-differs", "an-old-value", |s| scanned(s, (7, 2), (9, 2))),
        pass("cache-snapshot-reads-engine", "the-same", |s| scanned(s, (9, 2), (9, 2))),
    ]
}

fn loads() -> Vec<Case> {
    vec![
        accuse("pending-regions-load", "never-loads", "child-of-a-split", |s| {
            moves(s, 1, 1, 1, &["none", "pending"], "manual");
            split(s, 1, "pending", 1);
            moves(s, 1, 1, 2, &["pending", "loading"], "started");
            (6..9).for_each(|index| persisted(s, 1, 2, index));
        }),
        accuse("pending-regions-load", "pending-at-rest", "at-rest", |s| {
            moves(s, 1, 1, 1, &["none", "pending"], "become-leader");
            s.room(0, RoomEvent::AtRest {});
        }),
        pass("pending-regions-load", "loaded-or-gone", |s| {
            moves(s, 1, 1, 1, &["none", "pending"], "manual");
            (6..8).for_each(|index| persisted(s, 1, 1, index));
            moves(s, 1, 1, 1, &["pending", "loading"], "scheduled");
            (8..20).for_each(|index| persisted(s, 1, 1, index));
            moves(s, 2, 1, 1, &["none", "pending"], "manual");
            s.kill(2).start(2);
            (6..20).for_each(|index| persisted(s, 2, 1, index));
            s.room(0, RoomEvent::AtRest {});
        }),
    ]
}
