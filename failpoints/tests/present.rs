//! The switchboard in a build with points: actions, triggers, counts, refusals.
#![cfg(feature = "points")]

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use failpoints::{Action, BoxFuture, Catalog, Observer, Points, SetError, Site, Timer, defect, point, point_sync};
use futures::executor::block_on;

failpoints::sites! {
    /// Sites of a test room.
    mod site in "test" {
        /// In asynchronous code;
        /// `return` returns.
        ASYNC: Async = "test-async";
        /// In synchronous code.
        SYNC: Sync = "test-sync";
        /// Another asynchronous one.
        OTHER: Async = "test-other";
    }
}

failpoints::sites! {
    /// Sites of a room that the owner did not list.
    mod unlisted in "unlisted" {
        /// Never on.
        FORGOTTEN: Sync = "test-forgotten";
    }
}

failpoints::defects! {
    /// Defects of a test node.
    mod defects {
        /// Loses a write.
        LOST: "test-1" from "upstream#1" = "loses a write";
        /// Keeps a lock.
        KEPT: "test-2" from "upstream#2" = "keeps a lock";
    }
}

const CATALOG: Catalog = Catalog { sites: &[site::TABLE], defects: &[defects::TABLE] };

/// Records what it is asked to wait and what fires; waits no time.
#[derive(Default)]
struct Record(Mutex<Vec<String>>);

impl Record {
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no test panics while it holds the record").clone()
    }

    fn push(&self, line: String) {
        self.0.lock().expect("no test panics while it holds the record").push(line);
    }
}

impl Timer for Record {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.push(format!("sleep {duration:?}"));
        Box::pin(ready(()))
    }

    fn delay(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.push(format!("delay {duration:?}"));
        Box::pin(ready(()))
    }
}

impl Observer for Record {
    fn fired(&self, site: &'static Site, action: &Action, hit: u64) {
        self.push(format!("{} {action} at {hit}", site.name()));
    }
}

fn board(seed: u64) -> (Points, Arc<Record>) {
    let record = Arc::new(Record::default());
    (Points::new(CATALOG, seed, record.clone(), record.clone()), record)
}

fn pass(points: &Points) -> Option<String> {
    block_on(async { point!(points, site::ASYNC).await }).map(|arg| arg.as_str().to_owned())
}

/// What `hits` hits give, one letter a hit: the returned text, or `.`.
fn story(points: &Points, hits: usize) -> String {
    (0..hits).map(|_| pass(points).unwrap_or_else(|| ".".to_owned())).collect()
}

#[test]
fn nothing_fires_until_configured_and_hits_are_counted() {
    let (points, record) = board(1);
    assert_eq!(story(&points, 3), "...");
    assert!(point_sync!(points, site::SYNC).is_none());
    let hits: Vec<_> = points.hits().iter().map(|count| (count.site.name(), count.hits, count.fired)).collect();
    assert_eq!(hits, [("test-async", 3, 0), ("test-sync", 1, 0), ("test-other", 0, 0)]);
    assert!(record.lines().is_empty());
}

#[test]
fn triggers_follow_the_grammar() {
    let cases = [
        ("return(x)", "xxxxxx"),
        ("return", ""),
        ("2*return(x)", "xx...."),
        ("2*return(x)->return(y)", "xxyyyy"),
        ("3#return(x)", "..x..."),
        ("3#return(x)->return(y)", "yyxyyy"),
        ("2*3#return(x)", "..xx.."),
        ("1*return(a)->1*off->return(b)", "a.bbbb"),
        ("0%return(x)->return(y)", "yyyyyy"),
        ("100%1*return(x)", "x....."),
        ("off->return(x)", "......"),
    ];
    for (actions, expected) in cases {
        let (points, _) = board(1);
        points.set("test-async", actions).expect(actions);
        assert_eq!(story(&points, 6), expected, "{actions}");
    }
}

#[test]
fn ratios_draw_from_the_seed_and_each_site_has_its_own_stream() {
    let draw = |seed, disturbed: bool| {
        let (points, _) = board(seed);
        points.set("test-async", "50%return(x)").expect("parses");
        points.set("test-other", "50%return(x)").expect("parses");
        let mut story = String::new();
        for _ in 0..200 {
            if disturbed {
                block_on(async { point!(points, site::OTHER).await });
            }
            story += &pass(&points).unwrap_or_else(|| ".".to_owned());
        }
        story
    };
    assert_eq!(draw(7, false), draw(7, true));
    assert_ne!(draw(7, false), draw(8, false));
    let fired = draw(7, false).matches('x').count();
    assert!((60..140).contains(&fired), "half of 200 hits are expected to fire, {fired} did");
}

#[test]
fn waiting_happens_on_the_timer_and_the_observer_hears_all_but_off() {
    let (points, record) = board(1);
    points.set("test-async", "1*sleep(100ms)->1*delay(2s)->1*yield->1*print(here)->1*return(5)->off").expect("parses");
    assert_eq!(story(&points, 7), "....5..");
    assert_eq!(
        record.lines(),
        [
            "test-async sleep(100ms) at 1",
            "sleep 100ms",
            "test-async delay(2s) at 2",
            "delay 2s",
            "test-async yield at 3",
            "test-async print(here) at 4",
            "test-async return(5) at 5",
        ]
    );
    assert_eq!(points.hits()[0].fired, 5);
}

