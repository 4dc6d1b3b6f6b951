//! The placement driver: the one process that knows every store and where every region is.
//!
//! One task answers all requests in batches: the [`driver`] decides in memory, one write makes the batch durable, then
//! the facts are stated and the answers leave. A write that fails ends the process, since what it answered next might
//! not be true after a restart.
//!
//! | room | its duty |
//! |---|---|
//! | `driver` | answers requests, notes what to keep |
//! | `stores`, `regions` | what is known |
//! | `releases` | which releases a store may run as |
//! | `timestamps` | numbers that are given out once |
//! | `rules`, `progress` | what tables want, and how far that has come |
//! | `repair`, `learners`, `operators` | what a region lacks, and the steps to it |
//! | `balance` | what would even the load out |
//! | `recovery` | what is done when majorities are lost |
//! | `kept` | what lies on disk |
//! | `client` | how the others ask |
//!
//! Not here: several placement drivers.

mod balance;
mod client;
mod driver;
pub mod fact;
mod kept;
mod learners;
mod operators;
mod progress;
mod recovery;
mod regions;
mod releases;
mod repair;
mod rules;
mod stores;
mod timestamps;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{Either, select};
use prost::Message;
use tokio::sync::mpsc;

pub use client::{Client, ClientOptions, Error};
pub use timestamps::{span, timestamp_at};

use crate::{
    engine::{self, Engine},
    env::{Env, Instant},
    rpc::{self, Handler, Reply, Server},
    wire::placement::{Answer, Ask, Reason, Refusal, Request, Response},
};
use driver::Driver;

/// So many requests may wait; more are refused.
const WAITING_MAX: usize = 16 * 1024;
/// So many requests at most share one write.
const BATCH_MAX: usize = 256;

/// How the placement driver behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub address: String,
    /// The directory of its state.
    pub dir: String,
    /// How many voters each region should have.
    pub replicas: usize,
    /// A replica is given up when its store was silent for so long.
    pub max_store_down: Duration,
    /// A store that was silent for so long gets no new replicas.
    pub store_disconnected: Duration,
    /// An operator ends unfinished after so long.
    pub operator_timeout: Duration,
    /// So many operators at a time.
    pub operators_max: usize,
    /// So many replicas at a time are added to one store.
    pub adds_per_store_max: usize,
    /// Whether learners that no rule asks for are removed.
    pub remove_learners: bool,
    /// Regions above so many bytes are split; none: never for their size.
    pub split_bytes: Option<u64>,
    /// Regions above so many keys are split; none: never for their keys.
    pub split_keys: Option<u64>,
    /// How often it looks at what happens by time alone.
    pub tick: Duration,
    /// The safe point stays so far behind the newest timestamp.
    pub safe_point_retention: Duration,
    /// The safe point moves in steps of at least this.
    pub safe_point_step: Duration,
    /// Whether regions move from full stores to empty ones.
    pub balance_regions: bool,
    /// Whether leaders move from stores that lead many regions to those that lead few.
    pub balance_leaders: bool,
    /// A tombstone's record is deleted after so long.
    pub tombstone_kept: Duration,
    /// Timestamps are saved so far ahead.
    pub timestamps_ahead: Duration,
    /// Ids are saved so many ahead.
    pub ids_ahead: u64,
    /// A store that got its part of an unsafe recovery and did not report for so long gets it again.
    pub recovery_redispatch: Duration,
}

impl Options {
    /// The defaults, listening at `address`.
    pub fn new(address: impl Into<String>) -> Options {
        Options {
            address: address.into(),
            dir: "placement".into(),
            replicas: 3,
            max_store_down: Duration::from_secs(30 * 60),
            store_disconnected: Duration::from_secs(20),
            operator_timeout: Duration::from_secs(10 * 60),
            operators_max: 64,
            adds_per_store_max: 8,
            remove_learners: true,
            split_bytes: Some(96 << 20),
            split_keys: Some(960_000),
            tick: Duration::from_secs(10),
            safe_point_retention: Duration::from_secs(10 * 60),
            safe_point_step: Duration::from_secs(60),
            balance_regions: false,
            balance_leaders: false,
            tombstone_kept: Duration::from_secs(30 * 24 * 60 * 60),
            timestamps_ahead: Duration::from_secs(3),
            ids_ahead: 1000,
            recovery_redispatch: Duration::from_secs(60),
        }
    }
}

