//! What one file must be: it says what it is, it is one room, and nothing in it is left for later.
//!
//! Taste is not checked here, nor what rustfmt and clippy already check.

use crate::code::{Placed, Word, words};
use crate::finding::Finding;
use crate::tree::{Source, Tree};

/// A longer file is two rooms.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "type", "types", "misc"];

/// Macros that leave something for later.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// The one file that may be `unsafe`.
const UNSAFE_ROOM: &str = "sim/src/entropy";

/// Macros that write to the terminal.
const PRINTING: [&str; 4] = ["print", "println", "eprint", "eprintln"];

/// Where writing to the terminal is the purpose: programs, examples and tests.
const PROGRAMS: [&str; 7] =
    ["ci/", "scenarios/reenact/", "node/src/main.rs", "node/src/command", "/examples/", "/tests/", "/benches/"];

/// Where state outside any run is the purpose: programs, and what the operating system or std keeps once per process (the
/// kernel's randomness, the panic hook).
const GLOBAL: [&str; 4] = ["ci/", "scenarios/reenact/", UNSAFE_ROOM, "sim/src/panics.rs"];

/// Types that make a `static` a variable.
const VARIABLE: [&str; 11] = [
    "Mutex",
    "RwLock",
    "OnceLock",
    "OnceCell",
    "LazyLock",
    "LazyCell",
    "RefCell",
    "Cell",
    "UnsafeCell",
    "Condvar",
    "Once",
];

/// All findings of a tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let rules: [fn(&Source) -> Vec<Finding>; 8] =
        [head_comment, length, names, unfinished, unsafe_room, printing, ignored_tests, global_state];
    tree.rust().flat_map(|source| rules.into_iter().flat_map(move |rule| rule(source))).collect()
}

fn finding(source: &Source, line: usize, problem: impl Into<String>, remedy: &str) -> Finding {
    Finding { path: source.path.clone(), line, problem: problem.into(), remedy: remedy.to_owned() }
}

fn head_comment(source: &Source) -> Vec<Finding> {
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let said = first.strip_prefix("//!").is_some_and(|said| !said.trim().is_empty());
    let remedy = "start the file with `//!`: what it is, what it deliberately is not, why this shape";
    if said { Vec::new() } else { vec![finding(source, 1, "no head comment", remedy)] }
}

fn length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![finding(
        source,
        lines,
        format!("{lines} lines, more than {LINES_MAX}"),
        "make two rooms of it: `foo.rs` and `foo/`",
    )]
}

fn names(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    if source.path.ends_with("/mod.rs") {
        found.push(finding(source, 1, "a `mod.rs`", "name the file as its module: `foo.rs` beside `foo/`"));
    }
    let segments = source.path.trim_end_matches(".rs").split('/');
    for segment in segments.filter(|segment| EMPTY_NAMES.contains(segment)) {
        found.push(finding(
            source,
            1,
            format!("`{segment}` says nothing about what is inside"),
            "name the room by its purpose",
        ));
    }
    found
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let accuse = |(name, line)| finding(source, line, format!("`{name}!` is left in it"), "finish it or take it out");
    called(&words(&source.text), &UNFINISHED).into_iter().map(accuse).collect()
}

fn printing(source: &Source) -> Vec<Finding> {
    let stands_in =
        |place: &&str| source.path.starts_with(*place) || (place.starts_with('/') && source.path.contains(*place));
    if PROGRAMS.iter().any(stands_in) {
        return Vec::new();
    }
    let remedy = "return a value, state a fact or use `tracing`; only programs, examples and tests print";
    let accuse = |(name, line)| finding(source, line, format!("`{name}!` in a library"), remedy);
    called(&words(&source.text), &PRINTING).into_iter().map(accuse).collect()
}

fn ignored_tests(source: &Source) -> Vec<Finding> {
    let words = words(&source.text);
    let ignore = [Word::Sign('#'), Word::Sign('['), Word::Name("ignore")];
    let found = words.windows(3).filter(|window| window.iter().map(|placed| &placed.word).eq(&ignore));
    found.map(|window| finding(source, window[0].line, "a test that is ignored", "mend it or delete it")).collect()
}

