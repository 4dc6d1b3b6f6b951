//! Emptying and removing old segments, and reading entries back.
//!
//! Only the oldest segment ever goes: a younger one may hold the record that kills entries of an older one. Before it
//! goes, everything later is synced, because the records that made its content dead may not be durable yet. The next
//! goes once its absence is durable: names that come back after a crash come back in any order, and a gap between them
//! looks like a lost segment.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::Entry;

use super::{
    Error, Found, Inner, LogBatch, Writer, fact::Fact, memory::Segment, read_exact_at, record::Op, take_entry,
};
use crate::region::{PeerId, RegionId};

/// Neighbouring entries are read in one go when at most so many bytes lie between them.
const GAP: u64 = 4096;

/// Removes what it can; see [`super::RaftLog::collect`].
pub(super) async fn collect(inner: &Inner) -> Result<u64, Error> {
    let mut removed = 0;
    loop {
        let mut writer = inner.writer.lock().await;
        let Some((number, segment, remains)) = oldest(inner, &writer) else { break };
        let mut batch = LogBatch::new();
        for (region, peer, remain) in remains {
            batch.ops.push(match remain {
                Remain::Op(op) => (region, peer, op),
                Remain::Entries(found) => (region, peer, Op::Move(read(found).await?)),
            });
        }
        inner.guarded(&mut writer, Some(&batch), true).await?;
        let path = segment.path;
        inner.env.state(Fact::Removing { path: path.clone() });
        inner.memory.lock().segments.remove(&number);
        // A failure leaves a file that the next start reads again; the same bytes are in a later segment.
        if let Err(error) = remove(inner, path.as_str()).await {
            writer.stopped = Some(Arc::new(error.clone()));
            return Err(error);
        }
        removed += 1;
    }
    Ok(removed)
}

async fn remove(inner: &Inner, path: &str) -> Result<(), Error> {
    inner.env.disk.remove(path).await.map_err(|error| Error::io("remove", path, error))?;
    inner.env.disk.sync_dir(&inner.dir).await.map_err(|error| Error::io("sync", &inner.dir, error))
}

/// By region.
type Remains = Vec<(RegionId, PeerId, Remain)>;

/// What has to be written again before a segment goes.
enum Remain {
    Op(Op),
    Entries(Vec<Found>),
}

/// The oldest segment with what is alive in it, unless it has to stay.
fn oldest(inner: &Inner, writer: &Writer) -> Option<(u64, Segment, Remains)> {
    let memory = inner.memory.lock();
    let (number, segment) = memory.segments.first_key_value().map(|(number, segment)| (*number, segment.clone()))?;
    if number == writer.number || memory.pinned(number) {
        return None;
    }
    let mut remains = Vec::new();
    let mut bytes = 0;
    for (region, log) in &memory.logs {
        if log.base_at == Some(number) {
            let (index, term) = (log.base.index, log.base.term);
            remains.push((*region, log.peer, Remain::Op(Op::Base { index, term })));
        }
        if log.hard_at == Some(number) {
            remains.push((*region, log.peer, Remain::Op(Op::HardState(log.hard))));
        }
        let mut alive = Vec::new();
        for slot in &log.slots {
            let Some(place) = slot.place.filter(|place| place.segment == number) else { continue };
            bytes += u64::from(place.len);
            alive.push(match &slot.cached {
                Some(entry) => Found::Here((**entry).clone()),
                None => Found::There(place, segment.clone()),
            });
        }
        if bytes > inner.options.rewrite_bytes {
            return None;
        }
        if !alive.is_empty() {
            remains.push((*region, log.peer, Remain::Entries(alive)));
        }
    }
    Some((number, segment, remains))
}

/// Reads entries back, neighbours in one go, and compares their checksums.
pub(super) async fn read(found: Vec<Found>) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::with_capacity(found.len());
    let mut rest = &found[..];
    while let Some((first, more)) = rest.split_first() {
        let (place, segment) = match first {
            Found::Here(entry) => {
                entries.push(entry.clone());
                rest = more;
                continue;
            }
            Found::There(place, segment) => (place, segment),
        };
        let mut end = place.offset + u64::from(place.len);
        let mut count = 1;
        for next in more {
            let Found::There(next, _) = next else { break };
            if next.segment != place.segment || next.offset < end || next.offset > end + GAP {
                break;
            }
            end = next.offset + u64::from(next.len);
            count += 1;
        }
        let (run, more) = rest.split_at(count);
        let path = segment.path.as_str();
        let bytes = read_exact_at(&*segment.file, place.offset, (end - place.offset) as usize).await;
        let bytes = bytes.map_err(|error| Error::io("read", path, error))?;
        for one in run {
            let Found::There(one, _) = one else { unreachable!("a run holds only places") };
            let start = (one.offset - place.offset) as usize;
            entries.push(parse(bytes.slice(start..start + one.len as usize), one.sum).ok_or_else(|| {
                let detail = "an entry's checksum differs";
                Error::Corrupt { path: path.to_owned(), offset: one.offset, detail }
            })?);
        }
        rest = more;
    }
    Ok(entries)
}

fn parse(mut bytes: Bytes, sum: u32) -> Option<Entry> {
    if crc32c::crc32c(&bytes) != sum {
        return None;
    }
    take_entry(&mut bytes)
}
