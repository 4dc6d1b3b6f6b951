//! Shorter times and rounder numbers: what a person would have written.

use super::Reduction;
use crate::plan::{Action, DEFAULT_CONVERGE_WITHIN, Nanos, Plan, PointAction, When};

/// What is shorter than this is not worth being made shorter still.
const SHORT: Nanos = Nanos::millis(100);

/// Every way to make one time shorter or rounder.
pub(super) fn shorter(plan: &Plan) -> Vec<Reduction> {
    let mut all = Vec::new();
    for lasting in simpler(plan.workload.lasting) {
        let mut plan = plan.clone();
        plan.workload.lasting = lasting;
        all.push(Reduction::new(format!("clients work for {lasting}"), plan));
    }
    let usual = Plan { converge_within: DEFAULT_CONVERGE_WITHIN, ..plan.clone() };
    all.push(Reduction::new("the usual time to converge", usual));
    for (place, step) in plan.steps.iter().enumerate() {
        let now = match &step.when {
            When::At(at) => *at,
            When::After { wait, .. } => *wait,
            When::On(on) => on.within,
        };
        if let Action::Failpoint { node, site, action } = &step.action {
            for action in rounder(action.as_str()) {
                let mut plan = plan.clone();
                let what = format!("step {}, `failpoint`: `{action}`", place + 1);
                let (node, site, action) = (node.clone(), site.clone(), PointAction::new(action));
                plan.steps[place].action = Action::Failpoint { node, site, action };
                all.push(Reduction::new(what, plan));
            }
        }
        let mut propose = |what: &str, time: Nanos, change: &dyn Fn(&mut Plan)| {
            let mut plan = plan.clone();
            change(&mut plan);
            all.push(Reduction::new(format!("step {}, `{}`: {what} {time}", place + 1, step.action.kind()), plan));
        };
        let at_once = (!matches!(step.when, When::On(_)) && now != Nanos::ZERO).then_some(Nanos::ZERO);
        for time in at_once.into_iter().chain(simpler(now)) {
            let word = match &step.when {
                When::At(_) => "at",
                When::After { .. } => "waits",
                When::On(_) => "within",
            };
            propose(word, time, &|plan| match &mut plan.steps[place].when {
                When::At(at) => *at = time,
                When::After { wait, .. } => *wait = time,
                When::On(on) => on.within = time,
            });
        }
        let mut times = Vec::new();
        step.action.clone().each_time(&mut |time| times.push(*time));
        for (number, now) in times.into_iter().enumerate() {
            for time in simpler(now) {
                propose("for", time, &|plan| {
                    let mut count = 0;
                    plan.steps[place].action.each_time(&mut |found| {
                        if count == number {
                            *found = time;
                        }
                        count += 1;
                    });
                });
            }
        }
    }
    all
}

/// A failpoint's action with one of its numbers in fewer digits.
fn rounder(action: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(start) = action[from..].find(|c: char| c.is_ascii_digit()).map(|start| from + start) {
        let end = action[start..].find(|c: char| !c.is_ascii_digit()).map_or(action.len(), |length| start + length);
        if let Ok(number) = action[start..end].parse::<u64>()
            && rounded(number, 1) != number
        {
            all.push(format!("{}{}{}", &action[..start], rounded(number, 1), &action[end..]));
        }
        from = end;
    }
    all
}

/// Simpler times than this one: a half of it in a round number, and it in fewer digits.
///
/// Each has fewer digits or is at most half as long, so that simplifying comes to an end.
fn simpler(time: Nanos) -> Vec<Nanos> {
    let mut times = Vec::new();
    if time > SHORT {
        times.push(rounded(time.0 / 2, 1));
    }
    times.extend([rounded(time.0, 1), rounded(time.0, 2)]);
    times.retain(|next| *next <= time.0 / 2 || digits(*next) < digits(time.0));
    times.dedup();
    times.into_iter().map(Nanos).collect()
}

/// The number with so many significant digits, rounded down.
fn rounded(number: u64, keep: u32) -> u64 {
    let length = number.checked_ilog10().map_or(1, |log| log + 1);
    let unit = 10_u64.pow(length.saturating_sub(keep));
    number / unit * unit
}

/// How many significant digits a number has.
fn digits(number: u64) -> usize {
    number.to_string().trim_end_matches('0').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_rounder_and_shorter_and_come_to_an_end() {
        let say = |ns| simpler(Nanos(ns)).into_iter().map(|time| time.to_string()).collect::<Vec<_>>();
        assert_eq!(say(4_333_000_000), ["2s", "4s", "4.3s"]);
        assert_eq!(say(4_000_000_000), ["2s"]);
        assert_eq!(say(70_000_000), [""; 0]);
        assert_eq!(rounder("1*sleep(4333ms)->25%return"), ["1*sleep(4000ms)->25%return", "1*sleep(4333ms)->20%return"]);
        assert_eq!(rounder("pause"), [""; 0]);
    }
}