/// Why the placement driver could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its engine could not be opened or read.
    #[error("the placement driver's state cannot be read: {0}")]
    Engine(#[from] engine::Error),
    /// Its engine holds something that it did not write.
    #[error("the placement driver's state holds an unreadable value under `{key}`")]
    Unreadable {
        /// The key.
        key: String,
    },
    /// It cannot listen.
    #[error("the placement driver cannot listen at {address}: {cause}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// A placement driver.
pub struct Pd {
    env: Env,
    options: Options,
    engine: Engine,
    driver: Driver,
}

struct Asked {
    ask: Ask,
    reply: Reply,
}

impl Pd {
    /// Reads back what was kept; nothing is served yet.
    pub async fn open(env: &Env, options: Options) -> Result<Pd, OpenError> {
        let engine = Engine::open(env.clone(), &options.dir, engine::Options::default()).await?;
        let kept = kept::load(&engine).await?;
        let driver = Driver::resume(options.clone(), &env.points, kept, env.now());
        Ok(Pd { env: env.clone(), options, engine, driver })
    }

    /// Listens and serves until this future is dropped or the process ends. An error only when it cannot listen.
    pub async fn serve(mut self) -> Result<(), OpenError> {
        let (ask, mut asked) = mpsc::channel(WAITING_MAX);
        let _server = self.listen(ask).await?;
        for fact in self.driver.take_effects().facts {
            self.env.state(fact);
        }
        let mut batch = Vec::new();
        let mut next_tick = self.env.now() + self.options.tick;
        let mut tick = self.env.sleep(self.options.tick);
        loop {
            let is_tick = {
                let requests = std::pin::pin!(asked.recv_many(&mut batch, BATCH_MAX));
                matches!(select(requests, &mut tick).await, Either::Right(_))
            };
            let now = self.env.now();
            let wall_ns = self.env.clock.wall_ns();
            if is_tick || now >= next_tick {
                self.driver.tick(now, wall_ns);
                // A late tick is not made up for.
                next_tick = now + self.options.tick;
                tick = self.env.sleep(self.options.tick);
            }
            let answers: Vec<_> = batch.drain(..).map(|asked| self.answer(asked, now, wall_ns)).collect();
            self.carry_out().await;
            for (reply, answer) in answers {
                reply.send(answer);
            }
        }
    }

    async fn listen(&self, ask: mpsc::Sender<Asked>) -> Result<Server, OpenError> {
        let address = &self.options.address;
        let served = rpc::serve(&self.env, address, Arc::new(Desk { ask })).await;
        served.map_err(|cause| OpenError::Listen { address: address.clone(), cause })
    }

    fn answer(&mut self, asked: Asked, now: Instant, wall_ns: u64) -> (Reply, Bytes) {
        let answer =
            self.driver.answer(asked.ask, now, wall_ns).unwrap_or_else(|(reason, detail)| refusal(reason, detail));
        (asked.reply, Response { answer: Some(answer) }.encode_to_vec().into())
    }

    /// Makes durable what the answers rest on, then states it.
    async fn carry_out(&mut self) {
        let effects = self.driver.take_effects();
        if !effects.changes.is_empty()
            && let Err(error) = self.engine.write(kept::batch(&effects.changes), effects.sync).await
        {
            self.env.spawn.exit(&format!("the placement driver cannot keep its state: {error}"));
            // Nothing of this process runs any more; no answer may leave.
            std::future::pending::<()>().await;
        }
        for fact in effects.facts {
            self.env.state(fact);
        }
    }
}

fn refusal(reason: Reason, detail: String) -> Answer {
    Answer::Refusal(Refusal { reason: reason as i32, detail })
}

/// Takes requests in.
struct Desk {
    ask: mpsc::Sender<Asked>,
}

impl Handler for Desk {
    fn handle(&self, service: u32, body: Bytes, reply: Reply) {
        if service != rpc::PLACEMENT {
            return reply.refuse(format!("the placement driver does not serve service {service}"));
        }
        let Some(ask) = Request::decode(body).ok().and_then(|request| request.ask) else {
            return reply.refuse("the placement driver does not understand the request");
        };
        if let Err(refused) = self.ask.try_send(Asked { ask, reply }) {
            refused.into_inner().reply.refuse("the placement driver is too busy");
        }
    }
}

#[cfg(test)]
mod tests;
