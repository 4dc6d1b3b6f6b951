//! Placement rules of tables: how many columnar replicas the regions of a key range should have.
//!
//! A table has one rule or none; the ranges of two tables do not meet. A region never lies across the border of a rule:
//! it is split there first.
//!
//! Not here: the default rule, which is about voters everywhere and follows from the options.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    region::{Region, Role},
    wire::placement::{Label, Rule, TiflashReplica},
};

/// The rules of all tables.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<u64, Rule>);

/// What a new wish for a table changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// Nothing.
    Same,
    /// The rule is this one from now on.
    Put(Rule),
    /// The rule is gone.
    Removed(Rule),
}

impl Rules {
    /// Takes a rule that was read back. One that is no rule of a table is refused.
    pub(super) fn restore(&mut self, rule: Rule) -> Result<(), Box<Rule>> {
        match rule.table() {
            Some(table) => {
                self.0.insert(table, rule);
                Ok(())
            }
            None => Err(Box::new(rule)),
        }
    }

    /// Sets how many columnar replicas a table should have; why not, if that makes no sense.
    pub(super) fn set(&mut self, wish: TiflashReplica) -> Result<Set, String> {
        let TiflashReplica { table, start, end, count } = wish;
        if count == 0 {
            return Ok(self.0.remove(&table).map_or(Set::Same, Set::Removed));
        }
        if !end.is_empty() && start >= end {
            return Err(format!("table {table} would have no key"));
        }
        let range = Region { start: start.clone(), end: end.clone(), ..Region::default() };
        let other = self.0.iter().find(|(other, rule)| **other != table && range.overlaps(&range_of(rule)));
        if let Some((other, _)) = other {
            return Err(format!("tables {table} and {other} would share keys"));
        }
        let labels = vec![Label { key: "engine".into(), value: "tiflash".into() }];
        let role = Role::Learner as i32;
        let rule =
            Rule { group: Rule::TIFLASH.into(), id: format!("table-{table}-r"), start, end, role, count, labels };
        if self.0.get(&table) == Some(&rule) {
            return Ok(Set::Same);
        }
        self.0.insert(table, rule.clone());
        Ok(Set::Put(rule))
    }

    /// All tables with their rules.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Rule)> {
        self.0.iter().map(|(&table, rule)| (table, rule))
    }

    /// The rule of a table.
    pub(super) fn of(&self, table: u64) -> Option<&Rule> {
        self.0.get(&table)
    }

    /// How many columnar replicas a region should have.
    pub(super) fn learners(&self, region: &Region) -> usize {
        let rules = self.0.values().filter(|rule| region.overlaps(&range_of(rule)));
        rules.map(|rule| rule.count as usize).sum()
    }

    /// The keys at which a region has to be split before every rule is about all of it or nothing of it.
    pub(super) fn borders(&self, region: &Region) -> Vec<Bytes> {
        let keys = self.0.values().flat_map(|rule| [&rule.start, &rule.end]);
        let mut keys: Vec<Bytes> =
            keys.filter(|key| !key.is_empty() && **key > region.start && region.contains(key)).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// The keys of a rule as a region without replicas.
pub(super) fn range_of(rule: &Rule) -> Region {
    Region { start: rule.start.clone(), end: rule.end.clone(), ..Region::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(table: u64, start: &'static str, end: &'static str, count: u64) -> TiflashReplica {
        TiflashReplica { table, start: start.into(), end: end.into(), count }
    }

    fn region(start: &'static str, end: &'static str) -> Region {
        Region { start: start.into(), end: end.into(), ..Region::default() }
    }

    #[test]
    fn a_region_has_the_replicas_of_the_table_that_it_is_about() {
        let mut rules = Rules::default();
        assert!(matches!(rules.set(wish(1, "b", "d", 2)), Ok(Set::Put(rule)) if rule.id == "table-1-r"));
        assert_eq!(rules.set(wish(1, "b", "d", 2)), Ok(Set::Same));
        assert!(rules.set(wish(2, "c", "e", 1)).is_err_and(|why| why.contains("share")));
        assert!(rules.set(wish(2, "e", "e", 1)).is_err());
        assert!(matches!(rules.set(wish(2, "d", "", 1)), Ok(Set::Put(_))));
        for (start, end, learners, borders) in [
            ("", "b", 0, &[][..]),
            ("b", "c", 2, &[]),
            ("d", "", 1, &[]),
            ("a", "e", 3, &["b", "d"]),
            ("c", "d", 2, &[]),
        ] {
            let region = region(start, end);
            assert_eq!(rules.learners(&region), learners, "{start}..{end}");
            assert_eq!(rules.borders(&region), borders, "{start}..{end}");
        }
        assert!(matches!(rules.set(wish(1, "", "", 0)), Ok(Set::Removed(rule)) if rule.start == "b"));
        assert_eq!(rules.set(wish(1, "", "", 0)), Ok(Set::Same));
    }

    #[test]
    fn only_rules_of_tables_are_read_back() {
        let mut rules = Rules::default();
        let Ok(Set::Put(rule)) = rules.set(wish(7, "", "", 1)) else { panic!("it is new") };
        let mut again = Rules::default();
        assert_eq!(again.restore(rule.clone()), Ok(()));
        assert_eq!(again.of(7), Some(&rule));
        let odd = Rule { id: "default".into(), ..rule };
        assert_eq!(again.restore(odd.clone()), Err(Box::new(odd)));
    }
}
