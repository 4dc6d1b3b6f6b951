//! Which package and which room may name which.
//!
//! Two views of the same rule: the dependencies that manifests declare, and the names that code uses. The second catches
//! what the first cannot: a room of a package that names what only another room may.

use crate::code::{Placed, Word, is_crate, words};
use crate::finding::Finding;
use crate::tree::{Source, Tree};

/// What a package may depend on, and what it must not.
struct Package {
    folder: &'static str,
    name: &'static str,
    /// Packages of the workspace that it may depend on, also for its tests.
    may: &'static [&'static str],
    /// Packages of others that it must not depend on, also not for its tests.
    never: &'static [&'static str],
}

const PACKAGES: [Package; 6] = [
    Package { folder: "failpoints", name: "failpoints", may: &[], never: &["madsim", "tokio"] },
    Package { folder: "sim", name: "sim", may: &[], never: &["clap"] },
    Package { folder: "node", name: "node", may: &["failpoints"], never: &["madsim"] },
    Package {
        folder: "scenarios",
        name: "scenarios",
        may: &["failpoints", "sim", "node"],
        never: &["clap", "indicatif", "comfy-table", "anstream"],
    },
    Package { folder: "scenarios/reenact", name: "reenact", may: &["scenarios"], never: &["madsim"] },
    Package { folder: "ci", name: "ci", may: &[], never: &["madsim"] },
];

/// What code in some folders must not name.
struct Ban {
    /// Files whose path starts with one of these.
    within: &'static [&'static str],
    /// The names, as roots of paths.
    crates: &'static [&'static str],
    /// The names, wherever they stand in code.
    words: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 5] = [
    Ban {
        within: &["failpoints/"],
        crates: &["tokio"],
        words: &["madsim"],
        why: "failpoints wait by the timer that their owner hands in, on no runtime of their own",
    },
    Ban {
        within: &["sim/src/", "sim/examples/"],
        crates: &["raft", "node", "scenarios", "failpoints"],
        words: &[],
        why: "the machine room knows no system that runs in it",
    },
    Ban {
        within: &["node/"],
        crates: &["sim", "scenarios"],
        words: &["madsim"],
        why: "the node does not know that it is simulated; what it needs goes through node::env",
    },
    Ban {
        within: &["scenarios/src/"],
        crates: &["clap", "indicatif", "comfy_table", "anstream"],
        words: &[],
        why: "the library knows no terminal and no command line; scenarios/reenact does",
    },
    Ban {
        within: &["scenarios/src/check.rs", "scenarios/src/check/"],
        crates: &["sim"],
        words: &["room", "cluster", "nemesis"],
        why: "a check sees events and nothing else",
    },
];

/// The one room of `scenarios` that knows both the machine room and the node, and the door to the former for all others.
const ROOM: [&str; 2] = ["scenarios/src/room.rs", "scenarios/src/room/"];

/// Names of `sim` that are values and no machinery: random streams, which generators and workloads draw from.
const VALUES: [&str; 2] = ["Seed", "Stream"];

/// All findings of a tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut found: Vec<Finding> = tree.manifests().flat_map(manifest).collect();
    for source in tree.rust() {
        let words = words(&source.text);
        found.extend(BANS.iter().flat_map(|ban| banned(source, &words, ban)));
        found.extend(past_the_door(source, &words));
    }
    found
}

