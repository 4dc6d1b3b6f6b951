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
const FAULTS: &[&str] =
    &["disk-read", "disk-write", "disk-sync", "frame-dropped", "frame-duplicated", "frame-delayed", "connection-reset"];

/// Steps that do nothing by themselves.
const SILENT: &[&str] = &["note", "heal"];

/// Something that was never reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What kind of thing: `step`, `knob`, `fault`, `failpoint`, `check`.
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
    let fired = |name: &str| totals.faults.contains_key(name);
    let mut gaps = Vec::new();
    let mut look =
        |what: &'static str, names: &mut dyn Iterator<Item = &'static str>, is_reached: &dyn Fn(&str) -> bool| {
            let unreached: BTreeSet<&str> = names.filter(|name| !is_reached(name)).collect();
            gaps.extend(unreached.into_iter().map(|name| Gap { what, name: name.to_owned(), reason: reason(name) }));
        };
    let steps = &mut plan::action::KINDS.iter().map(|kind| kind.name).filter(|name| !SILENT.contains(name));
    look("step", steps, &fired);
    look("fault", &mut FAULTS.iter().copied(), &fired);
    look("knob", &mut plan::knobs::TABLE.iter().map(|row| row.name), &|name| totals.knobs.contains_key(name));
    let vocabulary = registry::vocabulary();
    look("failpoint", &mut vocabulary.sites.into_iter(), &fired);
    look("check", &mut vocabulary.checks.into_iter(), &|name| totals.checks.contains_key(name));
    gaps
}

fn reason(name: &str) -> Option<&'static str> {
    swarm::EXCLUDED.iter().find(|(excluded, _)| *excluded == name).map(|(_, reason)| *reason)
}
