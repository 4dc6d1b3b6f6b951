//! The manifest: a log of edits from which recovery learns which tables and log segments there are.
//!
//! An edit is a list of fields with numeric tags. Releases differ in the tags that they know: a tag that this release does
//! not know is an error that names it, because what it says cannot be skipped. That goes for blob files above all, whose
//! notes have changed twice: number and bytes; with entries and bounds; with the size of blocks. `CURRENT` holds the name of the manifest in
//! use, and is replaced by a rename.

use bytes::{BufMut, Bytes};
use failpoints::point;

use crate::{
    engine::{
        batch::Family,
        blob::BlobMeta,
        error::{Doing, Error, read_all, retried},
        fact::Fact,
        files,
        format::{Formats, MANIFEST_TAG},
        log::{LogWriter, read_records},
        site, varint,
        version::{Added, Edit, LEVELS, Version},
    },
    env::{Env, Open},
};

/// The version of the encoding of edits.
const FORMAT: u64 = 1;

/// The tags. Those of blob files, 10 to 14, are Titan's; which of 11, 13 and 14 a release knows is its own business.
mod tag {
    pub(super) const FORMAT: u64 = 1;
    pub(super) const LOG_NUMBER: u64 = 2;
    pub(super) const NEXT_NUMBER: u64 = 3;
    pub(super) const SEQUENCE: u64 = 4;
    pub(super) const REMOVED: u64 = 6;
    pub(super) const ADDED: u64 = 7;
    pub(super) const INGESTED: u64 = 8;
    /// The family of the blob files that follow.
    pub(super) const BLOB_FAMILY: u64 = 10;
    pub(super) const BLOB_V1: u64 = 11;
    pub(super) const BLOB_REMOVED: u64 = 12;
    pub(super) const BLOB_V2: u64 = 13;
    pub(super) const BLOB_V3: u64 = 14;
}

fn encode_blobs(edit: &Edit, tag: u8, out: &mut Vec<u8>) {
    if edit.blobs_added.is_empty() && edit.blobs_removed.is_empty() {
        return;
    }
    varint::put(out, tag::BLOB_FAMILY);
    out.put_u8(Family::Default as u8);
    for &number in &edit.blobs_removed {
        varint::put(out, tag::BLOB_REMOVED);
        varint::put(out, number);
    }
    let tag = u64::from(tag);
    for blob in &edit.blobs_added {
        varint::put(out, tag);
        varint::put(out, blob.number);
        varint::put(out, blob.bytes);
        if tag == tag::BLOB_V1 {
            continue;
        }
        varint::put(out, blob.entries);
        // The level, which is Titan's own and nobody's here.
        varint::put(out, 0);
        if tag == tag::BLOB_V3 {
            varint::put(out, blob.block_size);
        }
        varint::put_bytes(out, &blob.smallest);
        varint::put_bytes(out, &blob.largest);
    }
}

fn decode_blob(from: &mut Bytes, tag: u64) -> Option<BlobMeta> {
    let (number, bytes) = (varint::take(from)?, varint::take(from)?);
    if tag == tag::BLOB_V1 {
        return Some(BlobMeta { number, bytes, ..BlobMeta::default() });
    }
    let entries = varint::take(from)?;
    varint::take(from)?;
    let block_size = if tag == tag::BLOB_V3 { varint::take(from)? } else { 0 };
    Some(BlobMeta {
        number,
        bytes,
        entries,
        block_size,
        smallest: varint::take_bytes(from)?,
        largest: varint::take_bytes(from)?,
    })
}

/// States which of the tags of blob files an edit has brought to the manifest.
fn tell(env: &Env, path: &str, edit: &Edit, formats: &Formats) {
    let tags = [(u64::from(formats.tag), edit.blobs_added.len()), (tag::BLOB_REMOVED, edit.blobs_removed.len())];
    for (tag, files) in tags.into_iter().filter(|(_, files)| *files > 0) {
        let (path, release) = (path.to_owned().into(), formats.release.name.into());
        env.state(Fact::EditWritten { path, tag, release, files: files as u64 });
    }
}

fn encode(edit: &Edit, blob_tag: u8, out: &mut Vec<u8>) {
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
    encode_blobs(edit, blob_tag, out);
}

/// Why an edit cannot be read.
enum Unreadable {
    Malformed,
    Tag(u64),
    Format(u64),
}

