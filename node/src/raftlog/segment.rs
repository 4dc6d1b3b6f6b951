//! One file of the append stream: a header, then frames.
//!
//! A frame is one batch, whole or absent. Its checksum covers where it lies (segment and offset) and its place in the
//! sequence of all batches, so that a frame that was left over or written elsewhere does not pass for one. A frame also
//! says how much of its segment was synced when it was written: a broken frame below what a later one calls synced is
//! corruption, a broken one above is the torn end that a crash leaves.

use bytes::{Buf, BufMut, Bytes};

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"RNRAFTL1");
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"RLF1");

/// Bytes of a segment's header.
pub(super) const HEADER: usize = 28;
/// Bytes of a frame's header.
pub(super) const FRAME: usize = 28;

/// A segment's file name.
pub(super) fn name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The number in a segment's file name; `None` for other files.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16).then(|| digits.parse().ok()).flatten()
}

/// The header of a segment whose first frame will have the sequence number `sequence`.
pub(super) fn header(number: u64, sequence: u64) -> Bytes {
    let mut out = Vec::with_capacity(HEADER);
    out.put_u64_le(SEGMENT_MAGIC);
    out.put_u64_le(number);
    out.put_u64_le(sequence);
    let sum = crc32c::crc32c(&out);
    out.put_u32_le(sum);
    out.into()
}

/// The first sequence number that a segment's header states; `None` when the header is not whole.
pub(super) fn parse_header(bytes: &[u8], number: u64) -> Option<u64> {
    let mut head = bytes.get(..HEADER)?;
    let sum = crc32c::crc32c(&head[..HEADER - 4]);
    let magic = head.get_u64_le();
    let stated = head.get_u64_le();
    let sequence = head.get_u64_le();
    (magic == SEGMENT_MAGIC && stated == number && head.get_u32_le() == sum).then_some(sequence)
}

/// Where a frame lies and what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The segment.
    pub(super) segment: u64,
    /// Where the frame begins in it.
    pub(super) offset: u64,
    /// The batch's number.
    pub(super) sequence: u64,
    /// How much of the segment was synced when the frame was written.
    pub(super) durable: u64,
}

impl Frame {
    /// The frame around a body: `bytes` holds room for the header, [`FRAME`] bytes, and the body behind it.
    pub(super) fn seal(&self, mut bytes: Vec<u8>) -> Bytes {
        let (mut head, body) = bytes.split_at_mut(FRAME);
        let sum = self.checksum(body);
        head.put_u32_le(FRAME_MAGIC);
        head.put_u32_le(u32::try_from(body.len()).expect("a batch is far below 4 GiB"));
        head.put_u64_le(self.sequence);
        head.put_u64_le(self.durable);
        head.put_u32_le(sum);
        bytes.into()
    }

    fn checksum(&self, body: &[u8]) -> u32 {
        let mut place = [0; 40];
        let mut to = &mut place[..];
        for number in [self.segment, self.offset, self.sequence, self.durable, body.len() as u64] {
            to.put_u64_le(number);
        }
        crc32c::crc32c_append(crc32c::crc32c(&place), body)
    }

    /// The frame at `offset` of a segment's bytes, with its body; `None` when there is no whole one.
    pub(super) fn parse(bytes: &Bytes, segment: u64, offset: usize) -> Option<(Frame, Bytes)> {
        let mut head = bytes.get(offset..offset.checked_add(FRAME)?)?;
        if head.get_u32_le() != FRAME_MAGIC {
            return None;
        }
        let len = head.get_u32_le() as usize;
        let frame = Frame { segment, offset: offset as u64, sequence: head.get_u64_le(), durable: head.get_u64_le() };
        let sum = head.get_u32_le();
        let start = offset + FRAME;
        if bytes.len() - start < len {
            return None;
        }
        let body = bytes.slice(start..start + len);
        (frame.checksum(&body) == sum).then_some((frame, body))
    }
}

/// Looks behind a broken frame at `from` for a whole one that says that `from` had been synced.
pub(super) fn contradicts_torn_end(bytes: &Bytes, segment: u64, from: usize) -> bool {
    let magic = FRAME_MAGIC.to_le_bytes();
    let mut at = from + 1;
    while at + FRAME <= bytes.len() {
        if bytes[at..at + 4] == magic
            && let Some((frame, _)) = Frame::parse(bytes, segment, at)
            && frame.durable > from as u64
        {
            return true;
        }
        at += 1;
    }
    false
}
