//! Two checks against slow and simple models of what they judge.
//!
//! The register check against a search over all orders of small histories; the reference content against a plain map
//! that keeps every version.

use std::collections::BTreeMap;

use bytes::Bytes;
use node::{
    fact::Digest,
    region::Epoch,
    wire::command::{Body as What, Collect, Command, Mutation, Split, SplitChild, Write},
};
use proptest::prelude::*;
use prost::Message;
use scenarios::{
    check::{Checks, reference::Reference},
    event::{Ask, Body, ClientEvent, Edit, Event, Header, Outcome, Seen},
};

/// One operation on one key. Writes of operation `n` have timestamp `stamp` and value `stamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Write {
        stamp: u64,
        deletes: bool,
        expect: Option<u64>,
        fate: Fate,
    },
    /// 0: nothing was found.
    Read {
        stamp: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Failed,
    Unknown,
}

/// An operation with the positions of its beginning and its end in the history.
#[derive(Clone, Copy, Debug)]
struct Timed {
    op: Op,
    begin: u64,
    end: u64,
}

/// Whether some order explains the history: every operation at one moment between its ends, writes by ascending
/// timestamp, a deletion collected at any time.
fn explainable(history: &[Timed]) -> bool {
    fn search(history: &[Timed], done: u32, newest: u64, value: bool) -> bool {
        let open = |n: usize| done & (1 << n) == 0;
        let must = |timed: &Timed| !matches!(timed.op, Op::Write { fate: Fate::Failed | Fate::Unknown, .. });
        if (0..history.len()).all(|n| !open(n) || !must(&history[n])) {
            return true;
        }
        // The first end among what still has to happen: nothing may begin behind it and happen now.
        let horizon = (0..history.len()).filter(|&n| open(n) && must(&history[n])).map(|n| history[n].end).min();
        (0..history.len()).filter(|&n| open(n)).any(|n| {
            let timed = &history[n];
            if horizon.is_some_and(|horizon| timed.begin > horizon) {
                return false;
            }
            match timed.op {
                Op::Write { fate: Fate::Failed, .. } => false,
                Op::Write { stamp, deletes, expect, .. } => {
                    let there = if value { newest } else { 0 };
                    stamp > newest
                        && expect.is_none_or(|expect| expect == there)
                        && search(history, done | 1 << n, stamp, !deletes)
                }
                Op::Read { stamp } => {
                    let fits = if stamp == 0 { !value } else { stamp == newest };
                    fits && search(history, done | 1 << n, newest, value)
                }
            }
        })
    }
    search(history, 0, 0, false)
}

/// Whether the check passes the history.
fn passes(history: &[Timed]) -> bool {
    let mut steps: BTreeMap<u64, Vec<ClientEvent>> = BTreeMap::new();
    let key = Bytes::from_static(b"k");
    let deleted = |stamp: u64| {
        history.iter().any(|timed| matches!(timed.op, Op::Write { stamp: s, deletes: true, .. } if s == stamp))
    };
    for (n, timed) in history.iter().enumerate() {
        let (client, op) = (n as u32, n as u64);
        let begin = steps.entry(timed.begin).or_default();
        match timed.op {
            Op::Read { .. } => {
                begin.push(ClientEvent::Invoked { client, op, ask: Ask::Get { key: key.clone(), by: "lease".into() } });
            }
            Op::Write { stamp, deletes, expect, .. } => {
                let edit = Edit { key: key.clone(), value: (!deletes).then_some(stamp), expect };
                begin.push(ClientEvent::Invoked { client, op, ask: Ask::Write { edits: [edit].into() } });
                begin.push(ClientEvent::Stamped { client, op, timestamp: stamp });
            }
        }
        let outcome = match timed.op {
            Op::Read { stamp } => {
                let value = (stamp != 0 && !deleted(stamp)).then_some(stamp);
                Outcome::Got(Seen { key: key.clone(), timestamp: stamp, value })
            }
            Op::Write { stamp, fate: Fate::Done, .. } => Outcome::Written { timestamp: stamp },
            Op::Write { fate: Fate::Failed, .. } => Outcome::Failed { reason: "conflict".into(), found: None },
            Op::Write { fate: Fate::Unknown, .. } => Outcome::Unknown,
        };
        steps.entry(timed.end).or_default().push(ClientEvent::Returned { client, op, outcome });
    }
    let mut checks = Checks::only(Header::new(vec!["c".into()], ""), &["linearizable"]).expect("there is this check");
    for (at, event) in steps.into_values().flatten().enumerate() {
        let seq = at as u64 + 1;
        checks.on(&Event { seq, time_ns: seq, node: 0, incarnation: 0, body: Body::Client(event) });
    }
    checks.finish();
    checks.violations().is_empty()
}

