//! What a crash may leave of what was pending.
//!
//! Everything that was synced survives every crash. Of the rest, a real disk keeps whatever it had got around to: nothing, the changes
//! up to some moment, single sectors in any combination, a write torn inside. Each mode here draws one of those from the seed.
//!
//! Not in here: loss of synced bytes; that is a fault, not a crash.

use super::file::SECTOR_BYTES;
use crate::seed::Stream;

/// Which of the states that a crash may leave is chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CrashKeep {
    /// Only what was synced.
    Nothing,
    /// All changes of the whole disk up to a drawn moment, the last one perhaps torn.
    Prefix,
    /// Any subset of the 512-byte sectors and of the names.
    Sectors,
    /// All of it.
    Everything,
    /// One of the others, drawn.
    Seeded,
}

/// Decides change by change.
pub(crate) struct Chooser {
    mode: Mode,
    stream: Stream,
}

#[derive(Clone, Copy)]
enum Mode {
    Nothing,
    /// Changes before this sequence number survive; the one of this number may be torn.
    Before(u64),
    Sectors,
    Everything,
}

impl Chooser {
    /// A chooser over the changes of these sequence numbers.
    pub(crate) fn new(keep: CrashKeep, mut stream: Stream, pending: &[u64]) -> Self {
        let keep = match keep {
            CrashKeep::Seeded => {
                let modes = [CrashKeep::Nothing, CrashKeep::Prefix, CrashKeep::Sectors, CrashKeep::Everything];
                modes[stream.below(4) as usize]
            }
            other => other,
        };
        let mode = match keep {
            CrashKeep::Nothing => Mode::Nothing,
            CrashKeep::Prefix => stream.pick(pending).map_or(Mode::Nothing, |&cut| Mode::Before(cut)),
            CrashKeep::Sectors => Mode::Sectors,
            CrashKeep::Everything | CrashKeep::Seeded => Mode::Everything,
        };
        Chooser { mode, stream }
    }

    /// Whether a change that cannot be torn survives: a name, a length.
    pub(crate) fn whole(&mut self, sequence: u64) -> bool {
        match self.mode {
            Mode::Nothing => false,
            Mode::Before(cut) => sequence < cut || (sequence == cut && self.stream.ratio(1, 2)),
            Mode::Sectors => self.stream.ratio(1, 2),
            Mode::Everything => true,
        }
    }

    /// Names the pieces `start..end` of a write of `len` bytes at `offset` that survive.
    pub(crate) fn pieces(&mut self, sequence: u64, offset: u64, len: u64, mut keep: impl FnMut(u64, u64)) {
        let end = offset + len;
        match self.mode {
            Mode::Nothing => {}
            Mode::Everything => keep(offset, end),
            Mode::Before(cut) if sequence < cut => keep(offset, end),
            Mode::Before(cut) if sequence == cut => {
                let torn = offset + self.stream.range(0..=len);
                if torn > offset {
                    keep(offset, torn);
                }
            }
            Mode::Before(_) => {}
            Mode::Sectors => {
                let mut start = offset;
                while start < end {
                    let next = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                    if self.stream.ratio(1, 2) {
                        keep(start, next);
                    }
                    start = next;
                }
            }
        }
    }
}
