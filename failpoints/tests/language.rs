//! The language of actions: printing and parsing are inverse, and a mistake is named with its place.

use std::time::Duration;

use failpoints::{Action, Actions, Ratio, Term, Text};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Text> {
    let part = prop_oneof![any::<String>(), "[a-z0-9 >%*#()-]{0,12}", Just("(a->b)".to_owned())];
    part.prop_filter_map("parentheses do not match", Text::new)
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_nanos),
        (0..10_000_000_u64).prop_map(Duration::from_millis),
        (0..10_000_000_u64).prop_map(Duration::from_secs),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Off),
        Just(Action::Pause),
        Just(Action::Yield),
        proptest::option::of(text()).prop_map(Action::Return),
        proptest::option::of(text()).prop_map(Action::Panic),
        proptest::option::of(text()).prop_map(Action::Print),
        duration().prop_map(Action::Sleep),
        duration().prop_map(Action::Delay),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    let ratio = (0..=1_000_000_u32).prop_filter_map("a ratio is at most one", Ratio::from_millionths);
    let (count, nth) = (1..=u64::MAX, 1..=u64::MAX);
    (proptest::option::of(ratio), proptest::option::of(count), proptest::option::of(nth), action())
        .prop_map(|(ratio, count, nth, action)| Term { ratio, count, nth, action })
}

fn actions() -> impl Strategy<Value = Actions> {
    proptest::collection::vec(term(), 1..5).prop_filter_map("a chain has a term", Actions::new)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_parses_to_the_same(actions in actions()) {
        let printed = actions.to_string();
        prop_assert_eq!(printed.parse::<Actions>(), Ok(actions));
    }

    #[test]
    fn what_parses_prints_to_what_parses_the_same(text in "[0-9.]{0,3}[%*#]?(off|return|sleep|print)(\\([0-9a-z]{0,4}\\))?(->off)?") {
        if let Ok(actions) = text.parse::<Actions>() {
            prop_assert_eq!(actions.to_string().parse::<Actions>(), Ok(actions));
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        if let Err(error) = text.parse::<Actions>() {
            prop_assert!(error.at <= text.chars().count());
        }
    }
}

#[test]
fn canonical_forms() {
    let cases = [
        ("50%3*return(x)->2*sleep(100ms)->off", "50%3*return(x)->2*sleep(100ms)->off"),
        (" 2.50 % 1 * panic -> off ", "2.5%1*panic->off"),
        ("sleep(100)", "sleep(100ms)"),
        ("delay(1.5s)", "delay(1500ms)"),
        ("delay(0)", "delay(0s)"),
        ("sleep(3000us)", "sleep(3ms)"),
        ("4#return()", "4#return()"),
        ("return(f(x)->y)", "return(f(x)->y)"),
    ];
    for (written, canonical) in cases {
        let parsed: Actions = written.parse().expect(written);
        assert_eq!(parsed.to_string(), canonical);
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let words = "one of off, return, sleep, delay, pause, yield, panic, print";
    let cases = [
        ("", 1, "the end", words),
        ("off->", 6, "the end", words),
        ("retrun(x)", 1, "`retrun`", words),
        ("off return", 5, "`return`", "`->` and another action, or the end"),
        ("50 return", 4, "`return`", "`%`, `*` or `#` after the number, each once and in this order"),
        ("3*50%off", 5, "`%`", "`%`, `*` or `#` after the number, each once and in this order"),
        ("101%off", 1, "`101`", "a percentage from 0 to 100 with at most four decimals"),
        ("0.00001%off", 1, "`0.00001`", "a percentage from 0 to 100 with at most four decimals"),
        ("0*off", 1, "`0`", "a count of at least 1"),
        ("0#off", 1, "`0`", "the number of a hit, the first being 1"),
        ("1.*off", 3, "`*`", "a digit after the point"),
        ("sleep", 6, "the end", "a duration in parentheses, such as (100ms), with a unit of s, ms, us, ns"),
        ("sleep(-1ms)", 7, "`-`", "a number and a unit of s, ms, us, ns"),
        ("sleep(5min)", 8, "`min`", "a unit of s, ms, us, ns"),
        ("sleep(0.5ns)", 7, "`0.5ns`", "a duration of whole nanoseconds, below 2^64 of them"),
        ("return(x", 7, "`(`", "a parenthesis that is closed again"),
        ("é", 1, "`é`", words),
    ];
    for (text, column, found, expected) in cases {
        let error = text.parse::<Actions>().expect_err(text);
        assert_eq!((error.at + 1, &*error.found, &*error.expected), (column, found, expected), "{text}");
        assert_eq!(error.to_string(), format!("column {column} of `{text}`: found {found}, expected {expected}"));
    }
}
