//! A store: many regions' peers over one engine and one raft log.
//!
//! Its parts are tasks with a mailbox each, because that is where the races of such a store live: the raft loop, the log
//! writer, apply, the reader, the region worker, snapshot transfer, collection, heartbeats, and one connection task a
//! peer store; where it is enabled, the cache's, too. In an unsafe recovery the raft loop carries out what the placement
//! driver's plans say, and heartbeats bring the reports. This file opens what is on disk, starts them, serves requests, and stops them.
//!
//! What recovery reads, and what it does where a crash has come between two writes, stands in `recovery`.

pub mod apply;
mod chores;
mod collect;
pub mod fact;
mod heartbeats;
pub mod log_writer;
pub mod mail;
pub mod options;
pub mod peer;
mod peer_wire;
pub mod raft_client;
mod raft_log_drain;
pub mod raft_loop;
mod recovery;
pub mod region_worker;
pub mod resolver;
pub mod service;
pub mod site;
pub mod snapshot;
pub mod state;
pub mod turn;
pub mod unsafe_recovery;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use failpoints::{defect, point};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;

pub use chores::Chores;
pub use options::Options;

use self::{
    apply::{Registry, SafePoints, Shared},
    fact::lifecycle::Fact,
    mail::{Mail, Mailbox},
    raft_client::RaftClient,
    raft_loop::{RaftLoop, Reach, View},
    region_worker::RegionWorker,
    resolver::Resolver,
    service::Answer,
    state::{StoreIdent, decode_ident, encode},
    turn::Turn,
};
use crate::{
    cache::{AskForLoad, Cache},
    defects,
    engine::{self, Engine, Family, WriteBatch},
    env::{Connection, Env},
    fact::Text,
    key, pd,
    raftlog::{self, Layout, RaftLog},
    region::{Epoch, Peer, Region, StoreId},
    release::Release,
    rpc::{self, Reply, Session},
    wire::{
        kv::Request,
        peer::PeerMessage,
        placement::{self, Reason},
    },
};

/// How long a store waits before it asks a placement driver again that did not answer.
const PD_PAUSE: Duration = Duration::from_millis(500);

/// An election timeout that never ends: while stores are being restored, whoever restores them says who stands for election.
const TICKS_WHILE_RESTORING: usize = 1 << 20;

