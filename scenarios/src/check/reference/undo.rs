//! What the newest entries changed, so that they can be taken back: unsafe recovery cuts a region's history.
//!
//! Only so much is remembered as the lost end of a log is long. A cut further back, or over a merge, leaves the region's
//! content uncertain, and that of a source which goes on; they are not judged any more.

use std::collections::VecDeque;

use bytes::Bytes;
use node::region::{Epoch, RegionId};

use super::{Content, Reference, State, Version};

/// How many changes are remembered.
const REMEMBERED: usize = 1024;

/// The newest changes of one region.
#[derive(Default)]
pub(super) struct Undo {
    index: u64,
    steps: VecDeque<(u64, Step)>,
    /// Changes of entries up to here are forgotten.
    forgotten: u64,
}

/// What an entry changed.
enum Step {
    Key { key: Bytes, before: Option<Version> },
    Rules(Rules),
    Parted(RegionId),
    Joined,
}

/// What decides how further entries apply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    epoch: Epoch,
    safe_point: u64,
    prepared: Option<u64>,
}

impl Rules {
    pub(super) fn of(content: &Content) -> Rules {
        Rules { epoch: content.epoch, safe_point: content.safe_point, prepared: content.prepared }
    }
}

impl Undo {
    /// The entry at `index` is next.
    pub(super) fn begin(&mut self, index: u64) {
        self.index = index;
    }

    pub(super) fn key(&mut self, key: &Bytes, before: Option<Version>) {
        self.push(Step::Key { key: key.clone(), before });
    }

    /// The rules were these before the entry.
    pub(super) fn rules(&mut self, before: Rules) {
        self.push(Step::Rules(before));
    }

    pub(super) fn parted(&mut self, child: RegionId) {
        self.push(Step::Parted(child));
    }

    pub(super) fn joined(&mut self) {
        self.push(Step::Joined);
    }

    fn push(&mut self, step: Step) {
        self.steps.push_back((self.index, step));
        if self.steps.len() > REMEMBERED
            && let Some((index, _)) = self.steps.pop_front()
        {
            self.forgotten = index;
        }
    }
}

impl Content {
    fn take_back(&mut self, key: &[u8], before: Option<Version>) {
        let now = match before {
            Some(before) => self.keys.insert(key.into(), before),
            None => self.keys.remove(key),
        };
        if let Some(share) = now.and_then(|version| version.share) {
            self.now = State { digest: self.now.digest - share, keys: self.now.keys - 1 };
        }
        if let Some(share) = before.and_then(|version| version.share) {
            self.now = State { digest: self.now.digest + share, keys: self.now.keys + 1 };
        }
    }
}

impl Reference {
    /// Takes a region's entries from `from` on back. The timestamps of the writes that are lost.
    pub fn cut(&mut self, region: RegionId, from: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        if let Some(mut content) = self.regions.remove(&region) {
            if !self.roll_back(&mut content, from, &mut gone) {
                content.certain = false;
                content.keys.clear();
                self.complete = false;
            }
            self.regions.insert(region, content);
        }
        self.lost(|landed_in, index| (landed_in == region && index >= from) || gone.contains(&landed_in))
    }

    /// Nothing of a region is left. The timestamps of the writes that are lost.
    pub fn forget(&mut self, region: RegionId) -> Vec<u64> {
        self.regions.remove(&region);
        self.lost(|landed_in, _| landed_in == region)
    }

    fn lost(&mut self, is_lost: impl Fn(RegionId, u64) -> bool) -> Vec<u64> {
        let lost = self.landed.iter().filter(|(_, landed)| is_lost(landed.region, landed.index));
        let lost: Vec<u64> = lost.map(|(&timestamp, _)| timestamp).collect();
        for timestamp in &lost {
            self.landed.remove(timestamp);
        }
        lost
    }

    /// False when that is not possible.
    fn roll_back(&mut self, content: &mut Content, from: u64, gone: &mut Vec<RegionId>) -> bool {
        let Some(applied) = content.applied.filter(|applied| *applied >= from) else { return content.certain };
        // Entries are counted from 1: a forgotten index of 0 is none.
        if !content.certain || content.taken || (content.undo.forgotten > 0 && content.undo.forgotten >= from) {
            return false;
        }
        while content.undo.steps.back().is_some_and(|(index, _)| *index >= from) {
            let Some((_, step)) = content.undo.steps.pop_back() else { break };
            match step {
                Step::Key { key, before } => content.take_back(&key, before),
                Step::Rules(rules) => {
                    content.epoch = rules.epoch;
                    content.safe_point = rules.safe_point;
                    content.prepared = rules.prepared;
                }
                Step::Parted(child) => {
                    let Some(mut child_content) = self.regions.remove(&child) else { return false };
                    gone.push(child);
                    if !self.roll_back(&mut child_content, 0, gone) {
                        return false;
                    }
                    let now = child_content.now;
                    content.keys.append(&mut child_content.keys);
                    content.now = State { digest: content.now.digest + now.digest, keys: content.now.keys + now.keys };
                }
                Step::Joined => return false,
            }
        }
        let back = usize::try_from(applied + 1 - from.max(1)).unwrap_or(usize::MAX);
        content.recent.truncate(content.recent.len().saturating_sub(back));
        if content.recent.is_empty() {
            content.initial = Some(content.now);
        }
        content.applied = (from > 0).then(|| from - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use node::wire::command::{Body, Command, Mutation, Split, SplitChild, Write};
    use prost::Message as _;

    use super::*;

    fn command(region: RegionId, version: u64, body: Body) -> Bytes {
        let epoch = Epoch { conf_ver: 1, version };
        Command { region, epoch, body: Some(body) }.encode_to_vec().into()
    }

    fn put(region: RegionId, version: u64, key: &'static str, timestamp: u64) -> Bytes {
        let mutation = Mutation { key: key.into(), timestamp, value: Some("v".into()), expect: None };
        command(region, version, Body::Write(Write { mutations: vec![mutation] }))
    }

    #[test]
    fn a_cut_takes_writes_and_splits_back() {
        let mut reference = Reference::new(true);
        reference.create(1, Epoch { conf_ver: 1, version: 1 });
        reference.apply(1, 6, 6, "normal", &put(1, 1, "a", 10));
        reference.apply(1, 7, 6, "normal", &put(1, 1, "z", 11));
        let before = reference.at(1, 7);
        let child = SplitChild { split_key: "m".into(), region: 2, peers: vec![21] };
        reference.apply(1, 8, 6, "normal", &command(1, 1, Body::Split(Split { children: vec![child] })));
        reference.apply(2, 6, 6, "normal", &put(2, 2, "a", 12));
        reference.apply(1, 9, 6, "normal", &put(1, 2, "z", 13));
        assert_eq!(reference.cut(1, 8), [12, 13]);
        assert_eq!((reference.at(1, 7), reference.at(2, 6)), (before, None));
        reference.apply(1, 8, 7, "normal", &put(1, 1, "b", 14));
        assert_eq!(reference.values(1).map(|(_, timestamp)| timestamp).collect::<Vec<_>>(), [10, 14, 11]);
        assert!(reference.is_complete());
    }
}
