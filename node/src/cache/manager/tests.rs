//! The state machine by tables, and by random walks after which the maps have to agree.

use proptest::prelude::*;

use super::*;

fn span(id: u64, start: &str, end: &str, version: u64) -> Span {
    let key = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
    Span { id, start: key(start), end: key(end), version }
}

/// A manager with one region from `a` to `m` in a state.
fn with(state: State) -> (Manager, Span) {
    let mut manager = Manager::default();
    let whole = span(1, "a", "m", 3);
    manager.load(whole.clone(), "manual").expect("nothing is cached yet");
    if state == State::Pending {
        return (manager, whole);
    }
    let load = manager.begin_load(&whole, false).expect("it is pending");
    match state {
        State::Pending | State::Loading => {}
        State::LoadingCanceled => drop(manager.evict(&whole, "manual", false)),
        State::Active | State::PendingEvict | State::Evicting => {
            manager.loaded(load);
            if state == State::PendingEvict {
                assert!(manager.begin_read(&whole, 0, 5));
            }
            if state != State::Active {
                manager.evict(&whole, "manual", false);
            }
        }
    }
    assert_eq!(state_of(&manager, 1), Some(state));
    manager.facts.clear();
    manager.jobs.clear();
    (manager, whole)
}

fn state_of(manager: &Manager, region: u64) -> Option<State> {
    manager.get(region).map(|meta| meta.state)
}

#[test]
fn what_eviction_makes_of_each_state() {
    for (before, after) in [
        (State::Pending, None),
        (State::Loading, Some(State::LoadingCanceled)),
        (State::Active, Some(State::Evicting)),
        (State::LoadingCanceled, Some(State::LoadingCanceled)),
        (State::PendingEvict, Some(State::PendingEvict)),
        (State::Evicting, Some(State::Evicting)),
    ] {
        let (mut manager, whole) = with(before);
        manager.evict(&span(9, "b", "c", 1), "ingest", false);
        assert_eq!(state_of(&manager, whole.id), after, "{before:?}");
        assert!(manager.agrees());
    }
}

#[test]
fn children_are_what_their_region_was() {
    for state in State::ALL {
        let (mut manager, whole) = with(state);
        let after = [span(2, "a", "f", 4), span(1, "f", "m", 4)];
        manager.split(&whole, &after).expect("the version is the one it knows");
        for part in &after {
            let meta = manager.get(part.id).expect("both are cached");
            assert_eq!((meta.state, &meta.span), (state, part));
            assert!(meta.snapshots.is_empty());
        }
        assert!(manager.agrees());
    }
}

#[test]
fn only_what_is_pending_may_be_older_than_a_split() {
    for state in State::ALL {
        let (mut manager, whole) = with(state);
        let before = Span { version: 4, ..whole.clone() };
        let after = [span(2, "a", "f", 5), span(1, "f", "m", 5)];
        let expected = if state.takes_writes() { Err((state, 3)) } else { Ok(()) };
        assert_eq!(manager.split(&before, &after), expected, "{state:?}");
        assert!(manager.agrees());
    }
}

#[test]
fn what_is_on_its_way_out_goes_as_what_it_was_whatever_its_region_becomes() {
    for state in [State::LoadingCanceled, State::PendingEvict, State::Evicting] {
        let (mut manager, whole) = with(state);
        // It has taken in its neighbour since, and is split where the two met: the child has what was cached.
        let before = span(1, "a", "z", 4);
        assert_eq!(manager.split(&before, &[span(2, "a", "p", 5), span(1, "p", "z", 5)]), Ok(()));
        assert_eq!(manager.get(1).map(|meta| (meta.state, &meta.span)), Some((state, &whole)));
        assert_eq!(manager.load(span(2, "a", "p", 5), "manual"), Err("overlaps"));
        assert_eq!(manager.load(span(1, "p", "z", 5), "manual"), Err("being-evicted"));
        assert!(manager.agrees() && manager.facts.is_empty());
    }
}

#[test]
fn what_apply_is_told_by_state_and_version() {
    use Prepared::*;
    for (state, same, newer) in [
        (State::Pending, Load, Load),
        (State::Loading, Cached, Unexpected(State::Loading, 3)),
        (State::Active, Cached, Unexpected(State::Active, 3)),
        (State::LoadingCanceled, Absent, Absent),
        (State::PendingEvict, Absent, Absent),
        (State::Evicting, Absent, Absent),
    ] {
        let (mut manager, whole) = with(state);
        assert_eq!(manager.prepare(&whole), same, "{state:?}");
        assert_eq!(manager.prepare(&Span { version: 4, ..whole }), newer, "{state:?} at a newer version");
        assert!(manager.agrees());
    }
}

