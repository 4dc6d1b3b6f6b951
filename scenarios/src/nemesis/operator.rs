//! The operator: what a plan asks of the cluster rather than does to it, and what the runner itself has to ask.
//!
//! A process of its own with a client of the store. Orders are carried out side by side, each with a deadline; one that
//! the cluster refuses in the middle of chaos is part of the story, and is not tried for ever.
//!
//! Not here: stores' own chores (flush, compaction, collection), which are called on the store in its process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use node::{
    client::{Client, Error},
    env::Env,
    wire::{
        command::{ChangeKind, PeerChange},
        kv::ReadBy,
        placement::TiflashReplica,
    },
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::{
    cluster::{Cluster, Live, OPERATOR, PD_ADDRESS, operator_options},
    plan::{Action, Key, Node},
    room::Handle,
    workload::{self, Log},
};

/// How many reads a probe has under way at most.
const PROBE_READERS: usize = 16;
/// A probe waits for so long before it asks again what was not answered.
const PROBE_AGAIN: Duration = Duration::from_millis(100);

/// How long the placement driver is asked for what it is not ready to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a recovery is asked for again, because regions are left without a leader.
const RECOVERIES_MORE: u32 = 2;

/// How long regions may take to elect after a recovery.
const LED_WITHIN: Duration = Duration::from_secs(10);

/// How long they have to be led on end.
const LED_FOR: Duration = Duration::from_secs(3);

/// The pause between two such attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// What the operator can be asked to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Splits at keys; those of one region in one command.
    Split {
        /// The first keys of the right halves.
        keys: Vec<Bytes>,
    },
    /// Merges a key's region into a neighbour.
    Merge {
        /// The key.
        key: Bytes,
        /// A key of the neighbour.
        into: Option<Bytes>,
    },
    /// Moves leadership of a key's region to the store that a process is.
    Transfer {
        /// The key.
        key: Bytes,
        /// The process.
        to: String,
    },
    /// Adds a replica of a key's region.
    AddPeer {
        /// The key.
        key: Bytes,
        /// Where.
        store: String,
        /// Without a vote.
        learner: bool,
    },
    /// Removes a replica of a key's region.
    RemovePeer {
        /// The key.
        key: Bytes,
        /// From where.
        store: String,
    },
    /// Replaces a replica of a key's region by one joint change.
    ReplacePeer {
        /// The key.
        key: Bytes,
        /// Whose vote goes.
        from: String,
        /// Where the new one is.
        to: String,
    },
    /// Has the placement driver recover what lost its majority with these stores.
    UnsafeRecover {
        /// The stores.
        stores: Vec<String>,
        /// How long it may take.
        limit: Duration,
    },
    /// All replicas of a key's region hash their content.
    ComputeHash {
        /// The key.
        key: Bytes,
    },
    /// Drops the applied log of the region of a key, or of all regions that the store leads.
    CompactLog {
        /// The process.
        node: String,
        /// The key.
        key: Option<Bytes>,
    },
    /// Takes a store out of service.
    RemoveStore {
        /// The process.
        store: String,
        /// Its disk is gone.
        destroyed: bool,
    },
    /// Takes a store back into service.
    UpStore {
        /// The process.
        store: String,
    },
    /// Makes a store a tombstone, whatever is on it.
    BuryStore {
        /// The process.
        store: String,
    },
    /// Deletes the records of tombstones.
    RemoveTombstones,
    /// Sets how many columnar replicas a table should have.
    SetTiflashReplica {
        /// The table.
        table: u64,
        /// The first of its keys.
        start: Bytes,
        /// Their end, exclusive; empty for the end of all.
        end: Bytes,
        /// How many replicas.
        count: u64,
    },
    /// Loads the region of a key into a store's cache, or evicts it.
    Cache {
        /// The process; the leader's when there is none.
        node: Option<String>,
        /// The key.
        key: Bytes,
        /// Whether to load.
        load: bool,
    },
    /// A chore of a store.
    Chore {
        /// The process.
        node: String,
        /// What it is to do.
        chore: Chore,
    },
    /// Reads every key of the workload, and has every replica of every region hashed, which takes a write of each.
    Probe {
        /// What has not been answered yet, though it was asked.
        waits: Unanswered,
    },
}

