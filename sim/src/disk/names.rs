//! The directories of one disk: names that can be seen, and names that a crash keeps.
//!
//! A directory's sync makes its durable names equal to its visible ones. A rename between directories becomes durable at both ends
//! with the first sync of either, as a journal would have it. What no sync has covered is a list of changes, of which a crash keeps
//! some, in order, where they still make sense.
//!
//! Not modelled: hard links, symbolic links, permissions, renames of directories.

use std::{collections::BTreeMap, sync::Arc};

use super::{Inode, crash::Chooser};

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Node {
    File(Arc<Inode>),
    Dir,
}

impl Node {
    fn is(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::File(a), Node::File(b)) => Arc::ptr_eq(a, b),
            (Node::Dir, Node::Dir) => true,
            _ => false,
        }
    }
}

enum Change {
    Create { path: Arc<str>, node: Node },
    Remove { path: Arc<str>, node: Node },
    Rename { from: Arc<str>, to: Arc<str>, node: Node },
}

type Tree = BTreeMap<Arc<str>, Node>;

/// The names of one disk. The root is the empty path, and always there.
#[derive(Default)]
pub(crate) struct Names {
    visible: Tree,
    durable: Tree,
    pending: Vec<(u64, Change)>,
    /// Changes with everything that may change the standing of a name.
    version: u64,
}

/// Whether a name can be seen, and whether a crash keeps it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) visible: bool,
    pub(crate) durable: bool,
}

/// The directory that a path is in.
pub(crate) fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

/// Whether the path is written as paths are here: relative, parted by single slashes, without `.` and `..`.
pub(crate) fn is_valid(path: &str) -> bool {
    path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn is_dir(tree: &Tree, path: &str) -> bool {
    path.is_empty() || matches!(tree.get(path), Some(Node::Dir))
}

/// The names directly in a directory.
fn children<'a>(tree: &'a Tree, dir: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Node)> {
    let inside =
        move |path: &str| dir.is_empty() || (path.starts_with(dir) && path.as_bytes().get(dir.len()) == Some(&b'/'));
    let from: std::ops::Bound<&str> = std::ops::Bound::Excluded(dir);
    tree.range::<str, _>((from, std::ops::Bound::Unbounded))
        .take_while(move |(path, _)| dir.is_empty() || path.starts_with(dir))
        .filter(move |(path, _)| inside(path) && parent(path) == dir)
}

impl Names {
    pub(crate) fn get(&self, path: &str) -> Option<Node> {
        if path.is_empty() { Some(Node::Dir) } else { self.visible.get(path).cloned() }
    }

    pub(crate) fn is_visible(&self, path: &str) -> bool {
        path.is_empty() || self.visible.contains_key(path)
    }

    pub(crate) fn is_durable(&self, path: &str) -> bool {
        path.is_empty() || (self.durable.contains_key(path) && is_reachable(&self.durable, path))
    }

    /// How a name stands.
    pub(crate) fn standing(&self, path: &str) -> Standing {
        Standing { visible: self.is_visible(path), durable: self.is_durable(path) }
    }

