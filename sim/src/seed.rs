//! Seeds, their named splits, and the streams that draw from them.
//!
//! A seed is split by name (`seed.split("disk").split(3u64)`), so that adding a draw to one stream disturbs no other. Draws are
//! integers and ratios only: floating point would make a run a function of the build.
//!
//! Not in here: any entropy that is not derived from the seed.

use std::{fmt, ops::RangeInclusive};

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The root of all choices of a run, or of one named part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The seed that people write down.
    pub const fn new(value: u64) -> Self {
        Seed(value)
    }

    /// The seed as a number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The seed of a named part. Equal names give equal seeds; distinct names give unrelated ones.
    #[must_use]
    pub fn split(self, name: impl Name) -> Seed {
        name.mix_into(self)
    }

    /// A stream of draws from this seed.
    pub fn stream(self) -> Stream {
        Stream { source: Xoshiro256PlusPlus::seed_from_u64(self.0) }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a split can be named by: text or a number.
pub trait Name {
    /// The seed of the part of `seed` that has this name.
    fn mix_into(&self, seed: Seed) -> Seed;
}

impl Name for &str {
    fn mix_into(&self, seed: Seed) -> Seed {
        Seed(xxh3_64_with_seed(self.as_bytes(), seed.0 ^ 0x7465_7874))
    }
}

impl Name for &String {
    fn mix_into(&self, seed: Seed) -> Seed {
        self.as_str().mix_into(seed)
    }
}

impl Name for u64 {
    fn mix_into(&self, seed: Seed) -> Seed {
        Seed(xxh3_64_with_seed(&self.to_le_bytes(), seed.0 ^ 0x6e75_6d62))
    }
}

impl Name for u32 {
    fn mix_into(&self, seed: Seed) -> Seed {
        u64::from(*self).mix_into(seed)
    }
}

/// A reproducible stream of draws.
#[derive(Clone, Debug)]
pub struct Stream {
    source: Xoshiro256PlusPlus,
}

impl Stream {
    /// Sixty-four random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// A number below `n`, each equally likely.
    ///
    /// # Panics
    /// If `n` is zero: there is no such number.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "Stream::below(0): no number is below zero");
        // Lemire's multiply-and-reject: exact, and nearly always one draw.
        let mut wide = u128::from(self.next_u64()) * u128::from(n);
        if (wide as u64) < n {
            let reject_under = n.wrapping_neg() % n;
            while (wide as u64) < reject_under {
                wide = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (wide >> 64) as u64
    }

    /// A number of the range, both ends included.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        assert!(low <= high, "Stream::range({low}..={high}) is empty");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.next_u64(),
        }
    }

    /// True in `num` of `den` cases.
    ///
    /// # Panics
    /// If `den` is zero.
    pub fn ratio(&mut self, num: u64, den: u64) -> bool {
        assert!(den > 0, "Stream::ratio({num}, 0): a ratio of nothing");
        self.below(den) < num
    }

    /// One of the items, or none of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len() as u64) as usize) }
    }

    /// Puts the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Fills the slice with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&draw[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_named_not_counted() {
        let seed = Seed::new(1);
        assert_eq!(seed.split("disk").split(3u64), seed.split("disk").split(3u64));
        assert_ne!(seed.split("disk"), seed.split("fabric"));
        assert_ne!(seed.split("3"), seed.split(3u64));
        assert_ne!(seed.split("a").split("b"), seed.split("b").split("a"));
        // Written down: a change of this number changes every run that anyone has recorded.
        assert_eq!(Seed::new(7).split("disk").stream().next_u64(), 16_228_574_545_637_318_500);
    }

    #[test]
    fn draws_stay_in_range_and_reach_it_all() {
        let mut stream = Seed::new(2).stream();
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[stream.range(1..=6) as usize - 1] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert_eq!(stream.range(9..=9), 9);
        assert!((0..100).all(|_| !stream.ratio(0, 3)) && (0..100).all(|_| stream.ratio(3, 3)));
        let mut items: Vec<u32> = (0..50).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        assert_eq!(stream.pick::<u8>(&[]), None);
    }
}
