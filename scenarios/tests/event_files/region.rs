//! Stories of ranges, epochs, members, maps and content.

use std::sync::Arc;

use bytes::Bytes;
use node::{
    region::Region,
    store::fact::{raft, region as fact},
};
use scenarios::event::RoomEvent;

use super::{
    Case, accuse, pass,
    story::{Story, commit_merge, key, prepare_merge, prepared, put, region, split, with_peers},
};

fn conf_changed(s: &mut Story, node: u16, region: &Arc<Region>, index: u64, removed: u64, added: u64) {
    let peer = region.id * 10 + u64::from(node);
    s.fact(node, fact::Fact::ConfChanged { region: region.clone(), peer, index, removed, added });
}

fn inserted(s: &mut Story, region: &Arc<Region>) {
    s.fact(1, fact::Fact::RegionInserted { region: region.id, peer: region.id * 10 + 1 });
    s.fact(1, fact::Fact::RangeInserted { region: region.id, end: region.end.clone() });
}

fn settled(s: &mut Story, regions: u64, ranges: u64) {
    s.fact(1, fact::Fact::MapsSettled { regions, ranges });
}

pub fn cases() -> Vec<Case> {
    let mut all = ranges();
    all.extend(members());
    all.extend(maps());
    all.extend(content());
    all.extend(merges());
    all
}

fn ranges() -> Vec<Case> {
    vec![
        accuse("epochs-grow", "epoch-went-back", "version", |s| {
            s.changed(1, &region(1, "m", "", 2), "split", 9).changed(1, &region(1, "", "", 1), "snapshot", 9);
        }),
        accuse("epochs-grow", "one-epoch-two-meanings", "range", |s| {
            s.changed(1, &region(1, "m", "", 2), "split", 9).changed(2, &region(1, "n", "", 2), "split", 9);
        }),
        pass("epochs-grow", "back-to-what-was-durable", |s| {
            s.changed(1, &region(1, "", "", 1), "create", 5).changed(1, &region(1, "m", "", 2), "split", 9);
            s.crash(1).start(1).changed(1, &region(1, "", "", 1), "recover", 5);
            s.changed(1, &region(1, "m", "", 2), "split", 9).changed(2, &region(1, "m", "", 2), "split", 9);
        }),
        accuse("key-space-covered", "overlap", "one-version", |s| {
            s.changed(1, &region(1, "m", "", 2), "split", 9).changed(1, &region(2, "", "n", 2), "split", 9);
        }),
        accuse("key-space-covered", "hole", "at-rest", |s| {
            s.changed(1, &region(1, "m", "", 2), "split", 9).changed(1, &region(2, "", "k", 2), "split", 9);
            s.room(0, RoomEvent::AtRest {});
        }),
        accuse("key-space-covered", "hole", "last-keys", |s| {
            s.changed(1, &region(1, "", "m", 2), "split", 9).room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
        }),
        pass("key-space-covered", "lagging-parent", |s| {
            s.bootstrapped().changed(1, &region(1, "m", "", 2), "split", 9).changed(
                1,
                &region(2, "", "m", 2),
                "split",
                9,
            );
            s.changed(2, &region(2, "", "m", 2), "snapshot", 7).changed(3, &region(1, "", "", 1), "recover", 6);
            s.room(0, RoomEvent::AtRest {});
        }),
        accuse("one-owner-per-key", "overlap-after-restart", "torn-split", |s| {
            s.crash(1).start(1).state_recovered(1, &region(1, "", "", 1), "normal", 0, 0);
            s.state_recovered(1, &region(2, "", "m", 2), "normal", 0, 0);
        }),
        accuse("one-owner-per-key", "overlap", "running", |s| {
            s.changed(1, &region(1, "", "", 1), "recover", 5).changed(1, &region(2, "", "m", 2), "snapshot", 8);
            inserted(s, &region(1, "", "", 1));
            inserted(s, &region(2, "", "m", 2));
            settled(s, 2, 2);
        }),
        pass("one-owner-per-key", "tombstone-and-split", |s| {
            s.crash(1).start(1).state_recovered(1, &region(1, "", "", 1), "tombstone", 0, 0);
            s.state_recovered(1, &region(2, "", "m", 2), "normal", 0, 0);
            s.state_recovered(1, &region(3, "m", "", 2), "applying", 6, 9);
        }),
    ]
}

