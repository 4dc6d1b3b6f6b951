//! Who wrote which version, and what became of it: the clients' own account.
//!
//! A version is a timestamp. It may take effect from the moment it is stamped until its operation definitely failed or
//! succeeded under another timestamp.

use std::{collections::BTreeMap, sync::Arc};

use crate::event::{Ask, ClientEvent, Edit, Outcome};

/// All operations under way and all versions ever stamped.
#[derive(Default)]
pub struct Ledger {
    open: BTreeMap<u64, Op>,
    ended: Option<Op>,
    versions: BTreeMap<u64, Version>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    /// Its number.
    pub op: u64,
    /// What it asked.
    pub ask: Ask,
    /// Event by which it began.
    pub invoked: u64,
    stamps: Vec<u64>,
}

/// One version of the keys of one write.
#[derive(Clone, Debug)]
pub struct Version {
    /// What it writes.
    pub edits: Arc<[Edit]>,
    /// Event by which its operation began.
    pub invoked: u64,
    /// Event by which it was stamped.
    pub stamped: u64,
    /// What is known of it.
    pub fate: Fate,
}

/// What is known of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may have taken effect, or may yet.
    Maybe,
    /// Its client was told that it did.
    Done,
    /// It never did and never will.
    Never,
}

impl Version {
    /// What it writes to a key.
    pub fn edit(&self, key: &[u8]) -> Option<&Edit> {
        self.edits.iter().find(|edit| edit.key == key)
    }
}

impl Ledger {
    pub(super) fn on(&mut self, seq: u64, event: &ClientEvent) {
        match event {
            ClientEvent::Invoked { op, ask, .. } => {
                self.open.insert(*op, Op { op: *op, ask: ask.clone(), invoked: seq, stamps: Vec::new() });
            }
            ClientEvent::Stamped { op, timestamp, .. } => {
                let Some(open) = self.open.get_mut(op) else { return };
                let Ask::Write { edits } = &open.ask else { return };
                open.stamps.push(*timestamp);
                let (edits, invoked) = (edits.clone(), open.invoked);
                self.versions.insert(*timestamp, Version { edits, invoked, stamped: seq, fate: Fate::Maybe });
            }
            ClientEvent::Returned { op, outcome, .. } => {
                let ended = self.open.remove(op);
                for stamp in ended.iter().flat_map(|op| &op.stamps) {
                    let fate = match outcome {
                        Outcome::Written { timestamp } if timestamp == stamp => Fate::Done,
                        Outcome::Written { .. } | Outcome::Failed { .. } => Fate::Never,
                        _ => Fate::Maybe,
                    };
                    if let Some(version) = self.versions.get_mut(stamp) {
                        version.fate = fate;
                    }
                }
                self.ended = ended;
            }
        }
    }

    /// The operation that the event at hand ended.
    pub fn ended(&self, op: u64) -> Option<&Op> {
        self.ended.as_ref().filter(|ended| ended.op == op)
    }

    /// The version at a timestamp.
    pub fn version(&self, timestamp: u64) -> Option<&Version> {
        self.versions.get(&timestamp)
    }
}

impl Op {
    /// Timestamps under which it was tried.
    pub fn stamps(&self) -> &[u64] {
        &self.stamps
    }
}
