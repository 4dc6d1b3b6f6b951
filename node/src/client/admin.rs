//! What operators of a cluster ask of the region that holds a key.
//!
//! These are not idempotent: an attempt in doubt ends the operation as unknown.
//!
//! A new replica's id is asked for once the region is known, for each attempt anew. Stores remember the newest id of a
//! region that went, and never make one that is not newer: with an id that was asked for before, another replica could
//! have come to the same store and gone meanwhile. As it is, that changes the epoch, and the attempt is refused.

use bytes::Bytes;

use super::{Client, Error, Inner, cache::Cached, route::Attempt};
use crate::{
    region::{Peer, PeerId, Region, Role, StoreId},
    wire::{
        command::{ChangeKind, PeerChange},
        kv::{Answer, Ask, Change, MergeInto, Nothing, SplitAt, Transfer},
    },
};

impl Client {
    /// Splits the region that holds the first key at all of `keys`, which have to lie in it.
    pub async fn split(&self, keys: Vec<Bytes>) -> Result<Vec<Region>, Error> {
        let Some(first) = keys.first().cloned() else { return Err(Error::Failed("no key to split at".into())) };
        self.0.admin(&first, |_| Ok(Ask::Split(SplitAt { keys: keys.clone() }))).await
    }

    /// Splits the region that holds a key in its middle.
    pub async fn split_middle(&self, key: &Bytes) -> Result<Vec<Region>, Error> {
        self.0.admin(key, |_| Ok(Ask::Split(SplitAt { keys: vec![] }))).await
    }

    /// Merges the region that holds a key into a neighbour: the one that holds `into`, or else the next one on the right,
    /// or on the left when there is none. It is answered once the merge has begun; where the replicas of both do not live
    /// on the same stores, once the placement driver has taken it on.
    pub async fn merge(&self, key: &Bytes, into: Option<&Bytes>) -> Result<Vec<Region>, Error> {
        let source = self.0.pd.region(key.clone()).await.map_err(said)?.region;
        let beside = match into {
            Some(into) => into.clone(),
            None if !source.end.is_empty() => source.end.clone(),
            None => just_before(&source.start).ok_or_else(|| Error::Failed("there is no other region".into()))?,
        };
        let target = self.0.pd.region(beside).await.map_err(said)?.region;
        if !source.lives_with(&target) {
            self.0.pd.merge(source.id, target.id).await.map_err(said)?;
            return Ok(vec![source]);
        }
        let target = target.id;
        self.0.admin(key, |_| Ok(Ask::Merge(MergeInto { target }))).await
    }

    /// Hands leadership of the region that holds a key to its peer on a store.
    pub async fn transfer_to_store(&self, key: &Bytes, store: StoreId) -> Result<Vec<Region>, Error> {
        let ask = |region: &Region| match region.peer_on(store) {
            Some(peer) => Ok(Ask::TransferLeader(Transfer { to: peer.id })),
            None => Err(format!("region {} has no peer on store {store}", region.id)),
        };
        self.0.admin(key, ask).await
    }

    /// Hands leadership of the region that holds a key to a peer.
    pub async fn transfer(&self, key: &Bytes, to: PeerId) -> Result<Vec<Region>, Error> {
        self.0.admin(key, |_| Ok(Ask::TransferLeader(Transfer { to }))).await
    }

    /// Changes the peers of the region that holds a key; more than one change goes through a joint configuration.
    pub async fn change_peers(&self, key: &Bytes, changes: Vec<PeerChange>) -> Result<Vec<Region>, Error> {
        self.0.admin(key, |_| Ok(Ask::ChangePeers(Change { changes: changes.clone() }))).await
    }

    /// Adds a replica on a store to the region that holds a key: a voter or a learner.
    pub async fn add_peer(&self, key: &Bytes, store: StoreId, learner: bool) -> Result<Vec<Region>, Error> {
        let (kind, role) =
            if learner { (ChangeKind::AddLearner, Role::Learner) } else { (ChangeKind::AddVoter, Role::Voter) };
        let ask = |_: &Region, id: PeerId| {
            let peer = Peer { id, store, role: role as i32 };
            Ok(Ask::ChangePeers(Change { changes: vec![PeerChange { kind: kind as i32, peer }] }))
        };
        self.0.admin_of_newcomer(key, ask).await
    }

