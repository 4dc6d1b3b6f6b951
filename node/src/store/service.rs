//! What clients ask, on its way through a store: the waiting answer, refusals, and reads against an engine snapshot.
//!
//! Every request is answered exactly once. An [`Answer`] that is dropped tells the client that the outcome is unknown,
//! which is true of whatever was under way when a store stops.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::{
    cache::View,
    engine::{Engine, Error, Family, Snapshot, record::Record},
    env::Env,
    key,
    region::{Epoch, Peer, Region, RegionId},
    rpc::Reply,
    wire::kv::{Answer as Said, Get, Got, Pair, Reason, Refusal, Response, Scan, Scanned},
};

/// The way back to a client that waits.
#[derive(Debug)]
pub struct Answer(Option<Reply>);

impl Answer {
    /// Answers over `reply`.
    pub fn new(reply: Reply) -> Answer {
        Answer(Some(reply))
    }

    /// An answer that nobody waits for: the store asked itself.
    pub fn nobody() -> Answer {
        Answer(None)
    }

    /// Answers.
    pub fn send(mut self, said: Said) {
        if let Some(reply) = self.0.take() {
            reply.send(Response { answer: Some(said) }.encode_to_vec().into());
        }
    }

    /// Refuses.
    pub fn refuse(self, reason: Reason, detail: impl Into<String>) {
        self.send(refusal(reason, detail));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            let said = refusal(Reason::Unknown, "the store gave the request up");
            reply.send(Response { answer: Some(said) }.encode_to_vec().into());
        }
    }
}

/// A refusal without further knowledge.
pub fn refusal(reason: Reason, detail: impl Into<String>) -> Said {
    Said::Error(Refusal { reason: reason as i32, leader: None, regions: Vec::new(), detail: detail.into() })
}

/// This peer does not lead; perhaps another one does.
pub fn not_leader(leader: Option<Peer>) -> Said {
    Said::Error(Refusal { reason: Reason::NotLeader as i32, leader, regions: Vec::new(), detail: String::new() })
}

/// The client's epoch is not the region's; these are the regions where it was.
pub fn epoch_not_match(regions: Vec<Region>) -> Said {
    Said::Error(Refusal { reason: Reason::EpochNotMatch as i32, leader: None, regions, detail: String::new() })
}

/// What a read asks.
#[derive(Clone, Debug)]
pub enum What {
    /// One key.
    Get(Get),
    /// A range.
    Scan(Scan),
}

/// A read that waits.
#[derive(Debug)]
pub struct Read {
    /// What it asks.
    pub what: What,
    /// The epoch that the client knows.
    pub epoch: Epoch,
    /// How it is served: `lease`, `read-index` or `replica`.
    pub by: &'static str,
    /// Who waits.
    pub answer: Answer,
}

impl Read {
    /// The timestamp it reads at, 0 for the newest.
    pub fn at(&self) -> u64 {
        match &self.what {
            What::Get(get) => get.at,
            What::Scan(scan) => scan.at,
        }
    }
}

/// Reads that may be served now, all from one engine snapshot.
pub struct Served {
    /// The region's id.
    pub region: Arc<Region>,
    /// What is read.
    pub snapshot: Arc<Snapshot>,
    /// The cache as of the same moment, when it has the region.
    pub view: Option<Arc<View>>,
    /// The reads.
    pub reads: Vec<Read>,
}

/// The task that serves reads. It only reads snapshots, which were taken when the read was allowed.
pub async fn reader(env: Env, engine: Engine, mut jobs: mpsc::UnboundedReceiver<Served>) {
    while let Some(job) = jobs.recv().await {
        for read in job.reads {
            if let Some(view) = &job.view {
                serve_cached(&env, view, &job.region, &job.snapshot, read);
                continue;
            }
            let said = match &read.what {
                What::Get(get) => self::get(&job.snapshot, &get.key, get.at).await.map(Said::Got),
                What::Scan(scan) => self::scan(&job.snapshot, &job.region, scan).await.map(Said::Scanned),
            };
            match said {
                Ok(said) => read.answer.send(said),
                Err(error) => {
                    if engine.failed().is_some() {
                        super::fail(&env, 0, &format!("reading region {}: {error}", job.region.id));
                        return;
                    }
                    read.answer.refuse(Reason::ServerIsBusy, error.to_string());
                }
            }
        }
    }
}

