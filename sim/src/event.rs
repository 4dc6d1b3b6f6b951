//! What the room witnesses, and the observer that is told.
//!
//! One closed enum serves observers, the rolling hash and the printed trace alike. Making an event allocates and formats nothing;
//! text is made only when a step is displayed.
//!
//! Not in here: what a program says about itself. That arrives as a [`Fact`], whose meaning only the embedding knows.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{clock::Segment, process::ProcessId};

/// One numbered step of a run.
#[derive(Clone, Debug)]
pub struct Step {
    /// Counts from 1.
    pub number: u64,
    /// True nanoseconds since the world began.
    pub true_ns: u64,
    /// Whose step it is: the receiver of a frame, the owner of a disk. [`ProcessId::ROOM`] for nobody's.
    pub process: ProcessId,
    /// Which incarnation of the process, counting from 1; 0 for a disk that is touched while its process is down.
    pub incarnation: u32,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame was delivered, or met another fate.
    Frame(FrameEvent),
    /// A connection was asked for, opened, refused or broken.
    Connection(ConnectionEvent),
    /// A disk call returned.
    Disk(DiskEvent),
    /// A timer fired; its deadline in the process's own monotonic nanoseconds.
    Timer {
        /// When it was due.
        deadline_ns: u64,
    },
    /// A process began, ended or was held.
    Process(ProcessEvent),
    /// A clock was changed; its new segment.
    Clock(ClockEvent),
    /// The embedding states something.
    Fact(Fact),
}

/// Told of every step, in order, with no lock of the room held: an observer may ask the room, and may kill processes.
pub trait Observer: Send + Sync {
    /// Called before the call that caused the step returns.
    fn observe(&self, step: &Step);
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is in the receiver's hands.
    Delivered,
    /// It is lost; only lossy channels lose frames.
    Dropped,
    /// A second copy is under way.
    Duplicated,
    /// It waits for a rule to be lifted.
    Stalled,
    /// It is under way, later than the link alone would have it.
    Delayed,
    /// It broke its connection.
    Reset,
}

/// A frame and its fate.
#[derive(Clone, Debug)]
pub struct FrameEvent {
    /// What became of it.
    pub fate: Fate,
    /// The sending process.
    pub from: ProcessId,
    /// The receiving process.
    pub to: ProcessId,
    /// The connection, numbered in order of connecting.
    pub connection: u64,
    /// The bytes themselves.
    pub bytes: Bytes,
}

/// What became of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionChange {
    /// The connecting side has its answer.
    Opened,
    /// Nobody listens at the address.
    Refused,
    /// Broken by a rule or by the end of a process.
    Reset,
    /// Closed by one side in good order.
    Closed,
}

/// A connection and what became of it.
#[derive(Clone, Debug)]
pub struct ConnectionEvent {
    /// What became of it.
    pub change: ConnectionChange,
    /// The process that connected.
    pub from: ProcessId,
    /// The process that listens, if there is one.
    pub to: Option<ProcessId>,
    /// The address that was connected to.
    pub address: Arc<str>,
    /// The connection, numbered in order of connecting.
    pub connection: u64,
}

/// The calls of a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DiskOp {
    /// Open a file that exists.
    Open,
    /// Create a file (or truncate it by opening).
    Create,
    /// Create a directory and its parents.
    CreateDir,
    /// Positioned read.
    Read,
    /// Positioned write.
    Write,
    /// Write at the end.
    Append,
    /// Set the length.
    Truncate,
    /// Make a file's bytes durable.
    Sync,
    /// Make a directory's names durable.
    SyncDir,
    /// Give a file another name.
    Rename,
    /// Take a name away.
    Remove,
    /// Names of a directory.
    List,
    /// Length and kind of a name.
    Metadata,
}

