//! When things happen: at times, in bursts, at facts; and when nothing does.
//!
//! Some states are only reached by a cluster that is left alone: logs are compacted, regions sleep, repairs end. So there
//! are quiet windows, and time to recover after a crash or a partition. Others are only reached by what happens at the
//! very moment of something else. So a share of what happens waits for a fact, any fact, instead of for a time; no window
//! keeps that away, since nobody knows when it comes. And in some plans things collide: one comes just when another has
//! begun.

use sim::{Seed, Stream};

use super::{
    Course, Happening,
    gesture::{self, Gesture, Steps},
};
use crate::{
    plan::{Action, FactSpec, Nanos, Node, On, Plan, Step, When, knobs},
    registry,
};

/// When something is to happen.
#[derive(Clone, Debug)]
pub(super) enum Moment {
    /// At a time since chaos began.
    At(Nanos),
    /// A while after a fact was stated.
    Fact(On, Nanos),
}

/// How times are drawn in one plan.
pub(super) struct Moments {
    last_ms: u64,
    /// When the bursts begin in which everything comes, in plans that have them.
    bursts: Vec<u64>,
    quiet: Vec<(Nanos, Nanos)>,
    /// After a crash or a partition nothing else happens for so long.
    stability: Nanos,
    /// So many in eight wait for a fact.
    hooked: u64,
    /// So many in eight come when another has just begun.
    colliding: u64,
    stores: u64,
    facts: Vec<FactSpec>,
}

impl Moments {
    /// None to two quiet windows; time to recover in half of the plans; bursts in a third.
    pub(super) fn draw(plan: &Plan, courses: &[Course], root: Seed) -> Moments {
        let mut stream = root.split("moments").stream();
        let last_ms = plan.workload.lasting.0 / 1_000_000;
        let mut quiet = Vec::new();
        for _ in 0..stream.below(3) {
            let from = stream.range(0..=last_ms);
            quiet.push((Nanos::millis(from), Nanos::millis(from + stream.range(500..=last_ms / 3))));
        }
        let stability = if stream.ratio(1, 2) { Nanos::millis(stream.range(200..=3_000)) } else { Nanos::ZERO };
        let bursts = if stream.ratio(1, 3) { stream.range(1..=3) } else { 0 };
        let bursts = (0..bursts).map(|_| stream.range(100..=last_ms)).collect();
        // What can be stated at all: nothing of a cache that is off, or of a recovery that nobody asks for.
        let mut facts = registry::facts();
        let has_cache = plan.knobs.get(knobs::CACHE_ENABLED);
        facts.retain(|fact| has_cache || !fact.name.starts_with("cache-"));
        let recovers = |name: &str| ["recovery-", "force-leader-", "demotion-"].iter().any(|of| name.starts_with(of));
        facts.retain(|fact| courses.contains(&Course::Recover) || !recovers(fact.name));
        let hooked = *stream.pick(&[0, 1, 2, 4]).expect("a list");
        let colliding = *stream.pick(&[0, 0, 2, 4]).expect("a list");
        Moments { last_ms, bursts, quiet, stability, hooked, colliding, stores: plan.cluster.stores, facts }
    }

    /// The same, and whatever may collide does.
    #[cfg(test)]
    pub(super) fn always_colliding(self) -> Moments {
        Moments { colliding: 8, ..self }
    }

    /// The moment of one thing.
    pub(super) fn draw_one(&self, stream: &mut Stream) -> Moment {
        if stream.ratio(self.hooked, 8) {
            return self.at_a_fact(stream);
        }
        let anywhere = stream.range(100..=self.last_ms);
        let after = stream.range(0..=1_500);
        let at = stream.pick(&self.bursts).map_or(anywhere, |burst| burst + after);
        Moment::At(Nanos::millis(at.min(self.last_ms)))
    }

    /// At any fact that there is, of anybody or of one store.
    pub(super) fn at_a_fact(&self, stream: &mut Stream) -> Moment {
        let node = stream.ratio(1, 2).then(|| gesture::named(stream.range(1..=self.stores)));
        self.at_a_fact_of(node, |_| true, stream)
    }

    /// At any fact of a choice.
    pub(super) fn at_a_fact_of(&self, node: Option<Node>, is_one: fn(&str) -> bool, stream: &mut Stream) -> Moment {
        let facts: Vec<&FactSpec> = self.facts.iter().filter(|fact| is_one(fact.name)).collect();
        let fact = stream.pick(&facts).expect("nodes state facts").name.to_owned();
        let nth = *stream.pick(&[1, 1, 1, 2, 3, 8, 40]).expect("a list");
        let within = Nanos::millis(self.last_ms);
        let wait = if stream.ratio(1, 2) { Nanos::ZERO } else { Nanos::millis(stream.range(1..=400)) };
        Moment::Fact(On { fact, node, nth, fields: Default::default(), within, after: None }, wait)
    }

