//! Fewer steps, and steps that say less.
//!
//! A step that comes `after` one that is left out takes over what that one waited for, so that the story keeps its order.

use std::ops::Range;

use super::Reduction;
use crate::plan::{Action, End, Nanos, Plan, Sides, Step, When};

/// Leaves out steps: all, halves, quarters, and so on down to each alone.
pub(super) fn fewer(plan: &Plan) -> Vec<Reduction> {
    let count = plan.steps.len();
    let mut all = Vec::new();
    let mut size = count;
    while size > 0 {
        for start in (0..count).step_by(size) {
            let range = start..(start + size).min(count);
            let what = match &plan.steps[range.clone()] {
                [step] => format!("without step {}, `{}`", start + 1, step.action.kind()),
                _ => format!("without steps {} to {}", start + 1, range.end),
            };
            let is_single_step = range.len() == 1;
            all.push(Reduction { what, plan: without(plan, &range), is_single_step });
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    all
}

/// Takes one field of one step to its default.
pub(super) fn plainer(plan: &Plan) -> Vec<Reduction> {
    let mut all = Vec::new();
    for (place, step) in plan.steps.iter().enumerate() {
        let what = |what: &str| format!("step {}, `{}`: {what}", place + 1, step.action.kind());
        let mut propose = |said: &str, step: Step| {
            let mut plan = plan.clone();
            plan.steps[place] = step;
            all.push(Reduction::new(what(said), plan));
        };
        for (field, action) in step.action.plainer() {
            propose(&format!("without `{field}`"), Step { action, ..step.clone() });
        }
        if let Action::Partition { sides, symmetric, lasting } = &step.action {
            for (said, sides) in smaller_sides(sides) {
                let action = Action::Partition { sides, symmetric: *symmetric, lasting: *lasting };
                propose(&said, Step { action, ..step.clone() });
            }
        }
        if let When::On(on) = &step.when {
            for field in on.fields.keys() {
                let mut on = on.clone();
                on.fields.remove(field);
                propose(&format!("waits for any `{field}`"), Step { when: When::On(on), ..step.clone() });
            }
            let mut first = on.clone();
            first.nth = 1;
            propose("waits for the first one", Step { when: When::On(first), ..step.clone() });
            let mut any = on.clone();
            any.node = None;
            propose("waits for any node", Step { when: When::On(any), ..step.clone() });
        }
    }
    all
}

/// Sides without clients, and without one end each.
fn smaller_sides(sides: &Sides) -> Vec<(String, Sides)> {
    let without = |said: String, goes: &dyn Fn(&End) -> bool| {
        let mut sides = sides.clone();
        sides.0.iter_mut().for_each(|side| side.retain(|end| !goes(end)));
        (said, sides)
    };
    let mut all = vec![without("without clients".to_owned(), &|end| end.as_str().starts_with("client-"))];
    let ends = sides.0.iter().flatten();
    all.extend(ends.map(|gone| without(format!("without {gone}"), &|end| end == gone)));
    all
}

/// The plan without these steps, counted from 0.
fn without(plan: &Plan, gone: &Range<usize>) -> Plan {
    let mut steps = Vec::with_capacity(plan.steps.len() - gone.len());
    for (place, step) in plan.steps.iter().enumerate() {
        if gone.contains(&place) {
            continue;
        }
        let mut step = step.clone();
        step.when = renumbered(relinked(step.when, plan, gone), gone);
        steps.push(step);
    }
    Plan { steps, ..plan.clone() }
}

/// When a step takes effect once those that it came after are gone.
fn relinked(mut when: When, plan: &Plan, gone: &Range<usize>) -> When {
    loop {
        let earlier = |number: u64| usize::try_from(number).expect("a plan is in memory") - 1;
        when = match when {
            When::After { step, wait } if gone.contains(&earlier(step)) => match &plan.steps[earlier(step)].when {
                When::At(at) => When::At(Nanos(at.0 + wait.0)),
                When::After { step, wait: before } => When::After { step: *step, wait: Nanos(before.0 + wait.0) },
                When::On(on) => When::On(on.clone()),
            },
            When::On(mut on) if on.after.is_some_and(|step| gone.contains(&earlier(step))) => {
                let step = on.after.expect("it was just found");
                on.after = match &plan.steps[earlier(step)].when {
                    When::At(_) => None,
                    When::After { step, .. } => Some(*step),
                    When::On(before) => before.after,
                };
                When::On(on)
            }
            settled => return settled,
        };
    }
}

/// Steps behind those that are gone have other numbers.
fn renumbered(when: When, gone: &Range<usize>) -> When {
    let number = |number: u64| if number > gone.end as u64 { number - gone.len() as u64 } else { number };
    match when {
        When::At(at) => When::At(at),
        When::After { step, wait } => When::After { step: number(step), wait },
        When::On(mut on) => {
            on.after = on.after.map(number);
            When::On(on)
        }
    }
}
