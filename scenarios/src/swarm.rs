//! The swarm: from a seed to a plan over everything that exists, with nothing in mind.
//!
//! It knows no history and no defect. Each kind of fault and of operation is in or out with one half, and has a weight of
//! its own when it is in: a plan that does a few things often meets states that a plan which does everything a little
//! never does. Each kind draws from streams split by its name, so that a new kind leaves what the others do as it was.
//!
//! What happens is a *gesture*: one step, or a few that belong together. It comes at a time, or at the moment at which a
//! fact is stated that was drawn from the table of facts.
//!
//! | file | what it holds |
//! |---|---|
//! | `shape` | cluster and workload |
//! | `settings` | knobs |
//! | `kinds` | what can happen often: one row a kind |
//! | `gesture` | several steps that belong together |
//! | `courses` | what happens once, because it changes who is there: stores and releases that come and go |
//! | `points` | failpoints |
//! | `moments` | when things happen |
//! | `budget` | what the node does not promise to survive, and how plans keep inside it |
//!
//! Not here: campaigns, which run these plans, and what becomes of failures.

mod budget;
mod courses;
mod gesture;
mod kinds;
mod moments;
mod points;
mod settings;
mod shape;

use sim::Seed;

use crate::{catalog::Scenario, plan::Plan};

use self::gesture::Gesture;

pub use budget::{EXCLUDED, KNOBS_LEFT, POINTS_ONLY_WAIT};
pub use courses::{COURSES, Course};
pub use gesture::Scene;
pub use kinds::{KINDS, Kind};

/// The name that plans of the swarm have for a scenario.
pub const NAME: &str = "swarm";

/// The swarm as a scenario that is run by its name; it is none of the catalog's, since it re-enacts nothing.
pub static SWARM: Scenario = Scenario {
    name: NAME,
    doc: "Everything that exists, each kind in or out with one half; nothing is re-enacted on purpose.",
    histories: &[],
    generate: |seed, options| Plan { defects: options.defects.clone(), ..generate(seed) },
};

/// Something that is to happen.
struct Happening {
    /// The kind or course that it is of, and which of that kind: by this name it draws.
    name: (&'static str, u64),
    when: moments::Moment,
    is_shock: bool,
    /// It belongs to a course, which no window cuts short.
    is_course: bool,
    /// Its moment was chosen with care, and nothing moves it.
    stays: bool,
    gesture: Gesture,
}

/// The plan of a seed.
pub fn generate(seed: u64) -> Plan {
    let root = Seed::new(seed).split("swarm");
    let mut plan = shape::draw(seed, root);
    let courses = courses::choose(&mut plan, root);
    plan.knobs = settings::draw(&plan, root);
    budget::make_room(&mut plan, &courses);
    let moments = moments::Moments::draw(&plan, &courses, root);
    let scene = Scene::draw(&plan, root);
    let mut happenings = courses::take(&courses, &scene, &moments, root);
    // How often a kind of the greatest weight happens.
    let most_often = *root.split("density").stream().pick(&[1, 2, 4, 6]).expect("a list");
    for kind in KINDS {
        let mut stream = root.split("kind").split(kind.name).stream();
        if !stream.ratio(1, 2) {
            continue;
        }
        let weight = stream.range(1..=100);
        for nth in 1..=stream.range(1..=(weight * most_often).div_ceil(100)) {
            let when = moments.draw_one(&mut stream);
            if let Some(gesture) = (kind.draw)(&scene, &mut stream) {
                let (name, is_shock) = ((kind.name, nth), kind.is_shock);
                happenings.push(Happening { name, when, is_shock, is_course: false, stays: false, gesture });
            }
        }
    }
    moments.collide(&mut happenings, root.split("collisions"));
    let happenings = budget::keep_within(&plan, &courses, moments.leave_alone(happenings));
    if budget::allows_points(&courses) {
        plan.steps = points::always_on(&plan, root);
    }
    moments::place(&mut plan, happenings);
    plan
}

#[cfg(test)]
mod tests;