#[test]
fn a_pending_region_whose_range_grew_is_given_up() {
    let (mut manager, _) = with(State::Pending);
    assert_eq!(manager.prepare(&span(1, "a", "z", 4)), Prepared::Absent);
    assert!(manager.is_empty());
}

#[test]
fn an_evicted_region_waits_for_readers_of_what_it_was_split_from() {
    let (mut manager, whole) = with(State::Active);
    assert!(manager.begin_read(&whole, 0, 7));
    let after = [span(2, "a", "f", 4), span(1, "f", "m", 4)];
    manager.split(&whole, &after).expect("the version is the one it knows");
    manager.evict(&after[0], "manual", false);
    assert_eq!(state_of(&manager, 2), Some(State::PendingEvict));
    assert!(manager.jobs.is_empty());
    manager.end_read(&whole, 7);
    assert_eq!(state_of(&manager, 2), Some(State::Evicting));
    let [Job::Delete { number, .. }] = manager.jobs[..] else { panic!("one deletion, not {:?}", manager.jobs) };
    manager.deleted(number);
    assert_eq!((state_of(&manager, 2), state_of(&manager, 1)), (None, Some(State::Active)));
}

#[test]
fn collection_spares_what_readers_need_also_of_the_past() {
    for (split, overlook, until) in [(false, false, 7), (true, false, 7), (false, true, 7), (true, true, 20)] {
        let (mut manager, whole) = with(State::Active);
        assert!(manager.begin_read(&whole, 0, 7));
        if split {
            let after = [span(2, "a", "f", 4), span(1, "f", "m", 4)];
            manager.split(&whole, &after).expect("the version is the one it knows");
        }
        let (_, collecting) = manager.begin_collect(1, 20, overlook).expect("there is something to drop");
        assert_eq!(collecting.until, until, "split: {split}, overlooked: {overlook}");
        assert!(manager.begin_collect(1, 20, overlook).is_none(), "one at a time");
        manager.end_collect(collecting);
        assert_eq!(manager.get(1).map(|meta| meta.safe_point), Some(until));
    }
}

#[test]
fn nobody_reads_below_what_was_collected() {
    let (mut manager, whole) = with(State::Active);
    let (_, collecting) = manager.begin_collect(1, 20, false).expect("there is something to drop");
    assert!(!manager.begin_read(&whole, 19, 3), "versions there may be gone already");
    manager.end_collect(collecting);
    assert!(!manager.begin_read(&whole, 19, 3));
    assert!(manager.begin_read(&whole, 20, 3) && manager.begin_read(&whole, 0, 3));
}

#[test]
fn a_load_fills_what_its_region_was_split_into() {
    let (mut manager, whole) = with(State::Loading);
    let load = manager.get(1).map_or(0, |meta| meta.load);
    let after = [span(2, "a", "f", 4), span(1, "f", "m", 4)];
    manager.split(&whole, &after).expect("the version is the one it knows");
    manager.evict(&after[0], "manual", false);
    assert_eq!(manager.wanted(load), [after[1].clone()]);
    manager.loaded(load);
    assert_eq!((state_of(&manager, 2), state_of(&manager, 1)), (Some(State::Evicting), Some(State::Active)));
}

#[test]
fn a_load_that_waits_to_begin_misses_what_was_split_off() {
    let (mut manager, whole) = with(State::Pending);
    let load = manager.begin_load(&whole, true).expect("it is pending");
    let after = [span(2, "a", "f", 4), span(1, "f", "m", 4)];
    manager.split(&whole, &after).expect("the version is the one it knows");
    manager.load_started(1, load);
    manager.loaded(load);
    assert_eq!((state_of(&manager, 2), state_of(&manager, 1)), (Some(State::Pending), Some(State::Active)));
}

#[test]
fn loads_are_refused_where_the_range_is_not_free() {
    for (state, span, refusal) in [
        (State::Pending, span(1, "a", "m", 3), Some("pending")),
        (State::Pending, span(1, "a", "m", 4), None),
        (State::Pending, span(2, "b", "c", 4), None),
        (State::Active, span(1, "a", "m", 3), Some("cached")),
        (State::Active, span(2, "b", "c", 4), Some("overlaps")),
        (State::Evicting, span(1, "a", "m", 3), Some("being-evicted")),
        (State::Active, span(2, "m", "p", 4), None),
    ] {
        let (mut manager, _) = with(state);
        assert_eq!(manager.load(span.clone(), "manual").err(), refusal, "{state:?} {span:?}");
        assert!(manager.agrees());
    }
}