/// What was asked and not answered yet, in words.
pub type Unanswered = Arc<Mutex<BTreeSet<String>>>;

impl Order {
    /// The kind of step that gives it; the runner gives some itself.
    fn kind(&self) -> &'static str {
        match self {
            Order::Split { keys } if keys.len() == 1 => "split",
            Order::Split { .. } => "batch-split",
            Order::Merge { .. } => "merge",
            Order::Transfer { .. } => "transfer-leader",
            Order::AddPeer { .. } => "add-peer",
            Order::RemovePeer { .. } => "remove-peer",
            Order::ReplacePeer { .. } => "replace-peer",
            Order::UnsafeRecover { .. } => "unsafe-recover",
            Order::ComputeHash { .. } => "compute-hash",
            Order::CompactLog { .. } => "compact-log",
            Order::RemoveStore { .. } => "remove-store",
            Order::UpStore { .. } => "up-store",
            Order::BuryStore { .. } => "bury-store",
            Order::RemoveTombstones => "remove-tombstone",
            Order::SetTiflashReplica { .. } => "set-tiflash-replica",
            Order::Cache { load: true, .. } => "cache-load",
            Order::Cache { load: false, .. } => "cache-evict",
            Order::Chore { chore: Chore::Flush, .. } => "flush",
            Order::Chore { chore: Chore::Compact, .. } => "compact",
            Order::Chore { chore: Chore::CollectSnapshots, .. } => "gc-snapshots",
            Order::Probe { .. } => "probe",
        }
    }
}

/// What a store can be told to do for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Flush its memtables.
    Flush,
    /// Compact its tables.
    Compact,
    /// Collect idle snapshots.
    CollectSnapshots,
}

/// The order that an action gives, if it gives one.
pub(super) fn order(action: &Action) -> Option<Order> {
    let key = |key: &Key| Bytes::copy_from_slice(key.as_str().as_bytes());
    let name = |node: &Node| node.as_str().to_owned();
    Some(match action {
        Action::Split { key: at } => Order::Split { keys: vec![key(at)] },
        Action::BatchSplit { keys } => Order::Split { keys: keys.0.iter().map(key).collect() },
        Action::Merge { key: of, into } => Order::Merge { key: key(of), into: into.as_ref().map(key) },
        Action::TransferLeader { key: of, to } => Order::Transfer { key: key(of), to: name(to) },
        Action::AddPeer { key: of, store, learner } => {
            Order::AddPeer { key: key(of), store: name(store), learner: *learner }
        }
        Action::RemovePeer { key: of, store } => Order::RemovePeer { key: key(of), store: name(store) },
        Action::ReplacePeer { key: of, from, to } => {
            Order::ReplacePeer { key: key(of), from: name(from), to: name(to) }
        }
        Action::UnsafeRecover { stores, timeout } => {
            Order::UnsafeRecover { stores: stores.0.iter().map(name).collect(), limit: timeout.duration() }
        }
        Action::ComputeHash { key: of } => Order::ComputeHash { key: key(of) },
        Action::CompactLog { node, key: of } => Order::CompactLog { node: name(node), key: of.as_ref().map(key) },
        Action::RemoveStore { node, destroyed } => Order::RemoveStore { store: name(node), destroyed: *destroyed },
        Action::UpStore { node } => Order::UpStore { store: name(node) },
        Action::BuryStore { node } => Order::BuryStore { store: name(node) },
        Action::RemoveTombstone {} => Order::RemoveTombstones,
        Action::SetTiflashReplica { table, start, end, count } => {
            let edge = |edge: &Option<Key>| edge.as_ref().map(key).unwrap_or_default();
            Order::SetTiflashReplica { table: *table, start: edge(start), end: edge(end), count: *count }
        }
        Action::CacheLoad { node, key: of } => Order::Cache { node: node.as_ref().map(name), key: key(of), load: true },
        Action::CacheEvict { node, key: of } => {
            Order::Cache { node: node.as_ref().map(name), key: key(of), load: false }
        }
        Action::Flush { node } => Order::Chore { node: name(node), chore: Chore::Flush },
        Action::Compact { node } => Order::Chore { node: name(node), chore: Chore::Compact },
        Action::GcSnapshots { node } => Order::Chore { node: name(node), chore: Chore::CollectSnapshots },
        _ => return None,
    })
}

