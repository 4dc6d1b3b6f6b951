//! Applies the three commands of a merge.
//!
//! Apply has all regions of the store, so it takes a merge as one step: once the source has applied its log up to the
//! `PrepareMerge`, one batch gives the target its range and makes the source's peer a tombstone. Until then the target
//! waits, with everything that is behind the commit in its log, and the raft loop is asked to bring the source up.
//!
//! Not here: who proposes these commands and when, and how a source that lags gets its entries.

use std::{collections::VecDeque, sync::Arc};

use ::raft::eraftpb::Entry;
use failpoints::point;

use super::{Apply, Proposal, write::Recent};
use crate::{
    cache,
    engine::{Error, Family},
    key,
    region::{Region, RegionId},
    store::{
        fact::region,
        mail::{Event, Mail},
        peer::merge,
        service::refusal,
        site,
        state::{MergeState, RegionState, Stage, encode},
    },
    wire::{
        command::{CommitMerge, PrepareMerge, RollbackMerge},
        kv::{Answer as Said, Done, Reason},
    },
};

/// What is behind a merge whose source has not caught up, the commit of the merge first.
pub(super) struct Waiting {
    source: RegionId,
    commit: u64,
    entries: VecDeque<Entry>,
    proposals: VecDeque<Proposal>,
}

impl Waiting {
    /// More comes behind.
    pub(super) fn extend(&mut self, entries: Vec<Entry>, proposals: Vec<Proposal>) {
        self.entries.extend(entries);
        self.proposals.extend(proposals);
    }
}

impl Apply {
    pub(super) fn prepare_merge(&mut self, region: RegionId, index: u64, prepare: PrepareMerge) -> Said {
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        if let Err(why) = merge::fits(&delegate.region, &prepare.target) {
            return refusal(Reason::Invalid, why);
        }
        if let Some(cache) = &self.shared.cache {
            cache.meet(&delegate.region, cache::Event::PrepareMerge);
        }
        let after = Arc::new(merge::prepared(&delegate.region));
        let state = MergeState { target: prepare.target, min_index: prepare.min_index, commit: index };
        delegate.region = after.clone();
        delegate.merges.prepared = Some(Arc::new(state.clone()));
        let peer = delegate.peer;
        let (target, min_index) = (state.target.id, state.min_index);
        self.put_region(&after, peer, Stage::Merging, Some(state.clone()));
        self.sync = true;
        self.shared.env.state(region::Fact::MergePrepared { region, peer: peer.id, target, index, min_index });
        let event = Event::PrepareMerge { index, region: (*after).clone(), merge: state };
        self.events.entry(region).or_default().push(event);
        done(&after)
    }

    pub(super) fn rollback_merge(&mut self, region: RegionId, index: u64, rollback: RollbackMerge) -> Said {
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        let fits = delegate.merges.prepared.as_ref().filter(|prepared| prepared.commit == rollback.commit);
        let Some(target) = fits.map(|prepared| prepared.target.id) else {
            return refusal(Reason::Invalid, "no such merge is prepared");
        };
        if let Some(cache) = &self.shared.cache {
            cache.meet(&delegate.region, cache::Event::RollbackMerge);
        }
        let mut after = (*delegate.region).clone();
        after.epoch.version += 1;
        let after = Arc::new(after);
        delegate.region = after.clone();
        delegate.merges.prepared = None;
        let peer = delegate.peer;
        self.put_region(&after, peer, Stage::Normal, None);
        self.sync = true;
        self.shared.env.state(region::Fact::MergeRolledBack { region, peer: peer.id, target, index });
        let event = Event::RollbackMerge { index, region: (*after).clone() };
        self.events.entry(region).or_default().push(event);
        done(&after)
    }

    /// Whether the source of a merge is applied as far as the merge needs; if not, the raft loop hears what it lacks.
    pub(super) fn is_source_ready(&mut self, region: RegionId, commit: &CommitMerge) -> bool {
        let source = commit.source.id;
        if self.delegates.get(&source).is_some_and(|delegate| delegate.state.applied_index >= commit.commit) {
            return true;
        }
        let peer = self.delegates[&region].peer.id;
        self.shared.env.state(region::Fact::MergeWaits { region, peer, source, commit: commit.commit });
        self.shared.mailbox.send(Mail::CatchUp {
            region: source,
            target: region,
            commit: commit.commit,
            entries: commit.entries.clone(),
        });
        false
    }

