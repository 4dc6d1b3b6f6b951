//! Values by log index: a ring over the newest indexes.
//!
//! Logs are dense and are read near their ends, so a ring with a base is both the smallest and the fastest map. What is
//! older than the ring is forgotten and not judged any more.

use std::collections::VecDeque;

/// How far behind its first index a ring begins, for replicas that lag when the first one speaks.
const ROOM_BEHIND: u64 = 256;

/// A map from log index to `T` that remembers the newest indexes.
#[derive(Clone, Debug)]
pub struct Dense<T> {
    base: u64,
    limit: usize,
    slots: VecDeque<Option<T>>,
}

impl<T> Dense<T> {
    /// An empty ring that remembers so many indexes.
    pub fn new(limit: usize) -> Dense<T> {
        Dense { base: 0, limit, slots: VecDeque::new() }
    }

    /// What is known at an index.
    #[inline]
    pub fn get(&self, index: u64) -> Option<&T> {
        let offset = usize::try_from(index.checked_sub(self.base)?).ok()?;
        self.slots.get(offset)?.as_ref()
    }

    /// Forgets everything from `index` on.
    pub fn cut(&mut self, index: u64) {
        let kept = usize::try_from(index.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.slots.truncate(kept);
    }

    /// The slot of an index, made if the index is new; none when it lies before what the ring remembers.
    #[inline]
    pub fn slot(&mut self, index: u64) -> Option<&mut Option<T>> {
        if self.slots.is_empty() {
            self.base = index.saturating_sub(ROOM_BEHIND);
        }
        let mut offset = usize::try_from(index.checked_sub(self.base)?).ok()?;
        if offset >= self.slots.len() + self.limit {
            self.slots.clear();
            self.base = index;
            offset = 0;
        }
        while self.slots.len() <= offset {
            self.slots.push_back(None);
        }
        while self.slots.len() > self.limit {
            self.slots.pop_front();
            self.base += 1;
            offset -= 1;
        }
        self.slots.get_mut(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest_and_forgets_the_oldest() {
        let mut ring = Dense::new(1000);
        for index in 500..2000 {
            *ring.slot(index).expect("a newer index has a slot") = Some(index);
        }
        assert_eq!(ring.get(1999), Some(&1999));
        assert_eq!(ring.get(1000), Some(&1000));
        assert_eq!((ring.get(999), ring.get(2000)), (None, None));
        assert!(ring.slot(700).is_none());
        *ring.slot(1_000_000).expect("a far index has a slot") = Some(1);
        assert_eq!((ring.get(1_000_000), ring.get(1999)), (Some(&1), None));
    }
}
