//! The processes of a plan in a machine room: placement driver, stores, clients, and who they are to each other.
//!
//! A process keeps its disk, its release, its failpoints and its unreadable accounts from one incarnation to the next;
//! everything else is made anew at each start. What exits by itself is restarted by the supervisor; what the plan takes
//! down stays down.
//!
//! Not here: what happens to the processes (`nemesis`), and how knobs become options (`cluster/options`).

mod options;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use failpoints::Points;
use futures::future::{Either, select};
use node::{
    env::Env,
    pd::Pd,
    release::Release,
    store::{Chores, Store},
};
use parking_lot::Mutex;
use tracing::Instrument as _;

pub use options::{client_options, disk_config, link, operator_options};

use crate::{
    event::{Header, Kept, RoomEvent},
    plan::{Cluster as Shape, Plan},
    room::{self, CrashKeep, Exit, Handle, Link, Process, ProcessId, Room, StatsFault, Supervision},
    witness::Witness,
};

/// The process from which the runner itself works: it splits, moves and asks, and no fault reaches it.
pub const OPERATOR: &str = "operator";

/// Where the placement driver listens.
pub const PD_ADDRESS: &str = "pd:2379";

/// How long a process may take to stop in good order.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// All processes of a run.
pub struct Cluster {
    room: Room,
    plan: Arc<Plan>,
    witness: Arc<Witness>,
    members: BTreeMap<String, Arc<Member>>,
}

/// One process: what outlives its incarnations, and what is alive now.
pub struct Member {
    /// The process in the room.
    pub process: Process,
    stats: StatsFault,
    /// The release it runs as.
    release: Mutex<String>,
    /// It never starts again.
    lost: Mutex<bool>,
    /// It was told that it was removed from its cluster, and has ended.
    retired: AtomicBool,
    /// The releases that it was before this one, back to the one as which it has served last: it may have begun as each of
    /// them, and changed its disk, before it ended.
    before: Mutex<Vec<String>>,
    /// The release that has to export its raft log before the one above can start.
    exporting: Mutex<Option<String>>,
    /// How often its disk was emptied; a new disk is a new store at a new address.
    wipes: Mutex<u64>,
    /// Failpoints that outlive an incarnation: site to action.
    points: Mutex<BTreeMap<String, String>>,
    /// Whether it starts as one that is being restored.
    restoring: Mutex<bool>,
    live: Mutex<Option<Live>>,
}

/// What is alive of a process.
#[derive(Clone)]
pub struct Live {
    /// Its hold on the room.
    pub handle: Handle,
    /// Its switchboard.
    pub points: Points,
    /// What the store can be told to do, once it has started, if it is one.
    pub chores: Option<Chores>,
}

impl Cluster {
    /// The header of this plan's history: the names of its processes in the order of their numbers.
    pub fn header(plan: &Plan) -> Header {
        Header::new(names(plan), plan.cluster.release.as_str())
    }

    /// Defines all processes and starts none.
    pub fn new(room: Room, plan: Arc<Plan>, witness: Arc<Witness>) -> Arc<Self> {
        let members = names(&plan)
            .into_iter()
            .map(|name| {
                let process = room.process(&name);
                process.disk().set_config(disk_config(&plan.knobs));
                let member = Member {
                    process,
                    stats: StatsFault::default(),
                    release: Mutex::new(plan.cluster.release.as_str().to_owned()),
                    lost: Mutex::new(false),
                    retired: AtomicBool::new(false),
                    before: Mutex::default(),
                    exporting: Mutex::new(None),
                    wipes: Mutex::new(0),
                    points: Mutex::default(),
                    restoring: Mutex::new(false),
                    live: Mutex::default(),
                };
                (name, Arc::new(member))
            })
            .collect();
        room.fabric().set_default_link(link(&plan.knobs));
        Arc::new(Self { room, plan, witness, members })
    }

    /// The machine room.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The witness.
    pub fn witness(&self) -> &Arc<Witness> {
        &self.witness
    }

    /// A process by name. Plans are checked against the same names.
    pub fn member(&self, name: &str) -> &Arc<Member> {
        &self.members[name]
    }

    /// A process's number by name.
    pub fn id(&self, name: &str) -> ProcessId {
        self.member(name).process.id()
    }

    /// The names of the stores that run, columnar ones included.
    pub fn running_stores(&self) -> Vec<String> {
        let stores = self.plan.cluster.nodes().into_iter().filter(|name| name != Shape::PD);
        stores.filter(|name| self.member(name).process.is_running()).collect()
    }

    /// The names of the placement driver and of all stores that are neither spare nor lost.
    pub fn initial(&self) -> Vec<String> {
        let Shape { stores, tiflash, .. } = self.plan.cluster;
        let stores = (1..=stores).map(|number| format!("store-{number}"));
        let tiflash = (1..=tiflash).map(|number| format!("tiflash-{number}"));
        let all = [Shape::PD.to_owned()].into_iter().chain(stores).chain(tiflash);
        all.filter(|name| !*self.member(name).lost.lock()).collect()
    }