fn members() -> Vec<Case> {
    let removed = |conf_ver| with_peers(&region(1, "", "", 1), conf_ver, &[(11, 1), (12, 2)]);
    let back = |conf_ver| with_peers(&region(1, "", "", 1), conf_ver, &[(11, 1), (12, 2), (13, 3)]);
    let added = |conf_ver| with_peers(&region(1, "", "", 1), conf_ver, &[(11, 1), (12, 2), (14, 3)]);
    let destroyed = || raft::Fact::PeerDestroyed { region: 1, peer: 13, reason: "removed".into() };
    let created = |peer| raft::Fact::PeerCreated { region: 1, peer, initialized: false };
    vec![
        accuse("removed-peer-never-returns", "named-again", "configuration", move |s| {
            conf_changed(s, 1, &removed(2), 9, 13, 0);
            conf_changed(s, 1, &back(3), 10, 0, 13);
        }),
        accuse("removed-peer-never-returns", "created-again", "stale-message", move |s| {
            conf_changed(s, 1, &removed(2), 9, 13, 0);
            s.fact(3, destroyed()).fact(3, created(13));
        }),
        pass("removed-peer-never-returns", "new-id-and-lagging-replica", move |s| {
            conf_changed(s, 1, &removed(2), 9, 13, 0);
            conf_changed(s, 1, &added(3), 10, 0, 14);
            s.changed(2, &back(1), "recover", 5).fact(3, destroyed()).fact(3, created(14));
            conf_changed(s, 2, &removed(2), 9, 13, 0);
        }),
        accuse("equal-peer-list", "peer-lists-differ", "two-results", move |s| {
            conf_changed(s, 1, &added(3), 10, 0, 14);
            conf_changed(s, 2, &removed(2), 10, 13, 0);
        }),
        pass("equal-peer-list", "replayed", move |s| {
            conf_changed(s, 1, &removed(2), 9, 13, 0);
            s.crash(1).start(1);
            conf_changed(s, 1, &removed(2), 9, 13, 0);
            conf_changed(s, 2, &removed(2), 9, 13, 0);
        }),
        accuse("closed-peer-handles-no-message", "handled-after-close", "replaced-by-split", |s| {
            s.fact(2, raft::Fact::PeerClosed { region: 2, peer: 22, reason: "split".into(), instance: 7 });
            s.fact(2, raft::Fact::PeerCreated { region: 2, peer: 22, initialized: true });
            s.fact(2, raft::Fact::MessagesHandled { region: 2, peer: 22, count: 3, instance: 7 });
        }),
        pass("closed-peer-handles-no-message", "successor-handles", |s| {
            s.fact(2, raft::Fact::MessagesHandled { region: 2, peer: 22, count: 1, instance: 7 });
            s.fact(2, raft::Fact::PeerClosed { region: 2, peer: 22, reason: "split".into(), instance: 7 });
            s.fact(2, raft::Fact::MessagesHandled { region: 2, peer: 22, count: 3, instance: 8 });
            s.kill(2).start(2);
            s.fact(2, raft::Fact::MessagesHandled { region: 2, peer: 22, count: 3, instance: 7 });
        }),
    ]
}

fn maps() -> Vec<Case> {
    vec![
        accuse("region-maps-agree", "range-without-region", "skipped-child", |s| {
            s.changed(1, &region(1, "", "", 1), "create", 5);
            inserted(s, &region(1, "", "", 1));
            settled(s, 1, 1);
            s.changed(1, &region(1, "m", "", 2), "split", 9);
            s.fact(1, fact::Fact::RangeInserted { region: 2, end: key("m") });
            s.fact(1, fact::Fact::SplitChild { region: 2, peer: 21, source: 1, outcome: "skipped".into() });
            settled(s, 1, 2);
        }),
        accuse("region-maps-agree", "two-ranges", "skipped-child-that-has-moved-on", |s| {
            s.changed(1, &region(2, "", "g", 3), "snapshot", 9);
            inserted(s, &region(2, "", "g", 3));
            settled(s, 1, 1);
            s.fact(1, fact::Fact::RangeInserted { region: 2, end: key("m") });
            settled(s, 1, 2);
        }),
        accuse("region-maps-agree", "range-with-another-end", "not-moved", |s| {
            s.changed(1, &region(1, "", "", 1), "create", 5);
            inserted(s, &region(1, "", "", 1));
            s.changed(1, &region(1, "", "m", 2), "split", 9);
            settled(s, 1, 1);
        }),
        accuse("region-maps-agree", "region-without-range", "forgotten-range", |s| {
            s.changed(1, &region(1, "", "", 1), "create", 5);
            s.fact(1, fact::Fact::RegionInserted { region: 1, peer: 11 });
            settled(s, 1, 0);
        }),
        accuse("region-maps-agree", "counts-differ", "counts", |s| {
            s.changed(1, &region(1, "", "", 1), "create", 5);
            inserted(s, &region(1, "", "", 1));
            settled(s, 2, 1);
        }),
        pass("region-maps-agree", "replaced-and-destroyed", |s| {
            s.changed(1, &region(1, "", "", 1), "create", 5);
            inserted(s, &region(1, "", "", 1));
            // An uninitialised peer of the child is there before the split.
            s.fact(1, fact::Fact::RegionInserted { region: 2, peer: 21 });
            settled(s, 2, 1);
            s.changed(1, &region(1, "m", "", 2), "split", 9).changed(1, &region(2, "", "m", 2), "split", 9);
            s.fact(1, fact::Fact::RegionRemoved { region: 2, peer: 21 });
            inserted(s, &region(2, "", "m", 2));
            settled(s, 2, 2);
            s.fact(1, fact::Fact::RangeRemoved { region: 2, end: key("m") });
            s.fact(1, fact::Fact::RegionRemoved { region: 2, peer: 21 });
            settled(s, 1, 1);
            s.fact(1, fact::Fact::RegionInserted { region: 2, peer: 24 });
            settled(s, 2, 1);
        }),
    ]
}

