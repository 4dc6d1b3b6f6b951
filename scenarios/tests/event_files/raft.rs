//! Stories of consensus, logs and leases.

use bytes::Bytes;
use node::{
    env::Instant,
    fact::{Mark, Marks},
    raftlog::fact as raftlog,
    store::fact::{apply, raft},
};
use scenarios::event::RoomEvent;

use super::{
    Case, accuse, pass,
    story::{Story, put, region},
};

const LOG: &str = "raft/1.log";

fn hard_state(s: &mut Story, term: u64, vote: u64, commit: u64, end: u64) {
    s.fact(2, raftlog::Fact::HardStateWritten { region: 1, peer: 12, term, vote, commit, file: LOG.into(), end });
}

fn vote(s: &mut Story, term: u64, to: u64) {
    s.fact(2, raft::Fact::VoteSent { region: 1, peer: 12, term, to });
}

fn lease(s: &mut Story, node: u16, term: u64, ms: u64) {
    let from = Instant(s.next_ns());
    let until = Instant(s.next_ns() + ms * 1_000_000);
    s.fact(node, raft::Fact::LeaseRenewed { region: 1, peer: 10 + u64::from(node), term, from, until });
}

pub fn cases() -> Vec<Case> {
    let mut all = elections();
    all.extend(logs());
    all.extend(durability());
    all.extend(leases());
    all
}

fn elections() -> Vec<Case> {
    vec![
        accuse("election-safety", "two-leaders", "one-term", |s| {
            s.elected(1, 6, 5).elected(2, 6, 5);
        }),
        pass("election-safety", "terms-and-regions", |s| {
            s.elected(1, 6, 5).elected(2, 7, 5);
            s.fact(3, raft::Fact::Elected { region: 2, peer: 23, term: 6, last_index: 5, last_term: 5 });
        }),
        accuse("leader-completeness", "committed-entry-missing", "short-log", |s| {
            s.elected(1, 6, 5).committed(1, 6, 9).elected(2, 7, 8);
        }),
        pass("leader-completeness", "late-winner-of-an-old-term", |s| {
            s.elected(1, 6, 5).committed(1, 6, 9).elected(3, 8, 9).committed(3, 8, 12);
            // Its votes were cast before anybody had heard of term 8.
            s.elected(2, 7, 9);
        }),
        accuse("state-machine-safety", "entries-differ", "data", |s| {
            s.applied(1, 6, 6, put(1, "a", 10, Some("x"))).applied(2, 6, 6, put(1, "a", 11, Some("y")));
        }),
        accuse("state-machine-safety", "entries-differ", "term", |s| {
            s.applied(1, 6, 6, Bytes::new()).applied(2, 6, 7, Bytes::new());
        }),
        pass("state-machine-safety", "replay-after-restart", |s| {
            s.applied(1, 6, 6, Bytes::new()).applied(2, 6, 6, Bytes::new()).applied(
                1,
                7,
                6,
                put(1, "a", 10, Some("x")),
            );
            s.crash(1).start(1).applied(1, 7, 6, put(1, "a", 10, Some("x")));
        }),
    ]
}

