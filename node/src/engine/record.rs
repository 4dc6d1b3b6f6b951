//! The values of the family `write`: what one version of a user key is.
//!
//! A version lies under `key::version_key(user key, timestamp)`. Small values lie inline; a larger one lies in the
//! family `default` under the same key. The first byte says which.

use bytes::{BufMut, Bytes};

/// Values up to this length lie inline.
pub const INLINE_BYTES_MAX: usize = 255;

const VALUE: u8 = b'P';
const TOMBSTONE: u8 = b'D';
const INDIRECT: u8 = b'L';

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A value, inline.
    Value(Bytes),
    /// The key is deleted as of this version.
    Tombstone,
    /// A value that lies in the family `default` under the same key.
    Indirect,
}

impl Record {
    /// The record for a value or a deletion. `Indirect` obliges the caller to put the value into `default`.
    pub fn of(value: Option<&Bytes>) -> Record {
        match value {
            None => Record::Tombstone,
            Some(value) if value.len() <= INLINE_BYTES_MAX => Record::Value(value.clone()),
            Some(_) => Record::Indirect,
        }
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Bytes {
        match self {
            Record::Value(value) => {
                let mut out = Vec::with_capacity(value.len() + 1);
                out.put_u8(VALUE);
                out.put_slice(value);
                out.into()
            }
            Record::Tombstone => Bytes::from_static(&[TOMBSTONE]),
            Record::Indirect => Bytes::from_static(&[INDIRECT]),
        }
    }

    /// The record of stored bytes, without copying; `None` when they are not one.
    pub fn decode(stored: &Bytes) -> Option<Record> {
        match (stored.first()?, stored.len()) {
            (&VALUE, _) => Some(Record::Value(stored.slice(1..))),
            (&TOMBSTONE, 1) => Some(Record::Tombstone),
            (&INDIRECT, 1) => Some(Record::Indirect),
            _ => None,
        }
    }

    /// Whether stored bytes are a deletion.
    pub fn is_tombstone(stored: &[u8]) -> bool {
        stored == [TOMBSTONE]
    }

    /// Whether stored bytes point into `default`.
    pub fn is_indirect(stored: &[u8]) -> bool {
        stored == [INDIRECT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_decode_to_what_was_encoded() {
        let long = Bytes::from(vec![7; INLINE_BYTES_MAX + 1]);
        let cases = [
            (Record::of(None), Record::Tombstone),
            (Record::of(Some(&Bytes::new())), Record::Value(Bytes::new())),
            (Record::of(Some(&long.slice(1..))), Record::Value(long.slice(1..))),
            (Record::of(Some(&long)), Record::Indirect),
        ];
        for (made, meant) in cases {
            assert_eq!(made, meant);
            assert_eq!(Record::decode(&made.encode()), Some(meant));
        }
        for bad in [&b""[..], b"x", b"Dx", b"LL"] {
            assert_eq!(Record::decode(&Bytes::copy_from_slice(bad)), None);
        }
    }
}
