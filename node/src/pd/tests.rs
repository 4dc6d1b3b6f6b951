//! A placement driver on a real disk, stopped and started again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::*;
use crate::{
    env::memory,
    region::{Epoch, Peer, Region},
    release::Release,
    wire::placement::{RegionHeartbeat, Store},
};

#[tokio::test]
async fn what_was_kept_comes_back_and_nothing_is_given_out_twice() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let env = memory::env(dir.path(), &Arc::default());
    let peer = Peer { id: 3, store: 1, role: 0 };
    let mut region = Region {
        id: 2,
        start: Bytes::new(),
        end: Bytes::new(),
        epoch: Epoch { conf_ver: 1, version: 1 },
        peers: vec![peer],
    };
    let store = Store { id: 1, address: "store-1".into(), release: Release::DEFAULT.into(), ..Default::default() };
    let mut highest = 0;
    let mut ids = BTreeSet::new();
    for life in 1..=3 {
        let pd = Pd::open(&env, Options::new("pd")).await.expect("it opens");
        let serving = env.spawn("pd", async move { pd.serve().await.expect("it listens") });
        let options = ClientOptions { reconnect_min: Duration::ZERO, ..ClientOptions::default() };
        let client = Client::new(&env, "pd", options);
        while env.net.connect("pd", crate::env::Delivery::Ordered).await.is_err() {
            env.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.is_bootstrapped().await, Ok(life > 1));
        if life == 1 {
            client.bootstrap(store.clone(), region.clone()).await.expect("it is founded");
        }
        let known = client.region("k".into()).await.expect("it spans everything").region;
        assert_eq!(known, region, "life {life}");
        assert_eq!(client.get_store(1).await, Ok(store.clone()));
        region.epoch.conf_ver += 1;
        let heartbeat = RegionHeartbeat { region: region.clone(), leader: peer, term: 6, ..Default::default() };
        assert_eq!(client.region_heartbeat(heartbeat).await, Ok(None), "there is no other store");
        assert!(ids.insert(client.alloc_id().await.expect("an id")));
        // Many at once share requests, and none is equal to another.
        let stamps = futures::future::join_all((0..50).map(|_| client.timestamp())).await;
        let stamps: BTreeSet<u64> = stamps.into_iter().map(|stamp| stamp.expect("a timestamp")).collect();
        assert!(stamps.len() == 50 && stamps.first() > Some(&highest), "life {life}");
        highest = stamps.last().copied().expect("fifty");
        serving.abort();
        drop(client);
        env.sleep(Duration::from_millis(20)).await;
    }
}
