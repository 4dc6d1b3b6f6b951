//! Failpoints in plans of the swarm: a few everywhere and always, or one for a while.

use sim::{Seed, Stream};

use super::{
    budget,
    gesture::{Gesture, Scene, Steps, named, some_time},
};
use crate::{
    plan::{Action, Nanos, Node, Plan, PointAction, Site, Step, When, knobs},
    registry,
};

/// In a third of the plans, sites are active with 25 %, each at one store or at all; an active one fires with 25 %.
pub(super) fn always_on(plan: &Plan, root: Seed) -> Vec<Step> {
    let mut steps = Vec::new();
    if root.split("failpoints").stream().ratio(2, 3) {
        return steps;
    }
    for site in sites(plan) {
        let mut stream = root.split("site").split(site.name()).stream();
        if !stream.ratio(1, 4) {
            continue;
        }
        let action = match stream.below(3) {
            _ if !site.waits() => "25%return".to_owned(),
            0 if budget::may_return(site) => "25%return".to_owned(),
            1 if site.waits() => "25%yield".to_owned(),
            _ if site.waits() => format!("25%sleep({}ms)", stream.range(1..=300)),
            _ => continue,
        };
        let everywhere = stream.ratio(1, 4);
        let one = stream.range(1..=plan.cluster.stores);
        for number in (1..=plan.cluster.stores).filter(|number| everywhere || *number == one) {
            steps.push(Step { when: When::At(Nanos::ZERO), action: set(named(number), site, &action) });
        }
    }
    steps
}

/// One site at one store or at all does something else for a while.
pub(super) fn for_a_while(scene: &Scene<'_>, stream: &mut Stream) -> Option<Gesture> {
    let sites: Vec<_> = sites(scene.plan).collect();
    let site = *stream.pick(&sites)?;
    let share = *stream.pick(&["", "", "50%", "1*", "2*"]).expect("a list");
    let action = match stream.below(4) {
        _ if !site.waits() => format!("{share}return"),
        0 if budget::may_return(site) => format!("{share}return"),
        1 if site.waits() => "pause".to_owned(),
        _ if site.waits() => format!("{share}sleep({}ms)", some_time(stream).0 / 1_000_000),
        _ => return None,
    };
    let lasting = Nanos::millis(stream.range(200..=4_000));
    let nodes = if stream.ratio(1, 3) { scene.stores() } else { vec![scene.store(stream)] };
    let off = |node: &Node| (lasting, set(node.clone(), site, "off"));
    let on = |node: &Node| (Nanos::ZERO, set(node.clone(), site, &action));
    let steps: Steps = nodes.iter().map(on).chain(nodes.iter().map(off)).collect();
    Some(steps.into())
}

/// A part of a process stands still for a while, as when a thread hangs: some sites of one room.
pub(super) fn stand_still(plan: &Plan, node: &Node, lasting: Nanos, stream: &mut Stream) -> Steps {
    some_of_a_room(plan, std::slice::from_ref(node), None, lasting, "pause", stream)
}

/// A part of some processes is slow for a while.
pub(super) fn hold_up(plan: &Plan, nodes: &[Node], room: Option<&str>, lasting: Nanos, stream: &mut Stream) -> Steps {
    let slow = format!("sleep({}ms)", stream.range(20..=900));
    some_of_a_room(plan, nodes, room, lasting, &slow, stream)
}

/// Up to half of the sites of a room; one that cannot wait fails.
fn some_of_a_room(
    plan: &Plan,
    nodes: &[Node],
    room: Option<&str>,
    lasting: Nanos,
    waits: &str,
    stream: &mut Stream,
) -> Steps {
    // A room with more sites is likelier.
    let rooms: Vec<&str> = sites(plan).map(failpoints::Site::room).collect();
    let any = *stream.pick(&rooms).expect("nodes have sites");
    let room = room.unwrap_or(any);
    let mut some: Vec<_> = sites(plan).filter(|site| site.room() == room).collect();
    stream.shuffle(&mut some);
    some.truncate(stream.range(1..=(some.len() as u64).div_ceil(2)) as usize);
    let mut steps = Vec::new();
    for (node, site) in nodes.iter().flat_map(|node| some.iter().map(move |site| (node, *site))) {
        let action = if site.waits() { waits } else { "return" };
        steps.push((Nanos::ZERO, set(node.clone(), site, action)));
        steps.push((lasting, set(node.clone(), site, "off")));
    }
    steps
}

/// The sites that can be passed: none of a cache that is off.
fn sites(plan: &Plan) -> impl Iterator<Item = &'static failpoints::Site> {
    let has_cache = plan.knobs.get(knobs::CACHE_ENABLED);
    registry::sites().filter(move |site| has_cache || site.room() != "cache")
}

fn set(node: Node, site: &failpoints::Site, action: &str) -> Action {
    Action::Failpoint { node, site: Site::new(site.name()), action: PointAction::new(action) }
}
