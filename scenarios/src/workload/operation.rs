//! What a client does next: drawn from the weights of the plan, with values that are unique.
//!
//! Not here: doing it.

use bytes::{BufMut, Bytes, BytesMut};
use node::wire::kv::ReadBy;
use sim::Stream;

use crate::plan::Workload;

/// One operation of the register workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads a key.
    Get {
        /// The key.
        key: Bytes,
        /// How the read makes sure that it is current.
        by: ReadBy,
    },
    /// Reads a range within one region.
    Scan {
        /// First key.
        start: Bytes,
        /// End, exclusive.
        end: Bytes,
    },
    /// Writes a key.
    Put {
        /// The key.
        key: Bytes,
        /// A value that no other operation writes.
        value: Bytes,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Writes a key if it still is what this client saw last.
    Cas {
        /// The key.
        key: Bytes,
        /// A value that no other operation writes.
        value: Bytes,
    },
    /// Writes several keys of one region at once.
    Batch {
        /// Keys, ascending, with values that no other operation writes.
        pairs: Vec<(Bytes, Bytes)>,
    },
}

/// How many neighbouring keys a scan or a batch spans at most.
const SPAN: u64 = 6;

/// Draws the operations of one client.
#[derive(Debug)]
pub struct Draw {
    client: u64,
    workload: Workload,
    stream: Stream,
    drawn: u64,
}

/// The key of this number: `k0042`.
pub fn key(number: u64) -> Bytes {
    // By hand: each operation asks for one, and a formatter is slow.
    let mut digits = [b'0'; 20];
    let (mut rest, mut at) = (number, digits.len());
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut key = vec![b'k'];
    key.extend_from_slice(&digits[at.min(digits.len() - 4)..]);
    key.into()
}

impl Draw {
    /// The operations of the client of this number, from its own stream.
    pub fn new(client: u64, workload: Workload, stream: Stream) -> Self {
        Self { client, workload, stream, drawn: 0 }
    }

    /// The next operation.
    pub fn operation(&mut self) -> Operation {
        let mix = self.workload.mix;
        let weights = [mix.read, mix.read_index, mix.follower_read, mix.put, mix.cas, mix.delete, mix.scan, mix.batch];
        let mut ticket = self.stream.below(weights.iter().sum::<u64>().max(1));
        let kind = weights.iter().position(|&weight| {
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        match kind {
            Some(0) | None => Operation::Get { key: self.key(), by: ReadBy::Lease },
            Some(1) => Operation::Get { key: self.key(), by: ReadBy::ReadIndex },
            Some(2) => Operation::Get { key: self.key(), by: ReadBy::Replica },
            Some(3) => Operation::Put { key: self.key(), value: self.value() },
            Some(4) => Operation::Cas { key: self.key(), value: self.value() },
            Some(5) => Operation::Delete { key: self.key() },
            Some(6) => {
                let first = self.stream.below(self.workload.keys.max(1));
                let width = self.stream.range(1..=SPAN);
                Operation::Scan { start: key(first), end: key(first + width) }
            }
            Some(_) => {
                let first = self.stream.below(self.workload.keys.max(1));
                let width = self.stream.range(2..=SPAN).min(self.workload.keys - first).max(1);
                let pairs = (first..first + width).map(|number| (key(number), self.value())).collect();
                Operation::Batch { pairs }
            }
        }
    }

    /// Nanoseconds until the next operation: the rate is shared by all clients, and pauses vary by half.
    pub fn pause_ns(&mut self) -> u64 {
        let mean = 1_000_000_000 * self.workload.clients.max(1) / self.workload.rate.max(1);
        self.stream.range(mean / 2..=mean + mean / 2)
    }

    fn key(&mut self) -> Bytes {
        key(self.stream.below(self.workload.keys.max(1)))
    }

    /// Sixteen bytes that say who wrote it and when, then padding up to a drawn length.
    fn value(&mut self) -> Bytes {
        self.drawn += 1;
        let [least, most] = self.workload.value_bytes;
        let len = self.stream.range(least.max(16)..=most.max(least).max(16)) as usize;
        let mut value = BytesMut::with_capacity(len);
        value.put_u64(self.client);
        value.put_u64(self.drawn);
        value.resize(len, b'.');
        value.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_have_at_least_four_digits() {
        for number in [0, 7, 42, 9_999, 10_000, u64::MAX] {
            assert_eq!(key(number), format!("k{number:04}"));
        }
    }

    #[test]
    fn values_are_unique_and_within_bounds() {
        let workload = Workload { value_bytes: [4, 40], keys: 3, ..Workload::default() };
        let mut seen = BTreeSet::new();
        for client in 1..=2 {
            let mut draw = Draw::new(client, workload.clone(), sim::Seed::new(client).stream());
            for _ in 0..2_000 {
                let values = match draw.operation() {
                    Operation::Put { value, .. } | Operation::Cas { value, .. } => vec![value],
                    Operation::Batch { pairs } => {
                        assert!(pairs.is_sorted() && pairs.iter().all(|(key, _)| key[..] < b"k0003"[..]), "{pairs:?}");
                        pairs.into_iter().map(|(_, value)| value).collect()
                    }
                    _ => vec![],
                };
                for value in values {
                    assert!((16..=40).contains(&value.len()));
                    assert!(seen.insert(value), "a value twice");
                }
            }
        }
        assert!(seen.len() > 1_000);
    }

    #[test]
    fn a_weight_of_zero_is_never_drawn() {
        let mut workload = Workload::default();
        workload.mix.delete = 0;
        let mut draw = Draw::new(1, workload, sim::Seed::new(3).stream());
        assert!((0..2_000).all(|_| !matches!(draw.operation(), Operation::Delete { .. })));
    }
}
