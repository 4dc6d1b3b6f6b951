//! Stories of clients.

use scenarios::event::{Outcome, RoomEvent};

use super::{
    Case, accuse, pass,
    story::{part, put, seen},
};

pub fn cases() -> Vec<Case> {
    let mut all = registers();
    all.extend(swaps());
    all.extend(batches());
    all.extend(survival());
    all
}

fn registers() -> Vec<Case> {
    vec![
        accuse("linearizable", "stale-read", "after-acknowledged-write", |s| {
            s.put("a", 10, "x").put("a", 11, "y").get("a", 10, Some("x"));
        }),
        accuse("linearizable", "stale-read", "read-goes-back", |s| {
            s.put("a", 10, "x");
            let write = s.invoke_write(11, &[("a", Some("y"), None)]);
            s.get("a", 11, Some("y")).get("a", 10, Some("x")).returned(write, Outcome::Unknown);
        }),
        accuse("linearizable", "version-from-nowhere", "nobody-wrote", |s| {
            s.put("a", 10, "x").get("a", 99, Some("z"));
        }),
        accuse("linearizable", "value-differs", "another-value", |s| {
            s.put("a", 10, "x").get("a", 10, Some("z"));
        }),
        accuse("linearizable", "failed-write-seen", "seen-later", |s| {
            let write = s.invoke_write(10, &[("a", Some("x"), None)]);
            s.returned(write, Outcome::Failed { reason: "conflict".into(), found: None }).get("a", 10, Some("x"));
        }),
        accuse("linearizable", "failed-write-seen", "seen-before", |s| {
            let write = s.invoke_write(10, &[("a", Some("x"), None)]);
            s.get("a", 10, Some("x")).returned(write, Outcome::Failed { reason: "conflict".into(), found: None });
        }),
        accuse("linearizable", "write-behind", "acknowledged-below", |s| {
            s.put("a", 11, "y").put("a", 10, "x");
        }),
        accuse("linearizable", "value-vanished", "never-deleted", |s| {
            s.put("a", 10, "x").get("a", 0, None);
        }),
        accuse("linearizable", "value-vanished", "missing-in-scan", |s| {
            s.put("a", 10, "x").put("b", 11, "y").scan(vec![part("", "", vec![seen("b", 11, Some("y"))])]);
        }),
        accuse("linearizable", "stale-read", "scan-of-one-moment", |s| {
            // While a scan is under way, `a` is written, then `b`: it shows the second and not the first.
            s.put("a", 10, "x");
            let scan = s.invoke(scenarios::event::Ask::Scan { start: "".into(), end: "".into(), by: "lease".into() });
            s.put("a", 11, "y").put("b", 12, "z");
            let parts = vec![part("", "", vec![seen("a", 10, Some("x")), seen("b", 12, Some("z"))])];
            s.returned(scan, Outcome::Scanned { parts: parts.into() });
        }),
        accuse("linearizable", "deleted-and-back", "nothing-then-older", |s| {
            let delete = s.invoke_write(12, &[("a", None, None)]);
            s.put("a", 10, "x").get("a", 0, None).get("a", 10, Some("x")).returned(delete, Outcome::Unknown);
        }),
        pass("linearizable", "overlaps-silence-and-deletions", |s| {
            let slow = s.invoke_get("a");
            s.put("a", 10, "x").returned(slow, Outcome::Got(seen("a", 0, None)));
            let late = s.invoke_get("a");
            s.put("a", 11, "y").get("a", 11, Some("y")).returned(late, Outcome::Got(seen("a", 10, Some("x"))));
            // Silence: not seen, then seen.
            let silent = s.invoke_write(12, &[("a", Some("z"), None)]);
            s.returned(silent, Outcome::Unknown).get("a", 11, Some("y")).get("a", 12, Some("z"));
            // A conflict, then a second attempt under a new timestamp.
            let again = s.invoke_write(5, &[("a", None, None)]);
            s.client(scenarios::event::ClientEvent::Stamped { client: 1, op: again, timestamp: 13 });
            s.returned(again, Outcome::Written { timestamp: 13 });
            // A tombstone, until it is collected.
            s.get("a", 13, None).get("a", 0, None).scan(vec![part("", "", vec![])]);
            s.put("a", 14, "w").scan(vec![part("", "b", vec![seen("a", 14, Some("w"))])]);
        }),
        pass("linearizable", "nothing-behind-a-silent-deletion", |s| {
            s.put("a", 10, "x");
            let delete = s.invoke_write(12, &[("a", None, Some(10))]);
            s.returned(delete, Outcome::Unknown).get("a", 10, Some("x")).get("a", 0, None).get("a", 0, None);
        }),
    ]
}

