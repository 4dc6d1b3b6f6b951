//! The manifest: a log of edits from which recovery learns which tables and log segments there are.
//!
//! An edit is a list of fields with numeric tags. Releases differ in the tags that they know: a tag that this release does
//! not know is an error that names it, because what it says cannot be skipped. `CURRENT` holds the name of the manifest in
//! use, and is replaced by a rename.

use bytes::{BufMut, Bytes, BytesMut};
use failpoints::point;

use crate::{
    engine::{
        batch::Family,
        error::{Doing, Error, read_all, retried},
        files,
        log::{LogWriter, read_records},
        site, varint,
        version::{Added, Edit, LEVELS, Version},
    },
    env::{Env, Open},
};

/// The version of the encoding of edits.
const FORMAT: u64 = 1;

/// The tags of this release. 10 to 14 are kept for blob files, as in Titan.
mod tag {
    pub(super) const FORMAT: u64 = 1;
    pub(super) const LOG_NUMBER: u64 = 2;
    pub(super) const NEXT_NUMBER: u64 = 3;
    pub(super) const SEQUENCE: u64 = 4;
    pub(super) const REMOVED: u64 = 6;
    pub(super) const ADDED: u64 = 7;
    pub(super) const INGESTED: u64 = 8;
}

fn encode(edit: &Edit, out: &mut BytesMut) {
    let numbers =
        [(tag::LOG_NUMBER, edit.log_number), (tag::NEXT_NUMBER, edit.next_number), (tag::SEQUENCE, edit.sequence)];
    for (tag, number) in numbers {
        if let Some(number) = number {
            varint::put(out, tag);
            varint::put(out, number);
        }
    }
    for &(family, level, number) in &edit.removed {
        varint::put(out, tag::REMOVED);
        out.put_slice(&[family as u8, level as u8]);
        varint::put(out, number);
    }
    for added in &edit.added {
        varint::put(out, if added.sequence.is_some() { tag::INGESTED } else { tag::ADDED });
        out.put_slice(&[added.family as u8, added.level as u8]);
        varint::put(out, added.number);
        varint::put(out, added.bytes);
        if let Some(sequence) = added.sequence {
            varint::put(out, sequence);
            varint::put_bytes(out, added.origin.as_deref().unwrap_or_default().as_bytes());
        }
    }
}

/// Why an edit cannot be read.
enum Unreadable {
    Malformed,
    Tag(u64),
    Format(u64),
}

fn decode(from: &mut Bytes) -> Result<Edit, Unreadable> {
    let mut edit = Edit::default();
    while !from.is_empty() {
        let tag = varint::take(from).ok_or(Unreadable::Malformed)?;
        match tag {
            tag::FORMAT => match varint::take(from).ok_or(Unreadable::Malformed)? {
                FORMAT => {}
                other => return Err(Unreadable::Format(other)),
            },
            tag::LOG_NUMBER => edit.log_number = Some(varint::take(from).ok_or(Unreadable::Malformed)?),
            tag::NEXT_NUMBER => edit.next_number = Some(varint::take(from).ok_or(Unreadable::Malformed)?),
            tag::SEQUENCE => edit.sequence = Some(varint::take(from).ok_or(Unreadable::Malformed)?),
            tag::REMOVED => edit.removed.push(decode_place(from).ok_or(Unreadable::Malformed)?),
            tag::ADDED | tag::INGESTED => {
                let added = decode_added(from, tag == tag::INGESTED).ok_or(Unreadable::Malformed)?;
                edit.added.push(added);
            }
            other => return Err(Unreadable::Tag(other)),
        }
    }
    Ok(edit)
}

fn decode_place(from: &mut Bytes) -> Option<(Family, usize, u64)> {
    let (family, level) = (Family::from_id(*from.first()?)?, usize::from(*from.get(1)?));
    let _ = from.split_to(2);
    (level < LEVELS).then_some(())?;
    Some((family, level, varint::take(from)?))
}

fn decode_added(from: &mut Bytes, ingested: bool) -> Option<Added> {
    let (family, level, number) = decode_place(from)?;
    let bytes = varint::take(from)?;
    let (mut sequence, mut origin) = (None, None);
    if ingested {
        sequence = Some(varint::take(from)?);
        let path = varint::take_bytes(from)?;
        origin = (!path.is_empty()).then(|| String::from_utf8(path.to_vec()).ok()).flatten();
    }
    Some(Added { family, level, number, bytes, sequence, origin })
}

/// The manifest in use.
pub(crate) struct Manifest {
    log: LogWriter,
    number: u64,
    log_number: u64,
    sequence: u64,
}

/// A manifest longer than this is replaced by a fresh one.
const BYTES_MAX: u64 = 1 << 20;

