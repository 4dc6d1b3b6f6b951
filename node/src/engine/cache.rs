//! Keeps blocks of tables in memory, within a budget of bytes.
//!
//! A table holds its own blocks; the cache only decides which go. Blocks stand in a queue; one that was used since it was
//! last looked at goes round once more. A hit therefore costs one small lock and no search.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::engine::block::Block;

/// The cached blocks of one table.
pub(crate) struct Slots(Box<[Mutex<Slot>]>);

#[derive(Default)]
struct Slot {
    block: Option<Block>,
    used: bool,
}

impl Slots {
    pub(crate) fn new(blocks: usize) -> Arc<Slots> {
        Arc::new(Slots((0..blocks).map(|_| Mutex::default()).collect()))
    }

    /// A block, when it is in memory.
    pub(crate) fn get(&self, index: usize) -> Option<Block> {
        let mut slot = self.0[index].lock();
        slot.used = true;
        slot.block.clone()
    }
}

struct Held {
    slots: Weak<Slots>,
    index: usize,
    bytes: usize,
}

/// The budget that the tables of one engine share.
pub(crate) struct Cache {
    budget_bytes: usize,
    held: Mutex<(VecDeque<Held>, usize)>,
}

impl Cache {
    pub(crate) fn new(budget_bytes: usize) -> Cache {
        Cache { budget_bytes, held: Mutex::default() }
    }

    /// Keeps a block, and lets others go to make room.
    pub(crate) fn keep(&self, slots: &Arc<Slots>, index: usize, block: &Block) {
        {
            let mut slot = slots.0[index].lock();
            if slot.block.is_some() {
                return;
            }
            *slot = Slot { block: Some(block.clone()), used: false };
        }
        let mut held = self.held.lock();
        let (queue, total) = &mut *held;
        let bytes = block.bytes();
        queue.push_back(Held { slots: Arc::downgrade(slots), index, bytes });
        *total += bytes;
        while *total > self.budget_bytes {
            let Some(oldest) = queue.pop_front() else { break };
            if let Some(slots) = oldest.slots.upgrade() {
                let mut slot = slots.0[oldest.index].lock();
                if std::mem::take(&mut slot.used) {
                    drop(slot);
                    queue.push_back(oldest);
                    continue;
                }
                slot.block = None;
            }
            *total -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_budget_holds_and_used_blocks_stay_longer() {
        let cache = Cache::new(100);
        let slots = Slots::new(40);
        let block = Block::new(Bytes::from(vec![0; 10])).expect("no restart points");
        for index in 0..40 {
            cache.keep(&slots, index, &block);
            assert!(slots.get(0).is_some(), "block 0 is used all the time");
        }
        assert_eq!((0..40).filter(|&index| slots.get(index).is_some()).count(), 10);
    }
}
