//! Histories as text: one header line, then one event a line, as JSON.
//!
//! The version is that of the whole line format; a reader takes its own version only. Errors name the line.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::Event;

/// The version that this build reads and writes.
pub const VERSION: u32 = 1;

/// The first line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format's version, [`VERSION`].
    pub reenact_events: u32,
    /// The processes by name; an event's `node` is a position here.
    pub nodes: Vec<String>,
    /// The release that the history began with, if one is known.
    #[serde(default)]
    pub release: String,
    /// Who speaks in this history. A check that needs another witness judges nothing.
    #[serde(default = "Witness::all")]
    pub witnesses: Vec<Witness>,
    /// Whether the history begins with a new cluster. Otherwise content is judged only from where it becomes known.
    #[serde(default = "yes")]
    pub whole: bool,
}

fn yes() -> bool {
    true
}

/// Who may speak in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Witness {
    /// The nodes.
    Node,
    /// The machine room.
    Room,
    /// The clients.
    Client,
}

impl Witness {
    /// All of them.
    pub fn all() -> Vec<Witness> {
        vec![Witness::Node, Witness::Room, Witness::Client]
    }
}

impl Header {
    /// The header of a run in a machine room, with all witnesses.
    pub fn new(nodes: Vec<String>, release: impl Into<String>) -> Header {
        Header { reenact_events: VERSION, nodes, release: release.into(), witnesses: Witness::all(), whole: true }
    }

    /// Whether a witness speaks in this history.
    pub fn has(&self, witness: Witness) -> bool {
        self.witnesses.contains(&witness)
    }
}

/// Why a history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The bytes could not be had.
    #[error("line {line}: {cause}")]
    Io {
        /// The line, from 1.
        line: u64,
        /// The cause.
        cause: io::Error,
    },
    /// There is not even a header.
    #[error(
        "line 1: the history is empty; its first line has to be a header such as {{\"reenact_events\":1,\"nodes\":[\"store-1\"]}}"
    )]
    Empty,
    /// A line is not what it has to be.
    #[error("line {line}, column {column}: {cause}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// The cause.
        cause: String,
    },
    /// Written by another version.
    #[error("line 1: this is version {found} of the format; this build reads version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Events go back.
    #[error(
        "line {line}: event {seq} at {time_ns} ns does not follow the one before it; events are in the order of the run"
    )]
    Order {
        /// The line, from 1.
        line: u64,
        /// The event.
        seq: u64,
        /// Its time.
        time_ns: u64,
    },
    /// An event names a process that the header does not.
    #[error("line {line}: node {node} is not in the header, which names {known}")]
    Node {
        /// The line, from 1.
        line: u64,
        /// The node.
        node: u16,
        /// How many there are.
        known: usize,
    },
}

/// Writes a header line.
pub fn write_header(header: &Header, mut to: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut to, header)?;
    to.write_all(b"\n")
}

/// Writes one event's line.
pub fn write_event(event: &Event, mut to: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut to, event)?;
    to.write_all(b"\n")
}

/// Reads a history: the header at once, the events as an iterator.
pub struct Reader<R> {
    header: Header,
    from: R,
    line: u64,
    last: Option<(u64, u64)>,
    buffer: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn new(from: R) -> Result<Reader<R>, SchemaError> {
        #[derive(Deserialize)]
        struct Version {
            reenact_events: u32,
        }
        let mut reader = Reader { header: Header::new(Vec::new(), ""), from, line: 0, last: None, buffer: Vec::new() };
        if !reader.read_line()? {
            return Err(SchemaError::Empty);
        }
        let version: Version = reader.parse()?;
        if version.reenact_events != VERSION {
            return Err(SchemaError::Version { found: version.reenact_events });
        }
        reader.header = reader.parse()?;
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn read_line(&mut self) -> Result<bool, SchemaError> {
        self.buffer.clear();
        self.line += 1;
        let read = self.from.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|cause| SchemaError::Io { line: self.line, cause })?;
        Ok(read > 0)
    }

    fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, SchemaError> {
        serde_json::from_slice(&self.buffer).map_err(|error| SchemaError::Line {
            line: self.line,
            column: error.column(),
            cause: error.to_string(),
        })
    }

    fn next_event(&mut self) -> Result<Option<Event>, SchemaError> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let event: Event = self.parse()?;
        if usize::from(event.node) >= self.header.nodes.len() {
            return Err(SchemaError::Node { line: self.line, node: event.node, known: self.header.nodes.len() });
        }
        if self.last.is_some_and(|(seq, time_ns)| event.seq <= seq || event.time_ns < time_ns) {
            return Err(SchemaError::Order { line: self.line, seq: event.seq, time_ns: event.time_ns });
        }
        self.last = Some((event.seq, event.time_ns));
        Ok(Some(event))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, SchemaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}
