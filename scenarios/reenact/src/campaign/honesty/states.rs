//! Distinct abstract states, and how likely the next seed is to show a new one.
//!
//! The estimate is Good and Turing's, with a seed as the unit: take any seed as if it were the next one after all the
//! others; it shows something new if it shows a state that no other seed shows. The share of such seeds estimates the
//! chance. So of each state it is only kept whether one seed has shown it, and which, or several.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// States by their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Text", into = "Text")]
pub struct States {
    /// The only seed that has shown it, or `None` if several have.
    shown_by: BTreeMap<u64, Option<u64>>,
}

impl States {
    /// Adds what a seed has shown.
    pub fn add(&mut self, seed: u64, states: impl IntoIterator<Item = u64>) {
        for state in states {
            let only = self.shown_by.entry(state).or_insert(Some(seed));
            *only = only.filter(|only| *only == seed);
        }
    }

    /// Adds what other seeds have shown.
    pub fn merge(&mut self, other: &States) {
        for (state, by) in &other.shown_by {
            self.shown_by
                .entry(*state)
                .and_modify(|only| *only = only.filter(|only| Some(*only) == *by))
                .or_insert(*by);
        }
    }

    /// How many there are.
    pub fn distinct(&self) -> usize {
        self.shown_by.len()
    }

    /// In how many seeds there is a state that no other seed has shown.
    pub fn seeds_with_own(&self) -> u64 {
        self.shown_by.values().flatten().collect::<BTreeSet<_>>().len() as u64
    }

    /// The chance that the next seed shows a new one, after so many; `None` after none, or where nothing is known of
    /// states.
    pub fn chance_of_new(&self, seeds: u64) -> Option<f64> {
        (seeds > 0 && !self.shown_by.is_empty()).then(|| self.seeds_with_own() as f64 / seeds as f64)
    }
}

/// How they stand in a file.
#[derive(Clone, Serialize, Deserialize)]
struct Text {
    several: Vec<u64>,
    one: BTreeMap<u64, Vec<u64>>,
}

impl From<Text> for States {
    fn from(text: Text) -> Self {
        let several = text.several.into_iter().map(|state| (state, None));
        let one = text.one.into_iter().flat_map(|(seed, states)| states.into_iter().map(move |s| (s, Some(seed))));
        Self { shown_by: several.chain(one).collect() }
    }
}

impl From<States> for Text {
    fn from(states: States) -> Self {
        let mut text = Text { several: Vec::new(), one: BTreeMap::new() };
        for (state, only) in states.shown_by {
            match only {
                None => text.several.push(state),
                Some(seed) => text.one.entry(seed).or_default().push(state),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_something_new_is_the_share_of_seeds_with_a_state_of_their_own() {
        let mut states = States::default();
        assert_eq!(states.chance_of_new(0), None);
        states.add(1, [10, 11]);
        assert_eq!(states.chance_of_new(1), Some(1.0), "one seed says nothing about what it has not shown");
        states.add(2, [10, 12, 12]);
        states.add(3, [10]);
        states.add(4, [10, 11]);
        assert_eq!((states.distinct(), states.seeds_with_own()), (3, 1));
        assert_eq!(states.chance_of_new(4), Some(0.25));
    }

    #[test]
    fn parts_add_up_to_the_whole_and_come_back_from_text() {
        let (mut a, mut b, mut whole) = (States::default(), States::default(), States::default());
        for (part, seed, shown) in [(&mut a, 1, [1, 2, 3]), (&mut b, 2, [3, 4, u64::MAX])] {
            part.add(seed, shown);
            whole.add(seed, shown);
        }
        a.merge(&b);
        assert_eq!(a, whole);
        let text = serde_json::to_string(&whole).expect("numbers");
        assert_eq!(serde_json::from_str::<States>(&text).expect("what was written"), whole);
    }
}
