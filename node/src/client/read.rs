//! Reads: a failed attempt never has an effect, so every one is simply tried again.

use std::sync::Arc;

use bytes::Bytes;

use super::{Client, Error, Inner, route::Attempt};
use crate::{
    region::{Region, RegionId},
    wire::kv::{Answer, Ask, Get, Got, Pair, ReadBy, Scan},
};

/// What one region answered to a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionScan {
    /// The region.
    pub region: RegionId,
    /// Its keys with a value, in order.
    pub pairs: Vec<Pair>,
    /// The key to go on from, if there is more to read.
    pub next: Option<Bytes>,
}

impl Client {
    /// The newest version of a key: its timestamp (0 when there is none) and its value (none for a tombstone).
    pub async fn get(&self, key: Bytes, by: ReadBy) -> Result<Got, Error> {
        self.get_at(key, 0, by).await
    }

    /// The newest version of a key at or below a timestamp; 0 for the newest of all.
    pub async fn get_at(&self, key: Bytes, at: u64, by: ReadBy) -> Result<Got, Error> {
        let ask = |_: &Region| Ask::Get(Get { key: key.clone(), at, by: by as i32 });
        match self.0.read(&key, ask).await? {
            (Answer::Got(got), _) => Ok(got),
            (other, _) => Err(unfit(&other)),
        }
    }

    /// The first `limit` keys with a value from `start` up to and without `end` (empty: to the end), as far as one
    /// region goes: one consistent read.
    pub async fn scan_region(&self, start: Bytes, end: Bytes, limit: u64, by: ReadBy) -> Result<RegionScan, Error> {
        let ask = |region: &Region| {
            let beyond = end.is_empty() || (!region.end.is_empty() && region.end < end);
            let end = if beyond { region.end.clone() } else { end.clone() };
            Ask::Scan(Scan { start: start.clone(), end, limit, at: 0, by: by as i32 })
        };
        let (pairs, region) = match self.0.read(&start, ask).await? {
            (Answer::Scanned(scanned), region) => (scanned.pairs, region),
            (other, _) => return Err(unfit(&other)),
        };
        if pairs.len() as u64 >= limit {
            let next = pairs.last().map(|last| Bytes::from([&last.key[..], &[0]].concat()));
            let next = next.filter(|next| end.is_empty() || *next < end);
            return Ok(RegionScan { region: region.id, pairs, next });
        }
        let more = !region.end.is_empty() && (end.is_empty() || region.end < end);
        Ok(RegionScan { region: region.id, pairs, next: more.then(|| region.end.clone()) })
    }

    /// The first `limit` keys with a value from `start` up to and without `end` (empty: to the end). Each region is
    /// read on its own.
    pub async fn scan(&self, start: Bytes, end: Bytes, limit: u64, by: ReadBy) -> Result<Vec<Pair>, Error> {
        let mut pairs = Vec::new();
        let mut from = Some(start);
        while let Some(start) = from
            && (pairs.len() as u64) < limit
        {
            let rest = limit - pairs.len() as u64;
            let scanned = self.scan_region(start, end.clone(), rest, by).await?;
            pairs.extend(scanned.pairs);
            from = scanned.next;
        }
        Ok(pairs)
    }
}

impl Inner {
    async fn read(&self, key: &Bytes, ask: impl Fn(&Region) -> Ask) -> Result<(Answer, Arc<Region>), Error> {
        let mut patience = self.patience();
        loop {
            let cause = match self.locate(key).await {
                Ok(cached) => match self.attempt(&cached, ask(&cached.region)).await {
                    Attempt::Answered(answer) => return Ok((answer, cached.region)),
                    Attempt::Hopeless(cause) => return Err(Error::Failed(cause)),
                    Attempt::Learnt(_) if self.hurry(&mut patience).await => continue,
                    Attempt::Learnt(cause) | Attempt::Refused(cause) | Attempt::Doubtful(cause) => cause,
                },
                Err(error) if error.reason().is_none() => return Err(Error::Failed(error.to_string())),
                Err(error) => error.to_string(),
            };
            if !self.pause(&mut patience).await {
                return Err(Error::Failed(cause));
            }
        }
    }
}

fn unfit(answer: &Answer) -> Error {
    Error::Failed(format!("an unfit answer: {answer:?}"))
}
