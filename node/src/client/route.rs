//! One request to whichever region holds a key, tried again until it is answered or time is up.
//!
//! Every attempt ends in one of three ways: an answer, a refusal (it had no effect and will have none), or doubt. What
//! doubt means is for whoever asks: a write with the same timestamp may be sent again, a membership change may not.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;

use super::{Inner, cache::Cached};
use crate::{
    env::Instant,
    pd,
    region::Peer,
    wire::kv::{Answer, Ask, ReadBy, Reason, Refusal, Request, Response},
};

/// How an attempt ended.
pub(super) enum Attempt {
    /// The store's answer, no refusal.
    Answered(Answer),
    /// No effect; trying again at once is worth it, for something was learnt.
    Learnt(String),
    /// No effect; trying again is worth it after a pause.
    Refused(String),
    /// No effect, and there is no use in trying again.
    Hopeless(String),
    /// It may have had an effect, or have one later.
    Doubtful(String),
}

/// The pauses of one operation: they double from attempt to attempt, up to a limit, until the deadline.
pub(super) struct Patience {
    deadline: Instant,
    pause: Duration,
    /// Whether the last attempt came without a pause: what was learnt is worth one such, not a chain of them.
    hurried: bool,
}

impl Inner {
    pub(super) fn patience(&self) -> Patience {
        Patience { deadline: self.env.now() + self.options.deadline, pause: self.options.pause_min, hurried: false }
    }

    /// As [`Inner::pause`], or at once when something was learnt that makes the next attempt likely to succeed.
    pub(super) async fn hurry(&self, patience: &mut Patience) -> bool {
        if !patience.hurried && self.env.now() < patience.deadline {
            patience.hurried = true;
            return true;
        }
        self.pause(patience).await
    }

    /// Waits before the next attempt; false when no time is left for one.
    pub(super) async fn pause(&self, patience: &mut Patience) -> bool {
        patience.hurried = false;
        let half = patience.pause / 2;
        let jitter = Duration::from_nanos(self.env.rng.below(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX)));
        let pause = half + jitter;
        patience.pause = (patience.pause * 2).min(self.options.pause_max);
        if self.env.now() + pause >= patience.deadline {
            return false;
        }
        self.env.sleep(pause).await;
        true
    }

    /// The region that holds a key, from the cache or the placement driver.
    pub(super) async fn locate(&self, key: &Bytes) -> Result<Cached, pd::Error> {
        if let Some(cached) = self.cache.lock().at(key) {
            return Ok(cached.clone());
        }
        let located = self.pd.region(key.clone()).await?;
        let mut cache = self.cache.lock();
        cache.learn(located.region.clone(), located.leader);
        let cached = cache.at(key).cloned();
        Ok(cached.unwrap_or_else(|| Cached::new(Arc::new(located.region), located.leader)))
    }

    /// Asks the region once, at its leader or, for a read by a replica, anywhere.
    pub(super) async fn attempt(&self, cached: &Cached, ask: Ask) -> Attempt {
        let by_replica = match &ask {
            Ask::Get(get) => get.by() == ReadBy::Replica,
            Ask::Scan(scan) => scan.by() == ReadBy::Replica,
            _ => false,
        };
        let peer = if by_replica { cached.any_peer(self.env.rng.next_u64()) } else { cached.peer() };
        let Some(peer) = peer else {
            self.cache.lock().forget(cached.region.id);
            return Attempt::Refused(format!("region {} has no peer to ask", cached.region.id));
        };
        let (region, epoch) = (cached.region.id, cached.region.epoch);
        let request = Request { region, epoch, store: peer.store, ask: Some(ask) };
        match self.lines.call(peer.store, request.encode_to_vec().into(), self.options.attempt).await {
            Ok(body) => match Response::decode(body).ok().and_then(|response| response.answer) {
                Some(Answer::Error(refusal)) => self.learn(cached, peer, refusal),
                Some(answer) => Attempt::Answered(answer),
                None => Attempt::Doubtful(format!("store {} gave no answer that makes sense", peer.store)),
            },
            Err(error) => {
                self.cache.lock().pass_over(region, peer.store);
                let cause = format!("store {}: {error}", peer.store);
                if error.is_unknown() { Attempt::Doubtful(cause) } else { Attempt::Refused(cause) }
            }
        }
    }

    /// Learns from a refusal.
    fn learn(&self, cached: &Cached, peer: Peer, refusal: Refusal) -> Attempt {
        let id = cached.region.id;
        let reason = refusal.reason();
        let cause = format!("store {} answers {reason:?} for region {id}: {}", peer.store, refusal.detail);
        let mut cache = self.cache.lock();
        match reason {
            Reason::Unknown => Attempt::Doubtful(cause),
            Reason::NotLeader => match refusal.leader.filter(|leader| leader.store != peer.store) {
                Some(leader) => {
                    cache.lead(id, leader);
                    Attempt::Learnt(cause)
                }
                None => {
                    cache.pass_over(id, peer.store);
                    Attempt::Refused(cause)
                }
            },
            Reason::EpochNotMatch => {
                let known = refusal.regions.into_iter().filter(|region| region.is_initialized());
                let newer: Vec<_> = known.filter(|region| region.epoch > cached.region.epoch).collect();
                if newer.is_empty() {
                    // The store is behind; what the client knows is as new.
                    return Attempt::Refused(cause);
                }
                cache.forget(id);
                for region in newer {
                    let leader = region.peer_on(peer.store).copied();
                    cache.learn(region, leader);
                }
                Attempt::Learnt(cause)
            }
            Reason::RegionNotFound => {
                cache.pass_over(id, peer.store);
                Attempt::Refused(cause)
            }
            Reason::KeyNotInRegion => {
                cache.forget(id);
                Attempt::Refused(cause)
            }
            Reason::StoreNotMatch => {
                drop(cache);
                self.lines.forget(peer.store);
                Attempt::Refused(cause)
            }
            Reason::ServerIsBusy | Reason::AdminUnderWay | Reason::Merging => Attempt::Refused(cause),
            Reason::Invalid | Reason::Collected => Attempt::Hopeless(cause),
        }
    }
}
