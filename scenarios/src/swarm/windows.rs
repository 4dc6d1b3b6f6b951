//! When nothing happens: quiet windows, and time to recover after a crash or a partition.
//!
//! Some states are only reached by a cluster that is left alone: logs are compacted, regions sleep, repairs end.

use sim::Stream;

use super::kinds::Kind;
use crate::plan::{Action, Nanos, Plan};

/// A thing to happen.
pub(super) type Event = (Nanos, &'static Kind, Action);

/// The windows of one plan.
pub(super) struct Windows {
    quiet: Vec<(Nanos, Nanos)>,
    /// After a crash or a partition nothing else happens for so long.
    stability: Nanos,
}

impl Windows {
    /// None to two quiet windows; time to recover in half of the plans.
    pub(super) fn draw(plan: &Plan, stream: &mut Stream) -> Windows {
        let last_ms = plan.workload.lasting.0 / 1_000_000;
        let mut quiet = Vec::new();
        for _ in 0..stream.below(3) {
            let from = stream.range(0..=last_ms);
            quiet.push((Nanos::millis(from), Nanos::millis(from + stream.range(500..=last_ms / 3))));
        }
        let stability = if stream.ratio(1, 2) { Nanos::millis(stream.range(200..=3_000)) } else { Nanos::ZERO };
        Windows { quiet, stability }
    }

    /// Without what falls into a window. The events come in order of time.
    pub(super) fn leave_alone(&self, events: Vec<Event>) -> Vec<Event> {
        let mut calm_until = Nanos::ZERO;
        let mut kept = Vec::new();
        for (at, kind, action) in events {
            let is_quiet = self.quiet.iter().any(|(from, to)| (*from..*to).contains(&at));
            if is_quiet || at < calm_until {
                continue;
            }
            if kind.is_shock {
                calm_until = Nanos(at.0 + self.stability.0);
            }
            kept.push((at, kind, action));
        }
        kept
    }
}
