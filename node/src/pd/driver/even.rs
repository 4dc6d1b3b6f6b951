//! The driver's part about balance: moves that nobody needs, begun by the clock.

use std::cell::RefCell;

use super::Driver;
use crate::{
    env::Instant,
    pd::{balance, repair::View},
};

impl Driver {
    /// Begins what would even the load out, one move of each kind at a time.
    pub(super) fn even_out(&mut self, now: Instant) {
        if self.recovery.is_running() {
            return;
        }
        for (wanted, look) in [
            (self.options.balance_regions, balance::regions as fn(&_, &View<'_>, &dyn Fn(u64) -> bool) -> _),
            (self.options.balance_leaders, balance::leaders),
        ] {
            if !wanted || self.operators.len() >= self.options.operators_max {
                continue;
            }
            let notes = RefCell::default();
            let adding = |store| self.operators.adding(store);
            let (stores, rules, options, points) = (&self.stores, &self.rules, &self.options, &self.points);
            let view = View { stores, rules, options, now, adding: &adding, points, notes: &notes };
            let chosen = look(&self.regions, &view, &|region| self.operators.has(region));
            if let Some((region, wish)) = chosen {
                // Its steps go out with the answer to the region's next heartbeat.
                let begun = self.plan(region, wish, now);
                self.effects.facts.extend(begun.ok().flatten());
            }
        }
    }
}
