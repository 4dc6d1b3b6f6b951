//! A production build holds no point and no defect.
//!
//! The node is built alone, because a workspace build unifies features, and in a target directory of its own. Then the
//! program is asked, and searched for the name of every site and the id of every defect that the sources declare.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::cargo::cargo;
use crate::code::{Placed, Word, words};
use crate::tree::Tree;

/// The target directory of production builds.
pub const TARGET: &str = "target/production";

const PROGRAM: &str = "target/production/release/reenact-node";

/// Builds the node for production and searches it; what is wrong, one line each.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let built = cargo(root, &["build", "--release", "-p", "node", "--target-dir", TARGET], |_| ())?;
    if !built {
        return Ok(vec!["`node` does not build alone; remedy: run the command above".to_owned()]);
    }
    let program = root.join(PROGRAM);
    let said = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
    let said = said.with_context(|| format!("run {PROGRAM} --version"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut wrong = Vec::new();
    if !said.contains("points: absent") {
        wrong.push(format!("{PROGRAM} --version says `{}`, not `points: absent`", said.trim()));
    }
    let bytes = fs::read(&program).with_context(|| format!("read {PROGRAM}"))?;
    let tree = Tree::read(root)?;
    let declared: Vec<String> = tree
        .rust()
        .filter(|source| source.path.starts_with("node/src/"))
        .flat_map(|source| declared(&source.text))
        .collect();
    if declared.is_empty() {
        wrong.push("node/src declares no site and no defect, so the search proves nothing".to_owned());
    }
    println!("searched {PROGRAM} for {} names of sites and defects", declared.len());
    for name in declared.iter().filter(|name| holds(&bytes, name.as_bytes())) {
        wrong.push(format!("{PROGRAM} holds `{name}`; remedy: name it only inside `sites!`, `defects!` and tests"));
    }
    Ok(wrong)
}

/// The names in `sites!` (`NAME: Async = "…"`) and `defects!` (`NAME: "…" from "…"`) of a source.
fn declared(text: &str) -> Vec<String> {
    let words = words(text);
    let site = |window: &[Placed<'_>]| match [&window[1].word, &window[2].word, &window[3].word, &window[4].word] {
        [Word::Sign(':'), Word::Name("Async" | "Sync"), Word::Sign('='), Word::Text(name)] => Some((*name).to_owned()),
        _ => None,
    };
    let defect = |window: &[Placed<'_>]| match [&window[1].word, &window[2].word, &window[3].word, &window[4].word] {
        [Word::Sign(':'), Word::Text(id), Word::Name("from"), Word::Text(_)] => Some((*id).to_owned()),
        _ => None,
    };
    words.windows(5).filter_map(|window| site(window).or_else(|| defect(window))).collect()
}

/// Whether `name` stands somewhere in `bytes`.
fn holds(bytes: &[u8], name: &[u8]) -> bool {
    let Some(first) = name.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(name) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_tables() {
        let text = r#"
            failpoints::sites! {
                /// "Not: Async = this".
                pub mod site in "snapshot" {
                    /// Before.
                    BEFORE_BUILD: Async = "snapshot-before-build";
                    /// While.
                    ON_LIST: Sync = "snapshot-on-list";
                }
            }
            failpoints::defects! {
                pub mod defect {
                    /// Ends the store.
                    TIKV_18030: "tikv-18030" from "tikv#18030" = "unwraps";
                }
            }
            const OTHER: &str = "other";
        "#;
        assert_eq!(declared(text), ["snapshot-before-build", "snapshot-on-list", "tikv-18030"]);
    }

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        assert!(holds(b"aab", b"ab"));
        assert!(holds(b"ab", b"ab"));
        assert!(!holds(b"aba", b"abb"));
        assert!(!holds(b"a", b"ab"));
        assert!(!holds(b"", b"ab"));
    }
}
