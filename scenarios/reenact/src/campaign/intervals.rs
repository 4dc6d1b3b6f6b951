//! A set of numbers as intervals: what a campaign has done, of millions of seeds, in a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Numbers, as disjoint intervals that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Intervals {
    /// The last number of each interval, by its first.
    last: BTreeMap<u64, u64>,
    count: u64,
}

impl Intervals {
    /// Adds a number; whether it is new.
    pub fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        self.count += 1;
        let before = number.checked_sub(1).and_then(|before| self.last.range(..=before).next_back());
        let first = before.filter(|(_, last)| **last + 1 == number).map_or(number, |(first, _)| *first);
        let after = number.checked_add(1).and_then(|after| self.last.remove(&after));
        self.last.insert(first, after.unwrap_or(number));
        true
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.last.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// The greatest number.
    pub fn greatest(&self) -> Option<u64> {
        self.last.values().next_back().copied()
    }

    /// Each interval, both ends included.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.last.iter().map(|(first, last)| (*first, *last))
    }

    /// How many numbers are in both.
    pub fn common(&self, other: &Intervals) -> u64 {
        let overlap = |(a, b): (u64, u64), (c, d): (u64, u64)| b.min(d).checked_sub(a.max(c)).map_or(0, |n| n + 1);
        // Campaigns have few intervals: runs finish nearly in order.
        self.iter().flat_map(|one| other.iter().map(move |two| overlap(one, two))).sum()
    }

    /// Adds the numbers of another set.
    pub fn add(&mut self, other: &Intervals) {
        let all: Vec<(u64, u64)> = self.iter().chain(other.iter()).collect();
        *self = Self::from(all);
    }
}

impl From<Vec<(u64, u64)>> for Intervals {
    fn from(mut all: Vec<(u64, u64)>) -> Self {
        all.retain(|(first, last)| first <= last);
        all.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (first, last) in all {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        let count = joined.iter().map(|(first, last)| (last - first).saturating_add(1)).sum();
        Self { last: joined.into_iter().collect(), count }
    }
}

impl From<Intervals> for Vec<(u64, u64)> {
    fn from(intervals: Intervals) -> Self {
        intervals.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_any_order_are_the_same_intervals() {
        let mut some = Intervals::default();
        for number in [5, 1, 3, 2, u64::MAX, 0, 9, 8] {
            assert!(some.insert(number));
            assert!(!some.insert(number));
        }
        assert_eq!(some.iter().collect::<Vec<_>>(), [(0, 3), (5, 5), (8, 9), (u64::MAX, u64::MAX)]);
        assert_eq!((some.len(), some.contains(4), some.contains(8)), (8, false, true));
        let text = serde_json::to_string(&some).expect("numbers");
        assert_eq!(serde_json::from_str::<Intervals>(&text).expect("what was written"), some);
    }

    #[test]
    fn two_sets_are_joined_and_compared() {
        let (a, b) = (Intervals::from(vec![(1, 5), (8, 9)]), Intervals::from(vec![(6, 7), (9, 10)]));
        assert_eq!(a.common(&b), 1);
        let mut both = a.clone();
        both.add(&b);
        assert_eq!((both.iter().collect::<Vec<_>>(), both.len()), (vec![(1, 10)], 10));
    }
}