fn logs() -> Vec<Case> {
    let append = |s: &mut Story, node: u16, marks: &[(u64, u64, u64)]| {
        let marks = Marks(marks.iter().map(|&(index, term, digest)| Mark { index, term, digest }).collect());
        let peer = 10 + u64::from(node);
        s.fact(node, raftlog::Fact::Appended { region: 1, peer, marks, file: LOG.into(), end: 100 });
    };
    vec![
        accuse("log-matching", "entries-differ", "digest", move |s| {
            append(s, 1, &[(6, 6, 1), (7, 6, 2)]);
            append(s, 2, &[(6, 6, 1), (7, 6, 3)]);
        }),
        accuse("log-matching", "predecessors-differ", "predecessor", move |s| {
            append(s, 1, &[(6, 6, 1), (7, 8, 2)]);
            append(s, 2, &[(6, 7, 9), (7, 8, 2)]);
        }),
        pass("log-matching", "conflict-replaced", move |s| {
            append(s, 1, &[(6, 6, 1), (7, 6, 2)]);
            append(s, 2, &[(6, 6, 1), (7, 7, 3), (8, 7, 4)]);
            append(s, 1, &[(7, 7, 3), (8, 7, 4)]);
            s.fact(
                3,
                raftlog::Fact::Recovered {
                    region: 1,
                    peer: 13,
                    first: 7,
                    marks: Marks([Mark { index: 7, term: 7, digest: 3 }].into()),
                    term: 7,
                    vote: 0,
                    commit: 6,
                },
            );
        }),
        accuse("commit-and-apply-monotone", "commit-went-back", "commit", |s| {
            s.committed(1, 6, 9).committed(1, 6, 8);
        }),
        accuse("commit-and-apply-monotone", "applied-before-commit", "ahead", |s| {
            s.committed(1, 6, 6).applied(1, 6, 6, Bytes::new()).applied(1, 7, 6, Bytes::new());
        }),
        accuse("commit-and-apply-monotone", "resumed-below-durable", "restart", |s| {
            s.committed(1, 6, 9).applied(1, 6, 6, Bytes::new());
            s.fact(1, apply::Fact::Persisted { region: 1, peer: 11, index: 8, synced: true });
            s.crash(1).start(1).peer_recovered(1, 7, (5, 5), (9, 6));
        }),
        pass("commit-and-apply-monotone", "unsynced-is-lost", |s| {
            s.committed(1, 6, 9);
            s.fact(1, apply::Fact::Persisted { region: 1, peer: 11, index: 7, synced: true });
            s.fact(1, apply::Fact::Persisted { region: 1, peer: 11, index: 9, synced: false });
            s.crash(1).start(1).peer_recovered(1, 7, (5, 5), (9, 6)).committed(1, 6, 8).applied(1, 8, 6, Bytes::new());
            s.snapshot_applied(1, 6, 20).committed(1, 6, 21).applied(1, 21, 6, Bytes::new());
        }),
        pass("commit-and-apply-monotone", "restart-while-applying", |s| {
            s.fact(1, apply::Fact::Persisted { region: 1, peer: 11, index: 7, synced: true });
            s.crash(1).start(1).state_recovered(1, &region(1, "", "", 1), "applying", 6, 20);
            s.peer_recovered(1, 0, (20, 6), (20, 6));
        }),
        accuse("apply-once", "applied-again", "twice", |s| {
            s.applied(1, 6, 6, Bytes::new()).applied(1, 6, 6, Bytes::new());
        }),
        accuse("apply-once", "applied-out-of-order", "hole", |s| {
            s.applied(1, 6, 6, Bytes::new()).applied(1, 8, 6, Bytes::new());
        }),
        pass("apply-once", "snapshot-and-restart", |s| {
            s.applied(1, 6, 6, Bytes::new()).snapshot_applied(1, 6, 20).committed(1, 6, 21).applied(
                1,
                21,
                6,
                Bytes::new(),
            );
            s.crash(1).start(1).peer_recovered(1, 20, (20, 6), (21, 6)).committed(1, 6, 21).applied(
                1,
                21,
                6,
                Bytes::new(),
            );
        }),
        accuse("hard-state-monotone", "term-went-back", "term", |s| {
            hard_state(s, 7, 11, 5, 40);
            hard_state(s, 6, 0, 5, 80);
        }),
        accuse("hard-state-monotone", "vote-changed", "vote", |s| {
            hard_state(s, 7, 11, 5, 40);
            hard_state(s, 7, 13, 5, 80);
        }),
        accuse("hard-state-monotone", "commit-went-back", "commit", |s| {
            hard_state(s, 7, 11, 8, 40);
            hard_state(s, 8, 0, 5, 80);
        }),
        pass("hard-state-monotone", "unsynced-is-lost", |s| {
            hard_state(s, 6, 0, 5, 40);
            hard_state(s, 6, 11, 5, 80);
            hard_state(s, 7, 13, 9, 120);
            s.crash(2).start(2);
            hard_state(s, 6, 11, 5, 80);
        }),
    ]
}