/// Up to six operations in any overlap; reads show any version that is written somewhere, or nothing.
fn histories() -> impl Strategy<Value = Vec<Timed>> {
    let op = (0..5u8, 1..5u64, any::<bool>(), 0..5u64, 0..6u8);
    (proptest::collection::vec(op, 2..7), any::<u64>()).prop_map(|(drawn, order)| {
        let mut history = Vec::new();
        let mut used = Vec::new();
        for (kind, stamp, deletes, expect, fate) in drawn {
            let op = if kind < 2 && !used.contains(&stamp) {
                used.push(stamp);
                let fate = match fate {
                    0 => Fate::Failed,
                    1 | 2 => Fate::Unknown,
                    _ => Fate::Done,
                };
                let expect = (kind == 1 && expect < stamp).then_some(expect);
                Op::Write { stamp, deletes, expect, fate }
            } else {
                Op::Read { stamp: if kind == 4 { 0 } else { stamp } }
            };
            history.push(Timed { op, begin: 0, end: 0 });
        }
        // A random legal interleaving of beginnings and ends.
        let mut order = order;
        let mut ends: Vec<(usize, bool)> = Vec::new();
        let (mut waiting, mut open): (Vec<usize>, Vec<usize>) = ((0..history.len()).collect(), Vec::new());
        while !waiting.is_empty() || !open.is_empty() {
            order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (order >> 33) as usize;
            if open.is_empty() || (!waiting.is_empty() && pick.is_multiple_of(2)) {
                let n = waiting.remove(0);
                open.push(n);
                ends.push((n, true));
            } else {
                let n = open.remove(pick / 2 % open.len());
                ends.push((n, false));
            }
        }
        for (at, (n, begins)) in ends.into_iter().enumerate() {
            let slot = if begins { &mut history[n].begin } else { &mut history[n].end };
            *slot = at as u64 + 1;
        }
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the search explains is never accused. What it cannot explain always is, unless a deletion of unknown fate
    /// leaves room: the check takes such a one for possible by time alone.
    #[test]
    fn registers_are_judged_as_a_search_over_all_orders_would(history in histories()) {
        let unknown = |timed: &Timed| matches!(timed.op, Op::Write { deletes: true, fate: Fate::Unknown, .. });
        match explainable(&history) {
            true => prop_assert!(passes(&history), "accused: {:#?}", history),
            false => prop_assert!(!passes(&history) || history.iter().any(unknown), "missed: {:#?}", history),
        }
    }
}

/// A step of a region's log.
#[derive(Clone, Debug)]
enum Step {
    Write { version: u64, edits: Vec<(u8, bool, Option<u64>)>, stamp: u64 },
    Split { at: u8 },
    Collect { to: u64 },
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let edit = (0..16u8, any::<bool>(), proptest::option::of(0..40u64));
    let write = (1..4u64, proptest::collection::vec(edit, 1..4), 1..60u64)
        .prop_map(|(version, edits, stamp)| Step::Write { version, edits, stamp });
    let step = prop_oneof![
        12 => write,
        1 => (1..15u8).prop_map(|at| Step::Split { at }),
        1 => (1..30u64).prop_map(|to| Step::Collect { to }),
    ];
    proptest::collection::vec((0..4usize, step), 1..60)
}

/// The rules once more, as naively as they can be said: every version of every key is kept, by region.
struct Model {
    regions: Vec<Plain>,
}

struct Plain {
    id: u64,
    start: u8,
    end: u8,
    version: u64,
    safe_point: u64,
    index: u64,
    /// By key: versions, a value or a tombstone.
    keys: BTreeMap<u8, BTreeMap<u64, bool>>,
}

impl Plain {
    fn state(&self) -> (Digest, u64) {
        let newest = self.keys.iter().filter_map(|(key, versions)| Some((*key, versions.last_key_value()?)));
        let values = newest.filter(|(_, (_, is_value))| **is_value);
        values.fold((Digest(0), 0), |(digest, keys), (key, (stamp, _))| {
            (digest + Digest::of(&[key], *stamp, &[key, 1]), keys + 1)
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reference_is_what_a_plain_model_holds(steps in steps()) {
        let mut reference = Reference::new(true);
        reference.create(1, Epoch { conf_ver: 1, version: 1 });
        let first = Plain { id: 1, start: 0, end: 16, version: 1, safe_point: 0, index: 5, keys: BTreeMap::new() };
        let mut model = Model { regions: vec![first] };
        let mut judged: Vec<(u64, u64, (Digest, u64))> = Vec::new();
        for (pick, step) in steps {
            let at = pick % model.regions.len();
            let next_id = model.regions.len() as u64 + 1;
            let region = &mut model.regions[at];
            let mut new = None;
            let epoch = Epoch { conf_ver: 1, version: region.version };
            let (epoch, body) = match step {
                Step::Write { version, mut edits, stamp } => {
                    edits.retain(|(key, ..)| (region.start..region.end).contains(key));
                    edits.sort_by_key(|(key, ..)| *key);
                    edits.dedup_by_key(|(key, ..)| *key);
                    if version == region.version {
                        let newest = |key: &u8| region.keys.get(key).and_then(|all| all.last_key_value());
                        let refused = edits.iter().any(|(key, _, expect)| {
                            let last = newest(key).map_or(0, |(stamp, _)| *stamp);
                            let there = newest(key).filter(|(_, is_value)| **is_value).map_or(0, |(stamp, _)| *stamp);
                            last != stamp && (last > stamp || stamp <= region.safe_point || expect.is_some_and(|e| e != there))
                        });
                        if !refused {
                            for (key, is_value, _) in &edits {
                                region.keys.entry(*key).or_default().entry(stamp).or_insert(*is_value);
                            }
                        }
                    }
                    let mutations = edits.iter().map(|(key, is_value, expect)| Mutation {
                        key: Bytes::copy_from_slice(&[*key]),
                        timestamp: stamp,
                        value: is_value.then(|| Bytes::copy_from_slice(&[*key, 1])),
                        expect: *expect,
                    });
                    (Epoch { conf_ver: 1, version }, What::Write(Write { mutations: mutations.collect() }))
                }
                Step::Split { at } if at > region.start && at < region.end => {
                    region.version += 1;
                    let right = region.keys.split_off(&at);
                    let keys = std::mem::replace(&mut region.keys, right);
                    let (start, version, safe_point) = (region.start, region.version, region.safe_point);
                    region.start = at;
                    new = Some(Plain { id: next_id, start, end: at, version, safe_point, index: 5, keys });
                    let split_key = Bytes::copy_from_slice(&[at]);
                    (epoch, What::Split(Split { children: vec![SplitChild { split_key, region: next_id, peers: vec![] }] }))
                }
                Step::Split { .. } => continue,
                Step::Collect { to } => {
                    region.safe_point = region.safe_point.max(to);
                    (epoch, What::Collect(Collect { safe_point: to }))
                }
            };
            region.index += 1;
            let command: Bytes = Command { region: region.id, epoch, body: Some(body) }.encode_to_vec().into();
            // Every replica states it; only the first counts.
            for _ in 0..3 {
                reference.apply(region.id, region.index, 6, "normal", &command);
            }
            judged.push((region.id, region.index, region.state()));
            if let Some(new) = new {
                judged.push((new.id, 5, new.state()));
                model.regions.push(new);
            }
        }
        for (region, index, (digest, keys)) in judged {
            let state = reference.at(region, index).expect("recent indexes are remembered");
            prop_assert_eq!((state.digest, state.keys), (digest, keys), "region {} at {}", region, index);
        }
    }
}
