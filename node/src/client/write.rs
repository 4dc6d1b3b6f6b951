//! Writes: one timestamp an operation, however many attempts it takes.
//!
//! | attempt ended in | no doubt before | doubt before |
//! |---|---|---|
//! | written | success | success |
//! | conflict | a fresh timestamp, again | unknown: it may be with the own write |
//! | expectation failed | failed | unknown: the earlier attempt may still apply |
//! | refused, time is up | failed | unknown |
//! | doubt | again with the same timestamp | again with the same timestamp |

use bytes::Bytes;

use super::{Client, Error, Inner, route::Attempt};
use crate::wire::{
    command::{Mutation, Write},
    kv::{Answer, Ask, Outcome, Written},
};

/// A change of one key, before it has a timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The new value; none deletes.
    pub value: Option<Bytes>,
    /// Only if the newest version is the value at this timestamp; 0: only if there is no value.
    pub expect: Option<u64>,
}

impl Client {
    /// Sets a key. Returns the new version's timestamp.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<u64, Error> {
        self.write(vec![Change { key, value: Some(value), expect: None }]).await
    }

    /// Deletes a key. Returns the tombstone's timestamp.
    pub async fn delete(&self, key: Bytes) -> Result<u64, Error> {
        self.write(vec![Change { key, value: None, expect: None }]).await
    }

    /// Sets or deletes a key if its newest version is the value at timestamp `expect`; 0: if it has no value.
    pub async fn compare_and_swap(&self, key: Bytes, expect: u64, value: Option<Bytes>) -> Result<u64, Error> {
        self.write(vec![Change { key, value, expect: Some(expect) }]).await
    }

    /// Sets several keys at once, in one region. No effect when they lie in several.
    pub async fn batch_put(&self, pairs: Vec<(Bytes, Bytes)>) -> Result<u64, Error> {
        let changes = pairs.into_iter().map(|(key, value)| Change { key, value: Some(value), expect: None });
        self.write(changes.collect()).await
    }

    /// Changes several keys of one region, all or none. No effect when they lie in several.
    pub async fn write(&self, changes: Vec<Change>) -> Result<u64, Error> {
        self.0.write(changes, &mut |_| {}).await
    }

    /// The same; `stamped` hears each timestamp that the operation draws, before anything is sent with it.
    pub async fn write_stamped(
        &self,
        changes: Vec<Change>,
        stamped: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, Error> {
        self.0.write(changes, stamped).await
    }
}

impl Inner {
    async fn write(&self, changes: Vec<Change>, stamped: &mut (dyn FnMut(u64) + Send)) -> Result<u64, Error> {
        let Some(first) = changes.first() else { return Err(Error::Failed("nothing to write".into())) };
        let mut patience = self.patience();
        let mut timestamp = self.pd.timestamp().await.map_err(|error| Error::Failed(error.to_string()))?;
        stamped(timestamp);
        let mut doubt = false;
        let failed = |doubt: bool, timestamp: u64, cause: String| {
            if doubt { Error::Unknown { timestamp, cause } } else { Error::Failed(cause) }
        };
        loop {
            let cached = match self.locate(&first.key).await {
                Ok(cached) => cached,
                Err(error) => {
                    if error.reason().is_none() || !self.pause(&mut patience).await {
                        return Err(failed(doubt, timestamp, error.to_string()));
                    }
                    continue;
                }
            };
            if let Some(outside) = changes.iter().find(|change| !cached.region.contains(&change.key)) {
                let cause = format!("key {:?} does not lie in the region of {:?}", outside.key, first.key);
                return Err(failed(doubt, timestamp, cause));
            }
            let ask = Ask::Write(Write { mutations: changes.iter().map(|change| change.at(timestamp)).collect() });
            let cause = match self.attempt(&cached, ask).await {
                Attempt::Answered(Answer::Written(written)) => match written.outcome() {
                    Outcome::Ok => return Ok(timestamp),
                    Outcome::Conflict if !doubt => {
                        let fresh = self.pd.timestamp().await.map_err(|error| Error::Failed(error.to_string()))?;
                        timestamp = fresh;
                        stamped(timestamp);
                        "a newer version exists".into()
                    }
                    Outcome::Unexpected if !doubt => return Err(Error::Unexpected { found: written.found }),
                    _ => return Err(Error::Unknown { timestamp, cause: said(&written) }),
                },
                Attempt::Answered(other) => return Err(failed(true, timestamp, format!("an unfit answer: {other:?}"))),
                Attempt::Hopeless(cause) => return Err(failed(doubt, timestamp, cause)),
                Attempt::Learnt(_) if self.hurry(&mut patience).await => continue,
                Attempt::Refused(cause) | Attempt::Learnt(cause) => cause,
                Attempt::Doubtful(cause) => {
                    doubt = true;
                    cause
                }
            };
            if !self.pause(&mut patience).await {
                return Err(failed(doubt, timestamp, cause));
            }
        }
    }
}

impl Change {
    fn at(&self, timestamp: u64) -> Mutation {
        Mutation { key: self.key.clone(), timestamp, value: self.value.clone(), expect: self.expect }
    }
}

fn said(written: &Written) -> String {
    format!("{:?} after an attempt in doubt", written.outcome())
}