    /// How many stores with voters are neither lost nor retired; spare ones count once they run.
    pub fn living_stores(&self) -> u64 {
        let stores = self.members.iter().filter(|(name, _)| name.starts_with("store-"));
        let initial = self.initial();
        let lives = |name: &String, member: &Member| {
            let is_gone = *member.lost.lock() || member.retired.load(Relaxed);
            !is_gone && (initial.contains(name) || member.live().is_some())
        };
        stores.filter(|(name, member)| lives(name, member)).count() as u64
    }

    /// The names of the placement driver and of all stores that run from the start or have been started since.
    pub fn begun(&self) -> Vec<String> {
        let initial = self.initial();
        let nodes = self.plan.cluster.nodes().into_iter();
        nodes.filter(|name| initial.contains(name) || self.member(name).process.incarnation() > 0).collect()
    }

    /// Starts a process, with another release if one is given. One that runs is killed first.
    pub fn start(&self, name: &str, release: Option<&str>) {
        self.start_as(name, release, true);
    }

    /// The same; when it is not `prepared`, what another release needs to be done before is not done.
    pub fn start_as(&self, name: &str, release: Option<&str>, prepared: bool) {
        let member = self.member(name).clone();
        if *member.lost.lock() {
            return;
        }
        member.retired.store(false, Relaxed);
        if let Some(release) = release {
            member.change_release(release, prepared);
        }
        let (witness, plan, name) = (self.witness.clone(), self.plan.clone(), name.to_owned());
        let process = member.process.clone();
        process.set_supervised(Supervision::default());
        process.start(move |handle| {
            let (member, plan, name) = (member.clone(), plan.clone(), name.clone());
            let env = member.begin(&handle, &witness, &plan);
            let span = room::span(&handle);
            async move { member.run(&name, handle, env, &plan).await }.instrument(span)
        });
    }

    /// Starts a process that runs `main` with an env: a client, the operator.
    pub fn start_other<F>(&self, name: &str, main: impl Fn(Handle, Env) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let member = self.member(name).clone();
        let (witness, plan) = (self.witness.clone(), self.plan.clone());
        let process = member.process.clone();
        process.start(move |handle| {
            let env = member.begin(&handle, &witness, &plan);
            let span = room::span(&handle);
            main(handle, env).instrument(span)
        });
    }

    /// Cuts a process's power and states what its disk was left with.
    pub fn crash(&self, name: &str, keep: CrashKeep) {
        let process = &self.member(name).process;
        let disk = process.disk();
        let before: BTreeMap<_, _> = disk
            .visible_paths()
            .into_iter()
            .map(|path| (path.clone(), disk.read(&path).map(|b| b.len() as u64)))
            .collect();
        process.supervise_no_more();
        process.crash(keep);
        let after: BTreeMap<_, _> = disk
            .visible_paths()
            .into_iter()
            .map(|path| (path.clone(), disk.read(&path).map(|b| b.len() as u64)))
            .collect();
        let kept = after
            .iter()
            .filter(|(path, len)| before.get(*path) != Some(len))
            .filter_map(|(path, len)| Some(Kept { path: path.clone().into(), len: (*len)? }))
            .collect();
        let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|path| path.clone().into()).collect();
        let back = after.keys().filter(|path| !before.contains_key(*path)).map(|path| path.clone().into()).collect();
        self.witness.room(process.id(), 0, RoomEvent::DiskCrashed { kept, gone, back });
    }

    /// Asks a process to stop in good order; it stays down.
    pub async fn stop(&self, name: &str) {
        let process = &self.member(name).process;
        process.supervise_no_more();
        process.stop(STOP_LIMIT).await;
    }

    /// Kills a process and empties its disk; its next start is a new store.
    pub fn wipe(&self, name: &str) {
        let member = self.member(name);
        member.process.supervise_no_more();
        member.process.kill();
        member.process.disk().wipe();
        *member.wipes.lock() += 1;
        self.witness.room(member.process.id(), 0, RoomEvent::DiskWiped {});
    }

    /// Kills a store for good: its disk is empty, and nothing starts it again.
    pub fn lose(&self, name: &str) {
        *self.member(name).lost.lock() = true;
        self.wipe(name);
    }

    /// Lifts every fault of network, disks, clocks, accounts and failpoints, and resumes what is paused.
    pub fn heal(&self) {
        self.room.fabric().heal();
        self.room.fabric().set_default_link(self.link());
        let ids: Vec<_> = self.members.values().map(|member| member.process.id()).collect();
        for &from in &ids {
            for &to in ids.iter().filter(|to| **to != from) {
                if self.room.fabric().link(from, to) != self.link() {
                    self.room.fabric().set_link(from, to, self.link());
                }
            }
        }
        for member in self.members.values() {
            member.process.disk().heal();
            member.stats.set(false);
            if member.process.is_paused() {
                member.process.resume();
            }
            member.points.lock().clear();
            if let Some(live) = member.live() {
                live.points.all_off();
            }
        }
    }

    /// How a healthy link is.
    pub fn link(&self) -> Link {
        link(&self.plan.knobs)
    }
}

