//! Stories of snapshots and their files.

use node::store::fact::snapshot;
use scenarios::event::RoomEvent;

use super::{
    Case, accuse, pass,
    story::{Story, put, region},
};

const RECEIVED: [&str; 2] = ["snap/rev_1_6_40_default.sst", "snap/rev_1_6_40.meta"];
const GENERATED: &str = "snap/gen_1_6_40_default.sst";

fn registered(s: &mut Story, node: u16, purpose: &'static str) {
    s.fact(node, snapshot::Fact::Registered { region: 1, term: 6, index: 40, purpose: purpose.into() });
}

fn deregistered(s: &mut Story, node: u16, purpose: &'static str) {
    s.fact(node, snapshot::Fact::Deregistered { region: 1, term: 6, index: 40, purpose: purpose.into() });
}

fn received(s: &mut Story) {
    for path in RECEIVED {
        s.created(2, &format!("{path}.tmp"));
        s.room(2, RoomEvent::FileRenamed { from: format!("{path}.tmp").into(), to: path.into() });
    }
    s.fact(2, snapshot::Fact::Received { region: 1, term: 6, index: 40 });
}

pub fn cases() -> Vec<Case> {
    let mut all = files();
    all.extend(states());
    all
}

fn files() -> Vec<Case> {
    let whole = || region(1, "", "", 1);
    vec![
        accuse("durable-applying-has-files", "removed-while-applying", "collected-after-restart", move |s| {
            received(s);
            s.state(2, &whole(), "applying", 6, 40).crash(2).start(2).state_recovered(2, &whole(), "applying", 6, 40);
            s.removed(2, RECEIVED[0]);
        }),
        accuse("durable-applying-has-files", "missing-after-restart", "removed-before-normal-was-durable", move |s| {
            received(s);
            s.state(2, &whole(), "applying", 6, 40).state(2, &whole(), "normal", 0, 0).removed(2, RECEIVED[0]);
            s.crash(2).start(2).state_recovered(2, &whole(), "applying", 6, 40);
        }),
        pass("durable-applying-has-files", "applied-or-never-durable", move |s| {
            received(s);
            s.state(2, &whole(), "applying", 6, 40).crash(2).start(2).state_recovered(2, &whole(), "normal", 0, 0);
            // The state was lost with the crash, so the files are free.
            s.removed(2, RECEIVED[0]).removed(2, RECEIVED[1]);
            received(s);
            s.state(2, &whole(), "applying", 6, 40).state(2, &whole(), "normal", 0, 0);
            s.removed(2, RECEIVED[0]).removed(2, RECEIVED[1]).crash(2).start(2);
            s.state_recovered(2, &whole(), "normal", 0, 0);
        }),
        accuse("file-in-use-exists", "removed-in-use", "sending", |s| {
            s.created(1, GENERATED);
            registered(s, 1, "sending");
            s.removed(1, GENERATED);
        }),
        accuse("file-in-use-exists", "removed-in-use", "applying", |s| {
            received(s);
            registered(s, 2, "applying");
            s.removed(2, RECEIVED[1]);
        }),
        pass("file-in-use-exists", "ended-uses", |s| {
            s.created(1, GENERATED);
            registered(s, 1, "sending");
            s.fact(1, snapshot::Fact::Sent { region: 1, term: 6, index: 40, to_store: 2 }).removed(1, GENERATED);
            deregistered(s, 1, "sending");
            received(s);
            registered(s, 2, "applying");
            s.snapshot_applied(2, 6, 40).removed(2, RECEIVED[0]).removed(2, RECEIVED[1]);
            deregistered(s, 2, "applying");
            s.created(3, GENERATED);
            registered(s, 3, "sending");
            s.kill(3).start(3).removed(3, GENERATED);
        }),
        accuse("nothing-left-at-rest", "temporary-file-left", "tmp", |s| {
            s.created(1, "snap/gen_1_6_40.meta.tmp").room(0, RoomEvent::AtRest {});
        }),
        accuse("nothing-left-at-rest", "registration-left", "generating", |s| {
            registered(s, 1, "generating");
            s.room(0, RoomEvent::AtRest {});
        }),
        accuse("nothing-left-at-rest", "applied-file-left", "applied", |s| {
            received(s);
            s.snapshot_applied(2, 6, 40);
            for _ in 0..2 {
                s.fact(2, snapshot::Fact::Collected { idle: 1, removed: 0 });
            }
            s.room(0, RoomEvent::AtRest {});
        }),
        pass("nothing-left-at-rest", "generated-may-wait", |s| {
            registered(s, 1, "generating");
            s.created(1, GENERATED);
            deregistered(s, 1, "generating");
            received(s);
            s.snapshot_applied(2, 6, 40).removed(2, RECEIVED[0]).removed(2, RECEIVED[1]);
            registered(s, 3, "receiving");
            s.kill(3).start(3).room(0, RoomEvent::AtRest {});
        }),
    ]
}