    /// While this is the same, every name stands as it stood.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn is_dir(&self, path: &str) -> bool {
        is_dir(&self.visible, path)
    }

    pub(crate) fn list(&self, dir: &str) -> Vec<String> {
        let skip = if dir.is_empty() { 0 } else { dir.len() + 1 };
        children(&self.visible, dir).map(|(path, _)| path[skip..].to_owned()).collect()
    }

    pub(crate) fn is_empty_dir(&self, dir: &str) -> bool {
        children(&self.visible, dir).next().is_none()
    }

    pub(crate) fn create(&mut self, sequence: u64, path: Arc<str>, node: Node) {
        self.version += 1;
        self.visible.insert(path.clone(), node.clone());
        self.pending.push((sequence, Change::Create { path, node }));
    }

    pub(crate) fn remove(&mut self, sequence: u64, path: &Arc<str>) {
        self.version += 1;
        if let Some(node) = self.visible.remove(path) {
            self.pending.push((sequence, Change::Remove { path: path.clone(), node }));
        }
    }

    pub(crate) fn rename(&mut self, sequence: u64, from: &Arc<str>, to: Arc<str>) {
        self.version += 1;
        if let Some(node) = self.visible.remove(from) {
            self.visible.insert(to.clone(), node.clone());
            self.pending.push((sequence, Change::Rename { from: from.clone(), to, node }));
        }
    }

    /// Makes the names of a directory durable.
    pub(crate) fn sync_dir(&mut self, dir: &str) {
        self.version += 1;
        // What was renamed into or out of here takes its other end along.
        let mut kept = Vec::new();
        let mut carried: Vec<(Arc<str>, Node)> = Vec::new();
        for (sequence, change) in self.pending.drain(..) {
            let touched = match &change {
                Change::Create { path, .. } | Change::Remove { path, .. } => parent(path) == dir,
                Change::Rename { from, to, node } => {
                    let touched = parent(from) == dir || parent(to) == dir;
                    if touched && parent(from) != parent(to) {
                        if self.durable.get(from).is_some_and(|durable| durable.is(node)) {
                            self.durable.remove(from);
                        }
                        carried.push((from.clone(), node.clone()));
                        if is_dir(&self.durable, parent(to)) {
                            self.durable.insert(to.clone(), node.clone());
                        }
                    }
                    touched
                }
            };
            if !touched {
                kept.push((sequence, change));
            }
        }
        kept.retain(|(_, change)| match change {
            Change::Create { path, node } => !carried.iter().any(|(from, moved)| from == path && moved.is(node)),
            _ => true,
        });
        self.pending = kept;
        let gone: Vec<_> = children(&self.durable, dir).map(|(path, _)| path.clone()).collect();
        for path in gone {
            if !self.visible.contains_key(&path) {
                self.durable.remove(&path);
            }
        }
        let there: Vec<_> = children(&self.visible, dir).map(|(path, node)| (path.clone(), node.clone())).collect();
        self.durable.extend(there);
    }

    /// Numbers of the changes that a crash may keep or lose.
    pub(crate) fn pending(&self) -> impl Iterator<Item = u64> + '_ {
        self.pending.iter().map(|(sequence, _)| *sequence)
    }

    /// All files that can be seen or are durable, in order of path.
    pub(crate) fn files(&self) -> Vec<Arc<Inode>> {
        let mut files: Vec<Arc<Inode>> = Vec::new();
        for node in self.visible.values().chain(self.durable.values()) {
            if let Node::File(inode) = node
                && !files.iter().any(|known| Arc::ptr_eq(known, inode))
            {
                files.push(inode.clone());
            }
        }
        files
    }

    /// Becomes one of the states that a crash may leave.
    pub(crate) fn crash(&mut self, chooser: &mut Chooser) {
        self.version += 1;
        for (sequence, change) in std::mem::take(&mut self.pending) {
            if chooser.whole(sequence) {
                apply(&mut self.durable, change);
            }
        }
        // A directory's own name may have been lost while a file in it was synced.
        let lost: Vec<_> = self.durable.keys().filter(|path| !is_reachable(&self.durable, path)).cloned().collect();
        lost.iter().for_each(|path| drop(self.durable.remove(path)));
        self.visible = self.durable.clone();
    }

    pub(crate) fn visible_paths(&self) -> Vec<Arc<str>> {
        self.visible.keys().cloned().collect()
    }

    pub(crate) fn durable_paths(&self) -> Vec<Arc<str>> {
        self.durable.keys().filter(|path| is_reachable(&self.durable, path)).cloned().collect()
    }
}

fn is_reachable(tree: &Tree, path: &str) -> bool {
    let dir = parent(path);
    dir.is_empty() || (is_dir(tree, dir) && is_reachable(tree, dir))
}

fn apply(tree: &mut Tree, change: Change) {
    match change {
        Change::Create { path, node } => {
            if is_dir(tree, parent(&path)) {
                tree.insert(path, node);
            }
        }
        Change::Remove { path, node } => {
            let emptied = matches!(node, Node::File(_)) || children(tree, &path).next().is_none();
            if emptied && tree.get(&path).is_some_and(|there| there.is(&node)) {
                tree.remove(&path);
            }
        }
        Change::Rename { from, to, node } => {
            if is_dir(tree, parent(&to)) && tree.get(&from).is_some_and(|there| there.is(&node)) {
                tree.remove(&from);
                tree.insert(to, node);
            }
        }
    }
}
