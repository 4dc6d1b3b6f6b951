//! The sources of the workspace as values.
//!
//! Only what is ours: `.rs` files and `Cargo.toml` in the packages' folders, in the order of their paths. A scanner gets a
//! tree and never touches the disk, so that its tests write small trees in place.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// The folders at the top that hold packages.
const PACKAGES: [&str; 5] = ["ci", "failpoints", "node", "scenarios", "sim"];

/// One source file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path relative to the workspace, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All sources, ordered by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The files.
    pub sources: Vec<Source>,
}

impl Tree {
    /// Reads the workspace at `root`.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        for package in PACKAGES {
            tree.walk(root, package)?;
        }
        tree.sources.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(tree)
    }

    /// A tree of (path, text).
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { sources: files.iter().map(source).collect() }
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.ends_with(".rs"))
    }

    /// The manifests.
    pub fn manifests(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.ends_with("/Cargo.toml"))
    }

    fn walk(&mut self, root: &Path, folder: &str) -> anyhow::Result<()> {
        let entries = fs::read_dir(root.join(folder)).with_context(|| format!("list {folder}"))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("list {folder}"))?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().with_context(|| format!("look at {path}"))?.is_dir() {
                if !path.ends_with("/target") {
                    self.walk(root, &path)?;
                }
            } else if path.ends_with(".rs") || path.ends_with("/Cargo.toml") {
                let text = fs::read_to_string(root.join(&path)).with_context(|| format!("read {path}"))?;
                self.sources.push(Source { path, text });
            }
        }
        Ok(())
    }
}
