//! A campaign as CI servers are told of it: a case for each failure, one for the canary, and one for each hole.
//!
//! Not a case a run: a night has millions of them, and nobody reads what passed. A failure is called by its fingerprint,
//! so that a server knows it again the next night; one that is resolved is a case that passes.

use scenarios::verdict::Class;

use crate::{
    campaign::honesty::{Totals, gaps::Gap},
    corpus::{
        failure::REPORT,
        sorted::{Overview, Sorted, Status},
    },
    output::case::Case,
};

/// The suite of what is about the campaign itself.
const CAMPAIGN: &str = "campaign";

/// Everything that a server should know of a campaign; `holes` are the gaps for which it fails.
pub(super) fn cases(overview: &Overview, totals: &Totals, holes: &[&Gap]) -> Vec<Case> {
    let mut cases = vec![canary(true)];
    cases.extend(holes.iter().map(|gap| {
        let name = format!("never reached: {} {}", gap.what, gap.name);
        of_campaign(&name, "no run of this campaign did anything with it, and nobody says why")
    }));
    cases.extend(totals.unarmed().map(|name| {
        let name = format!("unarmed: {name}");
        of_campaign(&name, "too many of its runs did not reach their trigger, and prove nothing")
    }));
    cases.extend(overview.failures.iter().map(failure));
    cases
}

/// The plan that must fail.
pub(super) fn canary(has_failed: bool) -> Case {
    match has_failed {
        true => Case { class: Class::Pass, headline: String::new(), text: String::new(), ..of_campaign("canary", "") },
        false => of_campaign("canary", "a plan that must fail did not: this build would not notice a failure"),
    }
}

fn of_campaign(name: &str, text: &str) -> Case {
    Case {
        suite: CAMPAIGN.to_owned(),
        name: name.to_owned(),
        class: Class::Harness,
        fingerprint: name.to_owned(),
        headline: name.to_owned(),
        text: text.to_owned(),
        paste: String::new(),
    }
}

fn failure(sorted: &Sorted) -> Case {
    let Sorted { failure, status, count } = sorted;
    let record = &failure.record;
    let case = Case {
        suite: record.scenario.clone(),
        name: record.fingerprint.clone(),
        class: record.class,
        fingerprint: record.fingerprint.clone(),
        headline: String::new(),
        text: String::new(),
        paste: String::new(),
    };
    match status {
        Status::New | Status::Ongoing => {
            let report = failure.folder.join(REPORT);
            let detail = record.detail.lines().next().unwrap_or_default();
            Case {
                headline: format!("{}: {detail} ({}, {count} seeds)", record.check, status.as_str()),
                text: std::fs::read_to_string(&report).unwrap_or_else(|_| record.detail.clone()),
                paste: format!("{}\nReport:    {}\n", failure.reproduce(), report.display()),
                ..case
            }
        }
        // Too few seeds to say anything: neither broken nor mended.
        Status::Rare => {
            let headline = "not met again, by too few seeds to call it resolved".to_owned();
            Case { class: Class::Unarmed, headline, ..case }
        }
        Status::Resolved => Case { class: Class::Pass, ..case },
    }
}