    /// The target waits from this entry on.
    pub(super) fn wait(
        &mut self,
        region: RegionId,
        (source, commit): (RegionId, u64),
        entries: VecDeque<Entry>,
        proposals: VecDeque<Proposal>,
    ) {
        self.waiting.insert(region, Waiting { source, commit, entries, proposals });
    }

    /// Goes on with a target whose source has caught up.
    pub(super) async fn resume(&mut self) -> Result<(), Error> {
        while let Some(region) = self.ready_target() {
            let Some(waiting) = self.waiting.remove(&region) else { return Ok(()) };
            self.entries(region, waiting.entries.into(), waiting.proposals.into()).await?;
        }
        Ok(())
    }

    fn ready_target(&self) -> Option<RegionId> {
        let applied = |source| self.delegates.get(&source).map_or(0, |delegate| delegate.state.applied_index);
        self.waiting.iter().find(|(_, waiting)| applied(waiting.source) >= waiting.commit).map(|(&region, _)| region)
    }

    /// Gives the target its source's range. The source is applied far enough.
    pub(super) async fn commit_merge(
        &mut self,
        region: RegionId,
        index: u64,
        commit: &CommitMerge,
    ) -> Result<Said, Error> {
        point!(self.shared.env.points, site::BEFORE_COMMIT_MERGE_APPLY).await;
        // What both have applied so far is written and told before one of them goes.
        self.flush().await?;
        self.touched.insert(region);
        let gone = self.delegates.remove(&commit.source.id).expect("the source is applied, so it is here");
        let delegate = self.delegates.get_mut(&region).expect("the caller has just found it");
        assert_eq!(
            gone.region.epoch, commit.source.epoch,
            "region {}: a merge that was undone is committed by region {region}",
            commit.source.id
        );
        let before = delegate.region.clone();
        if let Some(cache) = &self.shared.cache {
            for region in [&before, &gone.region] {
                cache.meet(region, cache::Event::CommitMerge);
            }
        }
        let after = Arc::new(merge::union(&before, &gone.region));
        delegate.region = after.clone();
        let (source, source_peer, me) = (gone.region.id, gone.peer, delegate.peer);
        let sources = Arc::make_mut(&mut delegate.merges.sources);
        sources.take_in(source, &gone.merges.sources, after.epoch.version);
        let sources = encode(sources);
        let state = &mut delegate.state;
        state.newest = state.newest.max(gone.state.newest);
        delegate.recent = Recent::new(state.newest);
        state.safe_point = state.safe_point.max(gone.state.safe_point);
        let safe_point = state.safe_point;
        self.shared.safe_points.remove(&before);
        self.shared.safe_points.remove(&gone.region);
        self.shared.safe_points.set(&after, safe_point);
        self.batch.put(Family::Raft, key::merge_sources(region), sources);
        self.put_region(&after, me, Stage::Normal, None);
        let merge = MergeState { target: (*before).clone(), min_index: 0, commit: commit.commit };
        self.put_region(&gone.region, source_peer, Stage::Tombstone, Some(merge));
        self.batch.delete(Family::Raft, key::apply_state(source));
        self.batch.delete(Family::Raft, key::merge_sources(source));
        self.sync = true;
        self.shared.env.state(region::Fact::MergeCommitted {
            region,
            peer: me.id,
            source,
            source_peer: source_peer.id,
            index,
            commit: commit.commit,
        });
        let event = Event::CommitMerge {
            index,
            region: (*after).clone(),
            source: (*gone.region).clone(),
            peer: source_peer.id,
        };
        self.events.entry(region).or_default().push(event);
        if self.shared.options.hash_on_split {
            self.hashes.push((region, "merge"));
        }
        Ok(done(&after))
    }

    /// Writes a region's state with the batch.
    pub(super) fn put_region(
        &mut self,
        region: &Arc<Region>,
        peer: crate::region::Peer,
        stage: Stage,
        merge: Option<MergeState>,
    ) {
        let state = RegionState { region: (**region).clone(), peer, stage: stage as i32, index: 0, term: 0, merge };
        self.batch.put(Family::Raft, key::region_state(region.id), encode(&state));
        self.shared.env.state(region::Fact::StateWritten {
            region: region.clone(),
            peer: peer.id,
            state: stage.name().into(),
            index: 0,
            term: 0,
        });
    }
}

fn done(region: &Region) -> Said {
    Said::Done(Done { regions: vec![region.clone()] })
}
