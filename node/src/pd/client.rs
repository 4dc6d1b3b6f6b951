//! How stores and clients speak to the placement driver.
//!
//! Every request may be repeated, so a call is tried again after any failure of the connection, until a deadline. A
//! new connection is made at most once an interval, whoever asks: many callers of a driver that is away do not storm
//! it. A refusal by the driver is an answer and is never retried here.
//!
//! Timestamps are had in batches: whoever asks while a request is under way shares the next one, so that a timestamp
//! is always given out after it was asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    env::{Env, Instant},
    fact::Text,
    region::{Region, RegionId, StoreId},
    rpc::{self, CallError, Caller},
    store::fact::lifecycle::Fact,
    wire::{
        placement::{
            Answer, Ask, AskSplit, Bootstrap, ChildIds, Count, Id, Key, Located, MergeRegions, Next, Nothing, Progress,
            Reason, Refusal, RegionHeartbeat, Regions, RemoveStore, Request, Response, Rule, SafePoint, Store,
            StoreHeartbeat, TiflashReplica, Version, Versions,
        },
        recovery::{self, Heard, RemoveFailedStores},
    },
};

/// At most so many waiting callers share one request for timestamps.
const TIMESTAMPS_MAX: usize = 1024;

/// How patient a client is.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// One attempt's limit.
    pub attempt: Duration,
    /// All attempts' limit.
    pub deadline: Duration,
    /// The pause after a failed attempt.
    pub pause: Duration,
    /// The least time from one connection's beginning to the next one's.
    pub reconnect_min: Duration,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            attempt: Duration::from_secs(2),
            deadline: Duration::from_secs(5),
            pause: Duration::from_millis(100),
            reconnect_min: Duration::from_millis(500),
        }
    }
}

/// Why the placement driver did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It answered, and refused.
    #[error("the placement driver refuses: {0}")]
    Refused(String, Reason),
    /// No answer within the deadline; the last attempt's failure.
    #[error("the placement driver at {address} does not answer: {cause}")]
    Unreachable {
        /// Where it was looked for.
        address: Arc<str>,
        /// How the last attempt failed.
        cause: String,
    },
    /// It answered with something that is no answer to what was asked.
    #[error("the placement driver's answer does not fit the request {0}")]
    Unfit(&'static str),
}

impl Error {
    /// The reason of a refusal.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Error::Refused(_, reason) => Some(*reason),
            _ => None,
        }
    }
}

/// Speaks to the placement driver at the addresses where it may be. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct Client {
    link: Arc<Link>,
    timestamps: mpsc::UnboundedSender<oneshot::Sender<Result<u64, Error>>>,
}

struct Link {
    env: Env,
    addresses: Vec<Arc<str>>,
    options: ClientOptions,
    line: Mutex<Line>,
    /// Whether a caller asks for its own timestamp.
    alone: AtomicBool,
}

/// A caller asks for its own timestamp, until this is dropped.
struct Alone<'a>(&'a AtomicBool);

