//! Bytes in pieces, so that a file that grows moves nothing of what it has.
//!
//! All pieces but the last are full. The first one begins small, since most files are.

/// The length of a full piece. Memory is had and given back faster in pieces below 64 KiB.
const PIECE_BYTES: usize = 32 << 10;
/// A first piece takes room for at least so many bytes.
const ROOM_LEAST: usize = 512;

/// The bytes of a file.
#[derive(Default, Debug)]
pub(crate) struct Pieces {
    pieces: Vec<Vec<u8>>,
    len: usize,
}

impl Pieces {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The bytes from `start` up to and without `end`, which is not beyond the last.
    pub(crate) fn copy(&self, start: usize, end: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(end - start);
        let mut at = start;
        while at < end {
            let (number, within) = (at / PIECE_BYTES, at % PIECE_BYTES);
            let upto = PIECE_BYTES.min(within + end - at);
            out.extend_from_slice(&self.pieces[number][within..upto]);
            at += upto - within;
        }
        out
    }

    /// Writes over, and past the end with zeroes in any gap.
    pub(crate) fn put(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if offset > self.len {
            self.resize(offset);
        }
        let over = data.len().min(self.len - offset);
        self.overwrite(offset, &data[..over]);
        self.append(&data[over..]);
    }

    /// Cuts, or extends by zeroes.
    pub(crate) fn resize(&mut self, len: usize) {
        while self.len < len {
            let room = self.last_with_room(len - self.len);
            let more = (len - self.len).min(PIECE_BYTES - self.pieces[room].len());
            let to = self.pieces[room].len() + more;
            self.pieces[room].resize(to, 0);
            self.len += more;
        }
        if len < self.len {
            self.pieces.truncate(len.div_ceil(PIECE_BYTES));
            if let Some(last) = self.pieces.last_mut() {
                last.truncate((len - 1) % PIECE_BYTES + 1);
            }
            self.len = len;
        }
    }

    fn overwrite(&mut self, offset: usize, data: &[u8]) {
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let (number, within) = (at / PIECE_BYTES, at % PIECE_BYTES);
            let (now, later) = rest.split_at(rest.len().min(PIECE_BYTES - within));
            self.pieces[number][within..within + now.len()].copy_from_slice(now);
            at += now.len();
            rest = later;
        }
    }

    fn append(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.last_with_room(rest.len());
            let last = &mut self.pieces[room];
            let (now, later) = rest.split_at(rest.len().min(PIECE_BYTES - last.len()));
            last.extend_from_slice(now);
            self.len += now.len();
            rest = later;
        }
    }

    /// The number of a last piece that is not full, with room for so many bytes more as far as a piece may have them.
    fn last_with_room(&mut self, more: usize) -> usize {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE_BYTES => {
                let wanted = last.len() + more;
                if wanted > last.capacity() {
                    let room = wanted.max(2 * last.len()).clamp(ROOM_LEAST, PIECE_BYTES);
                    last.reserve_exact(room - last.len());
                }
            }
            Some(_) => self.pieces.push(Vec::with_capacity(PIECE_BYTES)),
            None => self.pieces.push(Vec::with_capacity(more.clamp(ROOM_LEAST, PIECE_BYTES))),
        }
        self.pieces.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn pieces_are_as_one_string_of_bytes(
            steps in proptest::collection::vec((0..3_u8, 0..3 * PIECE_BYTES, 0..2 * PIECE_BYTES, 1..255_u8), 1..20),
        ) {
            let (mut pieces, mut plain) = (Pieces::default(), Vec::new());
            for (kind, at, len, byte) in steps {
                match kind {
                    0 => {
                        pieces.resize(at);
                        plain.resize(at, 0);
                    }
                    1 => {
                        let data = vec![byte; len];
                        pieces.put(at, &data);
                        let end = at + len;
                        if len > 0 {
                            plain.resize(plain.len().max(end), 0);
                            plain[at..end].copy_from_slice(&data);
                        }
                    }
                    _ => {
                        let data = vec![byte; len];
                        pieces.put(plain.len(), &data);
                        plain.extend_from_slice(&data);
                    }
                }
                proptest::prop_assert_eq!(pieces.len(), plain.len());
                let start = at.min(plain.len());
                let end = (start + len).min(plain.len());
                proptest::prop_assert!(pieces.copy(start, end) == plain[start..end]);
                proptest::prop_assert!(pieces.copy(0, plain.len()) == plain);
            }
        }
    }
}