#[test]
fn a_pause_lasts_until_the_site_is_told_something_else() {
    type Change = fn(&Points);
    let changes: [Change; 3] = [
        |points| points.off("test-async").expect("a known site"),
        |points| points.set("test-async", "pause").expect("parses"),
        |points| points.all_off(),
    ];
    for change in changes {
        let (points, _) = board(1);
        points.set("test-async", "pause").expect("parses");
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(points.hit(&site::ASYNC));
        let mut second = pin!(points.hit(&site::ASYNC));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        points.set("test-other", "off").expect("parses");
        assert!(first.as_mut().poll(&mut context).is_pending(), "another site's change ends no pause");
        change(&points);
        assert_eq!(first.as_mut().poll(&mut context), Poll::Ready(None));
        assert_eq!(second.as_mut().poll(&mut context), Poll::Ready(None));
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_paused_task_is_woken() {
    let (points, _) = board(1);
    points.set("test-async", "pause").expect("parses");
    let woken = Arc::new(Wakes::default());
    let waker = Waker::from(woken.clone());
    let mut paused = pin!(points.hit(&site::ASYNC));
    assert!(paused.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    points.off("test-async").expect("a known site");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(points.hits()[0].fired, 1);
}

#[test]
#[should_panic(expected = "failpoint `test-sync` panics: the disk burns")]
fn panics() {
    let (points, _) = board(1);
    points.set("test-sync", "panic(the disk burns)").expect("parses");
    point_sync!(points, site::SYNC);
}

#[test]
fn synchronous_sites_refuse_to_wait_and_stay_as_they_were() {
    let (points, _) = board(1);
    points.set("test-sync", "return(7)").expect("parses");
    for action in ["sleep(1s)", "delay(1s)", "pause", "yield"] {
        let error = points.set("test-sync", &format!("1*off->{action}")).expect_err("waits");
        assert_eq!(error, SetError::Waits { site: "test-sync", action: action.to_owned() });
    }
    let arg = point_sync!(points, site::SYNC).expect("still configured");
    assert_eq!(arg.parse::<u32>(), Ok(7));
}

#[test]
fn errors_name_the_words_allowed() {
    let (points, _) = board(1);
    let error = points.set("test-asinc", "off").expect_err("unknown");
    assert_eq!(error.to_string(), "no failpoint is called `test-asinc`; there are: test-async, test-sync, test-other");
    let error = points.carry_id("test-3").expect_err("unknown");
    assert_eq!(error.to_string(), "no defect is called `test-3`; there are: test-1, test-2");
    let error = points.set("test-async", "2*retrun").expect_err("a typo");
    assert_eq!(
        error.to_string(),
        "column 3 of `2*retrun`: found `retrun`, expected one of off, return, sleep, delay, pause, yield, panic, print"
    );
}

#[test]
fn switchboards_are_apart_and_clones_are_not() {
    let (one, _) = board(1);
    let (two, _) = board(1);
    one.clone().set("test-async", "return(x)").expect("parses");
    assert_eq!((story(&one, 1), story(&two, 1)), ("x".to_owned(), ".".to_owned()));
    assert_eq!(format!("{one:?}"), r#"{"test-async": "return(x)"}"#);
}

#[test]
fn defects_act_only_where_they_are_carried_and_hold() {
    let (points, _) = board(1);
    assert!(!defect!(points, defects::LOST));
    points.carry(&defects::LOST).expect("listed");
    assert!(defect!(points, defects::LOST));
    assert!(!defect!(points, defects::LOST, 1 > 2));
    assert!(!defect!(points, defects::KEPT, panic!("the condition of a defect that is not carried is not evaluated")));
    let carried: Vec<_> =
        points.carried().iter().map(|count| (count.defect.id(), count.consulted, count.acted)).collect();
    assert_eq!(carried, [("test-1", 2, 1)]);
    assert_eq!((defects::LOST.upstream(), defects::LOST.mechanism()), ("upstream#1", "loses a write"));
}

#[test]
fn what_is_not_listed_is_never_on() {
    let (points, _) = board(1);
    assert!(point_sync!(points, unlisted::FORGOTTEN).is_none());
    assert!(matches!(points.set("test-forgotten", "return"), Err(SetError::UnknownSite { .. })));
    let none = Points::none();
    assert!(pass(&none).is_none());
    assert!(
        matches!(none.set("test-async", "return"), Err(SetError::UnknownSite { allowed, .. }) if allowed.is_empty())
    );
    assert_eq!(unlisted::TABLE.len(), 1);
}

#[test]
#[should_panic(expected = "are called `test-async`; rename one")]
fn a_name_stands_once_in_all_tables() {
    let catalog = Catalog { sites: &[site::TABLE, site::TABLE], defects: &[] };
    let record = Arc::new(Record::default());
    Points::new(catalog, 1, record, Arc::new(()));
}

#[test]
fn tables_carry_what_lists_print() {
    const { assert!(failpoints::PRESENT) };
    assert_eq!(site::ASYNC.doc(), "In asynchronous code;\n `return` returns.");
    assert_eq!((site::SYNC.room(), site::SYNC.waits()), ("test", false));
}

#[test]
fn waiting_at_a_site_may_move_between_threads() {
    fn movable<T: Send>(value: T) -> T {
        value
    }
    let (points, _) = board(1);
    assert_eq!(block_on(movable(points.hit(&site::ASYNC))), None);
    movable(points);
}
