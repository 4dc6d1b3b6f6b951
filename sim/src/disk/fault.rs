//! Faults of a disk, beside its bytes and never in them.
//!
//! A rule says which calls on which paths it hits, how often, and with what. What it spoils is computed when it is read, or kept as a
//! patch that covers the true bytes; lifting the rule takes exactly that away again.
//!
//! Not in here: what a crash leaves. A node has to survive that; of these it has to survive some.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::file::SECTOR_BYTES;
use crate::{
    event::DiskOp,
    seed::{Seed, Stream},
};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The call fails with this error number (`libc::EIO`, `libc::ENOSPC`). What a failed sync should have covered is never durable.
    Error(i32),
    /// A read gives fewer bytes than it could.
    ShortRead,
    /// The call takes so much longer.
    Stall(Duration),
    /// Bytes `offset..offset + len` read wrong.
    RotAt {
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// So many sectors in a million have a byte that reads wrong.
    Rot {
        /// Of a million sectors.
        sectors_per_million: u32,
    },
    /// A write is confirmed, and the medium keeps what it had.
    LostWrite,
    /// A write is confirmed, and lands elsewhere in the same file.
    MisdirectedWrite,
    /// A sync is confirmed, and nothing was made durable by it.
    FalseSync,
}

impl Fault {
    fn concerns(&self, op: DiskOp) -> bool {
        match self {
            Fault::Error(_) | Fault::Stall(_) => true,
            Fault::ShortRead | Fault::RotAt { .. } | Fault::Rot { .. } => op == DiskOp::Read,
            Fault::LostWrite | Fault::MisdirectedWrite => matches!(op, DiskOp::Write | DiskOp::Append),
            Fault::FalseSync => matches!(op, DiskOp::Sync | DiskOp::SyncDir),
        }
    }
}

/// Which calls are hit, how often, and with what.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// The calls; empty for all that the fault can concern.
    pub ops: Vec<DiskOp>,
    /// The paths: a path in which `*` stands for any text.
    pub paths: Arc<str>,
    /// Of so many matching calls …
    pub ratio_of: u64,
    /// … so many are hit.
    pub ratio: u64,
    /// At most so many hits.
    pub times: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl FaultRule {
    /// A rule that hits every call on these paths that the fault can concern.
    pub fn new(paths: &str, fault: Fault) -> Self {
        FaultRule { ops: Vec::new(), paths: paths.into(), ratio: 1, ratio_of: 1, times: u64::MAX, fault }
    }

    /// Only these calls.
    #[must_use]
    pub fn on(mut self, ops: &[DiskOp]) -> Self {
        self.ops = ops.to_vec();
        self
    }

    /// Only `num` of `den` calls, drawn.
    #[must_use]
    pub fn in_ratio(mut self, num: u64, den: u64) -> Self {
        (self.ratio, self.ratio_of) = (num, den);
        self
    }

    /// At most so many hits.
    #[must_use]
    pub fn at_most(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// Whether a path matches a pattern in which `*` stands for any text, slashes included.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(tail, &rest[at..]))),
    }
}

struct Active {
    id: u64,
    rule: FaultRule,
}

/// The rules of one disk.
pub(crate) struct Faults {
    state: Mutex<State>,
    seed: Seed,
}

struct State {
    active: Vec<Active>,
    next_id: u64,
    stream: Stream,
}

/// What the rules have in store for one call.
#[derive(Default, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) stall_ns: u64,
    /// The first rule that hit with something other than a stall or rot.
    pub(crate) fault: Option<(u64, Fault)>,
}

impl Faults {
    pub(crate) fn new(seed: Seed) -> Self {
        Faults { state: Mutex::new(State { active: Vec::new(), next_id: 1, stream: seed.stream() }), seed }
    }

    pub(crate) fn add(&self, rule: FaultRule) -> u64 {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.active.push(Active { id, rule });
        id
    }

    pub(crate) fn lift(&self, id: u64) {
        self.state.lock().active.retain(|active| active.id != id);
    }

    pub(crate) fn clear(&self) {
        self.state.lock().active.clear();
    }

    pub(crate) fn hit(&self, op: DiskOp, paths: [&str; 2]) -> Hit {
        let mut state = self.state.lock();
        let State { active, stream, .. } = &mut *state;
        let mut hit = Hit::default();
        for Active { id, rule } in active.iter_mut() {
            let chosen = rule.ops.is_empty() || rule.ops.contains(&op);
            if !chosen
                || rule.times == 0
                || !rule.fault.concerns(op)
                || matches!(rule.fault, Fault::Rot { .. } | Fault::RotAt { .. })
            {
                continue;
            }
            if !paths.iter().any(|path| matches(&rule.paths, path)) || !stream.ratio(rule.ratio, rule.ratio_of) {
                continue;
            }
            if let Fault::Stall(stall) = rule.fault {
                rule.times -= 1;
                hit.stall_ns += stall.as_nanos() as u64;
            } else if hit.fault.is_none() {
                rule.times -= 1;
                hit.fault = Some((*id, rule.fault));
            }
        }
        hit
    }