/// A disk call that returned.
#[derive(Clone, Debug)]
pub struct DiskEvent {
    /// Which call.
    pub op: DiskOp,
    /// The path; of a call on an open file, the path it was opened by.
    pub path: Arc<str>,
    /// The new name, of a rename.
    pub target: Option<Arc<str>>,
    /// The file itself, whatever its name is now; 0 where there is none.
    pub inode: u64,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes were asked for.
    pub len: u64,
    /// How many bytes were read or written.
    pub done: u64,
    /// Hash of the bytes written; 0 for other calls.
    pub digest: u64,
    /// 0, or the error number that the caller got.
    pub errno: i32,
    /// Whether a fault had a hand in the result, told to the caller or not.
    pub faulted: bool,
    /// The file's length on the medium after the call: what a crash keeps for certain, if the name is durable.
    pub durable_len: u64,
    /// Whether `path` can be seen after the call.
    pub visible: bool,
    /// Whether a crash keeps the name `path` for certain after the call.
    pub durable: bool,
}

/// Why an incarnation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its main returned, content.
    Done,
    /// Its main returned, with what went wrong.
    Failed(Arc<str>),
    /// One of its tasks panicked.
    Panicked {
        /// The panic's message.
        message: Arc<str>,
        /// `file:line:column`.
        location: Arc<str>,
    },
    /// It was killed, alone or with its machine.
    Killed,
    /// It was asked to stop and did not within the limit.
    StopOverdue,
}

/// A change in the life of a process.
#[derive(Clone, Debug)]
pub enum ProcessEvent {
    /// A new incarnation runs.
    Started {
        /// The process's name.
        name: Arc<str>,
    },
    /// It was asked to stop.
    StopRequested,
    /// It runs no more until resumed.
    Paused,
    /// It runs again.
    Resumed,
    /// The incarnation ended.
    Exited(Cause),
    /// The machine lost power: what was pending on its disk became one of the states that a crash may leave.
    DiskCrashed,
    /// It ended so often that the supervisor gives up.
    CrashLoop {
        /// How often it ended within the window.
        exits: u32,
    },
}

/// What was done to a clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockChange {
    /// It is first read from here.
    Began,
    /// Its rate changed.
    Drift,
    /// Wall time was stepped.
    WallStep,
}

/// A changed clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockEvent {
    /// What was done.
    pub change: ClockChange,
    /// How it maps true time from now on.
    pub segment: Segment,
}

/// A statement of the embedding.
#[derive(Clone)]
pub struct Fact {
    /// Its kind.
    pub name: &'static str,
    /// Hash of its content, which has to be a function of the run alone.
    pub digest: u64,
    /// For printing, only.
    pub detail: Option<Arc<dyn fmt::Debug + Send + Sync>>,
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => detail.fmt(f),
            None => write!(f, "{} #{:016x}", self.name, self.digest),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.true_ns / 1_000_000_000, self.true_ns % 1_000_000_000);
        write!(f, "#{} {secs}.{nanos:09} {}", self.number, self.process)?;
        if self.incarnation > 0 {
            write!(f, ".{}", self.incarnation)?;
        }
        match &self.event {
            Event::Frame(frame) => write!(
                f,
                " frame {:?} {}->{} connection={} len={} hash={:016x}",
                frame.fate,
                frame.from,
                frame.to,
                frame.connection,
                frame.bytes.len(),
                crate::trace::digest(&frame.bytes)
            ),
            Event::Connection(c) => {
                write!(f, " connection {:?} {} -> {} number={}", c.change, c.from, c.address, c.connection)
            }
            Event::Disk(disk) => {
                write!(f, " disk {:?} {}", disk.op, disk.path)?;
                if let Some(target) = &disk.target {
                    write!(f, " -> {target}")?;
                }
                write!(f, " offset={} len={} done={} hash={:016x}", disk.offset, disk.len, disk.done, disk.digest)?;
                write!(f, " durable-len={}", disk.durable_len)?;
                if disk.errno != 0 {
                    write!(f, " error={}", std::io::Error::from_raw_os_error(disk.errno))?;
                }
                if disk.faulted { write!(f, " faulted") } else { Ok(()) }
            }
            Event::Timer { deadline_ns } => write!(f, " timer due={deadline_ns}"),
            Event::Process(process) => match process {
                ProcessEvent::Started { name } => write!(f, " process started {name}"),
                ProcessEvent::Exited(cause) => write!(f, " process exited {cause:?}"),
                other => write!(f, " process {other:?}"),
            },
            Event::Clock(clock) => write!(f, " clock {:?} {:?}", clock.change, clock.segment),
            Event::Fact(fact) => write!(f, " fact {} #{:016x} {fact:?}", fact.name, fact.digest),
        }
    }
}
