//! Applies admin commands: splits, membership changes, log compaction, hashes, the safe point.

use std::sync::Arc;

use ::raft::eraftpb::ConfChangeV2;
use prost::Message as _;

use super::Apply;
use crate::{
    cache::{self, region::Span},
    fact::Digest,
    region::{Region, RegionId},
    store::{
        fact::{apply, raft, region},
        mail::Event,
        peer::{membership, split},
        service::{epoch_not_match, refusal},
        state::{ApplyState, Stage},
    },
    wire::{
        command::{Body, Command, Split},
        kv::{Answer as Said, Done, Reason},
    },
};

fn done(regions: Vec<Region>) -> Said {
    Said::Done(Done { regions })
}

impl Apply {
    /// Applies an admin command whose epoch fits.
    pub(super) fn admin(&mut self, region: RegionId, index: u64, body: Body) -> Said {
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        let now = vec![(*delegate.region).clone()];
        match body {
            Body::Split(split) => return self.split(region, index, &split),
            Body::CompactLog(compact) => {
                let state = &mut delegate.state;
                if compact.index > state.truncated_index && compact.index <= state.applied_index {
                    (state.truncated_index, state.truncated_term) = (compact.index, compact.term);
                    self.events.entry(region).or_default().push(Event::CompactLog(compact.index, compact.term));
                    self.sync = true;
                }
            }
            Body::ComputeHash(_) => self.hashes.push((region, "compute-hash")),
            Body::VerifyHash(verify) => {
                let found = *delegate.hash.lock();
                if let Some((at, digest)) = found
                    && at == verify.index
                    && digest != verify.digest
                {
                    self.shared.env.state(apply::Fact::HashMismatch {
                        region,
                        peer: delegate.peer.id,
                        index: at,
                        expected: Digest(verify.digest),
                        found: Digest(digest),
                    });
                }
            }
            Body::Collect(collect) => {
                if collect.safe_point > delegate.state.safe_point {
                    delegate.state.safe_point = collect.safe_point;
                    let range = delegate.region.clone();
                    self.shared.safe_points.set(&range, collect.safe_point);
                }
            }
            Body::PrepareMerge(prepare) => return self.prepare_merge(region, index, prepare),
            Body::RollbackMerge(rollback) => return self.rollback_merge(region, index, rollback),
            Body::Write(_) | Body::ChangePeers(_) | Body::CommitMerge(_) => {
                return refusal(Reason::Invalid, "this is no admin command of a normal entry");
            }
        }
        done(now)
    }

    fn split(&mut self, region: RegionId, index: u64, split: &Split) -> Said {
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        let Some((children, parent)) = split::regions(&delegate.region, split) else {
            return refusal(Reason::Invalid, "the split does not fit the region");
        };
        let (store, state, me) = (self.shared.store, delegate.state, delegate.peer);
        let parent = Arc::new(parent);
        if let Some(cache) = &self.shared.cache {
            // Before anybody hears of the new version.
            let after: Vec<Span> = children.iter().chain([&*parent]).map(Span::of).collect();
            cache.split(&delegate.region, &after);
        }
        self.shared.safe_points.remove(&delegate.region);
        delegate.region = parent.clone();
        self.shared.safe_points.set(&parent, state.safe_point);
        self.put_region(&parent, me, Stage::Normal, None);
        let initial = ApplyState { safe_point: state.safe_point, newest: state.newest, ..ApplyState::initial() };
        let mut made = Vec::with_capacity(children.len());
        for child in &children {
            let Some(&peer) = child.peer_on(store) else { continue };
            let free = self.shared.registry.lock().reserve(child.id, peer.id);
            made.push((child.clone(), free));
            if !free {
                if let Some(cache) = &self.shared.cache {
                    cache.meet(child, cache::Event::DestroyPeer);
                }
                continue;
            }
            let child = Arc::new(child.clone());
            self.put_region(&child, peer, Stage::Normal, None);
            let key = crate::key::apply_state(child.id);
            self.batch.put(crate::engine::Family::Raft, key, crate::store::state::encode(&initial));
            let delegate = super::Delegate {
                region: child.clone(),
                peer,
                state: initial,
                recent: super::write::Recent::new(initial.newest),
                merges: crate::store::state::Merges::default(),
                removed: false,
                cached: false,
                bytes: 0,
                keys: 0,
                hash: Arc::default(),
            };
            self.shared.safe_points.set(&child, initial.safe_point);
            self.delegates.insert(child.id, delegate);
            if self.shared.options.hash_on_split {
                self.hashes.push((child.id, "split"));
            }
        }
        if self.shared.options.hash_on_split {
            self.hashes.push((region, "split"));
        }
        self.sync = true;
        let count = children.len() as u64 + 1;
        self.shared.env.state(region::Fact::SplitApplied { region, peer: me.id, index, count });
        let after: Vec<Region> = children.into_iter().chain([(*parent).clone()]).collect();
        let event = Event::Split { index, parent: (*parent).clone(), children: made, state: initial };
        self.events.entry(region).or_default().push(event);
        done(after)
    }

    /// Applies a membership change.
    pub(super) fn conf_change(&mut self, region: RegionId, index: u64, change: ConfChangeV2) -> Said {
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        let events = self.events.entry(region).or_default();
        events.push(Event::AdminEnded(index));
        // An entry without context is raft's own and leaves a joint configuration.
        let (changes, fits) = match Command::decode(change.context.clone()) {
            Ok(Command { epoch, body: Some(Body::ChangePeers(change)), .. }) => {
                (change.changes, epoch == delegate.region.epoch)
            }
            _ => (Vec::new(), membership::is_joint(&delegate.region)),
        };
        if delegate.merges.prepared.is_some() {
            return refusal(Reason::Merging, "the region is prepared for a merge");
        }
        if !fits {
            let peer = delegate.peer.id;
            self.shared.env.state(raft::Fact::Refused { region, peer, reason: "stale-command".into() });
            return epoch_not_match(vec![(*delegate.region).clone()]);
        }
        let before = delegate.region.clone();
        let after = Arc::new(membership::change(&before, &changes));
        delegate.region = after.clone();
        let removed = after.peer(delegate.peer.id).is_none();
        delegate.removed = removed;
        if let Some(me) = after.peer(delegate.peer.id) {
            delegate.peer = *me;
        }
        let me = delegate.peer;
        events.push(Event::ConfChanged { index, change, region: (*after).clone() });
        let stage = if removed { Stage::Tombstone } else { Stage::Normal };
        self.put_region(&after, me, stage, None);
        self.sync = true;
        done(vec![(*after).clone()])
    }
}
