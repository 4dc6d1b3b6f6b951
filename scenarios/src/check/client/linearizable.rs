//! Every key behaves like one register that changes at one moment of each operation.
//!
//! Versions of a key are ordered by their timestamps, because the store refuses a version below the newest one. With the
//! order of writes known, a history is linearizable exactly when no operation that began after another had ended shows
//! an older version than that one did, and nobody sees what was not written: a linear-time judgement at each answer. A
//! definite failure must never be seen; silence may or may not have taken effect. A compare-and-swap must directly
//! follow the version that it expected. A part of a scan is one moment for all of its keys, and not before the writes that
//! it shows began.
//!
//! Reads that found nothing are the one ambiguity: a deletion leaves a version until it is collected, then none. They are
//! placed at the end, when the fates of all deletions are known, each at the oldest deletion that is possible. A deletion
//! of unknown fate counts as possible when time and its own expectation allow it, even where a swap would rule it out:
//! that leaves a doubt to the store, never a false accusation, and spares a search with a budget.
//!
//! What unsafe recovery loses has never been: keys go back to what is left of them. An answer that was asked for before the
//! cut may still show it, as a part of a scan that had to wait for its next region does.
//!
//! Source: Herlihy and Wing 1990; Gibbons and Korach 1997 (known write order); tikv#9208.

mod key;

use std::collections::BTreeMap;

use bytes::Bytes;
use node::region::Region;

use super::super::{
    Check, Entry, Judged, Known, Violation,
    known::ledger::{Fate, Op},
};
use crate::{
    event::{Ask, Body, ClientEvent, Event, Hall, Outcome, Part, Seen},
    verdict::Class,
};
use key::Key;

/// The check's row.
pub const LINEARIZABLE: Entry = Entry {
    name: "linearizable",
    family: "client",
    class: Class::Safety,
    property: "every key behaves like one register that changes at one moment of each operation",
    source: "Herlihy and Wing 1990; tikv#9208",
    hears: &[Hall::Client, Hall::Recovery],
    make: || Box::new(Linearizable::default()),
};

#[derive(Default)]
struct Linearizable {
    keys: BTreeMap<Bytes, Key>,
    /// By timestamp: what was lost, and the event that cut it off.
    lost: BTreeMap<u64, u64>,
    judged: u64,
}

/// One answer: when it was asked for, and the event that is judged.
#[derive(Clone, Copy)]
struct Span {
    invoked: u64,
    returned: u64,
}

impl Linearizable {
    /// A version was shown for a key.
    fn shown(&mut self, span: Span, seen: &Seen, known: &Known) -> Judged {
        self.judged += 1;
        let timestamp = seen.timestamp;
        let version = known.ledger().version(timestamp);
        let name = String::from_utf8_lossy(&seen.key);
        let Some((version, edit)) = version.and_then(|version| Some((version, version.edit(&seen.key)?))) else {
            let detail = format!("a read of `{name}` shows a version at {timestamp} that nobody wrote");
            return Err(Violation::new("version-from-nowhere", detail));
        };
        if version.fate == Fate::Never {
            let detail = format!("a read of `{name}` shows the version at {timestamp}, whose write had failed");
            return Err(Violation::new("failed-write-seen", detail));
        }
        if edit.value != seen.value {
            let detail = format!(
                "a read of `{name}` shows {:x?} at {timestamp}; {:x?} was written there",
                seen.value, edit.value
            );
            return Err(Violation::new("value-differs", detail));
        }
        if self.is_from_before_a_cut(span, timestamp) {
            return Ok(());
        }
        let expect = edit.expect;
        let key = self.keys.entry(seen.key.clone()).or_default();
        key.happened(&seen.key, timestamp, expect, known)?;
        key.read(&seen.key, span, timestamp)
    }

    fn part(&mut self, span: Span, part: &Part, known: &Known) -> Judged {
        // Its moment lies behind the beginning of every write that it shows.
        let begun = part.seen.iter().filter_map(|seen| known.ledger().version(seen.timestamp)).map(|it| it.invoked);
        let moment = Span { invoked: begun.fold(span.invoked, u64::max), ..span };
        for seen in &part.seen {
            if seen.value.is_none() {
                let detail = format!("a scan shows `{}` without a value", String::from_utf8_lossy(&seen.key));
                return Err(Violation::new("tombstone-in-scan", detail));
            }
            self.shown(moment, seen, known)?;
        }
        let from = std::ops::Bound::Included(part.start.clone());
        let end = match part.end.is_empty() {
            true => std::ops::Bound::Unbounded,
            false if part.end <= part.start => return Ok(()),
            false => std::ops::Bound::Excluded(part.end.clone()),
        };
        for (name, key) in self.keys.range_mut((from, end)) {
            if part.seen.binary_search_by(|seen| seen.key.cmp(name)).is_err() {
                self.judged += 1;
                key.read_nothing(name, moment, known)?;
            }
        }
        Ok(())
    }