fn manifest(source: &Source) -> Vec<Finding> {
    let accuse = |line: usize, problem: String, remedy: &str| Finding {
        path: source.path.clone(),
        line,
        problem,
        remedy: remedy.to_owned(),
    };
    let folder = source.path.trim_end_matches("/Cargo.toml");
    let Some(package) = PACKAGES.iter().find(|package| package.folder == folder) else {
        return vec![accuse(
            1,
            format!("package `{folder}` is in no layer"),
            "add it to the table in ci/src/layers.rs",
        )];
    };
    let manifest = match source.text.parse::<toml::Table>() {
        Ok(manifest) => manifest,
        Err(error) => return vec![accuse(1, format!("does not parse: {error}"), "mend the manifest")],
    };
    let line = |name: &str| {
        let names =
            |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
        source.text.lines().position(names).map_or(1, |line| line + 1)
    };
    let mut found = Vec::new();
    for name in dependencies(&manifest) {
        let ours = PACKAGES.iter().any(|package| package.name == name);
        if (ours && !package.may.contains(&&*name)) || package.never.contains(&&*name) {
            let allowed = if package.may.is_empty() { "none".to_owned() } else { package.may.join(", ") };
            let remedy =
                format!("remove it; packages of the workspace that `{}` may depend on: {allowed}", package.name);
            found.push(accuse(line(&name), format!("`{}` depends on `{name}`", package.name), &remedy));
        }
    }
    found
}

/// The names of all dependencies: for the product, tests and builds, and for single targets.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(|targets| targets.values().filter_map(toml::Value::as_table));
    let mut names = Vec::new();
    for table in std::iter::once(manifest).chain(targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = table.get(kind).and_then(toml::Value::as_table);
            for (key, value) in entries.into_iter().flatten() {
                let renamed = value.get("package").and_then(toml::Value::as_str);
                names.push(renamed.unwrap_or(key).to_owned());
            }
        }
    }
    names
}

fn banned(source: &Source, words: &[Placed<'_>], ban: &Ban) -> Vec<Finding> {
    if !ban.within.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, placed) in words.iter().enumerate() {
        let Word::Name(name) = placed.word else { continue };
        let is_path = || is_crate(words, at, name) || after_crate(words, at);
        let root = ban.crates.contains(&name) && is_crate(words, at, name);
        let word = ban.words.contains(&name) && (name == "madsim" || is_path());
        if root || word {
            found.push(Finding {
                path: source.path.clone(),
                line: placed.line,
                problem: format!("names `{name}`"),
                remedy: ban.why.to_owned(),
            });
        }
    }
    found
}

