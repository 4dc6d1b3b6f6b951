//! Clients at work: registers, one a key, each written with values that no other operation writes.
//!
//! A client is a process of the room with a client of the store in it. It says what it is about to ask before it asks,
//! under which timestamps, and what it got: that is the third witness of a run. Operations of one client follow each
//! other; clients run side by side.
//!
//! Not here: which operation comes next (`workload/operation`), and whether an answer was right.

pub mod operation;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use node::{
    client::{Change, Client, Error},
    fact::Feed,
    wire::kv::{Got, ReadBy},
};

use crate::{
    cluster::{Cluster, PD_ADDRESS, client_options},
    event::{Ask, ClientEvent, Edit, Outcome, Part, Seen, client::value_digest},
    plan::Workload,
    room::{Handle, event},
    witness::{ContentHash, Witness},
};

use self::operation::{Draw, Operation, key};

/// At most so many keys are asked for in one scan: more than a scan spans.
const SCAN_LIMIT: u64 = 1_000;

/// The keys at which a workload's key space is split into so many regions.
pub fn borders(workload: &Workload, regions: u64) -> Vec<Bytes> {
    (1..regions).map(|border| key(workload.keys * border / regions)).filter(|border| *border != key(0)).collect()
}

/// Every key of a workload, and those that a batch may reach beyond.
pub fn keys(workload: &Workload) -> impl Iterator<Item = Bytes> {
    (0..workload.keys).map(key)
}

/// Starts the clients of the plan. They begin nothing new once `over` is set.
pub fn start(cluster: &Arc<Cluster>, over: &Arc<AtomicBool>) {
    let plan = cluster.plan();
    for (number, name) in (1..).zip(plan.workload.client_names()) {
        let (plan, witness, over) = (plan.clone(), cluster.witness().clone(), over.clone());
        cluster.start_other(&name, move |handle, env| {
            let client = Client::new(&env, PD_ADDRESS, client_options(&plan.knobs));
            let draw = Draw::new(number, plan.workload.clone(), handle.stream("operations"));
            let log = Log { handle, witness: witness.clone(), client: number as u32, next: 0 };
            work(client, draw, log, env, over.clone())
        });
    }
}

async fn work(client: Client, mut draw: Draw, mut log: Log, env: node::env::Env, over: Arc<AtomicBool>) {
    // What this client saw last of a key: what a compare-and-swap expects.
    let mut known: BTreeMap<Bytes, u64> = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        let pause = draw.pause_ns();
        if pause > 0 {
            env.sleep(Duration::from_nanos(pause)).await;
        }
        carry_out(&client, draw.operation(), &mut log, &mut known).await;
    }
}

async fn carry_out(client: &Client, operation: Operation, log: &mut Log, known: &mut BTreeMap<Bytes, u64>) {
    match operation {
        Operation::Get { key, by } => {
            get(client, key, by, log, known).await;
        }
        Operation::Scan { start, end } => scan(client, start, end, log).await,
        Operation::Put { key, value } => write(client, vec![set(key, Some(value), None)], log, known).await,
        Operation::Delete { key } => write(client, vec![set(key, None, None)], log, known).await,
        Operation::Cas { key, value } => {
            let expect = known.get(&key).copied().unwrap_or(0);
            write(client, vec![set(key, Some(value), Some(expect))], log, known).await;
        }
        Operation::Batch { pairs } => {
            let changes = pairs.into_iter().map(|(key, value)| set(key, Some(value), None));
            write(client, changes.collect(), log, known).await;
        }
    }
}

fn set(key: Bytes, value: Option<Bytes>, expect: Option<u64>) -> Change {
    Change { key, value, expect }
}

fn by_name(by: ReadBy) -> &'static str {
    match by {
        ReadBy::Lease => "lease",
        ReadBy::ReadIndex => "read-index",
        ReadBy::Replica => "replica",
    }
}

fn seen(key: Bytes, got: &Got) -> Seen {
    Seen { key, timestamp: got.timestamp, value: got.value.as_deref().map(value_digest) }
}

/// Reads a key and states it. Whether it was answered.
pub(crate) async fn get(
    client: &Client,
    key: Bytes,
    by: ReadBy,
    log: &mut Log,
    known: &mut BTreeMap<Bytes, u64>,
) -> bool {
    let op = log.invoked(Ask::Get { key: key.clone(), by: by_name(by).into() });
    match client.get(key.clone(), by).await {
        Ok(got) => {
            let expected = if got.value.is_some() { got.timestamp } else { 0 };
            known.insert(key.clone(), expected);
            log.returned(op, Outcome::Got(seen(key, &got)));
            true
        }
        Err(error) => {
            log.returned(op, failed(&error));
            false
        }
    }
}

