//! Opening an engine: from what a directory holds to what it meant.
//!
//! The manifest says which tables there are; the segments of the write-ahead log from its log number on are replayed into a
//! memtable. Whatever is replayed is made durable before anybody can act on it: a process may have died without its
//! machine, and then the log's tail was never synced. It is written anew for that, since a sync that failed in the life
//! before has made the system forget that what it reads back is not on the disk. At the end a fresh manifest is written, and files that it does not
//! know are removed.
//!
//! What this release cannot read is found out before anything is changed: the release that wrote it can go on then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    engine::{
        Options,
        batch::WriteBatch,
        blob::BlobFile,
        cache::Cache,
        error::{Doing, Error, read_all, retried},
        fact::Fact,
        files::{self, Garbage, Name},
        format::Formats,
        log::{LogWriter, read_records},
        manifest::{self, Found, Manifest},
        memtable::MemTable,
        state::{Sources, Start, note},
        table::{Opening, Table},
        version::{Edit, Version},
        write::create_segment,
    },
    env::{Env, Open, Stat},
};

/// What `open` gives to the engine's tasks.
pub(crate) struct Recovered {
    pub(crate) start: Start,
    pub(crate) log: LogWriter,
}

/// Opens a directory; what is corrupt is stated as a fact.
pub(crate) async fn open(env: &Env, dir: &str, options: &Options) -> Result<Recovered, Error> {
    recover(env, dir, options).await.map_err(|error| note(env, error))
}

async fn recover(env: &Env, dir: &str, options: &Options) -> Result<Recovered, Error> {
    let formats = Formats::of(env, options.release);
    create_dirs(env, dir).await?;
    let list = retried(env, dir, || env.disk.list(dir)).await?;
    let names: Vec<(Name, &String)> = list.iter().filter_map(|name| Some((Name::parse(name)?, name))).collect();
    let found = match manifest::find(env, dir, &formats).await? {
        Some(found) => found,
        None => {
            refuse_content(env, dir, &names).await?;
            Found { log_number: 0, next_number: 1, sequence: 0, added: Vec::new(), blobs: Vec::new() }
        }
    };
    let (cache, garbage) = (Arc::new(Cache::new(options.cache_bytes)), Arc::new(Garbage::default()));
    let mut blobs = BTreeMap::new();
    for meta in &found.blobs {
        let file = BlobFile::open(env, dir, meta.clone(), &formats, &garbage).await?;
        blobs.insert(meta.number, Arc::new(file));
    }
    let mut version = open_tables(env, dir, &found, &cache, &garbage).await?;
    version.blobs = Arc::new(blobs);

    let used = names.iter().map(|(name, _)| match name {
        Name::Manifest(number) | Name::Segment(number) | Name::Table(number) | Name::Blob(number) => *number,
        Name::Current | Name::CurrentNew => 0,
    });
    let mut next_number = used.max().unwrap_or(0).max(found.next_number.saturating_sub(1)) + 1;
    let mut number = || {
        next_number += 1;
        next_number - 1
    };
    let segments: BTreeSet<u64> = names
        .iter()
        .filter_map(|(name, _)| match name {
            Name::Segment(segment) if *segment >= found.log_number => Some(*segment),
            _ => None,
        })
        .collect();
    if found.log_number > 0 && !segments.contains(&found.log_number) {
        let path = files::segment(dir, found.log_number);
        return Err(Error::corrupt(&path, "the manifest needs it, and it is not there"));
    }
    let new_segment = number();
    let mut all_segments: Vec<u64> = segments.iter().copied().collect();
    all_segments.push(new_segment);
    let memtable = MemTable::new(all_segments);
    let (sequence, replayed) = replay(env, dir, &segments, found.sequence, &memtable).await?;

    let log = create_segment(env, dir, new_segment).await?;
    let manifest_number = number();
    let mut state = version.as_edit();
    state.log_number = memtable.segments.first().copied();
    state.sequence = Some(found.sequence);
    state.next_number = Some(next_number);
    let manifest = Manifest::create(env, dir, manifest_number, &state, formats).await?;
    remove_unknown(env, dir, &names, &manifest, &memtable, &state).await;

    let tables = version.tables() as u64;
    env.state(Fact::Opened { tables, replayed });
    let sources = Sources { memtable: Arc::new(memtable), immutable: Vec::new(), version: Arc::new(version) };
    Ok(Recovered { start: Start { manifest, formats, sources, cache, garbage, sequence, next_number }, log })
}

/// Without a manifest there is nothing: at most the empty segment of a first start that did not get far.
async fn refuse_content(env: &Env, dir: &str, names: &[(Name, &String)]) -> Result<(), Error> {
    for (kind, name) in names {
        let is_content = match kind {
            Name::Table(_) | Name::Blob(_) => true,
            Name::Segment(segment) => {
                let path = files::segment(dir, *segment);
                retried(env, &path, || env.disk.stat(&path)).await? != Some(Stat::File(0))
            }
            Name::Current | Name::CurrentNew | Name::Manifest(_) => false,
        };
        if is_content {
            return Err(Error::corrupt(&files::current(dir), format!("it is not there, but `{name}` is")));
        }
    }
    Ok(())
}