fn states() -> Vec<Case> {
    let written = |s: &mut Story| {
        s.bootstrapped().applied(1, 6, 6, put(1, "a", 10, Some("x"))).applied(1, 7, 6, put(1, "b", 11, Some("y")));
    };
    vec![
        accuse("snapshot-equals-state", "not-the-state", "before-the-flush", move |s| {
            written(s);
            s.hashed(1, 1, 7, &[("a", 10, "x")], "snapshot");
        }),
        accuse("snapshot-equals-state", "not-the-state", "after-applying", move |s| {
            written(s);
            s.hashed(1, 1, 7, &[("a", 10, "x"), ("b", 11, "y")], "snapshot").hashed(
                2,
                1,
                7,
                &[("b", 11, "y")],
                "snapshot",
            );
        }),
        pass("snapshot-equals-state", "as-of-its-index", move |s| {
            written(s);
            s.applied(1, 8, 6, put(1, "a", 12, None));
            s.hashed(1, 1, 7, &[("a", 10, "x"), ("b", 11, "y")], "snapshot");
            s.hashed(2, 1, 7, &[("a", 10, "x"), ("b", 11, "y")], "snapshot").hashed(
                1,
                1,
                8,
                &[("b", 11, "y")],
                "snapshot",
            );
        }),
        accuse("log-terms-agree-with-snapshot", "stale-log", "beyond-the-snapshot", |s| {
            s.crash(2).start(2).log_recovered(2, 6, 50, 6).peer_recovered(2, 40, (40, 7), (50, 6));
        }),
        accuse("log-terms-agree-with-snapshot", "other-term", "at-the-snapshot", |s| {
            s.crash(2).start(2).log_recovered(2, 40, 50, 7).peer_recovered(2, 40, (40, 6), (50, 7));
        }),
        accuse("log-terms-agree-with-snapshot", "log-behind", "short", |s| {
            s.crash(2).start(2).log_recovered(2, 6, 30, 6).peer_recovered(2, 40, (40, 6), (30, 6));
        }),
        accuse("log-terms-agree-with-snapshot", "not-what-was-committed", "committed", |s| {
            s.applied(1, 41, 7, bytes::Bytes::new());
            s.crash(2).start(2).log_recovered(2, 41, 42, 6).peer_recovered(2, 41, (40, 6), (42, 6));
        }),
        pass("log-terms-agree-with-snapshot", "mended-or-matching", |s| {
            s.applied(1, 41, 6, bytes::Bytes::new());
            // The stale log was dropped by the store: its log ends at the snapshot.
            s.crash(2).start(2).log_recovered(2, 6, 50, 6).peer_recovered(2, 40, (40, 7), (40, 7));
            // Goes on behind the snapshot; what is not committed may be anything of a later term.
            s.crash(3).start(3).log_recovered(3, 38, 42, 6).peer_recovered(3, 41, (40, 6), (42, 6));
        }),
    ]
}
