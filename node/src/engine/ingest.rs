//! Taking in tables that were made outside the engine.
//!
//! The manifest edit comes first and names where each file lies; the renames follow. A crash before the edit leaves the
//! files where they were and the engine as it was; a crash behind it is completed by recovery. So an ingestion happens
//! whole or not at all, and a file is always either at its origin or in the engine.

use std::sync::Arc;

use bytes::Bytes;
use failpoints::point;

use crate::{
    engine::{
        batch::Family,
        error::{Doing, Error},
        fact::Fact,
        files, range, site,
        state::{Shared, Sources},
        table::{Opening, Reader, Table},
        version::{Added, Edit},
    },
    env::Env,
};

/// An external table that was looked at and is to be taken in.
pub(crate) struct Arrival {
    pub(crate) family: Family,
    path: String,
    bytes: u64,
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    empty: bool,
}

/// Looks at external tables.
pub(crate) async fn examine(env: &Env, files: Vec<(Family, String)>) -> Result<Vec<Arrival>, Error> {
    let mut arrivals = Vec::with_capacity(files.len());
    for (family, path) in files {
        let reader = Reader::open(env, &path).await?;
        let table = reader.table();
        arrivals.push(Arrival {
            family,
            bytes: table.bytes,
            start: table.start.clone(),
            end: table.end.clone(),
            empty: table.entries == 0 && table.tombstones.is_empty(),
            path,
        });
    }
    Ok(arrivals)
}

/// Takes tables in, under the sequence number `sequence`. An error leaves the engine in need of recovery.
pub(crate) async fn take_in(shared: &Arc<Shared>, arrivals: Vec<Arrival>, sequence: u64) -> Result<(), Error> {
    let (env, dir) = (&shared.env, &shared.dir);
    let (arrivals, empty): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|arrival| !arrival.empty);
    site::fails(point!(env.points, site::BEFORE_INGEST).await, "ingesting into", dir)?;
    let mut origins: Vec<&str> = arrivals.iter().map(|arrival| files::parent(&arrival.path)).collect();
    origins.sort_unstable();
    origins.dedup();
    for origin in &origins {
        env.disk.sync_dir(origin).await.doing("syncing", origin)?;
    }
    let mut manifest = shared.manifest.lock().await;
    let version = shared.sources().version.clone();
    let mut edit = Edit { sequence: Some(sequence), ..Edit::default() };
    for (index, arrival) in arrivals.iter().enumerate() {
        let apart = arrivals[..index].iter().all(|other| {
            other.family != arrival.family || !range::overlap(&other.start, &other.end, &arrival.start, &arrival.end)
        });
        // What a running compaction writes may cover more than its inputs do.
        let settled = apart && shared.compacting() != Some(arrival.family);
        let level = if settled { version.deepest_free_level(arrival.family, &arrival.start, &arrival.end) } else { 0 };
        edit.added.push(Added {
            family: arrival.family,
            level,
            number: shared.new_number(),
            bytes: arrival.bytes,
            sequence: Some(sequence),
            origin: Some(arrival.path.clone()),
        });
    }
    edit.next_number = Some(shared.next_number());
    manifest.append(env, dir, &version, &edit).await?;
    let _ = point!(env.points, site::BEFORE_INGEST_RENAME).await;
    let mut opened = Vec::with_capacity(arrivals.len());
    for (arrival, added) in arrivals.iter().zip(&edit.added) {
        let path = files::table(dir, added.number);
        env.disk.rename(&arrival.path, &path).await.doing("renaming", &arrival.path)?;
        let (cache, garbage) = (&shared.cache, &shared.garbage);
        let opening = Opening { env, path, number: added.number, sequence: added.sequence, cache, garbage };
        opened.push(Arc::new(Table::open(opening).await?));
    }
    env.disk.sync_dir(dir).await.doing("syncing", dir)?;
    for origin in &origins {
        env.disk.sync_dir(origin).await.doing("syncing", origin)?;
    }
    shared.install(|sources| Sources {
        memtable: sources.memtable.clone(),
        immutable: sources.immutable.clone(),
        version: Arc::new(sources.version.after(&edit, &opened, &[])),
    });
    shared.publish(sequence);
    drop(manifest);
    for arrival in empty {
        shared.garbage.add(arrival.path);
    }
    for family in Family::ALL {
        let tables = edit.added.iter().filter(|added| added.family == family).count() as u64;
        if tables > 0 {
            env.state(Fact::Ingested { family: family.name().into(), tables });
        }
    }
    Ok(())
}