    /// Puts a voter in the place of the one on a store, which becomes a learner, by one joint change.
    pub async fn replace_peer(&self, key: &Bytes, from: StoreId, to: StoreId) -> Result<Vec<Region>, Error> {
        let ask = |region: &Region, id: PeerId| {
            // As the region is now: a peer that has gone since is not to be named again.
            let old = region.peer_on(from).copied().ok_or_else(|| "no such replica".to_owned())?;
            let old = Peer { role: Role::Learner as i32, ..old };
            let new = Peer { id, store: to, role: Role::Voter as i32 };
            let changes = [(ChangeKind::AddVoter, new), (ChangeKind::AddLearner, old)];
            let changes = changes.map(|(kind, peer)| PeerChange { kind: kind as i32, peer }).to_vec();
            Ok(Ask::ChangePeers(Change { changes }))
        };
        self.0.admin_of_newcomer(key, ask).await
    }

    /// Has every replica of the region that holds a key hash its content.
    pub async fn compute_hash(&self, key: &Bytes) -> Result<Vec<Region>, Error> {
        self.0.admin(key, |_| Ok(Ask::ComputeHash(Nothing {}))).await
    }

    /// Drops the applied part of the raft log of the region that holds a key.
    pub async fn compact_log(&self, key: &Bytes) -> Result<Vec<Region>, Error> {
        self.0.admin(key, |_| Ok(Ask::CompactLog(Nothing {}))).await
    }
}

fn said(error: crate::pd::Error) -> Error {
    Error::Failed(error.to_string())
}

/// A key below `key`, with few others in between; none for the first key.
fn just_before(key: &Bytes) -> Option<Bytes> {
    let (&last, rest) = key.split_last()?;
    let mut before = rest.to_vec();
    if last > 0 {
        before.extend([last - 1, 0xff, 0xff]);
    }
    Some(before.into())
}

impl Inner {
    /// Asks something of the region that holds a key.
    async fn admin(&self, key: &Bytes, ask: impl Fn(&Region) -> Result<Ask, String>) -> Result<Vec<Region>, Error> {
        self.admin_with(key, false, |region, _| ask(region)).await
    }

    /// Asks for something with a new replica, whose id is asked for when the region is known.
    async fn admin_of_newcomer(
        &self,
        key: &Bytes,
        ask: impl Fn(&Region, PeerId) -> Result<Ask, String>,
    ) -> Result<Vec<Region>, Error> {
        self.admin_with(key, true, ask).await
    }

    async fn admin_with(
        &self,
        key: &Bytes,
        has_newcomer: bool,
        ask: impl Fn(&Region, PeerId) -> Result<Ask, String>,
    ) -> Result<Vec<Region>, Error> {
        let mut patience = self.patience();
        loop {
            let cause = match self.locate_for(key, has_newcomer).await {
                Ok((cached, id)) => {
                    match self.attempt(&cached, ask(&cached.region, id).map_err(Error::Failed)?).await {
                        Attempt::Answered(Answer::Done(done)) => {
                            let mut cache = self.cache.lock();
                            for region in &done.regions {
                                cache.learn(region.clone(), None);
                            }
                            return Ok(done.regions);
                        }
                        Attempt::Answered(other) => {
                            return Err(Error::Unknown { timestamp: 0, cause: format!("an unfit answer: {other:?}") });
                        }
                        Attempt::Hopeless(cause) => return Err(Error::Failed(cause)),
                        Attempt::Doubtful(cause) => return Err(Error::Unknown { timestamp: 0, cause }),
                        Attempt::Learnt(_) if self.hurry(&mut patience).await => continue,
                        Attempt::Learnt(cause) | Attempt::Refused(cause) => cause,
                    }
                }
                Err(error) if error.reason().is_none() => return Err(Error::Failed(error.to_string())),
                Err(error) => error.to_string(),
            };
            if !self.pause(&mut patience).await {
                return Err(Error::Failed(cause));
            }
        }
    }

    /// The region that holds a key and, where there is a newcomer, that one's id.
    async fn locate_for(&self, key: &Bytes, has_newcomer: bool) -> Result<(Cached, PeerId), crate::pd::Error> {
        let cached = self.locate(key).await?;
        let id = if has_newcomer { self.pd.alloc_ids(1).await? } else { 0 };
        Ok((cached, id))
    }
}