/// Serves a read from the cache. A scan gets a task of its own: it may take long, and some are compared with the engine.
fn serve_cached(env: &Env, view: &Arc<View>, region: &Arc<Region>, snapshot: &Arc<Snapshot>, read: Read) {
    match read.what {
        What::Get(get) => read.answer.send(Said::Got(view.get(&get.key, get.at))),
        What::Scan(scan) => {
            let (view, region, snapshot) = (view.clone(), region.clone(), snapshot.clone());
            env.spawn("cache-scan", async move {
                let found = view.scan(&scan).await;
                if view.audits()
                    && let Ok(engine) = self::scan(&snapshot, &region, &scan).await
                {
                    view.compared(&found, &engine);
                }
                read.answer.send(Said::Scanned(found));
            });
        }
    }
}

/// The version of a key at or below a timestamp, 0 for the newest.
pub async fn get(snapshot: &Snapshot, user_key: &[u8], at: u64) -> Result<Got, Error> {
    let start = if at == 0 { key::data_key(user_key) } else { key::version_key(user_key, at) };
    let found = snapshot.first(Family::Write, &start, &key::versions_end(user_key)).await?;
    match found {
        None => Ok(Got { timestamp: 0, value: None }),
        Some((version, stored)) => got(snapshot, &version, &stored).await,
    }
}

async fn got(snapshot: &Snapshot, version: &[u8], stored: &Bytes) -> Result<Got, Error> {
    let (_, timestamp) = key::parse_version(version).expect("only versions lie in a key's range");
    Ok(Got { timestamp, value: value(snapshot, version, stored).await? })
}

/// The value of a version; none for a tombstone.
pub async fn value(snapshot: &Snapshot, version: &[u8], stored: &Bytes) -> Result<Option<Bytes>, Error> {
    match Record::decode(stored) {
        Some(Record::Value(value)) => Ok(Some(value)),
        Some(Record::Tombstone) => Ok(None),
        Some(Record::Indirect) => match snapshot.get(Family::Default, version).await? {
            Some(value) => Ok(Some(value)),
            None => Err(damaged("a large value is missing")),
        },
        None => Err(damaged("a version's record does not parse")),
    }
}

fn damaged(detail: &str) -> Error {
    Error::Corruption { path: "family write".into(), detail: detail.into() }
}

async fn scan(snapshot: &Snapshot, region: &Region, scan: &Scan) -> Result<Scanned, Error> {
    let end = if scan.end.is_empty() { &region.end } else { &scan.end };
    let mut versions = snapshot.iter(Family::Write, key::range_start(&scan.start), key::range_end(end));
    let mut pairs = Vec::new();
    let mut done: Option<Bytes> = None;
    while (pairs.len() as u64) < scan.limit {
        let Some((version, stored)) = versions.next().await? else { break };
        let Some((user_key, timestamp)) = key::parse_version(&version) else {
            return Err(damaged("a key in a region's range is no version"));
        };
        if done.as_ref() == Some(&user_key) || (scan.at != 0 && timestamp > scan.at) {
            continue;
        }
        done = Some(user_key.clone());
        if let Some(value) = value(snapshot, &version, &stored).await? {
            pairs.push(Pair { key: user_key, got: Got { timestamp, value: Some(value) } });
        }
    }
    Ok(Scanned { pairs })
}

/// The region that a request is for, or the refusal that everybody gives who has no such peer.
pub fn region_not_found(region: RegionId) -> Said {
    refusal(Reason::RegionNotFound, format!("region {region} has no peer here"))
}
