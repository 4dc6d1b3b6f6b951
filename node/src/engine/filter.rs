//! A bloom filter over the keys of a table, and over the user keys of its versions.
//!
//! Layout: the bits, then one byte with the number of probes. A table without keys has an empty filter, which excludes all.

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

const PROBES: u32 = 7;

/// The hash by which a filter knows a key.
#[inline]
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Builds a filter of so many bits a key.
pub(crate) fn build(hashes: &[u64], bits_per_key: usize) -> Bytes {
    if hashes.is_empty() {
        return Bytes::new();
    }
    let bytes = (hashes.len() * bits_per_key).max(64).div_ceil(8);
    let mut out = vec![0; bytes];
    for &hash in hashes {
        for bit in bits(hash, bytes as u64 * 8, PROBES) {
            out[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    out.put_u8(PROBES as u8);
    out.into()
}

/// Whether a key of this hash may be there.
#[inline]
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let Some((&probes, array)) = filter.split_last() else { return false };
    bits(hash, array.len() as u64 * 8, u32::from(probes)).all(|bit| array[(bit / 8) as usize] & 1 << (bit % 8) != 0)
}

fn bits(hash: u64, count: u64, probes: u32) -> impl Iterator<Item = u64> {
    let step = hash.rotate_left(32) | 1;
    (0..u64::from(probes)).map(move |probe| hash.wrapping_add(probe.wrapping_mul(step)) % count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_few_others() {
        let hashes: Vec<u64> = (0..1000u32).map(|key| hash(&key.to_be_bytes())).collect();
        let filter = build(&hashes, 10);
        assert!(hashes.iter().all(|&key| may_contain(&filter, key)));
        let wrong = (1000..11000u32).filter(|key| may_contain(&filter, hash(&key.to_be_bytes()))).count();
        assert!(wrong < 300, "{wrong} of 10000");
        assert!(!may_contain(&build(&[], 10), 1));
    }
}
