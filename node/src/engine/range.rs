//! Ranges of keys as the engine writes them: start inclusive, end exclusive, an empty end is the end of the family.

use bytes::{BufMut, Bytes};

/// Whether `end` lies behind `key`.
#[inline]
pub(crate) fn ends_after(end: &[u8], key: &[u8]) -> bool {
    end.is_empty() || key < end
}

/// Whether two ranges have a key in common.
#[inline]
pub(crate) fn overlap(start: &[u8], end: &[u8], other_start: &[u8], other_end: &[u8]) -> bool {
    ends_after(end, other_start) && ends_after(other_end, start)
}

/// The smallest end that lies behind `key`.
pub(crate) fn end_behind(key: &[u8]) -> Bytes {
    let mut end = Vec::with_capacity(key.len() + 1);
    end.put_slice(key);
    end.put_u8(0);
    end.into()
}

/// The later of two ends.
pub(crate) fn later_end(left: Bytes, right: Bytes) -> Bytes {
    if left.is_empty() || (!right.is_empty() && left > right) { left } else { right }
}

/// The earlier of two ends.
pub(crate) fn earlier_end(left: Bytes, right: Bytes) -> Bytes {
    if left.is_empty() || (!right.is_empty() && left > right) { right } else { left }
}

/// What all versions of one user key begin with, when `key` looks like a version key.
#[inline]
pub(crate) fn version_prefix(key: &[u8]) -> Option<&[u8]> {
    let prefix = &key[..key.len().checked_sub(8)?];
    (key[0] == b'z' && prefix.ends_with(&[0, 1])).then_some(prefix)
}

/// Where the versions that begin with `prefix` end.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a version prefix ends with two bytes of its own") = 2;
    end.into()
}

/// The prefix that a search for the versions of one user key has in common; `None` for any other range.
#[inline]
pub(crate) fn searched_prefix<'a>(start: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let body = end.strip_suffix(&[0, 2])?;
    let rest = start.strip_prefix(body)?;
    (start.first() == Some(&b'z') && rest.starts_with(&[0, 1])).then(|| &start[..body.len() + 2])
}