/// The names of all processes, in the order of their numbers.
fn names(plan: &Plan) -> Vec<String> {
    plan.cluster.nodes().into_iter().chain(plan.workload.client_names()).chain([OPERATOR.to_owned()]).collect()
}

impl Member {
    /// What is alive of it.
    pub fn live(&self) -> Option<Live> {
        self.live.lock().clone().filter(|live| live.handle.is_alive())
    }

    /// Makes its account of disk traffic unreadable, or readable again.
    pub fn set_unreadable_stats(&self, unreadable: bool) {
        self.stats.set(unreadable);
    }

    /// Sets a failpoint, for this incarnation and those to come. The plan's reader has checked site and action.
    pub fn set_point(&self, site: &str, action: &str) -> Result<(), failpoints::SetError> {
        if let Some(live) = self.live() {
            live.points.set(site, action)?;
        }
        self.points.lock().insert(site.to_owned(), action.to_owned());
        Ok(())
    }

    fn change_release(&self, to: &str, prepared: bool) {
        let from = std::mem::replace(&mut *self.release.lock(), to.to_owned());
        if from != to {
            self.before.lock().push(from.clone());
        }
        let releases = Release::parse(&from).ok().zip(Release::parse(to).ok());
        let exports = releases.is_some_and(|(from, to)| from.may_roll_back_to(to) && from.exports_raft_log_to(to));
        *self.exporting.lock() = (exports && prepared).then_some(from);
    }

    /// The release was refused: the supervisor goes on with the one before.
    fn take_release_back(&self, refused: &str) {
        let mut release = self.release.lock();
        if *release == refused
            && let Some(before) = self.before.lock().pop()
        {
            *release = before;
            // What was to be brought back for it is not.
            *self.exporting.lock() = None;
        }
    }

    /// Whether its next starts are those of a store that is being restored.
    pub fn set_restoring(&self, restoring: bool) {
        *self.restoring.lock() = restoring;
    }

    fn begin(&self, handle: &Handle, witness: &Arc<Witness>, plan: &Plan) -> Env {
        let defects: Vec<String> = plan.defects.iter().chain(&plan.plant).cloned().collect();
        let env = room::env(handle, witness, &self.stats, &defects);
        for (site, action) in self.points.lock().iter() {
            env.points.set(site, action).expect("site and action were accepted when they were set first");
        }
        *self.live.lock() = Some(Live { handle: handle.clone(), points: env.points.clone(), chores: None });
        let release = self.release.lock().clone().into();
        witness.room(handle.id(), handle.incarnation(), RoomEvent::ProcessStarted { release });
        env
    }

    async fn run(&self, name: &str, handle: Handle, env: Env, plan: &Plan) -> Exit {
        let ended = if name == Shape::PD {
            self.run_placement_driver(&handle, env, plan).await
        } else {
            self.run_store(name, &handle, env, plan).await
        };
        match ended {
            Ok(()) => Exit::Done,
            Err(cause) => Exit::Failed(cause.into()),
        }
    }

    async fn run_placement_driver(&self, handle: &Handle, env: Env, plan: &Plan) -> Result<(), String> {
        let pd = Pd::open(&env, options::placement(plan, PD_ADDRESS)).await.map_err(|error| error.to_string())?;
        match select(std::pin::pin!(handle.stop_requested()), std::pin::pin!(pd.serve())).await {
            // Whatever it answered is durable: it may end anywhere.
            Either::Left(_) => Ok(()),
            Either::Right((ended, _)) => ended.map_err(|error| error.to_string()),
        }
    }

    async fn run_store(&self, name: &str, handle: &Handle, env: Env, plan: &Plan) -> Result<(), String> {
        let wipes = *self.wipes.lock();
        let release = self.release.lock().clone();
        let mut options = options::store(plan, name, wipes, &release);
        options.restoring = *self.restoring.lock();
        let exporting = self.exporting.lock().clone();
        let starting = async {
            if let Some(from) = exporting {
                // A mistake must not change the directory.
                Store::check_release(&env, &options).await?;
                Store::export_raft_log(&env, &options::store(plan, name, wipes, &from)).await?;
                *self.exporting.lock() = None;
            }
            Store::start(env, options).await
        };
        let store = match starting.await {
            Ok(store) => store,
            // Nobody starts a store again that was told that it is gone.
            Err(error) if error.is_retired() => {
                self.retire();
                return Ok(());
            }
            Err(error) => {
                if error.is_release_refused() {
                    self.take_release_back(&release);
                }
                return Err(error.to_string());
            }
        };
        self.before.lock().clear();
        let chores = store.chores();
        if let Some(live) = self.live.lock().as_mut().filter(|live| live.handle.incarnation() == handle.incarnation()) {
            live.chores = Some(chores.clone());
        }
        let (stopping, stopped) = (handle.clone(), chores.clone());
        handle.spawn(async move {
            stopping.stop_requested().await;
            stopped.stop();
        });
        store.run().await;
        if chores.is_retired() {
            self.retire();
        }
        Ok(())
    }

    fn retire(&self) {
        self.process.supervise_no_more();
        self.retired.store(true, Relaxed);
    }
}
