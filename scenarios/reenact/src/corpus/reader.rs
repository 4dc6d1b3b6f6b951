//! How files of a corpus are read: what is damaged or somebody else's is named, set aside, and stops nothing.
//!
//! Who only looks (`corpus list`) sets nothing aside. What a newer build has written is no damage: it is refused. Nor is
//! what cannot be read: nobody knows what stands there, so that nothing is made of it, least of all that it is empty.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{campaign::keep, input::Refused};

/// The version of every file of a corpus.
pub const FORMAT: u64 = 1;

/// How a name ends that was set aside.
pub const DAMAGED: &str = "damaged";

/// A JSON file of a corpus. Its first key says what it is, and its value in which version.
pub trait Form: Serialize + DeserializeOwned {
    /// The key.
    const KEY: &str;
    /// Whether people read it: then each value has a line.
    const IS_FOR_PEOPLE: bool = true;
}

/// Reads files, and remembers what was wrong with some.
#[derive(Debug)]
pub struct Reader {
    /// Whether what is damaged is renamed.
    sets_aside: bool,
    /// A sentence for each file that could not be used.
    pub notes: Vec<String>,
}

impl Reader {
    /// Only looks.
    pub fn looking() -> Self {
        Self { sets_aside: false, notes: Vec::new() }
    }

    /// Sets aside what is damaged; whoever does so holds the lock of the files in question.
    pub fn mending() -> Self {
        Self { sets_aside: true, notes: Vec::new() }
    }

    /// Whether damage is mended.
    pub fn mends(&self) -> bool {
        self.sets_aside
    }

    /// A file that may be absent, damaged, or somebody else's: then nothing.
    pub fn json<T: Form>(&mut self, path: &Path) -> Result<Option<T>, Refused> {
        let Some(bytes) = self.bytes(path)? else { return Ok(None) };
        match parse(&bytes, path)? {
            Ok(read) => Ok(Some(read)),
            Err(problem) => {
                self.damaged(path, &problem);
                Ok(None)
            }
        }
    }

    /// The bytes of a file that may be absent; a folder in its place is damage.
    pub fn bytes(&mut self, path: &Path) -> Result<Option<Vec<u8>>, Refused> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                self.damaged(path, "it is a folder, and should be a file");
                Ok(None)
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// Names what is wrong with a file or folder, and puts it out of the way.
    pub fn damaged(&mut self, path: &Path, problem: &str) {
        let kept = if self.sets_aside { set_aside(path) } else { None };
        let kept = kept.map(|kept| format!("; it is kept as {}", kept.display())).unwrap_or_default();
        self.notes.push(format!("{}: {problem}{kept}", path.display()));
    }
}

/// What is in a folder, in the order of names; nothing if there is no such folder.
pub fn names(folder: &Path) -> Result<Vec<PathBuf>, Refused> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, &error)),
    };
    let all: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut all = all.map_err(|error| unreadable(folder, &error))?;
    all.sort();
    Ok(all)
}

/// A part of a corpus that is there and cannot be read.
pub fn unreadable(path: &Path, error: &std::io::Error) -> Refused {
    Refused(format!(
        "cannot read {}: {error}: nothing is known of what stands there. Make it readable, or move it away to go on without \
         it; --corpus names another folder",
        path.display()
    ))
}

/// What stands in a file; the inner error says why it is none of ours.
pub fn parse<T: Form>(bytes: &[u8], path: &Path) -> Result<Result<T, String>, Refused> {
    let value: serde_json::Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(_) if bytes.is_empty() => return Ok(Err("it is empty".to_owned())),
        Err(error) => return Ok(Err(format!("it is damaged: {error}"))),
    };
    match value.get(T::KEY).and_then(serde_json::Value::as_u64) {
        None => Ok(Err(format!("it is not one of Reenact's: it has no `{}`", T::KEY))),
        Some(version) if version > FORMAT => Err(Refused(format!(
            "{}: a newer build wrote it (version {version}, this one reads {FORMAT}): use that build, or another folder",
            path.display()
        ))),
        Some(_) => Ok(serde_json::from_value(value).map_err(|error| format!("it is damaged: {error}"))),
    }
}

/// Writes a file of a corpus whole.
pub fn write<T: Form>(path: &Path, form: &T) -> anyhow::Result<()> {
    let mut text = if T::IS_FOR_PEOPLE { serde_json::to_string_pretty(form)? } else { serde_json::to_string(form)? };
    text.push('\n');
    keep::write(path, &text)
}

/// Renames what is in the way; `None` if even that cannot be done, and it stays where it is.
fn set_aside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let names = std::iter::once(format!("{name}.{DAMAGED}")).chain((2..100).map(|n| format!("{name}.{n}.{DAMAGED}")));
    let free = names.map(|name| path.with_file_name(name)).find(|path| std::fs::symlink_metadata(path).is_err())?;
    std::fs::rename(path, &free).ok()?;
    Some(free)
}
