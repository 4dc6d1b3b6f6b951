//! Sends a generated snapshot to another store, in chunks, within the rate and the number of all sending together.
//!
//! The files stay registered until the receiver has answered; they go when it has everything and nobody else uses them.
//! A failure is told to the caller, who reports it to raft; nothing here retries.

use std::time::Duration;

use bytes::Bytes;
use failpoints::point;
use prost::Message;

use super::{Error, FAMILIES, Key, Manager, Side, Use, fails, site};
use crate::{
    env::{Connection, Delivery, Open, read_exact_at},
    fact::Text,
    region::StoreId,
    rpc,
    store::fact::snapshot::Fact,
    wire::transfer::{Ack, Chunk, Finish, Frame, Header, Part},
};

/// One snapshot for one store.
#[derive(Clone, Debug)]
pub struct Send {
    /// Which.
    pub key: Key,
    /// The sending store.
    pub from_store: StoreId,
    /// The receiving store.
    pub to_store: StoreId,
    /// Where it listens.
    pub address: String,
    /// What the receiver hands to its raft loop.
    pub message: Bytes,
}

/// Sends; returns once the receiver has confirmed.
pub async fn send(manager: &Manager, job: &Send) -> Result<(), Error> {
    let env = &manager.inner.env;
    let Key { region, term, index } = job.key;
    let to_store = job.to_store;
    env.state(Fact::Sending { region, term, index, to_store });
    let result = attempt(manager, job).await;
    match &result {
        Ok(()) => env.state(Fact::Sent { region, term, index, to_store }),
        Err(error) => {
            env.state(Fact::SendFailed { region, term, index, to_store, cause: Text::from(error.to_string()) });
        }
    }
    result
}

async fn attempt(manager: &Manager, job: &Send) -> Result<(), Error> {
    let _place = Place::take(manager)?;
    let registration = manager.register(job.key, Use::Sending)?;
    let env = &manager.inner.env;
    fails(point!(env.points, site::BEFORE_SEND).await)?;
    let files = manager.files(Side::Generated, job.key);
    let meta = manager.meta(&files).await?;
    let connecting = env.net.connect(&job.address, Delivery::Ordered);
    let connected = env.timeout(manager.inner.options.patience, connecting).await.ok_or_else(|| late("connect"))?;
    let Connection { sender, mut receiver } = connected.map_err(|error| Error::Transfer(error.to_string()))?;
    let say = |part: Part| {
        let body: Bytes = Frame { part: Some(part) }.encode_to_vec().into();
        sender.send(rpc::one_way(rpc::SNAPSHOT, body)).map_err(|error| Error::Transfer(error.to_string()))
    };
    let (from_store, to_store, message) = (job.from_store, job.to_store, job.message.clone());
    let Key { term, index, .. } = job.key;
    say(Part::Header(Header { from_store, to_store, term, index, meta: meta.clone(), message }))?;
    for (number, (family, table)) in FAMILIES.into_iter().zip(&meta.tables).enumerate() {
        let path = files.table(family);
        let file = env.disk.open(&path, Open::Read).await.map_err(|error| Error::io("open", &path, error))?;
        let mut offset = 0;
        while offset < table.bytes {
            fails(point!(env.points, site::BEFORE_CHUNK).await)?;
            let len = (table.bytes - offset).min(manager.inner.options.chunk_bytes as u64) as usize;
            let data = read_exact_at(&*file, offset, len).await.map_err(|error| Error::io("read", &path, error))?;
            manager.pace_sending(len as u64).await;
            let ready = env.timeout(manager.inner.options.patience, sender.ready()).await;
            ready.ok_or_else(|| late("take a chunk"))?.map_err(|error| Error::Transfer(error.to_string()))?;
            say(Part::Chunk(Chunk { table: number as u32, offset, data }))?;
            offset += len as u64;
        }
    }
    say(Part::Finish(Finish {}))?;
    let answer = env.timeout(manager.inner.options.patience, receiver.recv()).await.ok_or_else(|| late("answer"))?;
    let answer = answer.map_err(|error| Error::Transfer(error.to_string()))?;
    let ack = Ack::decode(answer).map_err(|error| Error::Transfer(error.to_string()))?;
    if !ack.refusal.is_empty() {
        return Err(Error::Transfer(ack.refusal));
    }
    // Its use ends before its files go; who else uses them keeps them. A file that stays is left to the collector.
    drop(registration);
    if let Err(error) = manager.delete(Side::Generated, job.key, false, "after-send").await {
        tracing::warn!(%error, "a sent snapshot stays");
    }
    Ok(())
}

fn late(doing: &str) -> Error {
    Error::Transfer(format!("the other side did not {doing} in time"))
}

/// One of the places for sending.
struct Place<'a>(&'a Manager);

impl Place<'_> {
    fn take(manager: &Manager) -> Result<Place<'_>, Error> {
        let mut state = manager.inner.state.lock();
        if state.sends >= manager.inner.options.sends_max {
            return Err(Error::Busy);
        }
        state.sends += 1;
        Ok(Place(manager))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.inner.state.lock().sends -= 1;
    }
}

impl Manager {
    /// Waits until `bytes` may be sent.
    async fn pace_sending(&self, bytes: u64) {
        let rate = self.inner.options.send_rate;
        if rate == 0 {
            return;
        }
        let now = self.inner.env.now();
        let wait = {
            let mut state = self.inner.state.lock();
            let from = state.send_clock.max(now);
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            state.send_clock = from + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            from.since(now)
        };
        if !wait.is_zero() {
            self.inner.env.sleep(wait).await;
        }
    }
}
