//! The trace of a run: every step numbered and hashed, the last thirty kept, all of them only when asked.
//!
//! A run can be had again, so nothing is stored that nobody reads. The hash covers frames with their bytes, disk calls with their
//! results, timers, processes, clocks and facts, each with its time. It depends on no address, task id, host, build profile or on
//! what the operating-system process did before.
//!
//! Not in here: what a step means.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Cause, Event, ProcessEvent, Step};

/// How many of the last steps are always at hand.
pub const KEPT_STEPS: usize = 30;

/// The hash of bytes that traces use.
pub fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// A rolling hash over words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mixer(u64);

impl Mixer {
    /// The hash of nothing.
    pub const fn new() -> Self {
        Mixer(0x9e37_79b9_7f4a_7c15)
    }

    /// Takes in one word.
    #[inline]
    pub fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xa076_1d64_78bd_642f;
        // Multiplying alone would keep a zero a zero.
        self.0 = ((product >> 64) as u64 ^ product as u64).wrapping_add(0xe703_7ed1_a0b4_28db);
    }

    /// Takes in bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.word(digest(bytes));
    }

    /// Takes in a name or a path: a short one word by word.
    #[inline]
    pub fn text(&mut self, text: &str) {
        if text.len() > SHORT_BYTES {
            return self.bytes(text.as_bytes());
        }
        self.word(text.len() as u64);
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// The hash so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// Texts up to this length are hashed a word at a time; beyond it, the hash for bytes is faster.
const SHORT_BYTES: usize = 48;

impl Default for Mixer {
    fn default() -> Self {
        Self::new()
    }
}

/// What is kept of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The rolling hash over all steps.
    pub hash: u64,
    /// How many steps there were.
    pub steps: u64,
    /// The last thirty, oldest first.
    pub last: Vec<Step>,
    /// All of them, if the world was told to record.
    pub record: Option<Vec<Step>>,
}

impl Trace {
    /// The record as text, a line a step: what two operating-system processes can compare.
    pub fn lines(&self) -> Option<Vec<String>> {
        Some(self.record.as_ref()?.iter().map(Step::to_string).collect())
    }
}

/// Where two traces part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Index of the first line that differs, from 0.
    pub index: usize,
    /// What both had before it.
    pub before: Vec<String>,
    /// The left trace from there on, a few lines; empty if it ended.
    pub left: Vec<String>,
    /// The right trace from there on, a few lines; empty if it ended.
    pub right: Vec<String>,
}

