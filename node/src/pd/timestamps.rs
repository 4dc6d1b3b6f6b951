//! Numbers that are given out once and grow: timestamps and ids.
//!
//! Both save a bound ahead of what they give out, and begin behind the saved bound after a restart, so that most
//! requests need no disk and none is ever answered twice with the same number.
//!
//! A timestamp is the wall time in milliseconds followed by 18 bits of a counter, and at least one more than the last:
//! a wall clock that steps back makes timestamps grow by counting, one that leaps ahead takes them along.

use std::time::Duration;

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 18;
/// At most so many timestamps or ids in one request.
const COUNT_MAX: u64 = 1 << 20;

/// The first timestamp of the millisecond at `wall_ns` nanoseconds since the Unix epoch.
pub fn timestamp_at(wall_ns: u64) -> u64 {
    (wall_ns / 1_000_000) << COUNTER_BITS
}

/// As timestamps are spaced: so much later.
pub fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> COUNTER_BITS) << COUNTER_BITS
}

/// A time as clocks count it.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives out growing numbers below a saved bound.
#[derive(Debug)]
pub(super) struct Sequence {
    last: u64,
    saved: u64,
    ahead: u64,
}

/// Consecutive numbers, and the bound to make durable before anybody sees them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub first: u64,
    pub save: Option<u64>,
}

impl Sequence {
    /// Goes on behind `saved`, the last bound that was made durable; saves `ahead` more than is needed at a time.
    pub(super) fn resume(saved: u64, ahead: u64) -> Sequence {
        Sequence { last: saved, saved, ahead }
    }

    /// The next `count` numbers, none below `least`; `None` for none or far too many.
    pub(super) fn give(&mut self, count: u64, least: u64) -> Option<Given> {
        if count == 0 || count > COUNT_MAX {
            return None;
        }
        let first = self.last.checked_add(1)?.max(least);
        self.last = first.checked_add(count - 1)?;
        let save = (self.last > self.saved).then(|| {
            self.saved = self.last.saturating_add(self.ahead);
            self.saved
        });
        Some(Given { first, save })
    }

    /// The last number given out.
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_across_restarts_whatever_the_wall_clock_does() {
        let mut durable = 0;
        let mut highest = 0;
        // Wall times that leap ahead, step back, and stand still; a restart after each round.
        for round in [[1_000, 1_001], [9_000, 2_000], [5, 5], [9_001, 9_000]] {
            let mut stamps = Sequence::resume(durable, span(Duration::from_secs(3)));
            for wall_ms in round {
                let given = stamps.give(10, timestamp_at(wall_ms * 1_000_000)).expect("ten is a fair number");
                durable = given.save.unwrap_or(durable);
                assert!(given.first > highest, "{} after {highest}", given.first);
                highest = given.first + 9;
                assert!(highest <= durable, "{highest} was given out above the durable bound {durable}");
            }
        }
    }

    #[test]
    fn the_bound_is_saved_once_a_window() {
        let mut ids = Sequence::resume(0, 100);
        let saved: Vec<_> = (0..150).filter_map(|_| ids.give(1, 0).expect("one is a fair number").save).collect();
        assert_eq!(saved, [101, 202]);
        assert_eq!(ids.last(), 150);
        assert_eq!(ids.give(0, 0), None);
        assert_eq!(ids.give(COUNT_MAX + 1, 0), None);
    }
}
