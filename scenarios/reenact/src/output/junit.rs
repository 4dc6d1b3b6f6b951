//! JUnit's XML, which every CI server reads: a suite a scenario, a case a run.
//!
//! A violation is a *failure*; what is Reenact's own, or was not decided, is an *error*; a run that did not reach its
//! trigger is *skipped*, because it proves nothing. Runs of one fingerprint have one type, so that servers group them.
//! No times stand there: a run's real time says more of the machine than of the run.
//!
//! Written by hand over an XML writer: libraries for this format add attributes that the schema of Jenkins refuses.

use std::{collections::BTreeMap, io};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};
use scenarios::verdict::Class;

use super::case::Case;

/// How a run that did not simply pass is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Failure,
    Error,
    Skipped,
}

fn shown(class: Class) -> Option<Shown> {
    match class {
        Class::Pass => None,
        Class::Unarmed => Some(Shown::Skipped),
        Class::Harness | Class::Inconclusive => Some(Shown::Error),
        Class::Safety | Class::Liveness | Class::Crash => Some(Shown::Failure),
    }
}

/// The text of the file.
pub fn text(cases: &[Case]) -> io::Result<String> {
    let mut suites = BTreeMap::<&str, Vec<&Case>>::new();
    for case in cases {
        suites.entry(&case.suite).or_default().push(case);
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let [tests, failures, errors, _] = counts(cases);
    let all = [("name", "reenact"), ("tests", &tests), ("failures", &failures), ("errors", &errors)];
    writer
        .create_element("testsuites")
        .with_attributes(all)
        .write_inner_content(|writer| suites.iter().try_for_each(|(name, cases)| suite(writer, name, cases)))?;
    let text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    Ok(text + "\n")
}

fn suite(writer: &mut Writer<Vec<u8>>, name: &str, cases: &[&Case]) -> io::Result<()> {
    let [tests, failures, errors, skipped] = counts(cases.iter().copied());
    let counts = [("tests", &*tests), ("failures", &failures), ("errors", &errors), ("skipped", &skipped)];
    let element = writer.create_element("testsuite").with_attribute(("name", &*legal(name))).with_attributes(counts);
    element.write_inner_content(|writer| cases.iter().try_for_each(|case| write_case(writer, case)))?;
    Ok(())
}

fn write_case(writer: &mut Writer<Vec<u8>>, case: &Case) -> io::Result<()> {
    let (name, class_name) = (legal(&case.name), legal(&format!("reenact.{}", case.suite)));
    let element = writer.create_element("testcase").with_attributes([("name", &*name), ("classname", &class_name)]);
    let Some(shown) = shown(case.class) else {
        element.write_empty()?;
        return Ok(());
    };
    element.write_inner_content(|writer| {
        if shown == Shown::Skipped {
            let why = match &*case.headline {
                "" => "unarmed: the trigger was not reached, which proves nothing",
                why => why,
            };
            writer.create_element("skipped").with_attribute(("message", &*legal(why))).write_empty()?;
            return Ok(());
        }
        let message = legal(&format!("{}: {}", case.class, case.headline));
        let words = [("message", &*message), ("type", &legal(&case.fingerprint))];
        let name = if shown == Shown::Error { "error" } else { "failure" };
        let text = legal(&format!("{}{}", case.text, case.paste));
        writer.create_element(name).with_attributes(words).write_text_content(BytesText::new(&text))?;
        Ok(())
    })?;
    Ok(())
}

/// How many cases there are, and of them failures, errors and skipped ones.
fn counts<'a>(cases: impl IntoIterator<Item = &'a Case>) -> [String; 4] {
    let mut counts = [0_u64; 4];
    for case in cases {
        counts[0] += 1;
        if let Some(shown) = shown(case.class) {
            counts[1 + shown as usize] += 1;
        }
    }
    counts.map(|count| count.to_string())
}

/// Without the characters that XML has no way to write.
fn legal(text: &str) -> String {
    let is_legal = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..) && *c != '\u{7f}';
    text.chars().filter(is_legal).collect()
}

#[cfg(test)]
mod tests {
    use quick_xml::{Reader, XmlVersion, events::Event};

    use super::*;

