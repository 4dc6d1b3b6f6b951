//! The bytes of one file: what can be read now, and how to get back to what is durable.
//!
//! Visible bytes are the ones kept; each change since the last sync remembers what it overwrote. So an append costs one copy, a sync
//! costs forgetting, and only a crash, which is rare, has to work: it undoes every pending change, newest first, and does again
//! those that the crash lets survive.
//!
//! Not in here: which changes survive; the chooser of `crash.rs` says so.

use super::{crash::Chooser, pieces::Pieces};

/// The unit in which a medium writes all or nothing.
pub const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Pending,
    Durable,
    /// A sync of it has failed: the system believes that it is written, the medium never gets it.
    Doomed,
}

#[derive(Debug)]
enum Kind {
    Write { offset: u64, len: u64 },
    Truncate { len: u64 },
}

#[derive(Debug)]
struct Change {
    sequence: u64,
    status: Status,
    kind: Kind,
    len_before: u64,
    /// The bytes that a write covered or a truncation cut off.
    undo: Vec<u8>,
}

/// The bytes of one file.
#[derive(Default, Debug)]
pub(crate) struct Content {
    bytes: Pieces,
    changes: Vec<Change>,
    durable_len: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The length that a crash keeps for certain.
    pub(crate) fn durable_len(&self) -> u64 {
        self.durable_len
    }

    /// The bytes of a range, cut at the end of the file.
    pub(crate) fn range(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.len()) as usize;
        let start = (offset as usize).min(end);
        self.bytes.copy(start, end)
    }

    pub(crate) fn write(&mut self, sequence: u64, offset: u64, data: &[u8]) {
        let undo = self.range(offset, data.len() as u64);
        let kind = Kind::Write { offset, len: data.len() as u64 };
        self.changes.push(Change { sequence, status: Status::Pending, kind, len_before: self.len(), undo });
        self.bytes.put(offset as usize, data);
    }

    pub(crate) fn truncate(&mut self, sequence: u64, len: u64) {
        let undo = self.range(len, u64::MAX - len);
        let kind = Kind::Truncate { len };
        self.changes.push(Change { sequence, status: Status::Pending, kind, len_before: self.len(), undo });
        self.bytes.resize(len as usize);
    }

    /// Makes durable what was changed before `mark`.
    pub(crate) fn sync(&mut self, mark: u64) {
        for change in self.changes.iter_mut().take_while(|change| change.sequence < mark) {
            if change.status == Status::Pending {
                change.status = Status::Durable;
                self.durable_len = change.kind.len_after(self.durable_len);
            }
        }
        let forgotten = self.changes.iter().take_while(|change| change.status == Status::Durable).count();
        self.changes.drain(..forgotten);
        if self.changes.is_empty() {
            self.durable_len = self.bytes.len() as u64;
        }
    }

    /// A sync failed: what was changed before `mark` will never be durable, though it can be read until a crash.
    pub(crate) fn doom(&mut self, mark: u64) {
        for change in self.changes.iter_mut().take_while(|change| change.sequence < mark) {
            if change.status == Status::Pending {
                change.status = Status::Doomed;
            }
        }
    }

    /// Numbers of the changes that a crash may keep or lose.
    pub(crate) fn pending(&self) -> impl Iterator<Item = u64> + '_ {
        self.changes.iter().filter(|change| change.status == Status::Pending).map(|change| change.sequence)
    }

    /// Becomes one of the states that a crash may leave.
    pub(crate) fn crash(&mut self, chooser: &mut Chooser) {
        let mut changes = std::mem::take(&mut self.changes);
        let mut redo: Vec<Vec<u8>> = Vec::with_capacity(changes.len());
        for change in changes.iter_mut().rev() {
            redo.push(self.undo(change));
        }
        for change in &changes {
            let data = redo.pop().expect("one redo was kept per change");
            let keep_all = match change.status {
                Status::Durable => true,
                Status::Doomed => continue,
                Status::Pending => false,
            };
            match change.kind {
                Kind::Write { offset, .. } if keep_all => self.bytes.put(offset as usize, &data),
                Kind::Write { offset, .. } => {
                    chooser.pieces(change.sequence, offset, data.len() as u64, |start, end| {
                        let piece = &data[(start - offset) as usize..(end - offset) as usize];
                        self.bytes.put(start as usize, piece);
                    });
                }
                Kind::Truncate { len } => {
                    if keep_all || chooser.whole(change.sequence) {
                        self.bytes.resize(len as usize);
                    }
                }
            }
        }
        self.durable_len = self.len();
    }

    /// Takes the change back, and returns the bytes that it had written.
    fn undo(&mut self, change: &mut Change) -> Vec<u8> {
        let undo = std::mem::take(&mut change.undo);
        let (redo, offset) = match change.kind {
            Kind::Write { offset, len } => (self.range(offset, len), offset),
            Kind::Truncate { len } => (Vec::new(), len),
        };
        if !undo.is_empty() {
            self.bytes.put(offset as usize, &undo);
        }
        self.bytes.resize(change.len_before as usize);
        redo
    }
}

impl Kind {
    fn len_after(&self, before: u64) -> u64 {
        match *self {
            Kind::Write { offset, len } => before.max(offset + len),
            Kind::Truncate { len } => len,
        }
    }
}