/// Creates a directory and those above it, and makes their names durable.
async fn create_dirs(env: &Env, dir: &str) -> Result<(), Error> {
    let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
    for path in ends.map(|end| &dir[..end]).filter(|path| !path.is_empty()) {
        if retried(env, path, || env.disk.stat(path)).await? != Some(Stat::Dir) {
            env.disk.create_dir(path).await.doing("creating", path)?;
        }
        let parent = files::parent(path);
        env.disk.sync_dir(parent).await.doing("syncing", parent)?;
    }
    Ok(())
}

async fn open_tables(
    env: &Env,
    dir: &str,
    found: &Found,
    cache: &Arc<Cache>,
    garbage: &Arc<Garbage>,
) -> Result<Version, Error> {
    let mut opened = Vec::with_capacity(found.added.len());
    for added in &found.added {
        let path = files::table(dir, added.number);
        if retried(env, &path, || env.disk.stat(&path)).await?.is_none() {
            let Some(origin) = &added.origin else {
                return Err(Error::corrupt(&path, "the manifest needs it, and it is not there"));
            };
            // The ingestion was decided, and its rename did not last.
            if retried(env, origin, || env.disk.stat(origin)).await?.is_none() {
                return Err(Error::corrupt(&path, format!("neither it nor its origin `{origin}` is there")));
            }
            env.disk.rename(origin, &path).await.doing("renaming", origin)?;
            env.disk.sync_dir(dir).await.doing("syncing", dir)?;
            let parent = files::parent(origin);
            env.disk.sync_dir(parent).await.doing("syncing", parent)?;
        } else if added.origin.is_some() {
            // The fresh manifest will not name the origin any more.
            env.disk.sync_dir(dir).await.doing("syncing", dir)?;
        }
        let opening = Opening { env, path, number: added.number, sequence: added.sequence, cache, garbage };
        let table = Table::open(opening).await?;
        if table.bytes != added.bytes {
            let detail = format!("it has {} bytes, the manifest says {}", table.bytes, added.bytes);
            return Err(Error::corrupt(table.path(), detail));
        }
        opened.push(Arc::new(table));
    }
    Ok(Version::default().after(&Edit { added: found.added.clone(), ..Edit::default() }, &opened, &[]))
}

/// Replays segments, oldest first; gives the last sequence number and how many records there were.
async fn replay(
    env: &Env,
    dir: &str,
    segments: &BTreeSet<u64>,
    flushed: u64,
    memtable: &MemTable,
) -> Result<(u64, u64), Error> {
    let (mut last, mut replayed) = (0, 0);
    for &segment in segments {
        let path = files::segment(dir, segment);
        let file = retried(env, &path, || env.disk.open(&path, Open::Write)).await?;
        let bytes = read_all(env, &path, &*file).await?;
        let found = read_records(&path, segment, &bytes)?;
        if found.end < bytes.len() as u64 && segments.last() != Some(&segment) {
            let detail = format!("the record at offset {} is bad, and the log goes on in another file", found.end);
            return Err(Error::corrupt(&path, detail));
        }
        if segments.last() == Some(&segment) {
            write_anew(env, &path, bytes.slice(..found.end as usize)).await?;
        }
        for record in found.records {
            last = replay_record(&path, record, last, memtable)?;
            replayed += 1;
        }
    }
    env.disk.sync_dir(dir).await.doing("syncing", dir)?;
    Ok((last.max(flushed), replayed))
}

/// Puts a file of these bytes, all of them durable, in the place of the one at `path`. Its name is durable once the
/// directory is.
async fn write_anew(env: &Env, path: &str, bytes: Bytes) -> Result<(), Error> {
    let new = files::segment_new(files::parent(path));
    let file = env.disk.open(&new, Open::Truncate).await.doing("creating", &new)?;
    file.append(bytes).await.doing("appending to", &new)?;
    file.sync().await.doing("syncing", &new)?;
    env.disk.rename(&new, path).await.doing("renaming", &new)
}

fn replay_record(path: &str, record: Bytes, last: u64, memtable: &MemTable) -> Result<u64, Error> {
    let malformed = || Error::corrupt(path, "a record is malformed although its checksum is right");
    let (sequence, batch) = WriteBatch::decode(record).ok_or_else(malformed)?;
    if sequence <= last {
        return Err(Error::corrupt(path, format!("the change numbered {sequence} follows the one numbered {last}")));
    }
    let end = sequence + batch.len() as u64 - 1;
    memtable.apply(sequence, batch.into_ops());
    Ok(end)
}

/// Removes what an earlier incarnation left behind.
async fn remove_unknown(
    env: &Env,
    dir: &str,
    names: &[(Name, &String)],
    manifest: &Manifest,
    memtable: &MemTable,
    state: &Edit,
) {
    let tables: BTreeSet<u64> = state.added.iter().map(|added| added.number).collect();
    let blobs: BTreeSet<u64> = state.blobs_added.iter().map(|blob| blob.number).collect();
    for (name, text) in names {
        let is_known = match name {
            Name::Current => true,
            Name::CurrentNew => false,
            Name::Manifest(number) => *number == manifest.number(),
            Name::Segment(number) => memtable.segments.contains(number),
            Name::Table(number) => tables.contains(number),
            Name::Blob(number) => blobs.contains(number),
        };
        if !is_known {
            files::remove(env, format!("{dir}/{text}")).await;
        }
    }
}