fn content() -> Vec<Case> {
    vec![
        accuse("content-equals-reference", "keys-missing", "dropped-key", |s| {
            s.bootstrapped().applied(1, 6, 6, put(1, "a", 10, Some("x"))).applied(1, 7, 6, put(1, "b", 11, Some("y")));
            s.hashed(1, 1, 7, &[("b", 11, "y")], "compute-hash");
        }),
        accuse("content-equals-reference", "content-differs", "old-value", |s| {
            s.bootstrapped().applied(1, 6, 6, put(1, "a", 10, Some("x"))).applied(1, 7, 6, put(1, "a", 11, Some("y")));
            s.hashed(1, 1, 7, &[("a", 10, "x")], "restart");
        }),
        accuse("content-equals-reference", "keys-missing", "child-of-a-split", |s| {
            s.bootstrapped().applied(1, 6, 6, put(1, "a", 10, Some("x"))).applied(1, 7, 6, split(1, "m", 2));
            s.hashed(1, 2, 5, &[], "split");
        }),
        pass("content-equals-reference", "split-lag-and-skipped-commands", |s| {
            s.bootstrapped().applied(1, 6, 6, put(1, "a", 10, Some("x"))).applied(1, 7, 6, put(1, "n", 11, Some("y")));
            s.hashed(1, 1, 7, &[("a", 10, "x"), ("n", 11, "y")], "compute-hash");
            s.applied(1, 8, 6, split(1, "m", 2));
            // Proposed before the split and skipped; older than the newest; a deletion.
            s.applied(1, 9, 6, put(1, "n", 12, Some("z"))).applied(1, 10, 6, put(2, "n", 9, Some("old")));
            s.applied_in(1, 2, 6, 6, put(2, "b", 13, Some("w"))).applied_in(1, 2, 7, 6, put(2, "a", 14, None));
            s.hashed(1, 1, 8, &[("n", 11, "y")], "split").hashed(1, 2, 5, &[("a", 10, "x")], "split");
            s.hashed(1, 1, 10, &[("n", 11, "y")], "converge").hashed(1, 2, 7, &[("b", 13, "w")], "converge");
            // A replica that lags is judged as of its own index.
            s.applied(2, 6, 6, put(1, "a", 10, Some("x"))).hashed(2, 1, 6, &[("a", 10, "x")], "restart");
            s.hashed(2, 2, 6, &[("a", 10, "x"), ("b", 13, "w")], "restart");
            // A region that comes from nowhere is not judged.
            s.applied_in(3, 9, 40, 6, Bytes::new()).hashed(3, 9, 40, &[("q", 1, "q")], "restart");
        }),
    ]
}

fn merged(s: &mut Story, node: u16, target: u64, source: u64, index: u64) {
    let (region, peer, source_peer) = (target, target * 10 + u64::from(node), source * 10 + u64::from(node));
    s.fact(node, fact::Fact::MergeCommitted { region, peer, source, source_peer, index, commit: 8 });
}

fn source_destroyed(s: &mut Story, node: u16, source: u64, by: &'static str) {
    let peer = source * 10 + u64::from(node);
    s.fact(node, fact::Fact::SourceDestroyed { region: source, peer, target: 2, by: by.into() });
}

/// Two neighbours on a store.
fn neighbours(s: &mut Story, node: u16) {
    s.changed(node, &region(1, "", "m", 2), "split", 7).changed(node, &region(2, "m", "", 2), "split", 7);
}