    /// At any fact of one of some families, which is stated within a time.
    pub(super) fn fact_of(node: Option<Node>, families: &[&str], within: Nanos, stream: &mut Stream) -> On {
        let family = *stream.pick(families).expect("a list");
        let facts: Vec<FactSpec> = registry::facts().into_iter().filter(|fact| fact.name.starts_with(family)).collect();
        let fact = stream.pick(&facts).expect("nodes state facts").name.to_owned();
        let nth = *stream.pick(&[1, 1, 1, 2, 3]).expect("a list");
        On { fact, node, nth, fields: Default::default(), within, after: None }
    }

    /// Moves some of what happens to just behind something else.
    ///
    /// With what, is drawn as a number for each of the others, of which the least counts: so one more changes nothing but
    /// for those that collide with it.
    pub(super) fn collide(&self, happenings: &mut [Happening], seed: Seed) {
        let by_name = |seed: Seed, (name, nth): (&'static str, u64)| seed.split(name).split(nth);
        for position in 0..happenings.len() {
            let own = by_name(seed, happenings[position].name);
            let stream = &mut own.stream();
            let wait = Nanos::millis(match stream.below(3) {
                0 => stream.range(0..=20),
                1 => stream.range(10..=200),
                _ => stream.range(100..=1_000),
            });
            if !stream.ratio(self.colliding, 8) || happenings[position].stays {
                continue;
            }
            let chance = |other: &usize| by_name(own.split("with"), happenings[*other].name).value();
            let others = (0..happenings.len()).filter(|other| *other != position);
            let Some(with) = others.min_by_key(chance) else { continue };
            happenings[position].when = match &happenings[with].when {
                Moment::At(at) => Moment::At(Nanos(at.0 + wait.0)),
                Moment::Fact(on, first) => Moment::Fact(on.clone(), Nanos(first.0 + wait.0)),
            };
        }
    }

    /// Without what falls into a window.
    pub(super) fn leave_alone(&self, mut happenings: Vec<Happening>) -> Vec<Happening> {
        happenings.sort_by_key(|happening| match happening.when {
            Moment::At(at) => at,
            Moment::Fact(..) => Nanos::secs(3_600),
        });
        let mut calm_until = Nanos::ZERO;
        happenings.retain(|happening| {
            let Moment::At(at) = happening.when else { return true };
            let is_quiet = self.quiet.iter().any(|(from, to)| (*from..*to).contains(&at));
            if !happening.is_course && (is_quiet || at < calm_until) {
                return false;
            }
            if happening.is_shock {
                calm_until = Nanos(at.0 + self.stability.0);
            }
            true
        });
        happenings
    }
}

/// Puts the steps of what happens into the plan: first what waits for a fact or is waited for, and then the rest in the
/// order of time.
pub(super) fn place(plan: &mut Plan, happenings: Vec<Happening>) {
    let mut timed = Vec::new();
    for Happening { when, gesture: Gesture { steps, then }, .. } in happenings {
        let (when, first) = match when {
            Moment::At(start) if then.is_none() => {
                timed.extend(steps.into_iter().map(|(wait, action)| (Nanos(start.0 + wait.0), action)));
                continue;
            }
            Moment::At(start) => (When::At(start), Nanos::ZERO),
            Moment::Fact(on, first) => (When::On(on), first),
        };
        let begun = chain(plan, when, first, steps);
        if let Some((on, steps)) = then {
            chain(plan, When::On(On { after: Some(begun), ..on }), Nanos::ZERO, steps);
        }
    }
    timed.sort_by_key(|(at, _)| *at);
    plan.steps.extend(timed.into_iter().map(|(at, action)| Step { when: When::At(at), action }));
}

/// Steps of which the first comes `first` after a moment, and the others after it; the number of the one that leads.
fn chain(plan: &mut Plan, when: When, first: Nanos, steps: Steps) -> u64 {
    let mut steps = steps.into_iter().peekable();
    let leads = first == Nanos::ZERO && steps.peek().is_some_and(|(wait, _)| *wait == Nanos::ZERO);
    let leader = if leads { steps.next() } else { None };
    let action = leader.map_or(Action::Note {}, |(_, action)| action);
    plan.steps.push(Step { when, action });
    let step = plan.steps.len() as u64;
    plan.steps.extend(steps.map(|(wait, action)| {
        let wait = Nanos(first.0 + wait.0);
        Step { when: When::After { step, wait }, action }
    }));
    step
}