fn durability() -> Vec<Case> {
    vec![
        accuse("acknowledged-is-durable", "acknowledged-before-durable", "not-synced", |s| {
            s.log_file(2, LOG).appended(2, 6, 7, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 7);
            s.appended(2, 8, 9, 6, 200).synced(2, LOG, 150).acknowledged(2, 6, 9);
        }),
        accuse("acknowledged-is-durable", "acknowledged-before-durable", "name-not-durable", |s| {
            s.created(2, LOG).appended(2, 6, 7, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 7);
        }),
        accuse("acknowledged-is-durable", "acknowledged-before-durable", "after-kill", |s| {
            s.log_file(2, LOG).appended(2, 6, 7, 6, 100).kill(2).start(2).log_recovered(2, 6, 7, 6);
            s.peer_recovered(2, 5, (5, 5), (7, 6)).acknowledged(2, 6, 7);
        }),
        accuse("acknowledged-is-durable", "acknowledged-entry-lost", "restart", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
            s.crash(2).start(2).log_recovered(2, 6, 8, 6).peer_recovered(2, 5, (5, 5), (8, 6));
        }),
        accuse(
            "acknowledged-is-durable",
            "acknowledged-entry-lost",
            "cleared-for-a-snapshot-that-is-not-durable",
            |s| {
                s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
                s.fact(2, raftlog::Fact::Cleared { region: 1, peer: 12 });
                s.crash(2).start(2).peer_recovered(2, 5, (5, 5), (5, 5));
            },
        ),
        accuse("acknowledged-is-durable", "log-lost", "another-log-in-its-place", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
            s.kill(2).start(2).state_recovered(2, &region(1, "", "", 1), "normal", 0, 0);
        }),
        accuse("acknowledged-is-durable", "acknowledged-entry-lost", "with-the-file-that-was-removed", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
            s.kill(2).start(2).removed(2, LOG).log_file(2, LOG).log_recovered(2, 6, 8, 6);
            s.peer_recovered(2, 5, (5, 5), (8, 6));
        }),
        pass("acknowledged-is-durable", "moved-away-and-back-into-a-shorter-file", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).kill(2).start(2);
            s.removed(2, LOG).log_file(2, LOG).synced(2, LOG, 60).log_recovered(2, 6, 9, 6);
            s.peer_recovered(2, 5, (5, 5), (9, 6)).appended(2, 10, 10, 6, 80).synced(2, LOG, 80).acknowledged(2, 6, 10);
        }),
        pass("acknowledged-is-durable", "everything-covered-by-a-snapshot", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
            s.fact(2, raftlog::Fact::Restarted { region: 1, peer: 12, index: 50, term: 7, file: LOG.into(), end: 140 });
            s.crash(2).start(2).state_recovered(2, &region(1, "", "", 1), "normal", 0, 0);
        }),
        pass("acknowledged-is-durable", "conflict-and-compaction", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
            // A new leader replaces 8 and 9; what it wrote is not synced when power is lost.
            s.appended(2, 8, 8, 7, 200).crash(2).start(2).log_recovered(2, 6, 9, 6).peer_recovered(
                2,
                5,
                (5, 5),
                (9, 6),
            );
            s.appended(2, 8, 8, 7, 200).synced(2, LOG, 200).acknowledged(2, 7, 8);
            s.fact(2, raftlog::Fact::Compacted { region: 1, peer: 12, index: 8 });
            s.crash(2).start(2).log_recovered(2, 8, 8, 7).peer_recovered(2, 7, (7, 6), (8, 7));
        }),
        pass("acknowledged-is-durable", "next-segment-and-snapshot", |s| {
            s.log_file(2, LOG).appended(2, 6, 9, 6, 100).synced(2, LOG, 100).acknowledged(2, 6, 9);
            let marks = Marks([Mark { index: 10, term: 6, digest: 1006 }].into());
            s.log_file(2, "raft/2.log");
            s.fact(2, raftlog::Fact::Appended { region: 1, peer: 12, marks, file: "raft/2.log".into(), end: 30 });
            // Acknowledged again while the newer entry waits for its sync.
            s.acknowledged(2, 6, 9).synced(2, "raft/2.log", 30).acknowledged(2, 6, 10);
            s.snapshot_applied(2, 7, 50).acknowledged(2, 7, 50);
            s.crash(2).start(2).peer_recovered(2, 50, (50, 7), (50, 7));
        }),
        accuse("votes-durable", "vote-not-durable", "not-synced", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 11, 5, 40);
            vote(s, 7, 11);
        }),
        accuse("votes-durable", "vote-not-written", "other-candidate", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 11, 5, 40);
            s.synced(2, LOG, 40);
            vote(s, 7, 13);
        }),
        accuse("votes-durable", "vote-not-written", "other-candidate-before-a-later-term", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 11, 5, 40);
            hard_state(s, 9, 0, 5, 80);
            s.synced(2, LOG, 80);
            vote(s, 7, 13);
        }),
        accuse("votes-durable", "vote-not-durable", "later-term-not-synced", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 0, 5, 40);
            s.synced(2, LOG, 40);
            hard_state(s, 9, 0, 5, 80);
            vote(s, 7, 11);
        }),
        pass("votes-durable", "voted-and-went-on-to-a-later-term-in-one-turn", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 0, 5, 40);
            s.synced(2, LOG, 40);
            hard_state(s, 9, 0, 5, 80);
            s.synced(2, LOG, 80);
            vote(s, 7, 11);
        }),
        accuse("votes-durable", "vote-forgotten", "restart", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 11, 5, 40);
            s.synced(2, LOG, 40);
            vote(s, 7, 11);
            s.crash(2).start(2).peer_recovered(2, 5, (5, 5), (6, 6));
        }),
        pass("votes-durable", "two-terms-in-one-write", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 11, 5, 40);
            hard_state(s, 8, 11, 5, 40);
            s.synced(2, LOG, 40);
            vote(s, 7, 11);
            vote(s, 8, 11);
        }),
        pass("votes-durable", "synced-and-remembered", |s| {
            s.log_file(2, LOG);
            hard_state(s, 7, 11, 5, 40);
            s.synced(2, LOG, 40);
            vote(s, 7, 11);
            hard_state(s, 8, 0, 5, 80);
            s.crash(2).start(2);
            s.fact(
                2,
                raft::Fact::PeerRecovered {
                    region: 1,
                    peer: 12,
                    term: 7,
                    vote: 11,
                    commit: 5,
                    applied: 5,
                    truncated_index: 5,
                    truncated_term: 5,
                    last_index: 5,
                    last_term: 5,
                },
            );
        }),
    ]
}

fn leases() -> Vec<Case> {
    vec![
        accuse("one-lease", "two-leases", "vote-inside-a-lease", |s| {
            lease(s, 1, 6, 500);
            s.wait_ms(100).elected(2, 7, 5);
            lease(s, 2, 7, 500);
        }),
        accuse("one-lease", "two-leases", "slow-clock", |s| {
            // Its clock runs at nine tenths: 500 ms last 555.
            let true_ns = s.next_ns();
            s.room(1, RoomEvent::ClockChanged { true_ns, local_ns: true_ns, rate_ppm: -100_000 });
            lease(s, 1, 6, 500);
            s.wait_ms(530);
            lease(s, 2, 7, 500);
        }),
        pass("one-lease", "ended-given-up-or-dead", |s| {
            lease(s, 1, 6, 500);
            s.wait_ms(500);
            lease(s, 2, 7, 500);
            s.fact(2, raft::Fact::LeaseRevoked { region: 1, peer: 12, term: 7, reason: "transfer".into() });
            lease(s, 3, 8, 500);
            s.kill(3);
            lease(s, 1, 9, 500);
            lease(s, 1, 9, 900);
        }),
    ]
}