fn swaps() -> Vec<Case> {
    vec![
        accuse("linearizable", "swapped-over", "two-swaps-of-one-version", |s| {
            s.put("a", 10, "x");
            let first = s.invoke_write(11, &[("a", Some("y"), Some(10))]);
            let second = s.invoke_write(12, &[("a", Some("z"), Some(10))]);
            s.returned(first, Outcome::Written { timestamp: 11 }).returned(second, Outcome::Written { timestamp: 12 });
        }),
        accuse("linearizable", "swapped-over", "nothing-expected", |s| {
            s.put("a", 10, "x");
            let swap = s.invoke_write(11, &[("a", Some("y"), Some(0))]);
            s.returned(swap, Outcome::Written { timestamp: 11 });
        }),
        accuse("linearizable", "swapped-from-nowhere", "failed-write", |s| {
            let write = s.invoke_write(10, &[("a", Some("x"), None)]);
            s.returned(write, Outcome::Failed { reason: "conflict".into(), found: None });
            let swap = s.invoke_write(11, &[("a", Some("y"), Some(10))]);
            s.returned(swap, Outcome::Written { timestamp: 11 });
        }),
        accuse("linearizable", "stale-read", "refused-by-an-old-version", |s| {
            s.put("a", 10, "x").put("a", 11, "y");
            let swap = s.invoke_write(12, &[("a", Some("z"), Some(11))]);
            s.returned(swap, Outcome::Failed { reason: "unexpected".into(), found: Some(10) });
        }),
        pass("linearizable", "swaps", |s| {
            let first = s.invoke_write(10, &[("a", Some("x"), Some(0))]);
            s.returned(first, Outcome::Written { timestamp: 10 });
            let second = s.invoke_write(11, &[("a", Some("y"), Some(10))]);
            let third = s.invoke_write(12, &[("a", Some("z"), Some(10))]);
            s.returned(second, Outcome::Written { timestamp: 11 });
            s.returned(third, Outcome::Failed { reason: "unexpected".into(), found: Some(11) });
            // On nothing, because a silent deletion came between.
            let delete = s.invoke_write(13, &[("a", None, None)]);
            s.returned(delete, Outcome::Unknown);
            let last = s.invoke_write(14, &[("a", Some("w"), Some(0))]);
            s.returned(last, Outcome::Written { timestamp: 14 }).get("a", 14, Some("w"));
        }),
    ]
}

fn batches() -> Vec<Case> {
    let both = [("a", Some("x"), None), ("b", Some("x"), None)];
    vec![
        accuse("atomic-batches", "batch-torn", "half", move |s| {
            s.put("b", 9, "o");
            s.invoke_write(10, &both);
            s.scan(vec![part("", "", vec![seen("a", 10, Some("x")), seen("b", 9, Some("o"))])]);
        }),
        accuse("atomic-batches", "batch-torn", "missing", move |s| {
            s.invoke_write(10, &both);
            s.scan(vec![part("", "", vec![seen("b", 10, Some("x"))])]);
        }),
        pass("atomic-batches", "whole-superseded-parted", move |s| {
            let batch = s.invoke_write(10, &both);
            // The batch's keys lie in two parts: each is a moment of its own.
            s.scan(vec![part("", "b", vec![]), part("b", "", vec![seen("b", 10, Some("x"))])]);
            s.returned(batch, Outcome::Written { timestamp: 10 });
            s.scan(vec![part("", "", vec![seen("a", 10, Some("x")), seen("b", 10, Some("x"))])]);
            s.put("b", 11, "y").scan(vec![part("", "", vec![seen("a", 10, Some("x")), seen("b", 11, Some("y"))])]);
            s.invoke_write(12, &[("b", None, None)]);
            s.scan(vec![part("", "", vec![seen("a", 10, Some("x"))])]);
        }),
    ]
}

fn survival() -> Vec<Case> {
    vec![
        accuse("acknowledged-writes-survive", "acknowledged-before-applied", "nowhere", |s| {
            s.bootstrapped().applied(1, 6, 6, put(1, "a", 9, Some("w"))).put("a", 10, "x");
        }),
        accuse("acknowledged-writes-survive", "leader-without-acknowledged-write", "lost", |s| {
            s.bootstrapped().elected(1, 6, 5).applied(1, 6, 6, put(1, "a", 10, Some("x"))).put("a", 10, "x");
            s.elected(2, 7, 5);
        }),
        pass("acknowledged-writes-survive", "applied-and-held", |s| {
            s.bootstrapped().elected(1, 6, 5).applied(1, 6, 6, put(1, "a", 10, Some("x"))).put("a", 10, "x");
            s.room(1, RoomEvent::FaultInjected { kind: "crash".into() }).elected(2, 7, 6);
        }),
    ]
}
