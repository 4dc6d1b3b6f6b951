//! The task that writes full memtables out as tables of level 0.
//!
//! Oldest first, one at a time. The edit that adds the tables also says from which segment on the write-ahead log is still
//! needed, so that a memtable is in its tables or in the log, never in neither.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
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
    let mut builder = TableBuilder::create(&*shared.env.disk, &path, shared.options.style()).await?;
    let ranges = memtable.tombstones(family);
    let mut from = Bound::Unbounded;
    loop {
        // The skip list is not held across waits.
        let mut piece: BTreeMap<Bytes, (u64, Option<Bytes>)> = BTreeMap::new();
        let start = from.as_ref().map(|key: &Bytes| &key[..]);
        memtable.scan(family, start, &[], u64::MAX, |key, sequence, value| {
            piece.insert(key.clone(), (sequence, value.clone()));
            piece.len() < 256
        });
        let Some((last, _)) = piece.last_key_value() else { break };
        from = Bound::Excluded(last.clone());
        for (key, (sequence, value)) in piece {
            match &value {
                None => builder.add(key, sequence, Stored::Delete).await?,
                Some(value) if values.takes(value.len()) => {
                    let index = values.put(&key, value).await?;
                    builder.add_blob(key, sequence, index).await?;
                }
                Some(value) => builder.add(key, sequence, Stored::Value(value)).await?,
            }
        }
    }
    for delete in ranges.iter().flat_map(|ranges| ranges.list()) {
        builder.add_range(delete);
    }
    builder.finish().await?;
    let (env, cache, garbage) = (&shared.env, &shared.cache, &shared.garbage);
    Table::open(Opening { env, path, number, sequence: None, cache, garbage }).await
}
