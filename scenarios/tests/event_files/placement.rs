//! Stories of tables, of stores' lives, and of copies that stay.

use node::pd::fact::Fact;
use scenarios::event::RoomEvent;

use super::{
    Case, accuse, pass,
    story::{Story, key},
};

pub fn cases() -> Vec<Case> {
    tables()
}

fn rule(s: &mut Story, table: u64, count: u64) {
    s.fact(0, Fact::RulePut { table, start: key(""), end: key(""), count });
}

/// A table of four regions with two replicas each, on so many stores.
fn progress(s: &mut Story, peers: u64, available: u64, stores: u64) {
    s.fact(0, Fact::TableProgress { table: 7, count: 2, regions: 4, peers, available, stores });
}

fn ended(s: &mut Story) {
    s.room(0, RoomEvent::ConvergeEnded { reasons: Vec::new() });
}

fn tables() -> Vec<Case> {
    let check = "table-replicas-become-available";
    vec![
        accuse(check, "not-available", "a-region-without-a-peer", |s| {
            rule(s, 7, 2);
            progress(s, 6, 3, 2);
            ended(s);
        }),
        accuse(check, "not-available", "never-looked-at", |s| {
            rule(s, 7, 2);
            ended(s);
        }),
        accuse(check, "incomplete", "one-peer-short", |s| {
            rule(s, 7, 2);
            progress(s, 7, 4, 2);
            ended(s);
        }),
        pass(check, "grown-and-removed", |s| {
            rule(s, 7, 2);
            progress(s, 0, 0, 2);
            progress(s, 8, 4, 2);
            rule(s, 8, 1);
            s.fact(0, Fact::RuleRemoved { table: 8 });
            ended(s);
        }),
        pass(check, "fewer-stores-than-wanted", |s| {
            rule(s, 7, 2);
            progress(s, 4, 4, 1);
            ended(s);
            progress(s, 0, 0, 0);
            ended(s);
        }),
    ]
}