fn decode(from: &mut Bytes, reads_tag: impl Fn(u64) -> bool) -> Result<Edit, Unreadable> {
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
            tag::BLOB_FAMILY => {
                let family = from.first().copied().and_then(Family::from_id).ok_or(Unreadable::Malformed)?;
                if family != Family::Default {
                    return Err(Unreadable::Malformed);
                }
                let _ = from.split_to(1);
            }
            tag::BLOB_REMOVED => edit.blobs_removed.push(varint::take(from).ok_or(Unreadable::Malformed)?),
            tag::BLOB_V1 | tag::BLOB_V2 | tag::BLOB_V3 if reads_tag(tag) => {
                edit.blobs_added.push(decode_blob(from, tag).ok_or(Unreadable::Malformed)?);
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
    formats: Formats,
    number: u64,
    log_number: u64,
    sequence: u64,
}

/// A manifest longer than this is replaced by a fresh one.
const BYTES_MAX: u64 = 1 << 20;

impl Manifest {
    /// Writes a fresh manifest that leads from nothing to `state`, and makes it the one in use.
    pub(crate) async fn create(
        env: &Env,
        dir: &str,
        number: u64,
        state: &Edit,
        formats: Formats,
    ) -> Result<Manifest, Error> {
        let path = files::manifest(dir, number);
        let file = env.disk.open(&path, Open::Truncate).await.doing("creating", &path)?;
        let mut log = LogWriter::new(file, path, number);
        log.add(|out| {
            varint::put(out, tag::FORMAT);
            varint::put(out, FORMAT);
            encode(state, formats.tag, out);
        });
        log.write().await?;
        log.sync().await?;
        tell(env, log.path(), state, &formats);
        env.disk.sync_dir(dir).await.doing("syncing", dir)?;
        let (new, current) = (files::current_new(dir), files::current(dir));
        let file = env.disk.open(&new, Open::Truncate).await.doing("creating", &new)?;
        let content = format!("{number} {:08x}\n", crc32c::crc32c(number.to_string().as_bytes()));
        file.write_at(0, content.into()).await.doing("writing", &new)?;
        file.sync().await.doing("syncing", &new)?;
        env.disk.rename(&new, &current).await.doing("renaming", &new)?;
        env.disk.sync_dir(dir).await.doing("syncing", dir)?;
        let (log_number, sequence) = (state.log_number.unwrap_or(0), state.sequence.unwrap_or(0));
        Ok(Manifest { log, formats, number, log_number, sequence })
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
            *self = Manifest::create(env, dir, number, &state, self.formats).await?;
            files::remove(env, old).await;
        }
        self.log.add(|out| encode(edit, self.formats.tag, out));
        self.log.write().await?;
        self.log.sync().await?;
        tell(env, self.log.path(), edit, &self.formats);
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
    /// The blob files, by number.
    pub(crate) blobs: Vec<BlobMeta>,
}

/// Reads the manifest in use; `None` when there is none.
pub(crate) async fn find(env: &Env, dir: &str, formats: &Formats) -> Result<Option<Found>, Error> {
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
    let mut found = Found { log_number: 0, next_number: 0, sequence: 0, added: Vec::new(), blobs: Vec::new() };
    for mut record in records {
        let edit = decode(&mut record, |tag| formats.reads_tag(tag)).map_err(|unreadable| match unreadable {
            Unreadable::Malformed => Error::corrupt(&path, "an edit is malformed although its checksum is right"),
            Unreadable::Tag(tag @ (tag::BLOB_V1 | tag::BLOB_V2 | tag::BLOB_V3)) => {
                formats.refused(&path, MANIFEST_TAG, tag)
            }
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
        for number in edit.blobs_removed {
            let before = found.blobs.len();
            found.blobs.retain(|blob| blob.number != number);
            if found.blobs.len() == before {
                return Err(Error::corrupt(&path, format!("an edit removes blob file {number}, which is not there")));
            }
        }
        found.blobs.extend(edit.blobs_added);
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
            blobs_removed: vec![4],
            blobs_added: Vec::new(),
        };
        let mut out = Vec::new();
        encode(&edit, 13, &mut out);
        assert!(decode(&mut out.clone().into(), |_| true).is_ok_and(|decoded| decoded == edit));
        varint::put(&mut out, 15);
        assert!(matches!(decode(&mut out.into(), |_| true), Err(Unreadable::Tag(15))));
    }

    #[test]
    fn notes_of_blob_files_say_as_much_as_their_tag_and_are_refused_by_who_does_not_know_it() {
        let blob = BlobMeta {
            number: 7,
            bytes: 900,
            entries: 3,
            block_size: 0,
            smallest: Bytes::from_static(b"a"),
            largest: Bytes::from_static(b"b"),
        };
        let edit = Edit { blobs_added: vec![blob.clone()], ..Edit::default() };
        let short = BlobMeta { number: 7, bytes: 900, ..BlobMeta::default() };
        for (tag, meant) in [(11, short), (13, blob.clone()), (14, blob)] {
            let mut out = Vec::new();
            encode(&edit, tag, &mut out);
            let found = decode(&mut out.clone().into(), |_| true).ok().map(|edit| edit.blobs_added);
            assert_eq!(found, Some(vec![meant]), "tag {tag}");
            let tag = u64::from(tag);
            assert!(matches!(decode(&mut out.into(), |known| known != tag), Err(Unreadable::Tag(met)) if met == tag));
        }
    }
}