async fn scan(client: &Client, start: Bytes, end: Bytes, log: &mut Log) {
    let op = log.invoked(Ask::Scan { start: start.clone(), end: end.clone(), by: by_name(ReadBy::Lease).into() });
    let (mut parts, mut from) = (Vec::new(), Some(start));
    while let Some(start) = from {
        match client.scan_region(start.clone(), end.clone(), SCAN_LIMIT, ReadBy::Lease).await {
            Ok(scanned) => {
                let end = scanned.next.clone().unwrap_or_else(|| end.clone());
                let seen = scanned.pairs.iter().map(|pair| seen(pair.key.clone(), &pair.got)).collect();
                parts.push(Part { region: scanned.region, start, end, seen });
                from = scanned.next;
            }
            Err(error) => {
                log.returned(op, failed(&error));
                return;
            }
        }
    }
    log.returned(op, Outcome::Scanned { parts: parts.into() });
}

async fn write(client: &Client, changes: Vec<Change>, log: &mut Log, known: &mut BTreeMap<Bytes, u64>) {
    let edits = changes.iter().map(|change| Edit {
        key: change.key.clone(),
        value: change.value.as_deref().map(value_digest),
        expect: change.expect,
    });
    let op = log.invoked(Ask::Write { edits: edits.collect() });
    let written: Vec<(Bytes, bool)> = changes.iter().map(|c| (c.key.clone(), c.value.is_some())).collect();
    match client.write_stamped(changes, &mut |timestamp| log.stamped(op, timestamp)).await {
        Ok(timestamp) => {
            for (key, has_value) in written {
                known.insert(key, if has_value { timestamp } else { 0 });
            }
            log.returned(op, Outcome::Written { timestamp });
        }
        Err(error) => {
            if let Error::Unexpected { found } = &error {
                known.insert(written[0].0.clone(), *found);
            }
            log.returned(op, failed(&error));
        }
    }
}

fn failed(error: &Error) -> Outcome {
    match error {
        Error::Unexpected { found } => Outcome::Failed { reason: "unexpected".into(), found: Some(*found) },
        Error::Failed(_) => Outcome::Failed { reason: "failed".into(), found: None },
        Error::Unknown { .. } => Outcome::Unknown,
    }
}

/// What one client states.
pub(crate) struct Log {
    /// The client's hold on the room.
    pub handle: Handle,
    /// Who hears it.
    pub witness: Arc<Witness>,
    /// Its number.
    pub client: u32,
    /// How many operations it has begun.
    pub next: u64,
}

impl Log {
    fn invoked(&mut self, ask: Ask) -> u64 {
        self.next += 1;
        let op = u64::from(self.client) << 40 | self.next;
        self.state(0, op, 0, ClientEvent::Invoked { client: self.client, op, ask });
        op
    }

    fn stamped(&self, op: u64, timestamp: u64) {
        self.state(1, op, timestamp, ClientEvent::Stamped { client: self.client, op, timestamp });
    }

    fn returned(&self, op: u64, outcome: Outcome) {
        let said = match &outcome {
            Outcome::Written { timestamp } => *timestamp,
            Outcome::Got(seen) => seen.timestamp ^ seen.value.unwrap_or(0),
            Outcome::Scanned { parts } => parts.iter().map(|part| part.seen.len() as u64).sum(),
            Outcome::Failed { found, .. } => found.unwrap_or(1),
            Outcome::Unknown => 2,
        };
        self.state(2, op, said, ClientEvent::Returned { client: self.client, op, outcome });
    }

    fn state(&self, kind: u64, op: u64, said: u64, event: ClientEvent) {
        let mut hash = ContentHash::default();
        [kind, op, said].into_iter().for_each(|number| hash.number(number));
        let name = ["client-invoked", "client-stamped", "client-returned"][kind as usize];
        let detail = self.witness.detailed.then(|| Arc::new(event.clone()) as Arc<dyn std::fmt::Debug + Send + Sync>);
        if self.handle.fact(event::Fact { name, digest: hash.value(), detail }) {
            self.witness.client(self.handle.id(), self.handle.incarnation(), event);
        }
    }
}