    fn case(number: usize, class: Class) -> Case {
        let said = |text: String| if class == Class::Pass { String::new() } else { text };
        Case {
            suite: format!("scenario\u{0}-{}", number % 3),
            name: format!("seed \u{1b}{number}"),
            class,
            fingerprint: said("some-check: <rule>\u{0} \"site\" & more".to_owned()),
            headline: said(format!("some-check: key {number}\u{0}\u{1b}[31m broken ]]>")),
            text: said("what\nhappened \u{8}\n".to_owned()),
            paste: said("Reproduce: cargo reenact replay x.toml\n".to_owned()),
        }
    }

    /// What Jenkins' schema allows (`junit-10.xsd` of its xUnit plugin): an element, where it may stand, what it must have,
    /// and what else it may have.
    const SCHEMA: &[(&str, &str, &[&str], &[&str])] = &[
        ("testsuites", "", &[], &["name", "time", "tests", "failures", "errors"]),
        ("testsuite", "testsuites", &["name", "tests", "failures", "errors"], &["skipped", "time", "timestamp"]),
        ("testcase", "testsuite", &["name"], &["classname", "time"]),
        ("failure", "testcase", &[], &["message", "type"]),
        ("error", "testcase", &[], &["message", "type"]),
        ("skipped", "testcase", &[], &["message", "type"]),
    ];

    /// Elements by name, after each was held against the schema.
    fn checked(text: &str) -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
        let is_allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
        let (mut reader, mut open, mut seen) =
            (Reader::from_str(text), vec![String::new()], BTreeMap::<_, Vec<_>>::new());
        loop {
            let event = reader.read_event().expect("well-formed");
            match &event {
                Event::Start(tag) | Event::Empty(tag) => {
                    let name = String::from_utf8(tag.name().as_ref().to_vec()).expect("a name");
                    let rule = SCHEMA.iter().find(|rule| rule.0 == name);
                    let (_, parent, must, may) = rule.unwrap_or_else(|| panic!("`{name}` is not in the schema"));
                    assert_eq!(open.last().expect("never empty"), parent, "where `{name}` stands");
                    let attributes: BTreeMap<String, String> = tag
                        .attributes()
                        .map(|attribute| {
                            let attribute = attribute.expect("well-formed, and no name twice");
                            let key = String::from_utf8(attribute.key.as_ref().to_vec()).expect("a name");
                            let value =
                                attribute.normalized_value(XmlVersion::Implicit1_0).expect("escaped as it has to be");
                            assert!(value.chars().all(is_allowed), "XML has no such character: {value:?}");
                            (key, value.into_owned())
                        })
                        .collect();
                    for key in attributes.keys() {
                        assert!(must.contains(&key.as_str()) || may.contains(&key.as_str()), "`{key}` of `{name}`");
                    }
                    for key in *must {
                        assert!(attributes.contains_key(*key), "`{name}` lacks `{key}`");
                    }
                    seen.entry(name.clone()).or_default().push(attributes);
                    if matches!(event, Event::Start(_)) {
                        open.push(name);
                    }
                }
                Event::End(_) => {
                    open.pop();
                }
                Event::Text(words) => {
                    let words = words.decode().expect("in UTF-8");
                    assert!(words.chars().all(is_allowed), "XML has no such character: {words:?}");
                }
                Event::Eof => return seen,
                _ => {}
            }
        }
    }

    #[test]
    fn a_thousand_failures_make_a_file_that_servers_accept() {
        let classes = [Class::Pass, Class::Safety, Class::Unarmed, Class::Harness, Class::Crash];
        let cases: Vec<Case> = (0..1_250).map(|i| case(i, classes[i % classes.len()])).collect();
        let text = text(&cases).expect("no text is refused");
        let seen = checked(&text);
        let count = |name: &str| seen.get(name).map_or(0, Vec::len);
        assert_eq!((count("testsuite"), count("testcase")), (3, 1_250));
        assert_eq!((count("failure"), count("error"), count("skipped")), (500, 250, 250));
        let total = |key: &str| seen["testsuites"][0][key].parse::<usize>().expect("a number");
        assert_eq!((total("tests"), total("failures"), total("errors")), (1_250, 500, 250));
        assert_eq!(seen["failure"][0]["message"], "safety: some-check: key 6[31m broken ]]>");
        assert_eq!(seen["failure"][0]["type"], "some-check: <rule> \"site\" & more");
    }

    #[test]
    fn no_run_makes_an_empty_file_that_is_sound() {
        assert_eq!(checked(&text(&[]).expect("nothing to refuse"))["testsuites"][0]["tests"], "0");
    }
}