fn merges() -> Vec<Case> {
    let source = || prepared(&region(1, "", "m", 2));
    vec![
        accuse("key-space-covered", "hole", "merged-and-not-taken-in", move |s| {
            neighbours(s, 1);
            s.changed(1, &source(), "prepare-merge", 8);
            merged(s, 1, 2, 1, 9);
            s.room(0, RoomEvent::AtRest {});
        }),
        accuse("key-space-covered", "merged-and-undone", "on-another-store", |s| {
            neighbours(s, 1);
            merged(s, 1, 2, 1, 9);
            s.fact(2, fact::Fact::MergeRolledBack { region: 1, peer: 12, target: 2, index: 10 });
        }),
        accuse("key-space-covered", "two-merges", "two-entries", |s| {
            merged(s, 1, 2, 1, 9);
            merged(s, 2, 2, 1, 10);
        }),
        pass("key-space-covered", "merged", move |s| {
            s.bootstrapped();
            neighbours(s, 1);
            s.changed(1, &source(), "prepare-merge", 8);
            merged(s, 1, 2, 1, 9);
            s.changed(1, &region(2, "", "", 4), "merge", 9).changed(2, &region(1, "", "m", 2), "recover", 7);
            merged(s, 2, 2, 1, 9);
            s.room(0, RoomEvent::AtRest {});
        }),
        accuse("one-owner-per-key", "overlap-after-restart", "snapshot-before-its-source-went", move |s| {
            s.crash(1).start(1).state_recovered(1, &region(2, "", "", 4), "applying", 6, 9);
            s.state_recovered(1, &source(), "merging", 0, 0);
        }),
        pass("one-owner-per-key", "source-went-with-the-snapshot", move |s| {
            neighbours(s, 1);
            inserted(s, &region(1, "", "m", 2));
            inserted(s, &region(2, "m", "", 2));
            settled(s, 2, 2);
            s.fact(1, fact::Fact::RegionRemoved { region: 1, peer: 11 });
            s.fact(1, fact::Fact::RangeRemoved { region: 1, end: key("m") });
            source_destroyed(s, 1, 1, "snapshot");
            s.changed(1, &region(2, "", "", 4), "snapshot", 9);
            settled(s, 1, 1);
            s.crash(1).start(1).state_recovered(1, &source(), "tombstone", 0, 0);
            s.state_recovered(1, &region(2, "", "", 4), "applying", 6, 9);
        }),
        accuse("removed-peer-never-returns", "created-again", "merged-source", |s| {
            source_destroyed(s, 1, 1, "commit");
            s.fact(1, raft::Fact::PeerCreated { region: 1, peer: 11, initialized: false });
        }),
        accuse("content-equals-reference", "keys-missing", "merge-forgot-its-source", move |s| {
            two_with_content(s);
            s.applied_in(1, 2, 7, 6, commit_merge(2, &source(), 8)).hashed(1, 2, 7, &[("n", 11, "y")], "merge");
        }),
        pass("content-equals-reference", "merged", move |s| {
            two_with_content(s);
            s.applied_in(1, 2, 7, 6, commit_merge(2, &source(), 8));
            s.hashed(1, 2, 7, &[("a", 10, "x"), ("n", 11, "y")], "merge");
            // A peer that lags, a second commit that comes too late, and a leader's first entry behind the end.
            s.applied(2, 6, 6, put(2, "a", 10, Some("x"))).hashed(2, 1, 6, &[("a", 10, "x")], "restart");
            s.applied_in(1, 2, 8, 6, commit_merge(2, &source(), 8)).applied(1, 10, 7, Bytes::new());
            s.applied_in(1, 2, 9, 6, put(4, "b", 12, Some("z")));
            s.hashed(1, 2, 9, &[("a", 10, "x"), ("b", 12, "z"), ("n", 11, "y")], "converge");
        }),
    ]
}

/// Region 1 up to `m`, prepared at 8, and region 2 behind it, each with a key.
fn two_with_content(s: &mut Story) {
    let (left, right) = (region(1, "", "m", 2), region(2, "m", "", 2));
    s.changed(1, &left, "create", 5).changed(1, &right, "create", 5);
    s.applied(1, 6, 6, put(2, "a", 10, Some("x"))).applied(1, 7, 6, Bytes::new());
    s.applied_in(1, 2, 6, 6, put(2, "n", 11, Some("y")));
    s.applied(1, 8, 6, prepare_merge(2, &right)).applied(1, 9, 6, put(3, "a", 15, Some("late")));
}