/// Whether the word is a room of its own crate: `crate::name`.
fn after_crate(words: &[Placed<'_>], at: usize) -> bool {
    at >= 2 && words[at - 1].word == Word::Path && words[at - 2].word == Word::Name("crate")
}

/// Files of `scenarios` that name the machine room past its door.
///
/// What `scenarios/src/room.rs` exports may be named anywhere; a file that joins `sim` and `node` in any other way has to
/// name the crate.
fn past_the_door(source: &Source, words: &[Placed<'_>]) -> Option<Finding> {
    if !source.path.starts_with("scenarios/src/") || ROOM.iter().any(|room| source.path.starts_with(room)) {
        return None;
    }
    let is_value = |word: &Placed<'_>| matches!(word.word, Word::Name(name) if VALUES.contains(&name));
    let names_more = |at: &usize| is_crate(words, *at, "sim") && !imported(&words[at + 1..]).into_iter().all(is_value);
    (0..words.len()).find(names_more).map(|at| Finding {
        path: source.path.clone(),
        line: words[at].line,
        problem: "names `sim`".to_owned(),
        remedy: "import it from `crate::room`, the one door to the machine room; adapters stand in scenarios/src/room/"
            .to_owned(),
    })
}

/// The names that follow a crate's name: `::A` gives `A`, `::{A, B}` gives `A` and `B`; of anything deeper, all words.
fn imported<'a, 'b>(after: &'b [Placed<'a>]) -> Vec<&'b Placed<'a>> {
    let is = |at: usize, word: &Word<'_>| after.get(at).is_some_and(|placed| placed.word == *word);
    let end = if is(0, &Word::Path) && is(1, &Word::Sign('{')) {
        after.iter().position(|placed| placed.word == Word::Sign('}')).unwrap_or(after.len())
    } else {
        after.len().min(2)
    };
    let names = after[..end].iter().filter(|placed| matches!(placed.word, Word::Name(_) | Word::Sign('*' | ';')));
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| (finding.line, finding.problem)).collect()
    }

    #[test]
    fn what_the_layers_allow_is_not_accused() {
        for (path, text) in [
            ("node/Cargo.toml", "[dependencies]\nfailpoints.workspace = true\ntokio.workspace = true\n"),
            ("scenarios/Cargo.toml", "[dependencies]\nsim.workspace = true\nnode = { workspace = true }\n"),
            ("node/src/env.rs", "//! Knows no madsim.\n/// Not sim::World.\nfn a(sim: u8) -> u8 { sim }\n"),
            ("sim/tests/raft.rs", "use raft::Raft;"),
            ("scenarios/src/room/disk.rs", "use node::env::Disk;\nuse sim::Disk as Simulated;"),
            ("scenarios/src/cluster.rs", "use node::Store;\nuse crate::room::Room;"),
            ("scenarios/src/workload.rs", "use node::Client;\nuse sim::Stream;\nuse sim::{Seed, Stream};"),
            ("scenarios/src/run.rs", "use crate::room::World;\nuse sim::Stream;"),
            ("scenarios/src/check/raft.rs", "use node::Fact;\nlet room = 1;"),
            ("scenarios/reenact/src/main.rs", "use clap::Parser;\nuse scenarios::plan;"),
        ] {
            assert_eq!(problems(path, text), [], "{path}");
        }
    }

    #[test]
    fn what_the_layers_forbid_is_accused_with_its_line() {
        for (path, text, line, problem) in [
            ("node/Cargo.toml", "[dependencies]\nsim.workspace = true\n", 2, "`node` depends on `sim`"),
            ("node/Cargo.toml", "[dev-dependencies]\nscenarios.workspace = true\n", 2, "`node` depends on `scenarios`"),
            (
                "node/Cargo.toml",
                "[target.'cfg(unix)'.dependencies]\nmadsim = \"0.2\"\n",
                2,
                "`node` depends on `madsim`",
            ),
            (
                "sim/Cargo.toml",
                "[dependencies]\nx = { package = \"node\", path = \"y\" }\n",
                1,
                "`sim` depends on `node`",
            ),
            ("scenarios/Cargo.toml", "[dependencies]\nclap.workspace = true\n", 2, "`scenarios` depends on `clap`"),
            (
                "scenarios/reenact/Cargo.toml",
                "[dependencies]\nnode.workspace = true\n",
                2,
                "`reenact` depends on `node`",
            ),
            ("extra/Cargo.toml", "[dependencies]\n", 1, "package `extra` is in no layer"),
            ("node/src/a.rs", "#[cfg(madsim)]\nfn a() {}", 1, "names `madsim`"),
            ("node/src/a.rs", "\nuse sim::World;", 2, "names `sim`"),
            ("sim/src/a.rs", "fn a() { raft::new() }", 1, "names `raft`"),
            ("failpoints/src/a.rs", "use tokio::time;", 1, "names `tokio`"),
            ("scenarios/src/run.rs", "use clap::Parser;", 1, "names `clap`"),
            ("scenarios/src/run.rs", "use node::Store;\nuse sim::World;", 2, "names `sim`"),
            ("scenarios/src/run.rs", "use sim::Seed;\nuse sim::{Seed, World};", 2, "names `sim`"),
            ("scenarios/src/bare.rs", "use sim::World;", 1, "names `sim`"),
            ("scenarios/src/run.rs", "use node::A;\nuse sim;", 2, "names `sim`"),
            ("scenarios/src/run.rs", "use node::A;\nuse sim::*;", 2, "names `sim`"),
            ("scenarios/src/run.rs", "use node::A;\nfn a(b: sim::disk::Disk) {}", 2, "names `sim`"),
            ("scenarios/src/check/raft.rs", "use crate::room::Room;", 1, "names `room`"),
        ] {
            assert_eq!(problems(path, text), [(line, problem.to_owned())], "{path}");
        }
    }
}