type Answer = oneshot::Sender<Result<(), String>>;

/// How the operator is reached.
#[derive(Clone)]
pub struct Orders(mpsc::UnboundedSender<(Order, Answer)>);

impl Orders {
    /// Starts the operator.
    pub fn start(cluster: &Arc<Cluster>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel::<(Order, Answer)>();
        let receiver = Arc::new(parking_lot::Mutex::new(Some(receiver)));
        let cluster_of_task = Arc::downgrade(cluster);
        cluster.start_other(OPERATOR, move |handle, env| {
            let (receiver, cluster) = (receiver.lock().take(), cluster_of_task.clone());
            async move {
                let Some(mut receiver) = receiver else { return };
                while let Some((order, answer)) = receiver.recv().await {
                    let Some(cluster) = cluster.upgrade() else { return };
                    let (handle, env) = (handle.clone(), env.clone());
                    handle.clone().spawn(async move {
                        let (witness, kind) = (cluster.witness().clone(), order.kind());
                        witness.asked(kind);
                        let done = Operator::new(cluster, handle, env).carry_out(order).await;
                        if done.is_ok() {
                            witness.succeeded(kind);
                        }
                        // Nobody waits for the orders of a plan.
                        let _ = answer.send(done);
                    });
                }
            }
        });
        Self(sender)
    }

    /// Gives an order and goes on.
    pub fn send(&self, order: Order) {
        let (answer, _) = oneshot::channel();
        // The operator lives as long as the room.
        let _ = self.0.send((order, answer));
    }

    /// Gives an order and waits until it is carried out, or why it was not.
    pub async fn carry_out(&self, order: Order) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.0.send((order, answer)).map_err(|_| "the operator is gone".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("the operator is gone".to_owned()))
    }
}

struct Operator {
    cluster: Arc<Cluster>,
    client: Client,
    handle: Handle,
}

impl Operator {
    fn new(cluster: Arc<Cluster>, handle: Handle, env: Env) -> Self {
        let client = Client::new(&env, PD_ADDRESS, operator_options(&cluster.plan().knobs));
        Self { cluster, client, handle }
    }

