//! Builds a snapshot's files from a consistent view of the engine.
//!
//! The view was taken by apply when everything up to the snapshot's index had reached the engine, so files and index
//! agree. An earlier snapshot of the same key that is still here is used again. Files are written under temporary names
//! and renamed; the meta file's temporary name, created anew, is the lock that keeps a second builder out.
//!
//! A failure removes what was written and is an error for the caller to count; nothing here retries.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use failpoints::{defect, point};

use super::{
    Error, FAMILIES, Files, Key, Manager, Meta, Registration, Side, Use,
    content::{Content, Hasher},
    fails, file,
    pace::Pace,
    site,
};
use crate::{
    defects,
    engine::{Family, Snapshot, table},
    env::{File, Open},
    fact::{Digest, Text},
    key,
    region::Region,
    store::fact::snapshot::Fact,
};

/// After so many bytes the builder looks whether it is still wanted, and how fast it is.
const STEP_BYTES: u64 = 64 << 10;

/// A complete snapshot.
#[derive(Clone, Debug)]
pub struct Built {
    /// Which.
    pub key: Key,
    /// What it holds.
    pub meta: Meta,
    /// Whether its files were here already.
    pub reused: bool,
}

/// Builds, or finds, the snapshot `key` of `region` from `view`.
pub async fn build(
    manager: &Manager,
    region: &Region,
    key: Key,
    view: &Snapshot,
    cancelled: &AtomicBool,
) -> Result<Built, Error> {
    let env = &manager.inner.env;
    // Registered before anyone looks at files, so that what is found stays.
    let late = defect!(env.points, defects::TIKV_2923);
    let mut registration: Option<Registration> = None;
    if !late {
        registration = Some(manager.register(key, Use::Generating)?);
    }
    let files = manager.files(Side::Generated, key);
    let found = manager.exists(Side::Generated, key).await?;
    let _ = point!(env.points, site::AFTER_LISTING).await;
    if found {
        match reuse(manager, &files).await {
            Ok(meta) => return Ok(Built { key, meta, reused: true }),
            Err(error) => {
                if let Error::Vanished { path } = &error {
                    env.state(Fact::FileVanished { region: key.region, path: Text::from(path.clone()) });
                    if late {
                        panic!("called `Result::unwrap()` on an `Err` value: {error}");
                    }
                }
                manager.delete(Side::Generated, key, true, "failed").await?;
                return Err(error);
            }
        }
    }
    if registration.is_none() {
        registration = Some(manager.register(key, Use::Generating)?);
    }
    let lock_path = file::temporary(&files.meta());
    let lock = env.disk.open(&lock_path, Open::CreateNew).await.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::BuildLocked { path: lock_path.clone() },
        _ => Error::io("create", &lock_path, error),
    })?;
    let result = write(manager, region, &files, view, cancelled, lock).await;
    if result.is_err() {
        // What cannot be removed now is removed at the next start; the first failure is the one to tell.
        let _ = manager.discard(&files).await;
    }
    drop(registration);
    result.map(|meta| Built { key, meta, reused: false })
}

/// Looks whether the files of a complete snapshot are what its meta file says.
async fn reuse(manager: &Manager, files: &Files) -> Result<Meta, Error> {
    let meta = manager.meta(files).await?;
    verify(manager, files, &meta).await?;
    Ok(meta)
}

/// Compares the tables with the meta file.
pub(super) async fn verify(manager: &Manager, files: &Files, meta: &Meta) -> Result<(), Error> {
    for (family, table) in FAMILIES.into_iter().zip(&meta.tables) {
        let path = files.table(family);
        let bytes = manager.read(&path).await?;
        if bytes.len() as u64 != table.bytes || crc32c::crc32c(&bytes) != table.checksum {
            return Err(Error::Corrupt {
                path,
                detail: "its length or checksum is not what the meta file says".into(),
            });
        }
    }
    Ok(())
}

async fn write(
    manager: &Manager,
    region: &Region,
    files: &Files,
    view: &Snapshot,
    cancelled: &AtomicBool,
    lock: Arc<dyn File>,
) -> Result<Meta, Error> {
    let env = &manager.inner.env;
    let mut pace = Pace::new(env, region.id, manager.inner.options.build_rate);
    let mut tables = Vec::with_capacity(FAMILIES.len());
    let mut hasher = Hasher::default();
    for family in FAMILIES {
        fails(point!(env.points, site::BEFORE_BUILD_TABLE).await)?;
        let path = files.table(family);
        let temporary = file::temporary(&path);
        let mut writer = table::Writer::create(&*env.disk, &temporary).await?;
        let mut entries = view.iter(family, key::range_start(&region.start), key::range_end(&region.end));
        let mut step = 0;
        while let Some((key, value)) = entries.next().await? {
            if family == Family::Write {
                hasher.take(view, &key, &value).await?;
            }
            step += (key.len() + value.len()) as u64;
            writer.add(key, &value).await?;
            if step >= STEP_BYTES {
                wanted(cancelled)?;
                pace.wait(step).await;
                step = 0;
            }
        }
        tables.push(writer.finish().await?.into());
        pace.wait(step).await;
        wanted(cancelled)?;
        manager.rename(&temporary, &path).await?;
    }
    fails(point!(env.points, site::BEFORE_META).await)?;
    let Content { digest: Digest(digest), keys } = hasher.content();
    let meta = Meta { region: region.clone(), tables, digest, keys };
    manager.commit(files, &meta, &*lock).await?;
    Ok(meta)
}

/// An error once nobody wants the work any more.
pub(super) fn wanted(cancelled: &AtomicBool) -> Result<(), Error> {
    if cancelled.load(Ordering::Acquire) { Err(Error::Cancelled) } else { Ok(()) }
}
