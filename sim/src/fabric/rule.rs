//! Rules over the fabric: a chain in which the first that matches a frame decides its fate.
//!
//! A guard lifts its rules when dropped. Partitions are rules like any other, with a verdict that also meets frames under way.
//!
//! Not in here: how a verdict is carried out.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::Delivery;
use crate::{process::ProcessId, room::Core, seed::Stream};

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It passes, whatever later rules say.
    Pass,
    /// A lossy channel loses it; an ordered connection, which loses nothing, is reset.
    Drop,
    /// It waits until a rule is lifted, and those behind it on an ordered connection with it.
    Stall,
    /// It takes so much longer.
    Delay(Duration),
    /// A lossy channel delivers it twice.
    Duplicate,
    /// It breaks its connection.
    Reset,
    /// There is no way: lossy channels lose, ordered connections stall, connecting waits. Meets frames under way, too.
    Cut,
}

/// Which processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// Every one.
    Any,
    /// One of these.
    These(Vec<ProcessId>),
}

impl Who {
    pub(super) fn is(&self, process: ProcessId) -> bool {
        match self {
            Who::Any => true,
            Who::These(ids) => ids.contains(&process),
        }
    }
}

impl From<ProcessId> for Who {
    fn from(id: ProcessId) -> Self {
        Who::These(vec![id])
    }
}

impl From<&[ProcessId]> for Who {
    fn from(ids: &[ProcessId]) -> Self {
        Who::These(ids.to_vec())
    }
}

/// A frame as a rule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The sender.
    pub from: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    /// What its connection promises.
    pub delivery: Delivery,
    /// Its bytes.
    pub bytes: &'a Bytes,
}

/// Looks at a frame's bytes.
type Filter = Box<dyn FnMut(&Frame<'_>) -> bool + Send>;

/// One rule of the chain.
pub struct Rule {
    from: Who,
    to: Who,
    delivery: Option<Delivery>,
    ratio: (u64, u64),
    times: u64,
    filter: Option<Filter>,
    verdict: Verdict,
}

impl Rule {
    /// A rule for every frame from these to those.
    pub fn new(from: impl Into<Who>, to: impl Into<Who>, verdict: Verdict) -> Self {
        Rule { from: from.into(), to: to.into(), delivery: None, ratio: (1, 1), times: u64::MAX, filter: None, verdict }
    }

    /// Only frames of such connections.
    #[must_use]
    pub fn of(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Only `num` of `den` frames, drawn. Not for [`Verdict::Cut`], which is a state and not a draw.
    #[must_use]
    pub fn in_ratio(mut self, num: u64, den: u64) -> Self {
        self.ratio = (num, den);
        self
    }

    /// At most so many frames.
    #[must_use]
    pub fn at_most(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Only frames that the filter accepts. It is called with the chain locked: it may not change rules.
    #[must_use]
    pub fn only(mut self, filter: impl FnMut(&Frame<'_>) -> bool + Send + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    fn concerns(&self, from: ProcessId, to: ProcessId) -> bool {
        self.from.is(from) && self.to.is(to)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {:?} to {:?}", self.verdict, self.from, self.to)
    }
}

/// The chain, in order of adding.
#[derive(Default)]
pub(crate) struct Chain {
    rules: Vec<(u64, Rule)>,
    next_id: u64,
}

impl Chain {
    pub(crate) fn add(&mut self, rule: Rule) -> u64 {
        self.next_id += 1;
        self.rules.push((self.next_id, rule));
        self.next_id
    }

    pub(crate) fn lift(&mut self, ids: &[u64]) {
        self.rules.retain(|(id, _)| !ids.contains(id));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no way from here to there.
    pub(crate) fn is_cut(&self, from: ProcessId, to: ProcessId) -> bool {
        self.rules.iter().any(|(_, rule)| rule.verdict == Verdict::Cut && rule.concerns(from, to))
    }

    pub(crate) fn judge(&mut self, frame: &Frame<'_>, stream: &mut Stream) -> Verdict {
        for (_, rule) in &mut self.rules {
            let matches = rule.times > 0
                && rule.concerns(frame.from, frame.to)
                && rule.delivery.is_none_or(|delivery| delivery == frame.delivery)
                && rule.filter.as_mut().is_none_or(|filter| filter(frame))
                && (rule.ratio.0 >= rule.ratio.1 || stream.ratio(rule.ratio.0, rule.ratio.1));
            if matches {
                rule.times -= 1;
                return rule.verdict;
            }
        }
        Verdict::Pass
    }
}

/// Keeps rules in place; dropping it lifts them and lets go what they stalled.
#[must_use = "dropping the guard lifts the rule"]
pub struct RuleGuard {
    pub(super) core: Arc<Core>,
    pub(super) ids: Vec<u64>,
}

impl RuleGuard {
    /// Lifts the rules.
    pub fn lift(self) {}

    /// Leaves the rules in place until [`Fabric::heal`](super::Fabric::heal).
    pub fn keep(mut self) {
        self.ids.clear();
    }
}

impl Drop for RuleGuard {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            self.core.lift_rules(&self.ids);
        }
    }
}