    async fn carry_out(&self, order: Order) -> Result<(), String> {
        let said = |error: Error| error.to_string();
        match order {
            Order::Split { keys } => self.client.split(keys).await.map(drop).map_err(said),
            Order::Merge { key, into } => self.client.merge(&key, into.as_ref()).await.map(drop).map_err(said),
            Order::Transfer { key, to } => {
                let store = self.store(&to)?;
                self.client.transfer_to_store(&key, store).await.map(drop).map_err(said)
            }
            Order::AddPeer { key, store, learner } => {
                let store = self.store(&store)?;
                self.client.add_peer(&key, store, learner).await.map(drop).map_err(said)
            }
            Order::RemovePeer { key, store } => {
                let store = self.store(&store)?;
                let regions = self.cluster.witness().with_rest(|rest| rest.regions());
                let region = regions.into_iter().find(|region| region.contains(&key));
                let peer = region.as_ref().and_then(|region| region.peer_on(store)).copied();
                let peer = peer.ok_or_else(|| "no such replica".to_owned())?;
                let change = PeerChange { kind: ChangeKind::Remove as i32, peer };
                self.client.change_peers(&key, vec![change]).await.map(drop).map_err(said)
            }
            Order::ReplacePeer { key, from, to } => {
                let (from, to) = (self.store(&from)?, self.store(&to)?);
                self.client.replace_peer(&key, from, to).await.map(drop).map_err(said)
            }
            Order::UnsafeRecover { stores, limit } => self.unsafe_recover(&stores, limit).await,
            Order::ComputeHash { key } => self.client.compute_hash(&key).await.map(drop).map_err(said),
            Order::CompactLog { node, key } => self.compact_log(&node, key).await,
            Order::RemoveStore { store, destroyed } => {
                let id = self.store(&store)?;
                self.client.pd().remove_store(id, destroyed).await.map_err(|error| error.to_string())
            }
            Order::UpStore { store } => {
                let id = self.store(&store)?;
                self.client.pd().up_store(id).await.map_err(|error| error.to_string())
            }
            Order::BuryStore { store } => {
                let id = self.store(&store)?;
                self.client.pd().bury_store(id).await.map_err(|error| error.to_string())
            }
            Order::RemoveTombstones => {
                self.client.pd().remove_tombstones().await.map(drop).map_err(|error| error.to_string())
            }
            Order::SetTiflashReplica { table, start, end, count } => {
                let wish = TiflashReplica { table, start, end, count };
                self.client.pd().set_tiflash_replica(wish).await.map_err(|error| error.to_string())
            }
            Order::Cache { node, key, load } => self.cache(node, key, load),
            Order::Chore { node, chore } => self.chore(&node, chore),
            Order::Probe { waits } => {
                self.probe(&waits).await;
                Ok(())
            }
        }
    }

    fn store(&self, name: &str) -> Result<u64, String> {
        let node = self.cluster.id(name).number() as u16;
        let store = self.cluster.witness().with_rest(|rest| rest.store_of(node));
        store.ok_or_else(|| format!("{name} has not started yet"))
    }

    /// Asks until the recovery has begun: the placement driver has to miss the stores first. It forgets a recovery when
    /// it restarts, so the operator looks after it, and asks again.
    async fn unsafe_recover(&self, stores: &[String], limit: Duration) -> Result<(), String> {
        let stores = stores.iter().map(|name| self.store(name)).collect::<Result<Vec<_>, _>>()?;
        let (room, pd) = (self.cluster.room(), self.client.pd());
        let mut deadline_ns = room.true_ns() + PATIENCE.as_nanos() as u64;
        let (mut begun, mut again) = (false, RECOVERIES_MORE);
        loop {
            if begun {
                match pd.recovery().await.map(|progress| progress.stage) {
                    // What was under way meanwhile may have taken a majority away after the placement driver had looked.
                    Ok(stage) if stage == "finished" && (again == 0 || self.all_are_led().await) => return Ok(()),
                    Ok(stage) if stage == "finished" => (begun, again) = (false, again - 1),
                    Ok(stage) if stage == "failed" => return Err("the recovery failed".to_owned()),
                    Ok(stage) => begun = stage != "idle",
                    // It restarts, or is cut off: asked again, it will say.
                    Err(_) => {}
                }
            } else {
                match pd.remove_failed_stores(stores.clone(), limit).await {
                    Ok(()) => (begun, deadline_ns) = (true, deadline_ns + limit.as_nanos() as u64),
                    Err(error) if room.true_ns() >= deadline_ns => return Err(error.to_string()),
                    Err(_) => {}
                }
            }
            if room.true_ns() >= deadline_ns {
                return Err("the recovery does not end".to_owned());
            }
            room.sleep(PAUSE).await;
        }
    }

    /// Waits for every region to be led for a while: one with too many lost voters may be led until it knows of them.
    async fn all_are_led(&self) -> bool {
        let mut steady = 0;
        for _ in 0..LED_WITHIN.as_millis() / PAUSE.as_millis() {
            let led = self
                .cluster
                .witness()
                .with_rest(|rest| rest.regions().iter().all(|region| rest.leader(region.id).is_some()));
            steady = if led { steady + 1 } else { 0 };
            if PAUSE * steady >= LED_FOR {
                return true;
            }
            self.cluster.room().sleep(PAUSE).await;
        }
        false
    }

