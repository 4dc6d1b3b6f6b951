//! How user keys, versions and region states lie in the engine.
//!
//! Data keys begin with `z`, followed by the user key escaped so that order is kept and no key is a prefix of another,
//! followed, for versions, by the timestamp's complement, so that the newest version comes first. Everything that
//! belongs to a store rather than to its users begins with `\x01` and lives in the family `raft`.

use bytes::Bytes;

use crate::region::RegionId;

const DATA: u8 = b'z';
const LOCAL: u8 = 1;

/// The first byte of all data keys.
pub const DATA_START: &[u8] = b"z";
/// The end of all data keys.
pub const DATA_END: &[u8] = b"{";

/// An escaped user key with room for exactly so many bytes behind it, so that nothing is copied again.
fn escaped(user_key: &[u8], room: usize) -> Vec<u8> {
    let zeroes = user_key.iter().filter(|&&byte| byte == 0).count();
    let mut out = Vec::with_capacity(1 + user_key.len() + zeroes + room);
    out.push(DATA);
    if zeroes == 0 {
        out.extend_from_slice(user_key);
        return out;
    }
    for &byte in user_key {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out
}

/// Where a region's data begins: the bound for the user key `start`, inclusive.
pub fn range_start(start: &[u8]) -> Bytes {
    escaped(start, 0).into()
}

/// Where a region's data ends: the bound for the user key `end`, exclusive; empty means the end of all data.
pub fn range_end(end: &[u8]) -> Bytes {
    if end.is_empty() { Bytes::from_static(DATA_END) } else { range_start(end) }
}

/// All versions of a user key begin with this.
pub fn data_key(user_key: &[u8]) -> Bytes {
    let mut out = escaped(user_key, 2);
    out.extend_from_slice(&[0, 1]);
    out.into()
}

/// One version of a user key. Newer versions sort first.
pub fn version_key(user_key: &[u8], timestamp: u64) -> Bytes {
    let mut out = escaped(user_key, 10);
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&(!timestamp).to_be_bytes());
    out.into()
}

/// The bound behind the oldest version of a user key.
pub fn versions_end(user_key: &[u8]) -> Bytes {
    let mut out = escaped(user_key, 2);
    out.extend_from_slice(&[0, 2]);
    out.into()
}

/// Whether two version keys are versions of one user key; no other key is a version of anything.
pub fn is_same_key(version: &[u8], other: &[u8]) -> bool {
    const STAMP: usize = 8;
    version.len() == other.len()
        && version.len() > STAMP
        && version[..version.len() - STAMP] == other[..other.len() - STAMP]
}

/// The bound behind the oldest version of the user key that a version key is of; `None` when it is not one.
pub fn behind_versions(version: &[u8]) -> Option<Bytes> {
    let (body, _) = version.split_at_checked(version.len().checked_sub(8)?)?;
    let mut out = body.strip_suffix(&[0, 1])?.to_vec();
    out.extend_from_slice(&[0, 2]);
    Some(out.into())
}

/// The user key and timestamp of a version key; `None` when it is not one.
pub fn parse_version(key: &[u8]) -> Option<(Bytes, u64)> {
    let (body, stamp) = key.split_at_checked(key.len().checked_sub(8)?)?;
    let body = body.strip_prefix(&[DATA])?.strip_suffix(&[0, 1])?;
    let user_key = if body.contains(&0) { unescaped(body)?.into() } else { Bytes::copy_from_slice(body) };
    Some((user_key, !u64::from_be_bytes(stamp.try_into().ok()?)))
}

fn unescaped(body: &[u8]) -> Option<Vec<u8>> {
    let mut user_key = Vec::with_capacity(body.len());
    let mut bytes = body.iter();
    while let Some(&byte) = bytes.next() {
        if byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
        user_key.push(byte);
    }
    Some(user_key)
}

fn local(region: RegionId, suffix: u8) -> Bytes {
    let mut out = [LOCAL, 3, 0, 0, 0, 0, 0, 0, 0, 0, suffix];
    out[2..10].copy_from_slice(&region.to_be_bytes());
    Bytes::copy_from_slice(&out)
}

/// Where a region's state (range, peers, Normal, Applying, Tombstone) is kept.
pub fn region_state(region: RegionId) -> Bytes {
    local(region, 1)
}

/// Where a region's applied state (applied index, truncated index and term) is kept.
pub fn apply_state(region: RegionId) -> Bytes {
    local(region, 2)
}

/// Where the raft state of a snapshot that is being applied is kept, until the raft log has it.
pub fn snapshot_raft_state(region: RegionId) -> Bytes {
    local(region, 3)
}

/// Where a peer without a range is kept until its first snapshot or a split gives it one. Apart from the region's state,
/// which a split that is being applied writes at the same time: what has a range counts.
pub fn newcomer(region: RegionId) -> Bytes {
    local(region, 4)
}

/// Where it is kept which regions were merged into a region.
pub fn merge_sources(region: RegionId) -> Bytes {
    local(region, 5)
}

/// All states of all regions of a store lie between these.
pub fn all_region_states() -> (Bytes, Bytes) {
    (Bytes::from_static(&[LOCAL, 3]), Bytes::from_static(&[LOCAL, 4]))
}

/// The region and kind (1 region, 2 apply, 3 snapshot raft state, 4 newcomer) of a key made by this module.
pub fn parse_local(key: &[u8]) -> Option<(RegionId, u8)> {
    let rest = key.strip_prefix(&[LOCAL, 3])?;
    let (id, suffix) = rest.split_at_checked(8)?;
    let [suffix] = suffix else { return None };
    Some((u64::from_be_bytes(id.try_into().ok()?), *suffix))
}

/// Where a store keeps who it is.
pub fn store_ident() -> Bytes {
    Bytes::from_static(&[LOCAL, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_keep_order_and_parse_back() {
        let keys: [&[u8]; 6] = [b"", b"\0", b"\0a", b"a", b"a\0", b"ab"];
        let mut all = Vec::new();
        for key in keys {
            for stamp in [9, 3, 1] {
                let encoded = version_key(key, stamp);
                assert_eq!(parse_version(&encoded), Some((Bytes::copy_from_slice(key), stamp)));
                assert!(encoded >= data_key(key) && encoded < versions_end(key));
                assert!(encoded >= range_start(key));
                assert_eq!(behind_versions(&encoded), Some(versions_end(key)));
                assert!(is_same_key(&encoded, &version_key(key, 7)));
                all.push(encoded);
            }
        }
        assert!(all.is_sorted(), "{all:?}");
        assert!(!is_same_key(&version_key(b"a", 1), &version_key(b"b", 1)) && !is_same_key(b"", b""));
        assert_eq!(behind_versions(b"z"), None);
        assert!(range_end(b"a") > version_key(b"\0zz", 0) && range_end(b"a") <= version_key(b"a", u64::MAX));
    }

    #[test]
    fn local_keys_parse_back() {
        assert_eq!(parse_local(&apply_state(7)), Some((7, 2)));
        assert_eq!(parse_local(&version_key(b"x", 1)), None);
        let (start, end) = all_region_states();
        assert!(region_state(0) >= start && snapshot_raft_state(u64::MAX) < end);
    }
}
