//! The region worker: one mailbox of slow work on whole ranges - building snapshots, applying them, cleaning ranges.
//!
//! One task after the other, in the order of asking: applying a snapshot and cleaning the range it replaces must not meet.
//! The worker does not decide: which index a view stands for is said by apply, which took it; whether to try again by
//! whoever asked.

use std::sync::{Arc, atomic::AtomicBool};

use bytes::Bytes;
use failpoints::point;
use tokio::sync::{mpsc, oneshot};

use super::{
    fact::{apply, region, snapshot::Fact},
    snapshot::{
        ATTEMPTS_MAX, Error, Key, Manager,
        apply::{self as applying, clean},
        build::{Built, build},
        fails, site,
    },
};
use crate::{
    cache::Cache,
    engine::{Engine, Snapshot, WriteBatch},
    env::Env,
    fact::{Digest, Text},
    region::{PeerId, Region, RegionId},
};

/// What the region worker is asked to do.
pub enum Task {
    /// Build a snapshot.
    Generate(Generate),
    /// Apply a received snapshot.
    Apply(Apply),
    /// Clean a range that belongs to no peer any more.
    Destroy(Destroy),
}

/// Build a snapshot of a region as of (`term`, `index`).
pub struct Generate {
    /// The region as of that entry.
    pub region: Region,
    /// The peer that asks.
    pub peer: PeerId,
    /// The term of the last entry in the view.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// The engine as of that entry: taken by apply once everything up to it was written. With the defect tikv-4716 apply
    /// takes it before it writes.
    pub view: Snapshot,
    /// Which attempt this is, from 1. The one numbered [`ATTEMPTS_MAX`] is the last.
    pub attempt: u64,
    /// Set by whoever does not want it any more.
    pub cancelled: Arc<AtomicBool>,
    /// Where the result goes.
    pub reply: oneshot::Sender<Result<Built, Error>>,
}

/// Apply a received snapshot to a peer whose durable state is Applying.
pub struct Apply {
    /// The region as the snapshot has it.
    pub region: Region,
    /// The peer.
    pub peer: PeerId,
    /// The snapshot's term.
    pub term: u64,
    /// The snapshot's index.
    pub index: u64,
    /// Makes the state Normal, and drops the snapshot's raft state.
    pub state: WriteBatch,
    /// Set by whoever does not want it any more; answered with `Cancelled` while that is still possible.
    pub abort: Arc<AtomicBool>,
    /// Where the result goes. By then the Normal state is durable.
    pub reply: oneshot::Sender<Result<(), Error>>,
}

/// Clean the user keys `start..end`.
pub struct Destroy {
    /// The region they belonged to.
    pub region: RegionId,
    /// The first key.
    pub start: Bytes,
    /// The end, exclusive; empty means the end of the key space.
    pub end: Bytes,
    /// Told once it is durable that the range belongs to nobody; everything behind this task waits, too. A sender that is
    /// dropped says that the store stops.
    pub after: Option<oneshot::Receiver<()>>,
    /// Where the result goes, if anyone waits.
    pub reply: Option<oneshot::Sender<Result<(), Error>>>,
}

/// The mailbox of a store's region worker. Cheap to clone; the worker ends with the last one.
#[derive(Clone)]
pub struct RegionWorker {
    tasks: mpsc::UnboundedSender<Task>,
}

impl RegionWorker {
    /// Starts the worker.
    pub fn start(env: &Env, manager: Manager, engine: Engine, cache: Option<Cache>) -> RegionWorker {
        let (tasks, mailbox) = mpsc::unbounded_channel();
        let worker = Worker { env: env.clone(), manager, engine, cache };
        let _ = env.spawn("region-worker", worker.run(mailbox));
        RegionWorker { tasks }
    }

    /// Queues a task. A worker that has ended drops it, and with it the reply.
    pub fn ask(&self, task: Task) {
        let _ = self.tasks.send(task);
    }
}

struct Worker {
    env: Env,
    manager: Manager,
    engine: Engine,
    cache: Option<Cache>,
}

impl Worker {
    async fn run(self, mut mailbox: mpsc::UnboundedReceiver<Task>) {
        while let Some(task) = mailbox.recv().await {
            match task {
                Task::Generate(task) => self.generate(task).await,
                Task::Apply(task) => self.apply(task).await,
                Task::Destroy(task) => self.destroy(task).await,
            }
        }
    }

    async fn generate(&self, task: Generate) {
        let Generate { region, peer, term, index, view, attempt, cancelled, reply } = task;
        let key = Key { region: region.id, term, index };
        self.env.state(Fact::Generating { region: region.id, peer, term, index, attempt });
        let result = match fails(point!(self.env.points, site::BEFORE_GENERATE).await) {
            Ok(()) => build(&self.manager, &region, key, &view, &cancelled).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(built) => {
                if built.reused {
                    self.env.state(Fact::Reused { region: region.id, peer, term, index });
                } else {
                    let (digest, keys) = (Digest(built.meta.digest), built.meta.keys);
                    let why = "snapshot".into();
                    self.env.state(apply::Fact::Hashed { region: region.id, peer, index, digest, keys, why });
                }
                let bytes = built.meta.bytes();
                self.env.state(Fact::Generated { region: region.id, peer, term, index, bytes });
            }
            Err(error) => {
                let cause = Text::from(error.to_string());
                self.env.state(Fact::GenerateFailed { region: region.id, peer, attempt, cause });
                if attempt >= ATTEMPTS_MAX {
                    self.env.state(Fact::GaveUp { region: region.id, peer, attempts: attempt });
                }
            }
        }
        // Whoever asked may be gone.
        let _ = reply.send(result);
    }

    async fn apply(&self, task: Apply) {
        let Apply { region, peer, term, index, state, abort, reply } = task;
        let key = Key { region: region.id, term, index };
        let result = applying::apply(&self.manager, &self.engine, &region, peer, key, state, &abort).await;
        if let Err(error) = &result {
            if let Error::Vanished { path } = error {
                self.env.state(Fact::FileVanished { region: region.id, path: Text::from(path.clone()) });
            }
            let cause = Text::from(error.to_string());
            self.env.state(Fact::ApplyFailed { region: region.id, peer, term, index, cause });
        }
        let _ = reply.send(result);
    }

    async fn destroy(&self, task: Destroy) {
        let Destroy { region, start, end, after, reply } = task;
        if let Some(after) = after
            && after.await.is_err()
        {
            return;
        }
        let _ = point!(self.env.points, site::BEFORE_DESTROY).await;
        self.env.state(region::Fact::RangeDestroyed { region, start: start.clone(), end: end.clone() });
        if let Some(cache) = &self.cache {
            cache.meet_delete_range(&start, &end);
        }
        let result = self.engine.write(clean(&start, &end), false).await.map_err(Error::from);
        if let Some(reply) = reply {
            let _ = reply.send(result);
        }
    }
}