    /// Spoils bytes that were read at `offset` of a file. True if any byte is another now.
    pub(crate) fn rot(&self, path: &str, inode: u64, offset: u64, bytes: &mut [u8]) -> bool {
        let state = self.state.lock();
        let end = offset + bytes.len() as u64;
        let mut rotten = false;
        for Active { id, rule } in state.active.iter().filter(|active| matches(&active.rule.paths, path)) {
            let seed = self.seed.split("rot").split(*id).split(inode);
            let mut flip = |position: u64, by: u64| {
                if (offset..end).contains(&position) {
                    bytes[(position - offset) as usize] ^= (by as u8) | 1;
                    rotten = true;
                }
            };
            match rule.fault {
                Fault::RotAt { offset: from, len } => {
                    for position in from.max(offset)..from.saturating_add(len).min(end) {
                        flip(position, seed.split(position).value());
                    }
                }
                Fault::Rot { sectors_per_million } => {
                    for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
                        let mut stream = seed.split(sector).stream();
                        if stream.ratio(u64::from(sectors_per_million), 1_000_000) {
                            flip(sector * SECTOR_BYTES + stream.below(SECTOR_BYTES), stream.next_u64());
                        }
                    }
                }
                _ => {}
            }
        }
        rotten
    }

    /// Where a misdirected write of `len` bytes lands.
    pub(crate) fn misdirect(&self, len: u64, file_len: u64) -> u64 {
        self.state.lock().stream.below(file_len.saturating_sub(len) + 1)
    }

    pub(crate) fn short(&self, len: u64) -> u64 {
        self.state.lock().stream.below(len.max(1))
    }
}

/// What covers the true bytes of one file.
#[derive(Default)]
pub(crate) struct Patches {
    patches: Vec<Patch>,
}

struct Patch {
    rule: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Patches {
    pub(crate) fn cover(&mut self, rule: u64, offset: u64, bytes: Vec<u8>) {
        self.patches.push(Patch { rule, offset, bytes });
    }

    /// A good write took place: it reads as written.
    pub(crate) fn uncover(&mut self, offset: u64, len: u64) {
        if self.patches.is_empty() {
            return;
        }
        let end = offset + len;
        let mut rest = Vec::new();
        for patch in self.patches.drain(..) {
            let patch_end = patch.offset + patch.bytes.len() as u64;
            if patch_end <= offset || patch.offset >= end {
                rest.push(patch);
                continue;
            }
            if patch.offset < offset {
                let bytes = patch.bytes[..(offset - patch.offset) as usize].to_vec();
                rest.push(Patch { rule: patch.rule, offset: patch.offset, bytes });
            }
            if patch_end > end {
                let bytes = patch.bytes[(end - patch.offset) as usize..].to_vec();
                rest.push(Patch { rule: patch.rule, offset: end, bytes });
            }
        }
        self.patches = rest;
    }

    pub(crate) fn lift(&mut self, rule: u64) {
        self.patches.retain(|patch| patch.rule != rule);
    }

    pub(crate) fn clear(&mut self) {
        self.patches.clear();
    }

    /// Covers bytes that were read at `offset`. True if any byte is another now.
    pub(crate) fn apply(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let end = offset + bytes.len() as u64;
        let mut changed = false;
        for patch in &self.patches {
            let from = patch.offset.max(offset);
            let to = (patch.offset + patch.bytes.len() as u64).min(end);
            if from < to {
                let source = &patch.bytes[(from - patch.offset) as usize..(to - patch.offset) as usize];
                let target = &mut bytes[(from - offset) as usize..(to - offset) as usize];
                changed |= source != &*target;
                target.copy_from_slice(source);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_any_text() {
        for (pattern, path, matched) in [
            ("a/b", "a/b", true),
            ("*", "x/y", true),
            ("a/*", "b/a/c", false),
            ("*.sst", "db/1.sst", true),
            ("r*/*.log", "raft/7.log", true),
        ] {
            assert_eq!(matches(pattern, path), matched, "{pattern} {path}");
        }
    }

    #[test]
    fn a_good_write_uncovers_only_what_it_covers() {
        let mut patches = Patches::default();
        patches.cover(1, 10, vec![9; 10]);
        patches.uncover(13, 4);
        let mut bytes = [0; 30];
        assert!(patches.apply(0, &mut bytes));
        let spoiled: Vec<usize> = (0..30).filter(|&at| bytes[at] == 9).collect();
        assert_eq!(spoiled, [10, 11, 12, 17, 18, 19]);
        patches.lift(1);
        assert!(!patches.apply(0, &mut [0; 30]));
    }
}
