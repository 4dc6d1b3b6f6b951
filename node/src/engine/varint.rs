//! Numbers of variable length and length-prefixed byte strings, as all files of the engine hold them.
//!
//! Seven bits a byte, the lowest first. Reading takes shared slices and never copies.

use bytes::Bytes;

/// Writes a number.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a byte string behind its length.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a number at `at` and moves `at` behind it.
#[inline]
pub(crate) fn get(from: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *from.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a number off the front.
pub(crate) fn take(from: &mut Bytes) -> Option<u64> {
    let mut at = 0;
    let number = get(from, &mut at)?;
    let _ = from.split_to(at);
    Some(number)
}

/// Takes a byte string off the front.
pub(crate) fn take_bytes(from: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(take(from)?).ok()?;
    (len <= from.len()).then(|| from.split_to(len))
}
