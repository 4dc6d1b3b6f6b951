//! The names of the engine's files, and the removal of those that nothing refers to any more.
//!
//! Whoever lets go of a file last puts its name into [`Garbage`]; one task removes what it finds there. What a crash leaves
//! behind is found and removed when the engine opens.

use std::sync::Arc;

use failpoints::point;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    engine::{fact::Fact, site, state::Shared},
    env::Env,
};

/// The file that names the manifest.
pub(crate) fn current(dir: &str) -> String {
    format!("{dir}/CURRENT")
}

/// Where the next `CURRENT` is written.
pub(crate) fn current_new(dir: &str) -> String {
    format!("{dir}/CURRENT.tmp")
}

pub(crate) fn manifest(dir: &str, number: u64) -> String {
    format!("{dir}/MANIFEST-{number:06}")
}

pub(crate) fn segment(dir: &str, number: u64) -> String {
    format!("{dir}/{number:06}.log")
}

/// Where a segment is written anew.
pub(crate) fn segment_new(dir: &str) -> String {
    format!("{dir}/log.new")
}

pub(crate) fn table(dir: &str, number: u64) -> String {
    format!("{dir}/{number:06}.table")
}

pub(crate) fn blob(dir: &str, number: u64) -> String {
    format!("{dir}/{number:06}.blob")
}

/// The directory that a path lies in.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// What a name in the engine's directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Current,
    CurrentNew,
    Manifest(u64),
    Segment(u64),
    Table(u64),
    Blob(u64),
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Name> {
        let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
        match name {
            "CURRENT" => Some(Name::Current),
            "CURRENT.tmp" => Some(Name::CurrentNew),
            _ => {
                if let Some(digits) = name.strip_prefix("MANIFEST-") {
                    return number(digits).map(Name::Manifest);
                }
                let (digits, kind) = name.split_once('.')?;
                match kind {
                    "log" => number(digits).map(Name::Segment),
                    "table" => number(digits).map(Name::Table),
                    "blob" => number(digits).map(Name::Blob),
                    _ => None,
                }
            }
        }
    }
}

/// Files to remove.
#[derive(Default)]
pub(crate) struct Garbage {
    paths: Mutex<Vec<String>>,
    pub(crate) wake: Notify,
}

impl Garbage {
    /// Has a file removed.
    pub(crate) fn add(&self, path: String) {
        self.paths.lock().push(path);
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.paths.lock())
    }
}

/// Removes one file. A failure leaves it to the next start: no promise rests on a file being gone.
pub(crate) async fn remove(env: &Env, path: String) {
    if point!(env.points, site::BEFORE_REMOVE).await.is_some() {
        return;
    }
    let shared: Arc<str> = path.into();
    env.state(Fact::Removing { path: shared.clone().into() });
    let _ = env.disk.remove(&shared).await;
}

/// The task that removes files until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        for path in shared.garbage.take() {
            // What a failed engine leaves may be all that tells why it failed.
            if shared.failure().is_some() {
                return;
            }
            remove(&shared.env, path).await;
        }
        if shared.refusal().is_some() {
            return;
        }
        shared.garbage.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        for (path, name) in [
            (current("d"), Name::Current),
            (current_new("d"), Name::CurrentNew),
            (manifest("d", 7), Name::Manifest(7)),
            (segment("d", 1_234_567), Name::Segment(1_234_567)),
            (table("d", 12), Name::Table(12)),
            (blob("d", 13), Name::Blob(13)),
        ] {
            assert_eq!(Name::parse(path.strip_prefix("d/").expect("in d")), Some(name));
            assert_eq!(parent(&path), "d");
        }
        assert_eq!(["x", "1.sst", "a.log", "MANIFEST-x"].map(Name::parse), [None; 4]);
    }
}