/// One step of a random walk over four regions' ids and a handful of keys.
#[derive(Clone, Debug)]
enum Walk {
    Load(u64),
    Prepare(u64),
    Finish(bool),
    Evict(u64),
    Split(u64),
    Read(u64),
    EndRead,
    Collect(u64),
    Delete,
    Write(u64),
    EndWrites,
}

fn walks() -> impl Strategy<Value = Vec<Walk>> {
    let region = 1..5u64;
    let step = prop_oneof![
        region.clone().prop_map(Walk::Load),
        region.clone().prop_map(Walk::Prepare),
        any::<bool>().prop_map(Walk::Finish),
        region.clone().prop_map(Walk::Evict),
        region.clone().prop_map(Walk::Split),
        region.clone().prop_map(Walk::Read),
        Just(Walk::EndRead),
        region.clone().prop_map(Walk::Collect),
        Just(Walk::Delete),
        region.prop_map(Walk::Write),
        Just(Walk::EndWrites),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn the_maps_agree_after_every_step(walk in walks()) {
        let mut manager = Manager::default();
        // The store's own regions: id and range, as keys in 0..64.
        let mut own = BTreeMap::from([(1, (0u8, 64u8, 1u64))]);
        let span = |id: u64, (from, to, version): (u8, u8, u64)| {
            Span { id, start: vec![from].into(), end: vec![to].into(), version }
        };
        let (mut loads, mut readers, mut collecting, mut now) = (Vec::new(), Vec::new(), Vec::new(), 1);
        for step in walk {
            now += 1;
            match step {
                Walk::Load(id) => if let Some(&range) = own.get(&id) {
                    let _ = manager.load(span(id, range), "manual");
                },
                Walk::Prepare(id) => if let Some(&range) = own.get(&id) {
                    let found = manager.prepare(&span(id, range));
                    prop_assert!(!matches!(found, Prepared::Unexpected(..)), "{found:?}");
                    if found == Prepared::Load {
                        loads.push(manager.begin_load(&span(id, range), false).expect("it is to be loaded"));
                    }
                },
                Walk::Finish(well) => if let Some(load) = loads.pop() {
                    if well { manager.loaded(load) } else { manager.load_failed(load, "read") }
                },
                Walk::Evict(id) => if let Some(&range) = own.get(&id) {
                    manager.evict(&span(id, range), "manual", false);
                },
                Walk::Split(id) => if let Some(&(from, to, version)) = own.get(&id) {
                    let (child, middle) = (own.len() as u64 + 1, from + (to - from) / 2);
                    if middle > from && child < 5 {
                        let (left, right) = ((from, middle, version + 1), (middle, to, version + 1));
                        let done = manager.split(&span(id, (from, to, version)), &[span(child, left), span(id, right)]);
                        prop_assert!(done.is_ok(), "{done:?}");
                        own.insert(child, left);
                        own.insert(id, right);
                    }
                },
                Walk::Read(id) => if let Some(&range) = own.get(&id) {
                    let span = span(id, range);
                    if manager.begin_read(&span, 0, now) { readers.push((span, now)); }
                },
                Walk::EndRead => if let Some((span, at)) = readers.pop() { manager.end_read(&span, at) },
                Walk::Collect(id) => {
                    if let Some((_, begun)) = manager.begin_collect(id, now, false) { collecting.push(begun); }
                    if let Some(done) = collecting.pop() { manager.end_collect(done); }
                },
                Walk::Delete => for job in std::mem::take(&mut manager.jobs) {
                    if let Job::Delete { number, .. } = job { manager.deleted(number) }
                },
                Walk::Write(id) => manager.begin_write(id),
                Walk::EndWrites => manager.end_writes(),
            }
            prop_assert!(manager.agrees());
            // Whatever is read keeps its versions.
            for (span, at) in &readers {
                for meta in manager.regions().filter(|meta| meta.span.overlaps(span)) {
                    prop_assert!(meta.safe_point <= *at && meta.state != State::Evicting);
                }
            }
        }
        // When everybody is done, what is not wanted any more goes.
        manager.end_writes();
        for (span, at) in readers { manager.end_read(&span, at); }
        for done in collecting { manager.end_collect(done); }
        prop_assert!(manager.regions().all(|meta| meta.state != State::PendingEvict));
        prop_assert!(manager.historical.is_empty());
    }
}