/// The first difference of two printed traces, with `context` lines on either side.
pub fn first_difference(left: &[String], right: &[String], context: usize) -> Option<Difference> {
    let index = left.iter().zip(right).position(|(l, r)| l != r).unwrap_or(left.len().min(right.len()));
    if index == left.len() && index == right.len() {
        return None;
    }
    let from = |lines: &[String]| lines.iter().skip(index).take(context.max(1)).cloned().collect();
    Some(Difference {
        index,
        before: left[index.saturating_sub(context)..index].to_vec(),
        left: from(left),
        right: from(right),
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the traces part at line {}:", self.index + 1)?;
        for line in &self.before {
            writeln!(f, "  {line}")?;
        }
        for (mark, lines) in [('-', &self.left), ('+', &self.right)] {
            if lines.is_empty() {
                writeln!(f, "{mark} (ends)")?;
            }
            for line in lines {
                writeln!(f, "{mark} {line}")?;
            }
        }
        Ok(())
    }
}

/// The trace while the run goes on.
///
/// A run has one thread. Its counters are atomic only because what holds them is shared, and are read and written apart.
pub(crate) struct Tracer {
    hash: AtomicU64,
    steps: AtomicU64,
    /// A ring: step `n` lies at `(n - 1) % KEPT_STEPS`.
    last: Mutex<[Option<Step>; KEPT_STEPS]>,
    record: Option<Mutex<Vec<Step>>>,
}

impl Tracer {
    pub(crate) fn new(recording: bool) -> Self {
        Tracer {
            hash: AtomicU64::new(Mixer::new().value()),
            steps: AtomicU64::new(0),
            last: Mutex::new([const { None }; KEPT_STEPS]),
            record: recording.then(Mutex::default),
        }
    }

    /// Numbers the step and hashes it.
    pub(crate) fn number(&self, step: &mut Step) {
        step.number = self.steps.load(Relaxed) + 1;
        self.steps.store(step.number, Relaxed);
        let mut mixer = Mixer(self.hash.load(Relaxed));
        mix(&mut mixer, step);
        self.hash.store(mixer.value(), Relaxed);
        if let Some(record) = &self.record {
            record.lock().push(step.clone());
        }
    }

    /// Keeps a step that was numbered, once everyone has seen it. Those that it set off are kept before it.
    pub(crate) fn keep(&self, step: Step) {
        let mut last = self.last.lock();
        let place = &mut last[(step.number - 1) as usize % KEPT_STEPS];
        if place.as_ref().is_none_or(|other| other.number < step.number) {
            *place = Some(step);
        }
    }

    pub(crate) fn snapshot(&self, with_record: bool) -> Trace {
        let steps = self.steps.load(Relaxed);
        let kept = self.last.lock();
        let (newer, older) = kept.split_at(steps as usize % KEPT_STEPS);
        let record = self.record.as_ref().filter(|_| with_record);
        Trace {
            hash: self.hash.load(Relaxed),
            steps,
            last: older.iter().chain(newer).flatten().cloned().collect(),
            record: record.map(|record| std::mem::take(&mut *record.lock())),
        }
    }
}

fn mix(mixer: &mut Mixer, step: &Step) {
    mixer.word(step.true_ns);
    mixer.word(u64::from(step.process.number()) << 32 | u64::from(step.incarnation));
    match &step.event {
        Event::Frame(frame) => {
            mixer.word(1 | (frame.fate as u64) << 8 | frame.connection << 16);
            mixer.word(u64::from(frame.from.number()) << 32 | u64::from(frame.to.number()));
            mixer.bytes(&frame.bytes);
        }
        Event::Connection(connection) => {
            mixer.word(2 | (connection.change as u64) << 8 | connection.connection << 16);
            mixer.text(&connection.address);
        }
        Event::Disk(disk) => {
            mixer.word(3 | (disk.op as u64) << 8 | u64::from(disk.faulted) << 16 | u64::from(disk.errno as u32) << 32);
            mixer.text(&disk.path);
            if let Some(target) = &disk.target {
                mixer.text(target);
            }
            mixer.word(disk.offset);
            mixer.word(disk.len ^ disk.done.rotate_left(32));
            mixer.word(disk.digest);
            mixer.word(disk.durable_len << 2 | u64::from(disk.visible) << 1 | u64::from(disk.durable));
        }
        Event::Timer { deadline_ns } => {
            mixer.word(4);
            mixer.word(*deadline_ns);
        }
        Event::Process(process) => mix_process(mixer, process),
        Event::Clock(clock) => {
            mixer.word(6 | (clock.change as u64) << 8);
            mixer.word(clock.segment.mono_ns);
            mixer.word(clock.segment.wall_ns as u64);
            mixer.word(u64::from(clock.segment.drift_ppm as u32));
        }
        Event::Fact(fact) => {
            mixer.word(7);
            mixer.text(fact.name);
            mixer.word(fact.digest);
        }
    }
}

fn mix_process(mixer: &mut Mixer, event: &ProcessEvent) {
    let mut text = |kind: u64, text: &Arc<str>| {
        mixer.word(5 | kind << 8);
        mixer.text(text);
    };
    match event {
        ProcessEvent::Started { name } => text(1, name),
        ProcessEvent::Exited(Cause::Failed(why)) => text(2, why),
        ProcessEvent::Exited(Cause::Panicked { message, location }) => {
            text(3, message);
            text(3, location);
        }
        ProcessEvent::Exited(Cause::Done) => mixer.word(5 | 4 << 8),
        ProcessEvent::Exited(Cause::Killed) => mixer.word(5 | 5 << 8),
        ProcessEvent::Exited(Cause::StopOverdue) => mixer.word(5 | 6 << 8),
        ProcessEvent::StopRequested => mixer.word(5 | 7 << 8),
        ProcessEvent::Paused => mixer.word(5 | 8 << 8),
        ProcessEvent::Resumed => mixer.word(5 | 9 << 8),
        ProcessEvent::DiskCrashed => mixer.word(5 | 10 << 8),
        ProcessEvent::CrashLoop { exits } => mixer.word(5 | 11 << 8 | u64::from(*exits) << 16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_has_both_contexts() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(first_difference(&lines("a b c"), &lines("a b c"), 2), None);
        let found = first_difference(&lines("a b c d e"), &lines("a b x d e"), 2).expect("they differ");
        assert_eq!((found.index, found.before, found.left, found.right), (2, lines("a b"), lines("c d"), lines("x d")));
        let found = first_difference(&lines("a b"), &lines("a"), 3).expect("one is longer");
        assert_eq!((found.index, found.left, found.right), (1, lines("b"), vec![]));
    }

    #[test]
    fn the_hash_sees_order_and_zeroes() {
        let hash = |words: &[u64]| {
            let mut mixer = Mixer::new();
            words.iter().for_each(|&word| mixer.word(word));
            mixer.value()
        };
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[0]), hash(&[0, 0]));
        assert_ne!(hash(&[]), hash(&[0]));
    }

    #[test]
    fn texts_of_any_length_differ_by_every_byte() {
        let hash = |text: &str| {
            let mut mixer = Mixer::new();
            mixer.text(text);
            mixer.value()
        };
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..2 * SHORT_BYTES {
            let text = "a".repeat(len);
            assert!(seen.insert(hash(&text)), "{len}");
            for at in 0..len {
                let mut other = text.clone().into_bytes();
                other[at] = 0;
                assert!(seen.insert(hash(std::str::from_utf8(&other).expect("ASCII"))), "{len} {at}");
            }
        }
    }
}
