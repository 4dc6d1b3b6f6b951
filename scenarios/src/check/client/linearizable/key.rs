//! One key's register: which versions happened, and how far time had come when.

use std::collections::BTreeMap;

use super::{Fate, Judged, Known, Span, Violation};
use crate::event::Edit;

/// A key's history.
#[derive(Default)]
pub(super) struct Key {
    /// Versions that are known to have taken effect, with what they expected.
    happened: BTreeMap<u64, Option<u64>>,
    /// Deletions that were tried, by timestamp.
    deletions: Vec<u64>,
    /// The newest version shown by an answer up to an event: ascending in both.
    floors: Vec<(u64, u64)>,
    /// Set by the first read that found nothing after something had been shown.
    unsettled: Option<Unsettled>,
}

/// What has to be judged again at the end.
struct Unsettled {
    /// The floors until then.
    floors: Vec<(u64, u64)>,
    /// All answers from then on.
    answers: Vec<Answer>,
}

/// An answer that counts in time.
#[derive(Clone, Copy)]
struct Answer {
    span: Span,
    /// None for a read that found nothing.
    timestamp: Option<u64>,
}

impl Key {
    pub(super) fn stamped(&mut self, edit: &Edit, timestamp: u64) {
        if edit.value.is_none() {
            self.deletions.push(timestamp);
        }
    }

    /// A version is lost with all that came behind it; it may be written again.
    pub(super) fn forget(&mut self, timestamp: u64) {
        self.happened.remove(&timestamp);
        self.floors.retain(|(_, shown)| *shown != timestamp);
        self.unsettled = None;
    }

    /// All versions that have taken effect or were shown.
    pub(super) fn versions(&self) -> Vec<u64> {
        let shown = self.floors.iter().map(|(_, shown)| *shown);
        self.happened.keys().copied().chain(shown).collect()
    }

    pub(super) fn has_happened(&self, timestamp: u64) -> bool {
        self.happened.contains_key(&timestamp)
    }

    /// A version has taken effect: it fits between its neighbours.
    pub(super) fn happened(&mut self, name: &[u8], timestamp: u64, expect: Option<u64>, known: &Known) -> Judged {
        if self.happened.insert(timestamp, expect).is_some() {
            return Ok(());
        }
        Key::not_behind(name, &self.floors, timestamp, known)?;
        // What a compare-and-swap expected has happened, too.
        if let Some(before) = expect.filter(|before| *before != 0) {
            let version = known.ledger().version(before);
            let edit = version.filter(|it| it.fate != Fate::Never).and_then(|it| it.edit(name));
            let Some(edit) = edit.filter(|edit| edit.value.is_some() && before < timestamp) else {
                let name = String::from_utf8_lossy(name);
                let detail = format!("`{name}`: the swap at {timestamp} succeeded on {before}, which no write made");
                return Err(Violation::new("swapped-from-nowhere", detail));
            };
            self.happened(name, before, edit.expect, known)?;
        }
        let before = self.happened.range(..timestamp).next_back().map(|(stamp, _)| *stamp);
        let after = self.happened.range(timestamp + 1..).next().map(|(stamp, expect)| (*stamp, *expect));
        let between = |swap: u64, expected: u64, other: u64| {
            let name = String::from_utf8_lossy(name);
            let detail = format!("`{name}`: the swap at {swap} succeeded on {expected}, over the version at {other}");
            Err(Violation::new("swapped-over", detail))
        };
        match (expect, before) {
            (Some(expected), Some(other)) if expected != 0 && other != expected => {
                return between(timestamp, expected, other);
            }
            _ => {}
        }
        match after {
            Some((swap, Some(expected))) if expected != 0 && expected != timestamp => {
                between(swap, expected, timestamp)
            }
            _ => Ok(()),
        }
    }

    /// The newest version shown by an answer that came before the event.
    fn floor(floors: &[(u64, u64)], event: u64) -> u64 {
        // From the newest on: what is asked about began a moment ago.
        floors.iter().rev().find(|(seq, _)| *seq < event).map_or(0, |(_, timestamp)| *timestamp)
    }

    fn raise(floors: &mut Vec<(u64, u64)>, event: u64, timestamp: u64) {
        if floors.last().is_none_or(|(_, newest)| *newest < timestamp) {
            floors.push((event, timestamp));
        }
    }

    /// A version that took effect is newer than all that had been shown before its write began.
    fn not_behind(name: &[u8], floors: &[(u64, u64)], timestamp: u64, known: &Known) -> Judged {
        let Some(version) = known.ledger().version(timestamp) else { return Ok(()) };
        let floor = Key::floor(floors, version.invoked);
        if timestamp > floor {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name);
        let detail = format!("a write of `{name}` took effect at {timestamp} and began after {floor} had been shown");
        Err(Violation::new("write-behind", detail))
    }

