//! Three stores, a placement driver and a client over a network in memory and files of their own.
//!
//! What the store's parts do together, with real time; simulated clusters with faults stand elsewhere.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;

use super::{Chores, Options, Store};
use crate::{
    client::{self, Client},
    env::{Env, memory},
    pd,
    wire::kv::ReadBy,
};

struct Cluster {
    net: Arc<memory::MemoryNet>,
    root: TempDir,
    stores: Vec<Chores>,
    client: Client,
    env: Env,
}

fn options(number: usize) -> Options {
    Options {
        address: format!("store-{number}"),
        pd: vec!["pd".into()],
        raft_base_tick: Duration::from_millis(20),
        raft_store_max_leader_lease: Duration::from_millis(160),
        pd_heartbeat_tick: Duration::from_millis(200),
        pd_store_heartbeat_tick: Duration::from_millis(200),
        raft_log_gc_tick: Duration::from_millis(100),
        ..Options::default()
    }
}

impl Cluster {
    async fn boot(stores: usize) -> Cluster {
        let root = tempfile::tempdir().expect("a directory");
        let net = Arc::new(memory::MemoryNet::default());
        let env = memory::env(&Self::dir(&root, "pd"), &net);
        let driver =
            pd::Pd::open(&env, pd::Options { tick: Duration::from_millis(100), ..pd::Options::new("pd") }).await;
        let driver = driver.expect("an empty placement driver opens");
        env.spawn("pd", async move { driver.serve().await.expect("it serves") });
        let client = Client::new(&env, "pd", client::Options::default());
        let mut cluster = Cluster { net, root, stores: Vec::new(), client, env };
        for number in 1..=stores {
            let chores = cluster.start(number).await;
            cluster.stores.push(chores);
        }
        cluster
    }

    fn dir(root: &TempDir, name: &str) -> std::path::PathBuf {
        root.path().join(name)
    }

    async fn start(&self, number: usize) -> Chores {
        let env = memory::env(&Self::dir(&self.root, &format!("store-{number}")), &self.net);
        let store = Store::start(env.clone(), options(number)).await.expect("the store starts");
        let chores = store.chores();
        env.spawn("store", store.run());
        chores
    }

    async fn until_replicated(&self, key: &'static str, replicas: usize) {
        for _ in 0..300 {
            let region = self.client.pd().region(Bytes::from_static(key.as_bytes())).await;
            if region.is_ok_and(|located| located.region.peers.iter().filter(|peer| peer.role == 0).count() == replicas)
            {
                return;
            }
            self.env.sleep(Duration::from_millis(50)).await;
        }
        panic!("the region of {key} never had {replicas} voters");
    }

    async fn put(&self, number: usize, value: &str) {
        let (key, value) = (key(number), Bytes::copy_from_slice(value.as_bytes()));
        self.client.put(key, value).await.expect("the write is acknowledged");
    }

    async fn get(&self, number: usize, by: ReadBy) -> Option<Bytes> {
        self.client.get(key(number), by).await.expect("the read is answered").value
    }
}

fn key(number: usize) -> Bytes {
    format!("k{number:03}").into()
}

#[expect(clippy::disallowed_methods, reason = "the limit of a test, in real time")]
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test ends in time") };
    runtime.block_on(limited);
}

#[test]
fn one_store_founds_a_region_and_serves() {
    run(async {
        let cluster = Cluster::boot(1).await;
        cluster.put(1, "one").await;
        for by in [ReadBy::Lease, ReadBy::ReadIndex, ReadBy::Replica] {
            assert_eq!(cluster.get(1, by).await, Some(Bytes::from("one")));
            assert_eq!(cluster.get(2, by).await, None);
        }
    });
}

#[test]
fn three_stores_replicate_split_and_survive_a_restart() {
    run(async {
        let mut cluster = Cluster::boot(3).await;
        cluster.until_replicated("k", 3).await;
        for number in 0..100 {
            cluster.put(number, "first").await;
        }
        let regions = cluster.client.split(vec![key(30), key(60)]).await.expect("the split is applied");
        assert_eq!(regions.len(), 3);
        for number in 0..100 {
            cluster.put(number, "second").await;
        }
        cluster.stores.remove(0).stop();
        for number in 0..100 {
            cluster.put(number, "third").await;
        }
        let chores = cluster.start(1).await;
        cluster.stores.push(chores);
        for number in 0..100 {
            for by in [ReadBy::Lease, ReadBy::Replica] {
                assert_eq!(cluster.get(number, by).await, Some(Bytes::from("third")), "{number} by {by:?}");
            }
        }
        cluster.client.compute_hash(&key(1)).await.expect("the hash is computed");
    });
}
