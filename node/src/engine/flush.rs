//! The task that writes full memtables out as tables of level 0.
//!
//! Oldest first, one at a time. The edit that adds the tables also says from which segment on the write-ahead log is still
//! needed, so that a memtable is in its tables or in the log, never in neither.

use std::{ops::Bound, sync::Arc};

use failpoints::point;

use crate::engine::{
    batch::Family,
    blob::Values,
    block::Stored,
    error::{Doing, Error},
    fact::Fact,
    files,
    memtable::MemTable,
    site,
    state::{Shared, Sources},
    table::{Opening, Table, TableBuilder},
    version::{Added, Edit},
};

/// Writes memtables out until the engine stops or fails.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        shared.wait_until(|shared| !shared.sources().immutable.is_empty() || shared.refusal().is_some()).await;
        if shared.refusal().is_some() {
            return;
        }
        let oldest = shared.sources().immutable.last().expect("waited for it").clone();
        if let Err(error) = flush(&shared, &oldest).await {
            shared.fail(&error);
            return;
        }
    }
}

async fn flush(shared: &Arc<Shared>, memtable: &Arc<MemTable>) -> Result<(), Error> {
    let (env, dir) = (&shared.env, &shared.dir);
    site::fails(point!(env.points, site::BEFORE_FLUSH).await, "flushing into", dir)?;
    let mut edit = Edit { sequence: Some(memtable.sequence_max()), ..Edit::default() };
    let (mut opened, mut blobs) = (Vec::new(), Vec::new());
    let mut facts = Vec::new();
    for family in Family::ALL.into_iter().filter(|&family| memtable.has(family)) {
        let number = shared.new_number();
        let mut values = Values::new(shared, family);
        let table = Arc::new(write_out(shared, memtable, family, number, &mut values).await?);
        blobs.extend(values.finish().await?);
        let entries = table.entries;
        facts.push(Fact::Flushed { family: family.name().into(), table: number, entries });
        edit.added.push(Added { family, level: 0, number, bytes: table.bytes, sequence: None, origin: None });
        opened.push(table);
    }
    edit.blobs_added.extend(blobs.iter().map(|file| file.meta.clone()));
    env.disk.sync_dir(dir).await.doing("syncing", dir)?;
    {
        let mut manifest = shared.manifest.lock().await;
        let sources = shared.sources();
        let newer = sources.immutable.iter().rev().nth(1).unwrap_or(&sources.memtable);
        edit.log_number = newer.segments.first().copied();
        edit.next_number = Some(shared.next_number());
        manifest.append(env, dir, &sources.version, &edit).await?;
        shared.install(|sources| Sources {
            memtable: sources.memtable.clone(),
            immutable: sources.immutable[..sources.immutable.len() - 1].to_vec(),
            version: Arc::new(sources.version.after(&edit, &opened, &blobs)),
        });
    }
    for &segment in &memtable.segments {
        shared.garbage.add(files::segment(dir, segment));
    }
    for fact in facts {
        env.state(fact);
    }
    Ok(())
}

async fn write_out(
    shared: &Shared,
    memtable: &MemTable,
    family: Family,
    number: u64,
    values: &mut Values<'_>,
) -> Result<Table, Error> {
    let path = files::table(&shared.dir, number);
    let mut builder = TableBuilder::create(&*shared.env.disk, &path, shared.options.style(0)).await?;
    let ranges = memtable.tombstones(family);
    loop {
        let mut large = None;
        // Copied, since the builder grows meanwhile. Once a piece of the file.
        let from = builder.last().map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
        let stopped =
            memtable.scan(family, from.as_ref().map(|key| &key[..]), &[], u64::MAX, |key, sequence, value| {
                match value {
                    Some(value) if values.takes(value.len()) => large = Some((key.clone(), sequence, value.clone())),
                    Some(value) => builder.push(key, sequence, Stored::Value(value)),
                    None => builder.push(key, sequence, Stored::Delete),
                }
                large.is_none() && !builder.is_full()
            });
        if let Some((key, sequence, value)) = large {
            let index = values.put(&key, &value).await?;
            builder.add_blob(key, sequence, index).await?;
        } else if !stopped {
            break;
        } else {
            builder.write().await?;
        }
    }
    for delete in ranges.iter().flat_map(|ranges| ranges.list()) {
        builder.add_range(delete);
    }
    builder.finish().await?;
    let (env, cache, garbage) = (&shared.env, &shared.cache, &shared.garbage);
    Table::open(Opening { env, path, number, sequence: None, cache, garbage }).await
}