    fn answered(&mut self, answer: Answer) {
        if let Some(unsettled) = &mut self.unsettled {
            unsettled.answers.push(answer);
        }
    }

    /// A read showed a version.
    pub(super) fn read(&mut self, name: &[u8], span: Span, timestamp: u64) -> Judged {
        let floor = Key::floor(&self.floors, span.invoked);
        if timestamp < floor {
            let name = String::from_utf8_lossy(name);
            let detail = format!("a read of `{name}` shows the version at {timestamp} after {floor} had been shown");
            return Err(Violation::new("stale-read", detail));
        }
        Key::raise(&mut self.floors, span.returned, timestamp);
        self.answered(Answer { span, timestamp: Some(timestamp) });
        Ok(())
    }

    /// A write was acknowledged.
    pub(super) fn write(&mut self, span: Span, timestamp: u64) {
        Key::raise(&mut self.floors, span.returned, timestamp);
        self.answered(Answer { span, timestamp: Some(timestamp) });
    }

    /// A read found nothing: that is at the beginning, or behind a deletion.
    pub(super) fn read_nothing(&mut self, name: &[u8], span: Span, known: &Known) -> Judged {
        let floor = Key::floor(&self.floors, span.invoked);
        if floor == 0 {
            return Ok(());
        }
        if self.unsettled.is_none() {
            self.unsettled = Some(Unsettled { floors: self.floors.clone(), answers: Vec::new() });
        }
        self.answered(Answer { span, timestamp: None });
        match self.nothing_at(name, floor, span, known) {
            Some(_) => Ok(()),
            None => Err(vanished(name, floor)),
        }
    }

    /// The oldest version at or above `floor` as of which a read may find nothing.
    fn nothing_at(&self, name: &[u8], floor: u64, span: Span, known: &Known) -> Option<u64> {
        let stamps = self.deletions.iter().copied().filter(|stamp| *stamp >= floor);
        stamps.filter(|stamp| self.may_delete(*stamp, floor, span.returned, name, known)).min()
    }

    /// Whether the deletion at a timestamp may have taken effect over a version at or above `floor`, before an event.
    fn may_delete(&self, stamp: u64, floor: u64, before: u64, name: &[u8], known: &Known) -> bool {
        let version = known.ledger().version(stamp);
        let Some(version) = version.filter(|it| it.fate != Fate::Never && it.stamped < before) else { return false };
        let expect = version.edit(name).and_then(|edit| edit.expect);
        // One at the floor itself has been shown, or a read has been placed behind it.
        stamp == floor || self.has_happened(stamp) || expect.is_none_or(|expect| expect >= floor.max(1))
    }

    /// Places the reads that found nothing, now that the fates of all deletions are known, and judges the swaps that
    /// expected nothing.
    pub(super) fn settle(&mut self, name: &[u8], known: &Known) -> Judged {
        self.settle_swaps(name, known)?;
        let Some(unsettled) = &self.unsettled else { return Ok(()) };
        let mut floors = unsettled.floors.clone();
        for answer in &unsettled.answers {
            let floor = Key::floor(&floors, answer.span.invoked);
            let timestamp = match answer.timestamp {
                Some(timestamp) if timestamp >= floor => timestamp,
                Some(timestamp) => {
                    let name = String::from_utf8_lossy(name);
                    let detail =
                        format!("`{name}` shows the version at {timestamp} after it had been deleted at {floor}");
                    return Err(Violation::new("deleted-and-back", detail));
                }
                None => self.nothing_at(name, floor, answer.span, known).ok_or_else(|| vanished(name, floor))?,
            };
            Key::raise(&mut floors, answer.span.returned, timestamp);
        }
        self.happened.keys().try_for_each(|timestamp| Key::not_behind(name, &floors, *timestamp, known))
    }

    fn settle_swaps(&self, name: &[u8], known: &Known) -> Judged {
        let mut before = None;
        for (&timestamp, expect) in &self.happened {
            if let (Some(0), Some(other)) = (expect, before) {
                let gone = |stamp: &u64| {
                    (other..timestamp).contains(stamp) && self.may_delete(*stamp, other, u64::MAX, name, known)
                };
                if !self.deletions.iter().any(gone) {
                    let name = String::from_utf8_lossy(name);
                    let detail =
                        format!("`{name}`: the swap at {timestamp} succeeded on nothing, over the value at {other}");
                    return Err(Violation::new("swapped-over", detail));
                }
            }
            before = Some(timestamp);
        }
        Ok(())
    }
}

fn vanished(name: &[u8], floor: u64) -> Box<Violation> {
    let name = String::from_utf8_lossy(name);
    Violation::new("value-vanished", format!("a read of `{name}` found nothing after {floor} had been shown"))
}
