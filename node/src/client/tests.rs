//! A client against a real placement driver and a store that answers from a script.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;

use super::*;
use crate::{
    env::memory,
    pd::Pd,
    region::{Epoch, Peer, Region},
    release::Release,
    rpc::{self, Handler, Reply, Server},
    wire::{
        kv::{self, Answer, Done, Got, Outcome, ReadBy, Reason, Refusal, Request, Response, Written},
        placement,
    },
};

/// One answer of the script.
#[derive(Clone, Copy, Debug)]
enum Say {
    Ok,
    Conflict,
    Unexpected,
    Refuse(Reason),
    LeaderIs(u64),
    /// No answer; the caller's attempt times out.
    Nothing,
    /// The request is given up, which the caller hears.
    GiveUp,
}

/// A store that answers from a script, and notes what it was asked.
#[derive(Default)]
struct FakeStore {
    script: Mutex<VecDeque<Say>>,
    asked: Mutex<Vec<(u64, kv::Ask)>>,
    unanswered: Mutex<Vec<Reply>>,
}

impl Handler for FakeStore {
    fn handle(&self, _: u32, body: Bytes, reply: Reply) {
        let request = Request::decode(body).expect("clients send requests");
        let ask = request.ask.expect("clients ask something");
        let answer = match (&ask, self.script.lock().pop_front().unwrap_or(Say::Ok)) {
            (kv::Ask::Write(_), Say::Ok) => Answer::Written(Written { outcome: Outcome::Ok as i32, found: 0 }),
            (kv::Ask::Get(_), Say::Ok) => Answer::Got(Got { timestamp: 7, value: None }),
            (_, Say::Ok) => Answer::Done(Done { regions: vec![] }),
            (_, Say::Conflict) => Answer::Written(Written { outcome: Outcome::Conflict as i32, found: 0 }),
            (_, Say::Unexpected) => Answer::Written(Written { outcome: Outcome::Unexpected as i32, found: 9 }),
            (_, Say::Refuse(reason)) => refusal(reason, None),
            (_, Say::LeaderIs(store)) => refusal(Reason::NotLeader, Some(Peer { id: 100 + store, store, role: 0 })),
            (_, Say::Nothing) => {
                self.asked.lock().push((request.store, ask));
                return self.unanswered.lock().push(reply);
            }
            (_, Say::GiveUp) => {
                self.asked.lock().push((request.store, ask));
                return drop(reply);
            }
        };
        self.asked.lock().push((request.store, ask));
        reply.send(Response { answer: Some(answer) }.encode_to_vec().into());
    }
}

fn refusal(reason: Reason, leader: Option<Peer>) -> Answer {
    Answer::Error(Refusal { reason: reason as i32, leader, regions: vec![], detail: String::new() })
}

struct Bench {
    client: Client,
    store: Arc<FakeStore>,
    _servers: Vec<Server>,
    _dir: tempfile::TempDir,
}

/// A placement driver, and stores 1 and 2 that are the same script.
async fn bench() -> Bench {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let env = memory::env(dir.path(), &Arc::default());
    let pd = Pd::open(&env, pd::Options::new("pd")).await.expect("it opens");
    env.spawn("pd", async move { pd.serve().await.expect("it listens") });
    let store = Arc::new(FakeStore::default());
    let mut servers = vec![];
    for address in ["store-1", "store-2"] {
        servers.push(rpc::serve(&env, address, Arc::clone(&store) as Arc<dyn Handler>).await.expect("it listens"));
    }
    let options = Options {
        attempt: Duration::from_millis(40),
        deadline: Duration::from_millis(250),
        pause_min: Duration::from_millis(2),
        pause_max: Duration::from_millis(20),
        reconnect_min: Duration::ZERO,
        pd: pd::ClientOptions { reconnect_min: Duration::ZERO, ..pd::ClientOptions::default() },
        ..Options::default()
    };
    let client = Client::new(&env, "pd", options);
    let record = |id: u64| placement::Store {
        id,
        address: format!("store-{id}"),
        release: Release::DEFAULT.into(),
        ..Default::default()
    };
    let peers = [1, 2].map(|store| Peer { id: 100 + store, store, role: 0 });
    let mut region = Region {
        id: 10,
        start: Bytes::new(),
        end: Bytes::new(),
        epoch: Epoch { conf_ver: 1, version: 1 },
        peers: vec![peers[0]],
    };
    client.pd().bootstrap(record(1), region.clone()).await.expect("founded");
    client.pd().put_store(record(2)).await.expect("registered");
    region.peers = peers.to_vec();
    region.epoch.conf_ver = 2;
    let heartbeat =
        placement::RegionHeartbeat { region, leader: peers[0], term: 5, ..placement::RegionHeartbeat::default() };
    client.pd().region_heartbeat(heartbeat).await.expect("it is new");
    Bench { client, store, _servers: servers, _dir: dir }
}

