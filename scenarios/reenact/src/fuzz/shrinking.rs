//! Smaller plans of what a campaign found, one failure after the other.
//!
//! What is smaller is written at once, so that an interrupted search goes on from there. A failure that was shrunk to the
//! end is left alone until another build finds it again.

use std::{
    cmp::Reverse,
    path::Path,
    time::{Duration, Instant},
};

use scenarios::{
    plan::{Plan, Recorded},
    registry,
    run::Outcome,
};

use super::Hunt;
use crate::{
    campaign::{interrupt, keep},
    corpus::{
        failure::{Failure, Record, SHRUNK, Shrunk},
        reader::Reader,
    },
    input,
    shrink::{self, Runner},
};

/// Shrinks failures that this part of the campaign met and that are not as small as they get, at most so many; returns
/// whether there are more.
pub(super) fn shrink(hunt: &Hunt, budget: Duration, most: usize) -> anyhow::Result<bool> {
    let mut failures = hunt.folder.failures(&mut Reader::looking())?;
    failures.retain(|failure| {
        failure.record.class.is_violation()
            && failure.plans().next().is_some()
            && hunt.writer.state.failures.contains_key(&failure.record.fingerprint)
            && has_time(failure, &hunt.header.identity.build, budget)
    });
    // What is new comes first: time may be short.
    failures.sort_by_key(|failure| Reverse(failure.record.first_campaign));
    let is_more = failures.len() > most;
    for mut failure in failures.into_iter().take(most) {
        if interrupt::happened() {
            break;
        }
        hunt.telling.shrinks(&failure);
        let begun = Instant::now();
        let shrunk = one(hunt, &failure, budget)?;
        if interrupt::happened() {
            break;
        }
        let spent_s = begun.elapsed().as_secs_f64().ceil() as u64;
        let build = hunt.header.identity.build.clone();
        let (plan_steps, attempts) = (failure.record.plan_steps, 0);
        failure.record.shrunk = Some(match shrunk {
            Ok(shrunk) => Shrunk {
                plan_steps: shrunk.plan.steps.len(),
                attempts: shrunk.attempts,
                is_done: shrunk.is_done,
                spent_s,
                build,
                trouble: None,
            },
            Err(trouble) => Shrunk {
                plan_steps,
                attempts,
                is_done: false,
                spent_s: budget.as_secs(),
                build,
                trouble: Some(trouble),
            },
        });
        let held = hunt.folder.lock()?;
        // Another part of the campaign may have found a faster plan meanwhile.
        if let Some(now) = Failure::read(&failure.folder, &mut Reader::looking())? {
            failure.record = Record { shrunk: failure.record.shrunk, ..now.record };
        }
        failure.save()?;
        drop(held);
        hunt.telling.shrunk(&failure);
    }
    Ok(is_more)
}

/// Whether there is time left to shrink a failure.
fn has_time(failure: &Failure, build: &str, budget: Duration) -> bool {
    match &failure.record.shrunk {
        Some(shrunk) if shrunk.build == build => !shrunk.is_done && shrunk.spent_s < budget.as_secs(),
        _ => true,
    }
}

/// Shrinks one failure; the inner error says why it cannot be.
fn one(hunt: &Hunt, failure: &Failure, budget: Duration) -> anyhow::Result<Result<shrink::Shrunk, String>> {
    let runner = Runner { pool: hunt.pool, ends: Instant::now() + budget };
    let Some((plan, first)) = begin(&runner, failure)? else {
        return Ok(Err("it does not fail like this any more: nothing was shrunk".to_owned()));
    };
    let out = failure.folder.join(SHRUNK);
    let mut trouble = None;
    let found = runner.search(&plan, first, |best| put(hunt, &out, best).inspect_err(|_| trouble = Some(())));
    match found {
        Ok(shrunk) if interrupt::happened() => Ok(Ok(shrunk)),
        Ok(shrunk) => {
            put(hunt, &out, &shrunk)?;
            Ok(Ok(shrunk))
        }
        // What cannot be written ends the campaign; anything else is about this one failure.
        Err(error) if trouble.is_some() => Err(error),
        Err(error) => Ok(Err(error.to_string().lines().next().unwrap_or_default().to_owned())),
    }
}

/// Writes a smaller plan, unless another part of the campaign has found a smaller one still.
fn put(hunt: &Hunt, out: &Path, shrunk: &shrink::Shrunk) -> anyhow::Result<()> {
    let held = hunt.folder.lock()?;
    let known = input::plan_file(out, &registry::vocabulary()).ok();
    let is_smaller = known.is_some_and(|known| {
        let is_same = |recorded: &Recorded| {
            recorded.build == hunt.header.identity.build && recorded.fingerprint == shrunk.outcome.verdict.fingerprint
        };
        known.recorded.as_ref().is_some_and(is_same) && known.steps.len() < shrunk.plan.steps.len()
    });
    if !is_smaller {
        keep::write(out, &shrunk.text())?;
    }
    drop(held);
    Ok(())
}

/// The plan to begin with: as far as an earlier search came, if it still fails like this.
fn begin(runner: &Runner, failure: &Failure) -> anyhow::Result<Option<(Plan, Outcome)>> {
    for (_, plan) in failure.plans() {
        let outcome = runner.confirmed(plan)?;
        let record = &failure.record;
        let is_same = |outcome: &Outcome| {
            (outcome.verdict.class, &outcome.verdict.fingerprint) == (record.class, &record.fingerprint)
        };
        if is_same(&outcome) {
            return Ok(Some((plan.clone(), outcome)));
        }
    }
    Ok(None)
}