impl Manifest {
    /// Writes a fresh manifest that leads from nothing to `state`, and makes it the one in use.
    pub(crate) async fn create(env: &Env, dir: &str, number: u64, state: &Edit) -> Result<Manifest, Error> {
        let path = files::manifest(dir, number);
        let file = env.disk.open(&path, Open::Truncate).await.doing("creating", &path)?;
        let mut log = LogWriter::new(file, path, number);
        log.add(|out| {
            varint::put(out, tag::FORMAT);
            varint::put(out, FORMAT);
            encode(state, out);
        });
        log.write().await?;
        log.sync().await?;
        env.disk.sync_dir(dir).await.doing("syncing", dir)?;
        let (new, current) = (files::current_new(dir), files::current(dir));
        let file = env.disk.open(&new, Open::Truncate).await.doing("creating", &new)?;
        let content = format!("{number} {:08x}\n", crc32c::crc32c(number.to_string().as_bytes()));
        file.write_at(0, content.into()).await.doing("writing", &new)?;
        file.sync().await.doing("syncing", &new)?;
        env.disk.rename(&new, &current).await.doing("renaming", &new)?;
        env.disk.sync_dir(dir).await.doing("syncing", dir)?;
        Ok(Manifest { log, number, log_number: state.log_number.unwrap_or(0), sequence: state.sequence.unwrap_or(0) })
    }

    /// Appends an edit and makes it durable. `version` is the state before the edit.
    pub(crate) async fn append(&mut self, env: &Env, dir: &str, version: &Version, edit: &Edit) -> Result<(), Error> {
        site::fails(point!(env.points, site::BEFORE_MANIFEST).await, "appending to", self.log.path())?;
        if self.log.len() > BYTES_MAX {
            let mut state = version.as_edit();
            state.log_number = Some(self.log_number);
            state.sequence = Some(self.sequence);
            state.next_number = edit.next_number;
            let number = edit.next_number.expect("every edit says which numbers were used");
            let old = self.log.path().to_owned();
            *self = Manifest::create(env, dir, number, &state).await?;
            files::remove(env, old).await;
        }
        self.log.add(|out| encode(edit, out));
        self.log.write().await?;
        self.log.sync().await?;
        self.log_number = edit.log_number.unwrap_or(self.log_number);
        self.sequence = edit.sequence.unwrap_or(self.sequence);
        Ok(())
    }

    /// The number in its name.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// What the manifest in use says.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) log_number: u64,
    pub(crate) next_number: u64,
    pub(crate) sequence: u64,
    /// The tables, in an order in which they can be added.
    pub(crate) added: Vec<Added>,
}

/// Reads the manifest in use; `None` when there is none.
pub(crate) async fn find(env: &Env, dir: &str) -> Result<Option<Found>, Error> {
    let current = files::current(dir);
    if retried(env, &current, || env.disk.stat(&current)).await?.is_none() {
        return Ok(None);
    }
    let file = retried(env, &current, || env.disk.open(&current, Open::Read)).await?;
    let content = read_all(env, &current, &*file).await?;
    let number = parse_current(&content).ok_or_else(|| Error::corrupt(&current, "it names no manifest"))?;
    let path = files::manifest(dir, number);
    if retried(env, &path, || env.disk.stat(&path)).await?.is_none() {
        return Err(Error::corrupt(&current, format!("it names `{path}`, which is not there")));
    }
    let file = retried(env, &path, || env.disk.open(&path, Open::Read)).await?;
    let bytes = read_all(env, &path, &*file).await?;
    let records = read_records(&path, number, &bytes)?.records;
    if records.is_empty() {
        return Err(Error::corrupt(&path, "it has no whole record"));
    }
    let mut found = Found { log_number: 0, next_number: 0, sequence: 0, added: Vec::new() };
    for mut record in records {
        let edit = decode(&mut record).map_err(|unreadable| match unreadable {
            Unreadable::Malformed => Error::corrupt(&path, "an edit is malformed although its checksum is right"),
            Unreadable::Tag(tag) => {
                Error::UnknownFormat { path: path.clone(), what: format!("tag {tag} in a manifest of format {FORMAT}") }
            }
            Unreadable::Format(format) => {
                Error::UnknownFormat { path: path.clone(), what: format!("a manifest of format {format}") }
            }
        })?;
        found.log_number = edit.log_number.unwrap_or(found.log_number);
        found.next_number = edit.next_number.unwrap_or(found.next_number).max(found.next_number);
        found.sequence = edit.sequence.unwrap_or(found.sequence).max(found.sequence);
        for (family, level, number) in edit.removed {
            let before = found.added.len();
            found.added.retain(|added| (added.family, added.level, added.number) != (family, level, number));
            if found.added.len() == before {
                return Err(Error::corrupt(&path, format!("an edit removes table {number}, which is not there")));
            }
        }
        found.added.extend(edit.added);
    }
    Ok(Some(found))
}

fn parse_current(content: &[u8]) -> Option<u64> {
    let (number, sum) = std::str::from_utf8(content).ok()?.strip_suffix('\n')?.split_once(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == crc32c::crc32c(number.as_bytes())).then_some(())?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_decodes_to_itself_and_unknown_tags_are_named() {
        let edit = Edit {
            log_number: Some(3),
            next_number: Some(900),
            sequence: Some(1 << 40),
            removed: vec![(Family::Lock, 2, 17)],
            added: vec![
                Added { family: Family::Write, level: 0, number: 8, bytes: 99, sequence: None, origin: None },
                Added {
                    family: Family::Raft,
                    level: 6,
                    number: 9,
                    bytes: 1,
                    sequence: Some(5),
                    origin: Some("snap/x".to_owned()),
                },
            ],
        };
        let mut out = BytesMut::new();
        encode(&edit, &mut out);
        assert!(decode(&mut out.clone().freeze()).is_ok_and(|decoded| decoded == edit));
        varint::put(&mut out, 14);
        assert!(matches!(decode(&mut out.freeze()), Err(Unreadable::Tag(14))));
    }
}