/// Variables outside any run: a `static` that can change, or one per thread.
fn global_state(source: &Source) -> Vec<Finding> {
    if source.path.contains("/tests/") || GLOBAL.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let words = words(&source.text);
    let mut found: Vec<usize> = called(&words, &["thread_local"]).into_iter().map(|(_, line)| line).collect();
    for (at, placed) in words.iter().enumerate() {
        let lifetime = at > 0 && words[at - 1].word == Word::Sign('\'');
        if placed.word != Word::Name("static") || lifetime {
            continue;
        }
        let mut declared =
            words[at + 1..].iter().take_while(|placed| !matches!(placed.word, Word::Sign('=' | ';' | '{')));
        if declared.any(|placed| is_variable(&placed.word)) {
            found.push(placed.line);
        }
    }
    let remedy = "make it a field of what owns it; nothing that changes lives outside a run";
    found.into_iter().map(|line| finding(source, line, "global mutable state", remedy)).collect()
}

/// Whether a word of a declaration says that the value can change.
fn is_variable(word: &Word<'_>) -> bool {
    match word {
        Word::Name(name) => *name == "mut" || VARIABLE.contains(name) || name.starts_with("Atomic"),
        _ => false,
    }
}

/// Where macros of these names are called: name and line.
fn called<'a>(words: &[Placed<'a>], names: &[&str]) -> Vec<(&'a str, usize)> {
    let call = |pair: &[Placed<'a>]| match (&pair[0].word, &pair[1].word) {
        (Word::Name(name), Word::Sign('!')) if names.contains(name) => Some((*name, pair[0].line)),
        _ => None,
    };
    words.windows(2).filter_map(call).collect()
}

fn unsafe_room(source: &Source) -> Vec<Finding> {
    if source.path.starts_with(UNSAFE_ROOM) {
        return Vec::new();
    }
    let words = words(&source.text);
    let found = words.iter().filter(|placed| placed.word == Word::Name("unsafe"));
    let remedy = "do without, or move it into sim/src/entropy.rs, the one room that may be unsafe";
    found.map(|placed| finding(source, placed.line, "`unsafe` outside its room", remedy)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| (finding.line, finding.problem)).collect()
    }

    #[test]
    fn a_sound_file_is_not_accused() {
        let text = "//! What it is.\n// todo!() in a comment, unsafe too\nconst NOTE: &str = \"todo!() unsafe\";\nlet todo = 1;\n";
        assert_eq!(problems("node/src/engine.rs", text), []);
        let long = format!("//! Long.\n{}", "// x\n".repeat(LINES_MAX - 1));
        assert_eq!(problems("node/src/engine/types_of_tables.rs", &long), []);
        assert_eq!(problems("sim/src/entropy.rs", "//! The unsafe room.\nunsafe {}"), []);
        assert_eq!(problems("sim/examples/register.rs", "//! An example.\nprintln!();"), []);
        assert_eq!(problems("sim/tests/world.rs", "//! Tests.\nstatic DROPS: AtomicU64 = AtomicU64::new(0);"), []);
        let statics =
            "//! A.\nstatic NAMES: &[&str] = &[];\nfn a(b: &'static Mutex<u8>) -> &'static str { \"println!\" }";
        assert_eq!(problems("node/src/a.rs", statics), []);
    }

    #[test]
    fn each_rule_accuses() {
        let long = format!("//! Long.\n{}", "// x\n".repeat(LINES_MAX));
        let cases = [
            ("node/src/a.rs", "use x;\n//! Late.", 1, "no head comment"),
            ("node/src/a.rs", "//!\nuse x;", 1, "no head comment"),
            ("node/src/a.rs", "", 1, "no head comment"),
            ("node/src/a.rs", &*long, 601, "601 lines, more than 600"),
            ("node/src/a/mod.rs", "//! A.", 1, "a `mod.rs`"),
            ("node/src/utils.rs", "//! A.", 1, "`utils` says nothing about what is inside"),
            ("node/src/common/a.rs", "//! A.", 1, "`common` says nothing about what is inside"),
            ("node/src/a.rs", "//! A.\nfn a() {\n    todo!()\n}", 3, "`todo!` is left in it"),
            ("node/src/a.rs", "//! A.\nprintln!(\"x\");", 2, "`println!` in a library"),
            ("node/src/a.rs", "//! A.\n#[test]\n#[ignore = \"slow\"]\nfn a() {}", 3, "a test that is ignored"),
            ("sim/src/a.rs", "//! A.\nstatic A: AtomicU8 = AtomicU8::new(0);", 2, "global mutable state"),
            ("sim/src/a.rs", "//! A.\npub static A: LazyLock<u8> = LazyLock::new(f);", 2, "global mutable state"),
            ("sim/src/a.rs", "//! A.\nthread_local! {}", 2, "global mutable state"),
            ("sim/src/disk.rs", "//! A.\nunsafe fn a() {}", 2, "`unsafe` outside its room"),
        ];
        for (path, text, line, problem) in cases {
            assert_eq!(problems(path, text), [(line, problem.to_owned())], "{path}");
        }
    }
}
