//! A directory of the real file system, reached from blocking threads.
//!
//! Paths that would lead out of the directory are refused. Files are written at positions; the end, for appends, is
//! kept under a lock, so that two appends never meet.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::env::{BoxFuture, Disk, File, Open, Stat};

/// One directory tree.
pub(super) struct RealDisk {
    root: PathBuf,
}

struct RealFile {
    file: Arc<fs::File>,
    appends: Arc<Mutex<()>>,
}

impl RealDisk {
    /// The tree under `root`, which is created if it is missing.
    #[expect(clippy::disallowed_methods, reason = "this is the real disk")]
    pub(super) fn new(root: &Path) -> io::Result<RealDisk> {
        fs::create_dir_all(root)?;
        Ok(RealDisk { root: root.to_owned() })
    }

    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let path = Path::new(path);
        if path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Ok(self.root.join(path));
        }
        Err(io::Error::new(ErrorKind::InvalidInput, format!("`{}` is no path below a root", path.display())))
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(io::Error::other("the process is stopping")),
    }
}

impl Disk for RealDisk {
    #[expect(clippy::disallowed_methods, reason = "this is the real disk")]
    fn open<'a>(&'a self, path: &'a str, how: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        Box::pin(async move {
            let path = self.path(path)?;
            let file = blocking(move || {
                let mut options = fs::OpenOptions::new();
                options.read(true).write(how != Open::Read);
                match how {
                    Open::Read | Open::Write => &mut options,
                    Open::Create => options.create(true),
                    Open::CreateNew => options.create_new(true),
                    Open::Truncate => options.create(true).truncate(true),
                };
                options.open(path)
            })
            .await?;
            Ok(Arc::new(RealFile { file: Arc::new(file), appends: Arc::default() }) as Arc<dyn File>)
        })
    }

    fn create_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let path = self.path(path)?;
            blocking(move || match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
                result => result,
            })
            .await
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real disk")]
    fn list<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move {
            let path = self.path(path)?;
            blocking(move || {
                let mut names = Vec::new();
                for entry in fs::read_dir(path)? {
                    names.push(entry?.file_name().into_string().map_err(|name| {
                        io::Error::new(ErrorKind::InvalidData, format!("a file's name is not text: {name:?}"))
                    })?);
                }
                names.sort();
                Ok(names)
            })
            .await
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real disk")]
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (from, to) = (self.path(from)?, self.path(to)?);
            blocking(move || fs::rename(from, to)).await
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real disk")]
    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let path = self.path(path)?;
            blocking(move || fs::remove_file(path)).await
        })
    }

    fn remove_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let path = self.path(path)?;
            blocking(move || fs::remove_dir(path)).await
        })
    }

    fn stat<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Option<Stat>>> {
        Box::pin(async move {
            let path = self.path(path)?;
            blocking(move || match fs::metadata(path) {
                Ok(found) if found.is_dir() => Ok(Some(Stat::Dir)),
                Ok(found) => Ok(Some(Stat::File(found.len()))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            })
            .await
        })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real disk")]
    fn sync_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let path = self.path(path)?;
            blocking(move || fs::File::open(path)?.sync_all()).await
        })
    }
}

impl RealFile {
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.file);
        blocking(move || work(&file)).await
    }
}

impl File for RealFile {
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(self.with(move |file| {
            let mut buffer = vec![0; len];
            let mut filled = 0;
            while filled < len {
                match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            buffer.truncate(filled);
            Ok(buffer.into())
        }))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.with(move |file| file.write_all_at(&data, offset)))
    }

    fn append(&self, data: Bytes) -> BoxFuture<'_, io::Result<u64>> {
        let appends = Arc::clone(&self.appends);
        Box::pin(self.with(move |file| {
            let _one_at_a_time = appends.lock();
            let end = file.metadata()?.len();
            file.write_all_at(&data, end)?;
            Ok(end)
        }))
    }

    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.with(move |file| file.set_len(len)))
    }

    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(self.with(|file| Ok(file.metadata()?.len())))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.with(|file| file.sync_all()))
    }
}
