//! Failures sorted against the campaigns before: new, ongoing, resolved, or rare.
//!
//! A failure is ongoing when a seed meets it, or when the plan that was kept of it still fails. One that is not met again
//! is resolved only if it should have been met: as often as it came before, this campaign should have met it three times
//! by now, which it misses once in twenty times. Until then it is rare, and says nothing; and so is one whose plans cannot
//! be read, since nobody has seen them pass.

use serde::Serialize;

use super::{
    failure::Failure,
    folder::{Folder, Summary},
    reader::Reader,
};

/// So often a failure should have been met before it may be called resolved.
const EXPECTED_MIN: f64 = 3.0;

/// What a failure is to the campaign that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No campaign met it before this one.
    New,
    /// It was met before, and again.
    Ongoing,
    /// It was met before, and not again, with too few seeds to say why.
    Rare,
    /// It was met before, and not again where it should have been.
    Resolved,
}

impl Status {
    /// Every status, in the order of tables.
    pub const ALL: [Self; 4] = [Self::New, Self::Ongoing, Self::Rare, Self::Resolved];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ongoing => "ongoing",
            Self::Rare => "rare",
            Self::Resolved => "resolved",
        }
    }
}

/// A failure, and what it is to the campaign.
#[derive(Clone, Debug)]
pub struct Sorted {
    /// The failure.
    pub failure: Failure,
    /// What it is.
    pub status: Status,
    /// How many seeds of this campaign met it.
    pub count: u64,
}

/// Every failure of a corpus, sorted; what the campaign came to; and it, if there is one.
pub struct Overview {
    /// What it came to so far.
    pub summary: Option<Summary>,
    /// The failures: new ones first.
    pub failures: Vec<Sorted>,
}

impl Overview {
    /// Looks at a corpus, of which others may be writing.
    pub fn of(folder: &Folder, reader: &mut Reader) -> anyhow::Result<Self> {
        let campaign = folder.header(reader)?;
        let summary = campaign.as_ref().map(|header| folder.summary(header, reader)).transpose()?;
        let earlier = folder.summaries(reader)?;
        let mut failures: Vec<Sorted> =
            folder.failures(reader)?.into_iter().map(|failure| sorted(failure, summary.as_ref(), &earlier)).collect();
        failures
            .sort_by(|a, b| (a.status, &a.failure.record.fingerprint).cmp(&(b.status, &b.failure.record.fingerprint)));
        Ok(Self { summary, failures })
    }

    /// How many failures have this status.
    pub fn count(&self, status: Status) -> usize {
        self.failures.iter().filter(|sorted| sorted.status == status).count()
    }
}

fn sorted(failure: Failure, now: Option<&Summary>, earlier: &[Summary]) -> Sorted {
    let fingerprint = &failure.record.fingerprint;
    let count = now.and_then(|now| now.failures.get(fingerprint)).map_or(0, |found| found.count);
    let before =
        earlier.iter().rev().find_map(|summary| Some((summary.failures.get(fingerprint)?.count, summary.seeds)));
    let number = now.map_or(0, |now| now.campaign.number);
    let still_fails = now.is_some_and(|now| now.still_fail.contains(fingerprint));
    let status = match before {
        None if failure.record.first_campaign == number || count > 0 && failure.record.first_campaign == 0 => {
            Status::New
        }
        _ if count > 0 || still_fails => Status::Ongoing,
        Some((met, seeds))
            if failure.plans().next().is_some()
                && expected(met, seeds, now.map_or(0, |now| now.seeds)) >= EXPECTED_MIN =>
        {
            Status::Resolved
        }
        _ => Status::Rare,
    };
    Sorted { failure, status, count }
}

/// How often a failure that came `met` times in `seeds` seeds comes in `now` seeds.
fn expected(met: u64, seeds: u64, now: u64) -> f64 {
    met as f64 / seeds.max(1) as f64 * now as f64
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::PathBuf,
    };

    use scenarios::{plan::Plan, verdict::Class};

    use super::*;
    use crate::{
        campaign::honesty::Totals,
        corpus::{
            failure::Record,
            folder::{Header, Identity},
            shard::Found,
        },
    };

    fn summary(number: u64, seeds: u64, met: u64) -> Summary {
        let identity = Identity { build: "b".to_owned(), source: "s".to_owned(), defects: Vec::new() };
        let found = Found { count: met, seeds: Vec::new() };
        Summary {
            reenact_summary: 1,
            campaign: Header { reenact_campaign: 1, number, identity, first_seed: 1 },
            seeds,
            end: seeds,
            failures: if met > 0 { BTreeMap::from([("f".to_owned(), found)]) } else { BTreeMap::new() },
            still_fail: BTreeSet::new(),
            totals: Totals::default(),
        }
    }

    fn status(first_campaign: u64, now: &Summary, earlier: &[Summary]) -> Status {
        let canary = include_str!("../fuzz/canary.toml");
        let plan = Plan::parse(canary, &scenarios::registry::vocabulary()).expect("a sound plan");
        status_of(Some(plan), first_campaign, now, earlier)
    }

    fn status_of(original: Option<Plan>, first_campaign: u64, now: &Summary, earlier: &[Summary]) -> Status {
        let record = Record {
            reenact_failure: 1,
            fingerprint: "f".to_owned(),
            class: Class::Safety,
            check: String::new(),
            detail: String::new(),
            first_campaign,
            campaign: first_campaign,
            build: String::new(),
            scenario: String::new(),
            seed: "1".to_owned(),
            defects: Vec::new(),
            step: 1,
            time_ns: 1,
            plan_steps: 1,
            shrunk: None,
            is_unconfirmed: false,
        };
        sorted(Failure { folder: PathBuf::new(), record, original, shrunk: None }, Some(now), earlier).status
    }

    #[test]
    fn a_failure_is_new_where_it_is_met_first_and_ongoing_where_it_is_met_again() {
        assert_eq!(status(1, &summary(1, 100, 2), &[]), Status::New);
        assert_eq!(status(1, &summary(2, 100, 2), &[summary(1, 100, 2)]), Status::Ongoing);
        let still = Summary { still_fail: ["f".to_owned()].into(), ..summary(2, 100, 0) };
        assert_eq!(status(1, &still, &[summary(1, 100, 2)]), Status::Ongoing);
    }

    #[test]
    fn what_is_not_met_again_is_resolved_once_it_should_have_been() {
        let earlier = [summary(1, 100, 5), summary(2, 100, 0)];
        assert_eq!(status(1, &summary(3, 59, 0), &earlier), Status::Rare);
        assert_eq!(status(1, &summary(3, 60, 0), &earlier), Status::Resolved);
        assert_eq!(status_of(None, 1, &summary(3, 60, 0), &earlier), Status::Rare, "no plan was run that might fail");
        assert_eq!(status(9, &summary(3, 1000, 0), &[]), Status::Rare, "from another corpus: nobody knows how often");
    }
}