/// Why a store did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are unsafe or contradict each other.
    #[error("store: {0}")]
    Options(String),
    /// The engine.
    #[error("store: {0}")]
    Engine(#[from] crate::engine::Error),
    /// The raft log.
    #[error("store: {0}")]
    RaftLog(#[from] crate::raftlog::Error),
    /// The snapshot files.
    #[error("store: {0}")]
    Snapshot(#[from] snapshot::Error),
    /// What the engine holds is no state of a store.
    #[error("store: {0}")]
    State(String),
    /// The placement driver refuses this store.
    #[error("store: {0}")]
    Placement(pd::Error),
    /// Listening failed.
    #[error("store: cannot listen at {0}: {1}")]
    Listen(String, io::Error),
}

impl Error {
    /// Whether the store was removed from its cluster: it ends in good order, and a further start ends the same way.
    pub fn is_retired(&self) -> bool {
        matches!(self, Error::Placement(error) if error.reason() == Some(Reason::StoreTombstone))
    }

    /// Whether the placement driver wants no store of this release here.
    pub fn is_release_refused(&self) -> bool {
        matches!(self, Error::Placement(error) if error.reason() == Some(Reason::ReleaseRefused))
    }

    /// What cannot be read, if that is why.
    fn refused_format(&self) -> Option<Fact> {
        let (path, format, version, release) = match self {
            Error::Engine(engine::Error::Refused { path, format, version, release }) => {
                (path, *format, *version, *release)
            }
            Error::RaftLog(raftlog::Error::Refused { path, layout, release }) => (path, "raft-log", *layout, *release),
            _ => return None,
        };
        Some(Fact::FormatRefused { path: path.clone().into(), format: format.into(), version, release: release.into() })
    }
}

/// A running store. Dropping it leaves its tasks running; [`Store::stop`] ends them.
pub struct Store {
    env: Env,
    id: StoreId,
    engine: Engine,
    raftlog: RaftLog,
    chores: Chores,
    server: Option<rpc::Server>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

/// The store must not go on: states why, and ends the process.
pub fn fail(env: &Env, store: StoreId, cause: &str) {
    env.state(Fact::Failed { store, cause: Text::from(cause.to_owned()) });
    env.spawn.exit(cause);
}

impl Store {
    /// Opens or founds a store, starts its tasks and serves.
    ///
    /// Waits for the placement driver as long as that takes. An error is a cause to end the process.
    pub async fn start(env: Env, options: Options) -> Result<Store, Error> {
        let release = Text::from(options.release.clone());
        let result = Store::open(env.clone(), options).await;
        if let Some(refused) = result.as_ref().err().and_then(Error::refused_format) {
            env.state(refused);
        }
        if let Err(error) = &result
            && error.is_release_refused()
        {
            env.state(Fact::ReleaseRefused { release, cause: Text::from(error.to_string()) });
        }
        if let Err(error) = &result
            && !error.is_retired()
        {
            env.state(Fact::Failed { store: 0, cause: Text::from(error.to_string()) });
        }
        result
    }

    async fn open(env: Env, mut options: Options) -> Result<Store, Error> {
        options.check().map_err(Error::Options)?;
        let release = Release::parse(&options.release).map_err(|error| Error::Options(error.to_string()))?;
        let (wanted, safe) = (options.raft_store_max_leader_lease, options.safe_lease());
        // The defect takes it as it is.
        if wanted > safe && !defect!(env.points, defects::TIKV_9728) {
            options.raft_store_max_leader_lease = safe;
        }
        if options.restoring {
            options.raft_election_timeout_ticks = TICKS_WHILE_RESTORING;
        }
        let options = Arc::new(options);
        let pd = pd::Client::at(&env, &options.pd, pd::ClientOptions::default());
        admitted(&env, &pd, &options).await?;
        // Before anything is changed: what this release cannot read, the one that wrote it goes on with.
        raftlog::check(&env, "", release).await?;
        let engine_options = engine::Options { release, ..options.engine.clone() };
        let engine = Engine::open(env.clone(), "engine", engine_options).await?;
        let manager = snapshot::Manager::open(env.clone(), options.snapshot.clone()).await?;
        raftlog::take_over(&env, "", release, &options.raftlog).await?;
        let raftlog_options = raftlog::Options { layout: Layout::of(release), ..options.raftlog.clone() };
        let recovered = recovery::recover(&env, &engine, raftlog_options).await?;
        let ident = identify(&env, &engine, &pd).await?;
        let store = ident.store;
        env.state(Fact::Identified { store });
        // Whoever asks the engine for something next may only come in a long time, or drop the answer.
        let (failed_env, failing) = (env.clone(), engine.clone());
        env.spawn("engine-failed", async move {
            let error = failing.until_failed().await;
            fail(&failed_env, store, &error.to_string());
        });
        if wanted > safe {
            let ns = |lease: Duration| lease.as_nanos() as u64;
            env.state(Fact::LeaseTooLong { store, wanted_ns: ns(wanted), safe_ns: ns(safe) });
        }
        if options.restoring {
            env.state(Fact::Restoring { store });
        }
        let found = bootstrap(&env, &engine, &pd, &options, ident).await?;

        let (mailbox, mail) = Mailbox::new();
        let pace = resolver::Pace {
            lifetime: options.store_address_lifetime,
            backoff: options.raft_client_backoff,
            backoff_max: options.raft_client_max_backoff,
        };
        let resolver = Resolver::new(pd.clone(), pace);
        let client = RaftClient::new(options.clone(), resolver.clone(), mailbox.clone());
        let registry = Arc::new(Mutex::new(Registry { gone: recovered.gone.clone(), ..Registry::default() }));
        let safe_points = Arc::new(SafePoints::default());
        let points = safe_points.clone();
        let safe_point: crate::engine::SafePoint = Arc::new(move |user_key| points.of(user_key));
        engine.set_safe_point(safe_point.clone());
        let cache = options.cache.enabled.then(|| {
            let mailbox = mailbox.clone();
            let ask: AskForLoad = Arc::new(move |region, cause| mailbox.send(Mail::LoadIntoCache(region, cause)));
            Cache::start(&env, options.cache.clone(), engine.clone(), safe_point, ask)
        });

        let (log, log_tasks) = mpsc::unbounded_channel();
        let (to_apply, apply_tasks) = mpsc::unbounded_channel();
        let (reader, reads) = mpsc::unbounded_channel();
        let raftlog = recovered.raftlog.clone();
        let worker = RegionWorker::start(&env, manager.clone(), engine.clone(), cache.clone());
        let view = Arc::new(View::default());
        let reports = unsafe_recovery::Reports::default();
        env.spawn(
            "log-writer",
            log_writer::run(
                (env.clone(), store),
                engine.clone(),
                raftlog.clone(),
                client.clone(),
                mailbox.clone(),
                log_tasks,
            ),
        );
        let shared = Shared {
            env: env.clone(),
            options: options.clone(),
            store,
            engine: engine.clone(),
            mailbox: mailbox.clone(),
            registry: registry.clone(),
            safe_points,
            cache: cache.clone(),
        };
        env.spawn("apply", apply::run(shared, apply_tasks));
        env.spawn("reader", service::reader(env.clone(), engine.clone(), reads));
        let turn = Turn {
            env: env.clone(),
            options: options.clone(),
            store,
            mailbox: mailbox.clone(),
            logger: slog::Logger::root(raft_log_drain::RaftLogDrain, slog::o!()),
            instances: std::cell::Cell::new(0),
            now: env.now(),
            log: log_writer::LogTask::default(),
            apply: Vec::new(),
            out: Vec::new(),
            served: Vec::new(),
            wishes: Vec::new(),
            cache,
        };
        let reach = Reach {
            engine: engine.clone(),
            raftlog: raftlog.clone(),
            log,
            apply: to_apply,
            reader,
            client,
            worker: worker.clone(),
            snapshots: manager.clone(),
            resolver,
            pd: pd.clone(),
            registry,
            view: view.clone(),
            reports: reports.clone(),
        };
        let mut raft_loop = RaftLoop::new(reach, turn);
        let peers = recovered.peers.len() as u64 + u64::from(found.is_some());
        for found in recovered.peers {
            raft_loop.recover(found);
        }
        if let Some((region, me)) = found {
            raft_loop.found_region(region, me);
        }
        raft_loop.remember(recovered.tombs);
        for task in recovered.leftovers {
            worker.ask(region_worker::Task::Destroy(task));
        }
        if options.hash_on_restart {
            raft_loop.hash_one();
        }

        let (for_others, wire) = (mailbox.clone(), release.wire);
        let handler = Handler { env: env.clone(), store, wire, mailbox: for_others, manager: manager.clone() };
        let server = rpc::serve(&env, &options.address, Arc::new(handler))
            .await
            .map_err(|error| Error::Listen(options.address.clone(), error))?;
        point!(env.points, site::BEFORE_REGISTER).await;
        register(&env, &pd, &options, store).await?;
        env.state(Fact::Started { store, release: Text::from(options.release.clone()), peers });
        let (over, ended) = tokio::sync::oneshot::channel();
        env.spawn("raft-loop", async move {
            raft_loop.run(mail).await;
            // Whoever waits may have gone.
            let _ = over.send(());
        });
        env.spawn("snapshot-collect", snapshot::collect::run(manager.clone(), view.clone()));
        collect::spawn(&env, &options, &mailbox, &raftlog, store);
        let chores = Chores { engine: engine.clone(), manager, view, mailbox, retired: Arc::default() };
        heartbeats::spawn(&env, &options, &pd, &chores, &reports, store);
        Ok(Store { env, id: store, engine, raftlog, chores, server: Some(server), ended })
    }

    /// Asks the placement driver whether a store may run with these options' release, as every start does: for whoever
    /// changes the directory before that.
    pub async fn check_release(env: &Env, options: &Options) -> Result<(), Error> {
        admitted(env, &pd::Client::at(env, &options.pd, pd::ClientOptions::default()), options).await
    }

    /// Brings the raft log of a store that is not running back to the old directory, so that an older release finds it.
    ///
    /// `options` are the store's as the release that it last ran as. May be done again, also after a crash.
    pub async fn export_raft_log(env: &Env, options: &Options) -> Result<(), Error> {
        let release = Release::parse(&options.release).map_err(|error| Error::Options(error.to_string()))?;
        Ok(raftlog::export(env, "", release, &options.raftlog).await?)
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Runs until [`Chores::stop`] is called, and ends in good order.
    pub async fn run(mut self) {
        // An error means that the loop was dropped with its process.
        let _ = (&mut self.ended).await;
        self.close().await;
    }

    /// What this store can be told to do from elsewhere.
    pub fn chores(&self) -> Chores {
        self.chores.clone()
    }

    /// Ends in good order: everything written is durable.
    pub async fn stop(mut self) {
        self.chores.stop();
        let _ = (&mut self.ended).await;
        self.close().await;
    }

    async fn close(&mut self) {
        self.server = None;
        let synced = self.raftlog.sync().await.map_err(|error| error.to_string());
        let stopped = self.engine.stop().await.map_err(|error| error.to_string());
        match synced.and(stopped) {
            Ok(()) => self.env.state(Fact::Stopped { store: self.id }),
            Err(cause) => fail(&self.env, self.id, &cause),
        }
    }
}

/// Asks the placement driver whether this store may run as this release, before the directory is touched.
async fn admitted(env: &Env, pd: &pd::Client, options: &Options) -> Result<(), Error> {
    loop {
        match pd.check_release(&options.address, &options.release).await {
            Ok(()) => return Ok(()),
            Err(error) => match error.reason() {
                Some(Reason::NotBootstrapped) => return Ok(()),
                None => {
                    let cause = Text::from(error.to_string());
                    env.state(Fact::PlacementUnreachable { cause });
                    env.sleep(PD_PAUSE).await;
                }
                Some(_) => return Err(Error::Placement(error)),
            },
        }
    }
}

/// Who this store is; a new one gets an id.
async fn identify(env: &Env, engine: &Engine, pd: &pd::Client) -> Result<StoreIdent, Error> {
    if let Some(stored) = engine.get(Family::Raft, &key::store_ident()).await? {
        return decode_ident(&stored).map_err(|error| Error::State(format!("the store's ident: {error}")));
    }
    let store = patiently(env, || pd.alloc_id()).await?;
    let ident = StoreIdent { store, joined: false, first_region: 0 };
    put_ident(engine, ident).await?;
    Ok(ident)
}

async fn put_ident(engine: &Engine, ident: StoreIdent) -> Result<(), Error> {
    let mut batch = WriteBatch::new();
    batch.put(Family::Raft, key::store_ident(), encode(&ident));
    Ok(engine.write(batch, true).await?)
}

/// Founds the cluster if there is none yet. The first region's states are durable before the placement driver hears of
/// it, so that a crash in between founds the same region again.
async fn bootstrap(
    env: &Env,
    engine: &Engine,
    pd: &pd::Client,
    options: &Options,
    mut ident: StoreIdent,
) -> Result<Option<(Region, Peer)>, Error> {
    if ident.joined {
        return Ok(None);
    }
    // A columnar store never has a voter, so it leaves founding to others.
    if ident.first_region == 0 && !options.is_columnar() && !patiently(env, || pd.is_bootstrapped()).await? {
        ident.first_region = patiently(env, || pd.alloc_ids(2)).await?;
        put_ident(engine, ident).await?;
    }
    let mut founded = None;
    if ident.first_region != 0 {
        let me = Peer { id: ident.first_region + 1, store: ident.store, role: 0 };
        let region = Region {
            id: ident.first_region,
            start: Bytes::new(),
            end: Bytes::new(),
            epoch: Epoch { conf_ver: 1, version: 1 },
            peers: vec![me],
        };
        let store = record(options, ident.store);
        match patiently(env, || pd.bootstrap(store.clone(), region.clone())).await {
            Ok(()) => founded = Some((region, me)),
            Err(Error::Placement(error)) if error.reason() == Some(Reason::AlreadyBootstrapped) => {}
            Err(error) => return Err(error),
        }
    }
    let mut batch = WriteBatch::new();
    if let Some((region, me)) = &founded {
        let stage = state::Stage::Normal;
        let state = state::RegionState {
            region: region.clone(),
            peer: *me,
            stage: stage as i32,
            index: 0,
            term: 0,
            merge: None,
        };
        batch.put(Family::Raft, key::region_state(region.id), encode(&state));
        batch.put(Family::Raft, key::apply_state(region.id), encode(&state::ApplyState::initial()));
        let (region, state) = (Arc::new(region.clone()), stage.name().into());
        env.state(fact::region::Fact::StateWritten { region, peer: me.id, state, index: 0, term: 0 });
    }
    ident.joined = true;
    batch.put(Family::Raft, key::store_ident(), encode(&ident));
    engine.write(batch, true).await?;
    Ok(founded)
}

fn record(options: &Options, id: StoreId) -> placement::Store {
    let label = |(key, value): &(String, String)| placement::Label { key: key.clone(), value: value.clone() };
    placement::Store {
        id,
        address: options.address.clone(),
        state: placement::StoreState::Up as i32,
        release: options.release.clone(),
        labels: options.labels.iter().map(label).collect(),
        ..placement::Store::default()
    }
}

async fn register(env: &Env, pd: &pd::Client, options: &Options, store: StoreId) -> Result<(), Error> {
    let record = record(options, store);
    let registered = patiently(env, || pd.put_store(record.clone())).await;
    if registered.as_ref().is_err_and(Error::is_retired) {
        env.state(Fact::Retired { store });
    }
    registered
}

/// Asks the placement driver until it answers; a refusal is an answer, unless it may pass.
async fn patiently<T, F: Future<Output = Result<T, pd::Error>>>(env: &Env, ask: impl Fn() -> F) -> Result<T, Error> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if matches!(error.reason(), None | Some(Reason::NotBootstrapped)) => {
                let cause = Text::from(error.to_string());
                env.state(Fact::PlacementUnreachable { cause });
                env.sleep(PD_PAUSE).await;
            }
            Err(error) => return Err(Error::Placement(error)),
        }
    }
}

/// What other processes ask of this store.
struct Handler {
    env: Env,
    store: StoreId,
    /// The newest version of the wire between stores that it speaks.
    wire: u8,
    mailbox: Mailbox,
    manager: snapshot::Manager,
}

impl rpc::Handler for Handler {
    fn handle(&self, service: u32, body: Bytes, reply: Reply) {
        match service {
            rpc::KV => match Request::decode(body) {
                Err(error) => reply.refuse(format!("the request does not parse: {error}")),
                Ok(request) => {
                    let answer = Answer::new(reply);
                    if request.store != self.store {
                        let (region, reason) = (request.region, "store-not-match".into());
                        self.env.state(fact::raft::Fact::Refused { region, peer: 0, reason });
                        answer.send(raft_loop::other_store(self.store));
                    } else {
                        self.mailbox.send(Mail::Ask(Box::new(request), answer));
                    }
                }
            },
            _ => reply.refuse(format!("a store has no service {service}")),
        }
    }

    fn take_over(&self, service: u32, first: &Bytes, connection: Connection) -> Result<Session, Connection> {
        let (mailbox, store) = (self.mailbox.clone(), self.store);
        if service == rpc::RAFT {
            let deliver = move |message: Box<PeerMessage>| {
                if message.to.store == store {
                    mailbox.send(Mail::Peer(message));
                }
            };
            return Ok(Box::pin(peer_wire::session(self.env.clone(), self.wire, first.clone(), connection, deliver)));
        }
        if service != rpc::SNAPSHOT {
            return Err(connection);
        }
        let deliver: snapshot::receive::Deliver = Arc::new(move |header| {
            let Ok(message) = PeerMessage::decode(header.message) else { return false };
            if message.to.store != store || message.region != header.meta.region.id {
                return false;
            }
            mailbox.send(Mail::Arrived(Box::new(message), Box::new(header.meta.region)));
            true
        });
        Ok(Box::pin(snapshot::receive::session(self.manager.clone(), first.clone(), connection, deliver)))
    }
}

#[cfg(test)]
mod tests;
