//! How long something takes: drawn evenly from a range, and now and then from a longer one.

use crate::seed::Stream;

/// A distribution of durations, in nanoseconds of true time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    /// At least.
    pub min_ns: u64,
    /// At most, ordinarily.
    pub max_ns: u64,
    /// One in so many takes up to `tail_max_ns`; 0 for none.
    pub tail_one_in: u64,
    /// At most, then.
    pub tail_max_ns: u64,
}

impl Latency {
    /// No time at all.
    pub const NONE: Latency = Latency::between(0, 0);

    /// Evenly between the two.
    pub const fn between(min_ns: u64, max_ns: u64) -> Self {
        Latency { min_ns, max_ns, tail_one_in: 0, tail_max_ns: 0 }
    }

    /// One in so many takes up to `tail_max_ns` instead.
    #[must_use]
    pub const fn with_tail(mut self, one_in: u64, tail_max_ns: u64) -> Self {
        (self.tail_one_in, self.tail_max_ns) = (one_in, tail_max_ns);
        self
    }

    pub(crate) fn draw(&self, stream: &mut Stream) -> u64 {
        if self.tail_one_in > 0 && stream.ratio(1, self.tail_one_in) {
            return stream.range(self.max_ns..=self.tail_max_ns.max(self.max_ns));
        }
        if self.max_ns > self.min_ns { stream.range(self.min_ns..=self.max_ns) } else { self.min_ns }
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}