    async fn compact_log(&self, node: &str, key: Option<Bytes>) -> Result<(), String> {
        let id = self.cluster.id(node).number() as u16;
        let led = self.cluster.witness().with_rest(|rest| {
            let regions = rest.regions();
            let led = regions.into_iter().filter(|region| rest.leader(region.id) == Some(id));
            led.filter(|region| key.as_ref().is_none_or(|key| region.contains(key))).collect::<Vec<_>>()
        });
        for region in led {
            self.client.compact_log(&region.start).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Tells a store what to do with the region of a key.
    fn cache(&self, node: Option<String>, key: Bytes, load: bool) -> Result<(), String> {
        let leader = || {
            let leader = self.cluster.witness().with_rest(|rest| {
                let region = rest.regions().into_iter().find(|region| region.contains(&key))?;
                rest.leader(region.id)
            });
            let leader = leader.ok_or_else(|| "the region has no leader".to_owned())?;
            Ok::<_, String>(Cluster::header(self.cluster.plan()).nodes[usize::from(leader)].clone())
        };
        let node = node.map_or_else(leader, Ok)?;
        let Some(Live { handle, chores: Some(chores), .. }) = self.cluster.member(&node).live() else {
            return Err(format!("{node} is down"));
        };
        handle.spawn(async move { chores.cache(key, load) });
        Ok(())
    }

    /// Begins a chore in the store's own process; it ends with the process.
    fn chore(&self, node: &str, chore: Chore) -> Result<(), String> {
        let Some(Live { handle, chores: Some(chores), .. }) = self.cluster.member(node).live() else {
            return Err(format!("{node} is down"));
        };
        handle.spawn(async move {
            // A chore that fails leaves a failed store behind, which states so itself.
            let failed = match chore {
                Chore::Flush => chores.flush().await.is_err(),
                Chore::Compact => chores.compact().await.is_err(),
                Chore::CollectSnapshots => chores.collect_snapshots().await.is_err(),
            };
            tracing::debug!(?chore, failed, "chore ended");
        });
        Ok(())
    }

    /// Reads every key and has every region hashed, until all is answered: a client gives up sooner than a cluster has to
    /// come to rest, so whoever asked sets the limit.
    async fn probe(&self, waits: &Unanswered) {
        let plan = self.cluster.plan().clone();
        let witness = self.cluster.witness().clone();
        let first = u32::try_from(plan.workload.clients + 1).unwrap_or(u32::MAX);
        let keys: Vec<Bytes> = workload::keys(&plan.workload).collect();
        // Each reader is a client to whoever judges: its operations follow each other.
        let words = |key: &Bytes| format!("key {}", String::from_utf8_lossy(key));
        let readers = (first..).zip(keys.chunks(keys.len().div_ceil(PROBE_READERS).max(1))).map(|(client, keys)| {
            let mut log = Log { handle: self.handle.clone(), witness: witness.clone(), client, next: 0 };
            async move {
                let mut known = BTreeMap::new();
                for key in keys {
                    while !workload::get(&self.client, key.clone(), ReadBy::ReadIndex, &mut log, &mut known).await {
                        waits.lock().insert(words(key));
                        self.handle.clock().sleep(PROBE_AGAIN).await;
                    }
                    waits.lock().remove(&words(key));
                }
            }
        });
        futures::future::join_all(readers).await;
        for region in self.cluster.witness().with_rest(|rest| rest.regions()) {
            let words = format!("region {}", region.id);
            while self.client.compute_hash(&region.start).await.is_err() {
                waits.lock().insert(words.clone());
                self.handle.clock().sleep(PROBE_AGAIN).await;
            }
            waits.lock().remove(&words);
        }
    }
}
