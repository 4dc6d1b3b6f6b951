//! What can go wrong in the engine, and how disk operations report it.
//!
//! Errors are cheap to clone, because one failed sync fails every write that waited for it, and the engine keeps the
//! first failure for whoever asks later.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::env::{Env, File, read_exact_at};

/// An error of the engine.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A disk operation failed.
    #[error("{doing} `{path}`: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: String,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
    /// The bytes of a file are not what was written.
    #[error("`{path}` is corrupt: {detail}")]
    Corruption {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file holds something that this release does not know.
    #[error("`{path}` holds {what}, which this release does not know")]
    UnknownFormat {
        /// The file.
        path: String,
        /// The unknown thing, with the version it was found under.
        what: String,
    },
    /// A file is of a format that this release does not read. Nothing in the directory was changed.
    #[error("`{path}` is of {format} version {version}, which release {release} does not read")]
    Refused {
        /// The file.
        path: String,
        /// Which format it is about: `blob-header` or `manifest-tag`.
        format: &'static str,
        /// The version that was met.
        version: u64,
        /// The release that does not read it.
        release: &'static str,
    },
    /// The engine was stopped.
    #[error("the engine is stopped")]
    Stopped,
}

const READING: &str = "reading";

impl Error {
    /// Whether this is a failed read, which may succeed when it is tried again.
    pub fn is_read(&self) -> bool {
        matches!(self, Error::Io { doing, .. } if *doing == READING)
    }

    pub(crate) fn corrupt(path: &str, detail: impl Into<String>) -> Error {
        Error::Corruption { path: path.to_owned(), detail: detail.into() }
    }
}

/// Names the operation and the file of an I/O error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &str) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &str) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing, path: path.to_owned(), source: Arc::new(source) })
    }
}

/// How often a read is tried before it is given up.
const READ_ATTEMPTS: u32 = 5;

/// Runs a read-only disk operation, again after failures that may pass: 1, 4, 16 and 64 ms later.
pub(crate) async fn retried<T, F>(env: &Env, path: &str, mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = io::Result<T>> + Send,
{
    let mut pause = Duration::from_millis(1);
    for _ in 1..READ_ATTEMPTS {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Err(error).doing(READING, path);
            }
            Err(_) => env.sleep(pause).await,
        }
        pause *= 4;
    }
    attempt().await.doing(READING, path)
}

/// Reads exactly `len` bytes; a file that ends before is corrupt.
pub(crate) async fn read(env: &Env, path: &str, file: &dyn File, offset: u64, len: usize) -> Result<Bytes, Error> {
    // The common case takes no detour.
    match file.read_at(offset, len).await {
        Ok(bytes) if bytes.len() == len => return Ok(bytes),
        _ => {}
    }
    match retried(env, path, || read_exact_at(file, offset, len)).await {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::corrupt(path, format!("the file ends before {len} bytes at offset {offset}")))
        }
        other => other,
    }
}

/// Reads a whole file.
pub(crate) async fn read_all(env: &Env, path: &str, file: &dyn File) -> Result<Bytes, Error> {
    let len = retried(env, path, || file.len()).await?;
    read(env, path, file, 0, usize::try_from(len).expect("files fit the address space")).await
}
