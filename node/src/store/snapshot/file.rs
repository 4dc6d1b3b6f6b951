//! A snapshot's files: names, and the meta file that makes them one snapshot.
//!
//! `gen_|rev_<region>_<term>_<index>_<family>.sst` and `.meta`; a name with `.tmp` behind it is being written, one with
//! `.clone` is a copy that the engine is about to take in.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::Error;
use crate::{
    engine::{Family, table::Summary},
    region::{Region, RegionId},
};

/// The families that a snapshot holds, one file each.
pub const FAMILIES: [Family; 3] = [Family::Default, Family::Lock, Family::Write];

/// Names a snapshot: a region's content as of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The region.
    pub region: RegionId,
    /// The entry's term.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.region, self.term, self.index)
    }
}

/// Whether a snapshot was made here or came from another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Made here, to be sent.
    Generated,
    /// Received, to be applied.
    Received,
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Side::Generated => "gen",
            Side::Received => "rev",
        }
    }
}

/// The paths of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Made here or received.
    pub side: Side,
    /// Which snapshot.
    pub key: Key,
    dir: String,
}

impl Files {
    /// The paths in a directory.
    pub fn new(dir: &str, side: Side, key: Key) -> Files {
        Files { side, key, dir: dir.to_owned() }
    }

    /// The meta file.
    pub fn meta(&self) -> String {
        format!("{}/{}_{}.meta", self.dir, self.side.prefix(), self.key)
    }

    /// A family's table.
    pub fn table(&self, family: Family) -> String {
        format!("{}/{}_{}_{}.sst", self.dir, self.side.prefix(), self.key, family.name())
    }

    /// All files of a complete snapshot: the meta file first, so that removing in this order leaves no half snapshot
    /// that looks whole.
    pub fn all(&self) -> Vec<String> {
        std::iter::once(self.meta()).chain(FAMILIES.map(|family| self.table(family))).collect()
    }
}

/// A path while the file is being written.
pub fn temporary(path: &str) -> String {
    format!("{path}.tmp")
}

/// A copy for the engine to take in.
pub fn clone(path: &str) -> String {
    format!("{path}.clone")
}

/// The snapshot that a file name belongs to; `None` for a temporary or a foreign one.
pub fn parse(name: &str) -> Option<(Side, Key)> {
    let (side, rest) = match name.split_at_checked(4)? {
        ("gen_", rest) => (Side::Generated, rest),
        ("rev_", rest) => (Side::Received, rest),
        _ => return None,
    };
    let (stem, table) = match rest.strip_suffix(".sst") {
        Some(stem) => (stem, true),
        None => (rest.strip_suffix(".meta")?, false),
    };
    let mut parts = stem.split('_');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let key = Key { region: number()?, term: number()?, index: number()? };
    let family = parts.next();
    let known = match family {
        Some(name) => table && FAMILIES.iter().any(|family| family.name() == name),
        None => !table,
    };
    (known && parts.next().is_none()).then_some((side, key))
}

/// What the meta file says of the snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Meta {
    /// The region as of the entry.
    #[prost(message, required, tag = "1")]
    pub region: Region,
    /// The tables, in the order of [`FAMILIES`].
    #[prost(message, repeated, tag = "2")]
    pub tables: Vec<TableMeta>,
    /// The digest of the visible content.
    #[prost(uint64, tag = "3")]
    pub digest: u64,
    /// How many keys have a visible value.
    #[prost(uint64, tag = "4")]
    pub keys: u64,
}

/// What a table holds.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct TableMeta {
    /// Entries.
    #[prost(uint64, tag = "1")]
    pub entries: u64,
    /// The file's length.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// The crc32c of the whole file.
    #[prost(uint32, tag = "3")]
    pub checksum: u32,
}

impl From<Summary> for TableMeta {
    fn from(Summary { entries, bytes, checksum }: Summary) -> TableMeta {
        TableMeta { entries, bytes, checksum }
    }
}

impl From<TableMeta> for Summary {
    fn from(TableMeta { entries, bytes, checksum }: TableMeta) -> Summary {
        Summary { entries, bytes, checksum }
    }
}

impl Meta {
    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }

    /// The file's content: a checksum, then the message.
    pub fn encode_file(&self) -> Bytes {
        let body = self.encode_to_vec();
        let mut out = BytesMut::with_capacity(body.len() + 4);
        out.put_u32_le(crc32c::crc32c(&body));
        out.put_slice(&body);
        out.freeze()
    }

    /// Reads the file's content.
    pub fn decode_file(bytes: &Bytes, path: &str) -> Result<Meta, Error> {
        let corrupt = |detail: &str| Error::Corrupt { path: path.to_owned(), detail: detail.to_owned() };
        let (sum, body) = bytes.split_first_chunk::<4>().ok_or_else(|| corrupt("it is too short"))?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(corrupt("its checksum differs"));
        }
        let meta = Meta::decode(body).map_err(|error| corrupt(&error.to_string()))?;
        if meta.tables.len() != FAMILIES.len() {
            return Err(corrupt("it does not name one table a family"));
        }
        Ok(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_do_not() {
        let key = Key { region: 7, term: 6, index: 120 };
        for side in [Side::Generated, Side::Received] {
            for path in Files::new("snap", side, key).all() {
                assert_eq!(parse(path.strip_prefix("snap/").unwrap()), Some((side, key)), "{path}");
                assert_eq!(parse(&temporary(&path)), None);
                assert_eq!(parse(&clone(&path)), None);
            }
        }
        for foreign in ["gen_1_2.meta", "gen_1_2_3.sst", "gen_1_2_3_raft.sst", "rev_1_2_3_write_4.sst", "x", "gen_"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_changed_byte_of_the_meta_file_is_noticed() {
        let meta = Meta { tables: vec![TableMeta { entries: 1, bytes: 2, checksum: 3 }; 3], ..Meta::default() };
        let bytes = meta.encode_file();
        assert_eq!(Meta::decode_file(&bytes, "m").unwrap(), meta);
        for at in 0..bytes.len() {
            let mut broken = bytes.to_vec();
            broken[at] ^= 1;
            assert!(Meta::decode_file(&broken.into(), "m").is_err(), "byte {at}");
        }
    }
}
