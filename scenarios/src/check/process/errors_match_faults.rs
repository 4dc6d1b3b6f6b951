//! Every error of the disk, every corruption and every exit has its fault.
//!
//! A store may stop when a write or a sync fails, when the disk is full, or when bytes are not what was written: then the
//! plan has laid a fault on that process's disk, on that file or on all. Nothing else may end a process, and a process
//! without a disk fault may neither meet corruption nor state that it fails. An error that the room did not inject is
//! fine where files simply are or are not there (`not-found`, `already-exists`): the node's own errors are its business
//! as long as it lives. A store that ends because a file is of a format that it does not read is judged by the checks of
//! formats, and by the one that counts how often it ends; one whose release the placement driver refuses is right to end.
//!
//! Source: which faults a sound node survives, and which end it with a stated cause.

use std::collections::BTreeMap;

use node::{fact::Fact, store::fact::lifecycle};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Exit, Hall, NodeId, RoomEvent, Witness},
    verdict::{self, Class},
};

/// The check's row.
pub const ERRORS_MATCH_FAULTS: Entry = Entry {
    name: "errors-match-faults",
    family: "process",
    class: Class::Crash,
    property: "every disk error, every corruption and every exit matches a fault on that process and file",
    source: "the table of faults that a node must survive",
    hears: &[Hall::Process, Hall::Disk, Hall::Engine, Hall::Store],
    make: || Box::new(ErrorsMatchFaults::default()),
};

#[derive(Default)]
struct ErrorsMatchFaults {
    /// By process: paths that a fault was laid on or that met an injected error; an empty one stands for all. A fault is
    /// never forgotten, since what it left behind may be met long after it was lifted.
    faulty: BTreeMap<NodeId, Vec<String>>,
    /// By process: the incarnation whose release was refused, or met a format that it does not read.
    refusing: BTreeMap<NodeId, u32>,
    judged: u64,
}

impl ErrorsMatchFaults {
    fn lay(&mut self, node: NodeId, path: &str) {
        let paths = self.faulty.entry(node).or_default();
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
    }

    fn has_any(&self, node: NodeId) -> bool {
        self.faulty.contains_key(&node)
    }

    /// Whether this incarnation may end, as far as this check is concerned.
    fn may_end(&self, event: &Event) -> bool {
        self.has_any(event.node) || self.refusing.get(&event.node) == Some(&event.incarnation)
    }

    fn has(&self, node: NodeId, path: &str) -> bool {
        self.faulty.get(&node).is_some_and(|paths| paths.iter().any(|known| known.is_empty() || known == path))
    }
}

impl Check for ErrorsMatchFaults {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        if !known.has(Witness::Room) {
            return Ok(());
        }
        let node = event.node;
        let name = known.name(node);
        match &event.body {
            Body::Room(RoomEvent::DiskFault { path, .. }) => self.lay(node, path.as_str()),
            Body::Room(RoomEvent::DiskError { op, path, kind, injected }) => {
                self.judged += 1;
                if *injected {
                    self.lay(node, path.as_str());
                } else if !matches!(
                    kind.as_str(),
                    "not-found" | "already-exists" | "directory-not-empty" | "unexpected-eof"
                ) && !self.has(node, path.as_str())
                {
                    let detail = format!("{op} of {path} on {name} failed with {kind}, and no fault lies there");
                    return Err(Violation::new("error-without-fault", detail).at(&format!("{op} {kind}")));
                }
            }
            Body::Room(RoomEvent::ProcessExited { cause: Exit::Exited(cause) }) => {
                self.judged += 1;
                if !self.may_end(event) {
                    let detail = format!("{name} ended for `{cause}`, and its disk has had no fault");
                    return Err(Violation::new("exit-without-fault", detail).at(&verdict::cause(cause.as_str())));
                }
            }
            Body::Node(Fact::Engine(node::engine::fact::Fact::Corruption { path, detail })) => {
                self.judged += 1;
                if !self.has(node, path.as_str()) {
                    let text = format!("{name} found {path} corrupt ({detail}), and no fault lies there");
                    return Err(Violation::new("corruption-without-fault", text).at(&kind_of(path.as_str())));
                }
            }
            Body::Node(Fact::Store(lifecycle::Fact::FormatRefused { .. } | lifecycle::Fact::ReleaseRefused { .. })) => {
                self.refusing.insert(node, event.incarnation);
            }
            Body::Node(Fact::Engine(node::engine::fact::Fact::Stopped { cause }))
            | Body::Node(Fact::Store(lifecycle::Fact::Failed { cause, .. })) => {
                self.judged += 1;
                if !self.may_end(event) {
                    let detail = format!("{name} fails for `{cause}`, and its disk has had no fault");
                    return Err(Violation::new("failure-without-fault", detail).at(&verdict::cause(cause.as_str())));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}

/// A file's folder and what its name ends in: files of one kind, whatever their numbers.
fn kind_of(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let kind = match name.rsplit_once('.') {
        Some((_, kind)) => kind,
        None => name.split('-').next().unwrap_or(name),
    };
    format!("{folder} {kind}")
}
