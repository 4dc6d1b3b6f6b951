//! The driver's part about tables: their rules, and how far their replicas have come.

use super::{Driver, Refused, done, invalid};
use crate::{
    env::Instant,
    pd::{fact::Fact, kept::Change, progress, rules::Set},
    wire::placement::{Answer, Reason, Rules as RuleList, TiflashReplica},
};

impl Driver {
    /// Sets how many columnar replicas a table should have.
    pub(super) fn set_tiflash_replica(&mut self, wish: TiflashReplica) -> Result<Answer, Refused> {
        let table = wish.table;
        match self.rules.set(wish).map_err(invalid)? {
            Set::Same => {}
            Set::Put(rule) => {
                let (start, end, count) = (rule.start.clone(), rule.end.clone(), rule.count);
                self.progress.forget(table);
                self.keep(Change::Rule(rule), Fact::RulePut { table, start, end, count });
            }
            Set::Removed(rule) => {
                self.progress.forget(table);
                self.keep(Change::NoRule(rule), Fact::RuleRemoved { table });
            }
        }
        Ok(done())
    }

    pub(super) fn all_rules(&self) -> Answer {
        Answer::Rules(RuleList { rules: self.rules.all().map(|(_, rule)| rule.clone()).collect() })
    }

    pub(super) fn table_progress(&self, table: u64, now: Instant) -> Result<Answer, Refused> {
        let rule = self.rules.of(table).ok_or_else(|| (Reason::TableNotFound, format!("table {table} has no rule")))?;
        let view = (&self.regions, &self.stores, &self.options);
        Ok(Answer::Progress(progress::of(table, rule, view, now)))
    }

    /// States what has changed.
    pub(super) fn note_progress(&mut self, now: Instant) {
        for (table, rule) in self.rules.all() {
            let now = progress::of(table, rule, (&self.regions, &self.stores, &self.options), now);
            self.effects.facts.extend(self.progress.news(now));
        }
    }
}
