//! What a campaign never reached, of everything that there is, and the reason where one is known.
//!
//! A kind of step, a knob or a fault of the machine that never did anything in a large campaign is a hole in the
//! generator: such a campaign has failed. What the generator leaves out on purpose it says itself, with the reason.

use std::collections::BTreeSet;

use scenarios::{plan, registry, swarm};
use serde::Serialize;

use super::Totals;

/// A campaign of fewer runs may miss something by chance: with one half in each plan for a kind, and a tenth of those in
/// which it finds its occasion, it is missed by two hundred runs once in thirty thousand times.
pub const RUNS_MIN: u64 = 200;

/// What the room does to disks and connections, as runs count it.
const FAULTS: &[&str] = &[
    "disk-read",
    "disk-write",
    "disk-sync",
    "disk-name",
    "frame-dropped",
    "frame-duplicated",
    "frame-delayed",
    "frame-stalled",
    "connection-reset",
];

/// Steps that only end what others began.
const SILENT: &[&str] = &["heal"];

/// Something that was never reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What kind of thing: `step`, `knob`, `fault`, `failpoint`, `check`, or `operation` for one that was asked for and never came about.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Why that may be so; `None` if nobody said.
    pub reason: Option<&'static str>,
}

impl Gap {
    /// Whether a large campaign may not have it.
    pub fn is_hole(&self) -> bool {
        self.reason.is_none() && matches!(self.what, "step" | "knob" | "fault")
    }
}

/// All gaps of a campaign of the swarm.
pub fn gaps(totals: &Totals) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut look =
        |what: &'static str, names: &mut dyn Iterator<Item = &'static str>, is_reached: &dyn Fn(&str) -> bool| {
            let unreached: BTreeSet<&str> = names.filter(|name| !is_reached(name)).collect();
            gaps.extend(unreached.into_iter().map(|name| Gap { what, name: name.to_owned(), reason: reason(name) }));
        };
    let steps = &mut plan::action::KINDS.iter().map(|kind| kind.name).filter(|name| !SILENT.contains(name));
    look("step", steps, &|name| totals.steps_done.contains_key(name));
    // How a disk fails beyond what a node promises to survive.
    let beyond = swarm::EXCLUDED.iter().map(|(name, _)| *name).filter(|name| name.starts_with("disk-fault "));
    look("fault", &mut FAULTS.iter().copied().chain(beyond), &|name| totals.faults.contains_key(name));
    look("knob", &mut plan::knobs::TABLE.iter().map(|row| row.name), &|name| totals.knobs.contains_key(name));
    let vocabulary = registry::vocabulary();
    look("failpoint", &mut vocabulary.sites.into_iter(), &|name| totals.points_reached.contains_key(name));
    look("check", &mut vocabulary.checks.into_iter(), &|name| totals.checks.contains_key(name));
    let in_vain = totals.operations_by_kind.iter().filter(|(_, asked)| asked.succeeded == 0);
    gaps.extend(in_vain.map(|(kind, _)| Gap { what: "operation", name: kind.clone(), reason: reason(kind) }));
    gaps
}

fn reason(name: &str) -> Option<&'static str> {
    let known = swarm::EXCLUDED.iter().chain(swarm::KNOBS_LEFT);
    known.into_iter().find(|(excluded, _)| *excluded == name).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_reached_is_a_hole_unless_somebody_says_why() {
        let mut totals = Totals::default();
        let nothing = gaps(&totals);
        let find = |gaps: &[Gap], name: &str| gaps.iter().find(|gap| gap.name == name).cloned();
        assert!(find(&nothing, "bounce").is_some_and(|gap| gap.is_hole()));
        assert!(find(&nothing, "remove-files").is_some_and(|gap| gap.reason.is_some() && !gap.is_hole()));
        assert!(find(&nothing, "raft.log-cache").is_some_and(|gap| gap.what == "knob" && !gap.is_hole()));
        assert!(find(&nothing, "connection-reset").is_some_and(|gap| gap.what == "fault" && gap.is_hole()));
        assert!(find(&nothing, "disk-fault rot").is_some_and(|gap| gap.what == "fault" && !gap.is_hole()));
        assert!(find(&nothing, "one-lease").is_some_and(|gap| gap.what == "check" && !gap.is_hole()));
        totals.steps_done.insert("bounce".to_owned(), 1);
        totals.operations_by_kind.insert("scan".to_owned(), scenarios::witness::Asked { asked: 3, succeeded: 0 });
        let some = gaps(&totals);
        assert_eq!(find(&some, "bounce"), None);
        assert_eq!(find(&some, "scan").map(|gap| gap.what), Some("operation"));
    }
}
