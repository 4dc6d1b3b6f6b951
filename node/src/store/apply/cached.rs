//! Apply's side of the region cache: where a load begins, and how the cache gets what is written.
//!
//! A region that is to be loaded is loaded from an engine snapshot that is taken here, between two tasks of apply:
//! everything before it is in the engine, everything after it goes to the cache, too. What is still on its way to the
//! engine by then would be in neither, so it is written first.

use failpoints::{defect, point};

use super::Apply;
use crate::{
    cache::{fact::Fact, manager::Prepared, memory, site},
    defects,
    engine::{Error, WriteBatch},
    region::RegionId,
};

impl Apply {
    /// Before entries of a region are applied: whether they go to the cache, too. May begin a load.
    pub(super) async fn prepare(&mut self, region: RegionId) -> Result<(), Error> {
        let Some(cache) = self.shared.cache.clone() else { return Ok(()) };
        let env = self.shared.env.clone();
        point!(env.points, site::BEFORE_PREPARE).await;
        let Some(delegate) = self.delegates.get_mut(&region) else { return Ok(()) };
        let prepared = cache.prepare(&delegate.region);
        delegate.cached = prepared == Prepared::Cached;
        if prepared != Prepared::Load {
            return Ok(());
        }
        let (peer, version, pending) = (delegate.peer.id, delegate.region.epoch.version, delegate.keys);
        env.state(Fact::LoadScheduled { region, peer, version, pending });
        // The defect takes the snapshot although it lacks what is pending.
        if !defect!(env.points, defects::TIKV_17645, pending > 0) {
            self.flush().await?;
        }
        point!(env.points, site::BEFORE_SNAPSHOT).await;
        let Some(delegate) = self.delegates.get_mut(&region) else { return Ok(()) };
        delegate.cached = cache.begin_load(&delegate.region, || self.shared.engine.snapshot());
        Ok(())
    }

    /// Hands the cache what the batch writes, before the engine makes it visible.
    pub(super) fn write_cached(&mut self, batch: &mut WriteBatch) {
        if let Some(cache) = &self.shared.cache
            && !self.cached.is_empty()
        {
            let stamp = memory::unstamped();
            cache.write(std::mem::take(&mut self.cached), &stamp);
            batch.stamp(stamp);
        }
    }
}