impl<'a> Alone<'a> {
    fn begin(taken: &'a AtomicBool) -> Option<Alone<'a>> {
        (!taken.swap(true, Ordering::Relaxed)).then_some(Alone(taken))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Line {
    caller: Option<Caller>,
    begun: Option<Instant>,
    /// How many of the addresses have failed so far.
    turn: usize,
    /// Why there is no connection.
    cause: String,
}

macro_rules! answer {
    ($self:ident, $ask:expr, $name:literal, $pattern:pat => $value:expr) => {
        match $self.link.ask($ask).await? {
            $pattern => Ok($value),
            _ => Err(Error::Unfit($name)),
        }
    };
}

impl Client {
    /// A client of the placement driver at `address`. Connects when it is first asked something.
    pub fn new(env: &Env, address: &str, options: ClientOptions) -> Client {
        Client::at(env, &[address], options)
    }

    /// A client of the placement driver that is at one of `addresses`: the next one is tried after each failure.
    pub fn at<S: AsRef<str>>(env: &Env, addresses: &[S], options: ClientOptions) -> Client {
        let addresses = addresses.iter().map(|address| address.as_ref().into()).collect();
        let link = Arc::new(Link {
            env: env.clone(),
            addresses,
            options,
            line: Mutex::default(),
            alone: AtomicBool::new(false),
        });
        let (timestamps, waiting) = mpsc::unbounded_channel();
        env.spawn("timestamps", give_timestamps(Arc::clone(&link), waiting));
        Client { link, timestamps }
    }

    /// Whether the cluster exists.
    pub async fn is_bootstrapped(&self) -> Result<bool, Error> {
        answer!(self, Ask::IsBootstrapped(Nothing {}), "is-bootstrapped", Answer::Truth(truth) => truth.yes)
    }

    /// Founds the cluster; refused with [`Reason::AlreadyBootstrapped`] when another store did.
    pub async fn bootstrap(&self, store: Store, region: Region) -> Result<(), Error> {
        answer!(self, Ask::Bootstrap(Bootstrap { store, region }), "bootstrap", Answer::Done(_) => ())
    }

    /// One id that was never given out.
    pub async fn alloc_id(&self) -> Result<u64, Error> {
        self.alloc_ids(1).await
    }

    /// The first of `count` consecutive ids that were never given out.
    pub async fn alloc_ids(&self, count: u64) -> Result<u64, Error> {
        answer!(self, Ask::AllocIds(Count { count }), "alloc-ids", Answer::Range(range) => range.first)
    }

    /// A timestamp above all that were given out before this call. A caller who is alone asks for itself; who come while
    /// it waits are served together.
    pub async fn timestamp(&self) -> Result<u64, Error> {
        if let Some(_alone) = Alone::begin(&self.link.alone) {
            return self.link.timestamps(1).await;
        }
        let (give, given) = oneshot::channel();
        let gone = || Error::Unreachable { address: self.link.address(0), cause: "the process is stopping".into() };
        self.timestamps.send(give).map_err(|_| gone())?;
        given.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Asks whether the store at an address may run as a release; nothing is changed by that.
    pub async fn check_release(&self, address: &str, release: &str) -> Result<(), Error> {
        let record = Store { address: address.to_owned(), release: release.to_owned(), ..Store::default() };
        answer!(self, Ask::CheckRelease(record), "check-release", Answer::Done(_) => ())
    }

    /// Registers a store or its new address or release.
    pub async fn put_store(&self, store: Store) -> Result<(), Error> {
        answer!(self, Ask::PutStore(store), "put-store", Answer::Done(_) => ())
    }

    /// A store's record, a tombstone's too. [`Reason::StoreNotFound`]: `invalid store ID 7, not found`.
    pub async fn get_store(&self, id: StoreId) -> Result<Store, Error> {
        answer!(self, Ask::GetStore(Id { id }), "get-store", Answer::Store(store) => store)
    }

    /// All stores' records by id, tombstones included.
    pub async fn all_stores(&self) -> Result<Vec<Store>, Error> {
        answer!(self, Ask::AllStores(Nothing {}), "all-stores", Answer::Stores(stores) => stores.stores)
    }

    /// Says that a store lives; brings the safe point, and what to do for an unsafe recovery.
    pub async fn store_heartbeat(&self, heartbeat: StoreHeartbeat) -> Result<Heard, Error> {
        let ask = Ask::StoreHeartbeat(heartbeat);
        answer!(self, ask, "store-heartbeat", Answer::Heard(heard) => heard)
    }

    /// Gives stores up for good, and has what lost its majority with them recovered within `limit`.
    pub async fn remove_failed_stores(&self, stores: Vec<StoreId>, limit: Duration) -> Result<(), Error> {
        let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask::RemoveFailedStores(RemoveFailedStores { stores, timeout_ms });
        answer!(self, ask, "remove-failed-stores", Answer::Done(_) => ())
    }

    /// How far the newest unsafe recovery is.
    pub async fn recovery(&self) -> Result<recovery::Progress, Error> {
        answer!(self, Ask::ShowRecovery(Nothing {}), "show-recovery", Answer::Recovery(progress) => progress)
    }

    /// Says how a region stands; brings what its leader should do next, if anything.
    pub async fn region_heartbeat(&self, heartbeat: RegionHeartbeat) -> Result<Option<Next>, Error> {
        answer!(self, Ask::RegionHeartbeat(heartbeat), "region-heartbeat",
            Answer::Next(next) => next.step.is_some().then_some(next))
    }

    /// The region that holds a user key.
    pub async fn region(&self, key: Bytes) -> Result<Located, Error> {
        answer!(self, Ask::GetRegion(Key { key }), "get-region", Answer::Region(located) => located)
    }

    /// A region by its id.
    pub async fn region_by_id(&self, id: RegionId) -> Result<Located, Error> {
        answer!(self, Ask::GetRegionById(Id { id }), "get-region-by-id", Answer::Region(located) => located)
    }

    /// Which of these regions are no longer as they are named here: changed since, or gone. None as long as that cannot be
    /// said.
    pub async fn outdated(&self, regions: Vec<Version>) -> Result<Vec<RegionId>, Error> {
        answer!(self, Ask::Outdated(Versions { regions }), "outdated", Answer::Ids(ids) => ids.ids)
    }

    /// Ids for splitting off `count` new regions.
    pub async fn ask_split(&self, region: Region, count: u64) -> Result<Vec<ChildIds>, Error> {
        let ask = Ask::AskSplit(AskSplit { region, count });
        answer!(self, ask, "ask-split", Answer::SplitIds(ids) => ids.children)
    }

    /// Reports the regions that a split made, in key order.
    pub async fn report_split(&self, regions: Vec<Region>) -> Result<(), Error> {
        answer!(self, Ask::ReportSplit(Regions { regions }), "report-split", Answer::Done(_) => ())
    }

    /// Has a region merged into a neighbour. It is answered when that has been noted, and done later if at all.
    pub async fn merge(&self, source: RegionId, target: RegionId) -> Result<(), Error> {
        answer!(self, Ask::Merge(MergeRegions { source, target }), "merge", Answer::Done(_) => ())
    }

    /// The safe point in force.
    pub async fn safe_point(&self) -> Result<u64, Error> {
        let ask = Ask::GetSafePoint(Nothing {});
        answer!(self, ask, "get-safe-point", Answer::SafePoint(safe_point) => safe_point.timestamp)
    }

    /// Raises the safe point to `timestamp` if it is lower; brings the one then in force.
    pub async fn advance_safe_point(&self, timestamp: u64) -> Result<u64, Error> {
        let ask = Ask::AdvanceSafePoint(SafePoint { timestamp });
        answer!(self, ask, "advance-safe-point", Answer::SafePoint(safe_point) => safe_point.timestamp)
    }

    /// Gives the connection up, so that whoever asks next makes another one. False, and nothing is done, when the last
    /// one was begun too short a while ago.
    pub async fn reconnect(&self, cause: &str) -> bool {
        let mut line = self.link.line.lock().await;
        if line.begun.is_some_and(|begun| self.link.env.now().since(begun) < self.link.options.reconnect_min) {
            return false;
        }
        line.caller = None;
        line.cause = cause.to_owned();
        true
    }

    /// Sets how many columnar replicas a table should have; none takes its rule away.
    pub async fn set_tiflash_replica(&self, table: TiflashReplica) -> Result<(), Error> {
        answer!(self, Ask::SetTiflashReplica(table), "set-tiflash-replica", Answer::Done(_) => ())
    }

    /// All rules of tables.
    pub async fn rules(&self) -> Result<Vec<Rule>, Error> {
        answer!(self, Ask::AllRules(Nothing {}), "all-rules", Answer::Rules(rules) => rules.rules)
    }

    /// How far a table's columnar replicas have come.
    pub async fn table_progress(&self, table: u64) -> Result<Progress, Error> {
        answer!(self, Ask::TableProgress(Id { id: table }), "table-progress", Answer::Progress(progress) => progress)
    }

    /// Takes a store out of service: it is drained, and buried when it is empty.
    pub async fn remove_store(&self, store: StoreId, is_destroyed: bool) -> Result<(), Error> {
        let ask = Ask::RemoveStore(RemoveStore { store, is_destroyed });
        answer!(self, ask, "remove-store", Answer::Done(_) => ())
    }

    /// Takes a store that is being drained back into service.
    pub async fn up_store(&self, id: StoreId) -> Result<(), Error> {
        answer!(self, Ask::UpStore(Id { id }), "up-store", Answer::Done(_) => ())
    }

    /// Makes a store that nothing was heard of for a while a tombstone, whatever is still on it.
    pub async fn bury_store(&self, id: StoreId) -> Result<(), Error> {
        answer!(self, Ask::BuryStore(Id { id }), "bury-store", Answer::Done(_) => ())
    }

    /// Deletes the records of tombstones that hold nothing; which ones.
    pub async fn remove_tombstones(&self) -> Result<Vec<StoreId>, Error> {
        answer!(self, Ask::RemoveTombstones(Nothing {}), "remove-tombstones", Answer::Ids(ids) => ids.ids)
    }
}

impl Link {
    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        let body = Bytes::from(Request { ask: Some(ask) }.encode_to_vec());
        let deadline = self.env.now() + self.options.deadline;
        loop {
            let cause = match self.attempt(body.clone()).await {
                Ok(answer) => {
                    let response = Response::decode(answer).map_err(|_| Error::Unfit("that it received"))?;
                    return match response.answer {
                        Some(Answer::Refusal(Refusal { reason, detail })) => {
                            Err(Error::Refused(detail, Reason::try_from(reason).unwrap_or(Reason::Invalid)))
                        }
                        Some(answer) => Ok(answer),
                        None => Err(Error::Unfit("that it received")),
                    };
                }
                Err(cause) => cause,
            };
            if self.env.now() + self.options.pause >= deadline {
                let turn = self.line.lock().await.turn;
                return Err(Error::Unreachable { address: self.address(turn), cause });
            }
            self.env.sleep(self.options.pause).await;
        }
    }

    /// The first of so many consecutive timestamps.
    async fn timestamps(&self, count: u64) -> Result<u64, Error> {
        match self.ask(Ask::Timestamps(Count { count })).await? {
            Answer::Range(range) if range.count >= count => Ok(range.first),
            _ => Err(Error::Unfit("timestamps")),
        }
    }

    /// The address whose turn it is.
    fn address(&self, turn: usize) -> Arc<str> {
        self.addresses.get(turn % self.addresses.len().max(1)).cloned().unwrap_or_default()
    }

    async fn attempt(&self, body: Bytes) -> Result<Bytes, String> {
        let caller = self.caller().await?;
        let error = match caller.call(rpc::PLACEMENT, body, self.options.attempt).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if matches!(error, CallError::Timeout(_)) {
            // The connection may be stalled for good without anybody being told.
            let mut line = self.line.lock().await;
            if line.caller.as_ref().is_some_and(|current| current.is_same(&caller)) {
                line.caller = None;
                line.turn += 1;
            }
        }
        Err(error.to_string())
    }

    /// The shared connection; a new one when the old one is broken and the last attempt is long enough ago.
    async fn caller(&self) -> Result<Caller, String> {
        let mut line = self.line.lock().await;
        if let Some(caller) = &line.caller
            && !caller.is_broken()
        {
            return Ok(caller.clone());
        }
        line.caller = None;
        let now = self.env.now();
        if let Some(begun) = line.begun
            && now.since(begun) < self.options.reconnect_min
        {
            return Err(line.cause.clone());
        }
        let address = self.address(line.turn);
        if line.begun.replace(now).is_some() {
            let (address, cause) = (Text::from(address.to_string()), Text::from(line.cause.clone()));
            self.env.state(Fact::PlacementReconnected { address, cause });
        }
        match Caller::connect(&self.env, &address, self.options.attempt).await {
            Ok(caller) => {
                line.caller = Some(caller.clone());
                line.cause = "the connection broke".into();
                Ok(caller)
            }
            Err(error) => {
                line.turn += 1;
                line.cause = format!("connecting failed: {error}");
                Err(line.cause.clone())
            }
        }
    }
}

/// Serves waiting callers in batches, until the last client is dropped.
async fn give_timestamps(link: Arc<Link>, mut waiting: mpsc::UnboundedReceiver<oneshot::Sender<Result<u64, Error>>>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, TIMESTAMPS_MAX).await > 0 {
        let range = link.timestamps(batch.len() as u64).await;
        for (number, give) in batch.drain(..).enumerate() {
            // Whoever asked may have gone; the timestamp is then never used.
            let _ = give.send(range.clone().map(|first| first + number as u64));
        }
    }
}