    fn written(&mut self, span: Span, op: &Op, timestamp: u64, known: &Known) -> Judged {
        let Ask::Write { edits } = &op.ask else { return Ok(()) };
        if !op.stamps().contains(&timestamp) {
            let detail = format!("operation {} was acknowledged at {timestamp}, under which it was never tried", op.op);
            return Err(Violation::new("acknowledged-elsewhere", detail));
        }
        let counts = !self.is_from_before_a_cut(span, timestamp);
        for edit in edits.iter().filter(|_| counts) {
            self.judged += 1;
            let key = self.keys.entry(edit.key.clone()).or_default();
            key.happened(&edit.key, timestamp, edit.expect, known)?;
            key.write(span, timestamp);
        }
        self.failed(op, Some(timestamp))
    }

    /// Whether a version was lost after the answer that shows it had been asked for.
    fn is_from_before_a_cut(&self, span: Span, timestamp: u64) -> bool {
        self.lost.get(&timestamp).is_some_and(|cut| span.invoked < *cut)
    }

    /// These versions are lost, by this event.
    fn forget(&mut self, lost: &[u64], event: u64, known: &Known) {
        for &timestamp in lost {
            self.lost.insert(timestamp, event);
            let Some(version) = known.ledger().version(timestamp) else { continue };
            for edit in version.edits.iter() {
                if let Some(key) = self.keys.get_mut(&edit.key) {
                    key.forget(timestamp);
                }
            }
        }
    }

    /// All versions in a range are lost, by this event. Some were written in a region that is left, before a split.
    fn forget_all(&mut self, region: &Region, event: u64) {
        let inside = self.keys.range_mut(region.start.clone()..);
        for (_, key) in inside.take_while(|(name, _)| region.end.is_empty() || **name < region.end) {
            for timestamp in key.versions() {
                self.lost.insert(timestamp, event);
                key.forget(timestamp);
            }
        }
    }

    /// None of the operation's timestamps but `except` may have been seen.
    fn failed(&mut self, op: &Op, except: Option<u64>) -> Judged {
        let Ask::Write { edits } = &op.ask else { return Ok(()) };
        for (edit, stamp) in edits.iter().flat_map(|edit| op.stamps().iter().map(move |stamp| (edit, *stamp))) {
            if Some(stamp) != except && self.keys.get(&edit.key).is_some_and(|key| key.has_happened(stamp)) {
                let name = String::from_utf8_lossy(&edit.key);
                let detail = format!("the write of `{name}` at {stamp} failed, and it has been seen");
                return Err(Violation::new("failed-write-seen", detail));
            }
        }
        Ok(())
    }
}

impl Check for Linearizable {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if let Some(cut) = known.cuts().made() {
            self.forget(&cut.lost, event.seq, known);
            if let Some(region) = &cut.emptied {
                self.forget_all(region, event.seq);
            }
            return Ok(());
        }
        let (op, outcome) = match &event.body {
            Body::Client(ClientEvent::Stamped { timestamp, .. }) => {
                let Some(version) = known.ledger().version(*timestamp) else { return Ok(()) };
                for edit in version.edits.iter() {
                    self.keys.entry(edit.key.clone()).or_default().stamped(edit, *timestamp);
                }
                return Ok(());
            }
            Body::Client(ClientEvent::Returned { op, outcome, .. }) => (op, outcome),
            _ => return Ok(()),
        };
        let Some(op) = known.ledger().ended(*op) else { return Ok(()) };
        let span = Span { invoked: op.invoked, returned: event.seq };
        match outcome {
            Outcome::Written { timestamp } => self.written(span, op, *timestamp, known),
            Outcome::Got(seen) if seen.timestamp == 0 => {
                self.judged += 1;
                self.keys.entry(seen.key.clone()).or_default().read_nothing(&seen.key, span, known)
            }
            Outcome::Got(seen) => self.shown(span, seen, known),
            Outcome::Scanned { parts } => parts.iter().try_for_each(|part| self.part(span, part, known)),
            Outcome::Failed { found, .. } => {
                self.failed(op, None)?;
                let Ask::Write { edits } = &op.ask else { return Ok(()) };
                match (&edits[..], found) {
                    ([edit], Some(0)) => {
                        self.keys.entry(edit.key.clone()).or_default().read_nothing(&edit.key, span, known)
                    }
                    ([edit], Some(found)) => {
                        let version = known.ledger().version(*found);
                        let value = version.and_then(|version| version.edit(&edit.key)?.value);
                        let seen = Seen { key: edit.key.clone(), timestamp: *found, value };
                        self.shown(span, &seen, known)
                    }
                    _ => Ok(()),
                }
            }
            Outcome::Unknown => Ok(()),
        }
    }

    fn finish(&mut self, known: &Known) -> Judged {
        self.keys.iter_mut().try_for_each(|(name, key)| key.settle(name, known))
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