#[tokio::test]
async fn a_table_of_writes() {
    use Say::{Conflict, GiveUp, LeaderIs, Nothing, Ok, Refuse, Unexpected};
    // The script, how the operation ends, and how many different timestamps its attempts carried.
    let cases: &[(&[Say], &str, usize)] = &[
        (&[Ok], "ok", 1),
        (&[LeaderIs(2), Ok], "ok", 1),
        (&[Refuse(Reason::NotLeader), Refuse(Reason::ServerIsBusy), Ok], "ok", 1),
        (&[Refuse(Reason::RegionNotFound), Refuse(Reason::EpochNotMatch), Refuse(Reason::StoreNotMatch), Ok], "ok", 1),
        (&[Conflict, Ok], "ok", 2),
        (&[Unexpected], "unexpected 9", 1),
        (&[Refuse(Reason::Invalid)], "failed", 1),
        (&[Refuse(Reason::Unknown), Ok], "ok", 1),
        (&[GiveUp, Ok], "ok", 1),
        (&[Nothing, Ok], "ok", 1),
        (&[Refuse(Reason::Unknown), Conflict], "unknown", 1),
        (&[GiveUp, Unexpected], "unknown", 1),
        (&[Nothing, Refuse(Reason::Invalid)], "unknown", 1),
        (&[Refuse(Reason::ServerIsBusy); 60], "failed", 1),
        (&[Nothing; 20], "unknown", 1),
    ];
    let bench = bench().await;
    for (script, expected, timestamps) in cases {
        *bench.store.script.lock() = script.iter().copied().collect();
        bench.store.asked.lock().clear();
        let ended = match bench.client.compare_and_swap("k".into(), 3, Some("v".into())).await {
            Result::Ok(_) => "ok".to_owned(),
            Err(Error::Unexpected { found }) => format!("unexpected {found}"),
            Err(Error::Failed(_)) => "failed".to_owned(),
            Err(Error::Unknown { timestamp, .. }) => {
                assert_ne!(timestamp, 0, "{script:?}");
                "unknown".to_owned()
            }
        };
        assert_eq!(&ended, expected, "{script:?}");
        let stamp = |ask: &kv::Ask| match ask {
            kv::Ask::Write(write) => write.mutations[0].timestamp,
            other => panic!("{other:?}"),
        };
        let stamps: std::collections::BTreeSet<_> =
            bench.store.asked.lock().iter().map(|(_, ask)| stamp(ask)).collect();
        assert_eq!(stamps.len(), *timestamps, "{script:?}");
    }
}

#[tokio::test]
async fn reads_are_tried_again_whatever_happened_and_admin_commands_are_not() {
    let bench = bench().await;
    *bench.store.script.lock() = [Say::Refuse(Reason::Unknown), Say::LeaderIs(2), Say::Ok].into();
    let got = bench.client.get("k".into(), ReadBy::Lease).await;
    assert_eq!(got, Ok(Got { timestamp: 7, value: None }));
    assert_eq!(bench.store.asked.lock().last().map(|(store, _)| *store), Some(2), "the named leader was asked");
    *bench.store.script.lock() = [Say::GiveUp, Say::Nothing, Say::Ok].into();
    assert_eq!(bench.client.get("k".into(), ReadBy::Lease).await, got);

    *bench.store.script.lock() = [Say::Refuse(Reason::AdminUnderWay), Say::Ok].into();
    assert_eq!(bench.client.compact_log(&"k".into()).await, Ok(vec![]));
    *bench.store.script.lock() = [Say::GiveUp, Say::Ok].into();
    let split = bench.client.split(vec!["k".into()]).await;
    assert!(matches!(split, Err(Error::Unknown { .. })), "{split:?}");
    let nowhere = bench.client.transfer_to_store(&"k".into(), 9).await;
    assert!(matches!(nowhere, Err(Error::Failed(_))), "{nowhere:?}");
}
