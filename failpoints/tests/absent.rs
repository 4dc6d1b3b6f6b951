//! A build without points: the same source compiles, does nothing, and has no size.
#![cfg(not(feature = "points"))]

use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use failpoints::{Arg, BoxFuture, Catalog, Points, SetError, Timer, defect, point, point_sync};
use futures::executor::block_on;

failpoints::sites! {
    /// Sites of a test room.
    mod site in "test" {
        /// In asynchronous code.
        ASYNC: Async = "a-name-of-a-site";
        /// In synchronous code.
        SYNC: Sync = "another-name-of-a-site";
    }
}

failpoints::defects! {
    /// Defects of a test node.
    mod defects {
        /// Loses a write.
        LOST: "an-id-of-a-defect" from "upstream#1" = "loses a write";
    }
}

struct Never;

impl Timer for Never {
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}

#[test]
fn nothing_fires() {
    let catalog = Catalog { sites: &[site::TABLE], defects: &[defects::TABLE] };
    let points = Points::new(catalog, 1, Arc::new(Never), Arc::new(()));
    let passed = block_on(async { point!(points, site::ASYNC).await });
    assert_eq!(passed.map(|arg| arg.as_str().to_owned()), None);
    assert_eq!(point_sync!(points, site::SYNC).map(|arg| arg.parse::<u32>()), None);
    assert!(!defect!(points, defects::LOST));
    let mut evaluated = false;
    assert!(!defect!(points, defects::LOST, std::mem::replace(&mut evaluated, true)));
    assert!(!evaluated, "a condition is not evaluated");
}

#[test]
fn nothing_can_be_switched() {
    let points = Points::none();
    assert_eq!(points.set("a-name", "return"), Err(SetError::Absent));
    assert_eq!(points.carry(&defects::LOST), Err(SetError::Absent));
    assert!(points.hits().is_empty() && points.carried().is_empty() && points.configured().is_empty());
}

#[test]
fn nothing_has_a_size_and_tables_are_empty() {
    const { assert!(!failpoints::PRESENT) };
    assert_eq!(size_of::<Points>() + size_of::<Option<Arg>>(), 0);
    assert_eq!(size_of_val(&site::ASYNC) + size_of_val(&defects::LOST), 0);
    assert!(site::TABLE.is_empty() && defects::TABLE.is_empty());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads its own program from the real disk")]
fn no_name_is_in_the_program() {
    let program = std::fs::read("/proc/self/exe").expect("a program can read itself");
    let name: Vec<u8> = black_box(b"etis-a-fo-eman-a").iter().rev().copied().collect();
    let spelled_backwards_above = program.windows(name.len()).any(|window| window.iter().eq(name.iter().rev()));
    assert!(spelled_backwards_above, "the search finds what is there");
    assert!(!program.windows(name.len()).any(|window| window == name), "the name of a site is in the program");
}
