//! A site: a named place in code that can misbehave.
//!
//! Sites are constants in one table per room, declared by `sites!`, so that lists, help and coverage come from the tables.
//! Names are kebab-case, unique across tables, and carry no ids and no test numbers: which node misbehaves is decided by
//! whose [`Points`](crate::Points) is told to.

/// Whether code at a site can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asynchronous code: every action is allowed.
    Async,
    /// Synchronous code: actions that wait are refused when they are configured.
    Sync,
}

/// The sites of one room.
pub type SiteTable = &'static [&'static Site];

/// A named place in code that can misbehave. Of no size in a build without points.
#[derive(Debug)]
pub struct Site {
    #[cfg(feature = "points")]
    about: About,
}

#[cfg(feature = "points")]
#[derive(Debug)]
struct About {
    name: &'static str,
    room: &'static str,
    kind: Kind,
    doc: &'static str,
    key: u64,
}

#[cfg(feature = "points")]
impl Site {
    /// A site for a table; `sites!` calls it.
    pub const fn new(name: &'static str, room: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { about: About { name, room, kind, doc, key: key(name) } }
    }

    /// The name that plans use.
    pub const fn name(&self) -> &'static str {
        self.about.name
    }

    /// The room of the node that it stands in.
    pub const fn room(&self) -> &'static str {
        self.about.room
    }

    /// Whether code at this site can wait.
    pub const fn waits(&self) -> bool {
        matches!(self.about.kind, Kind::Async)
    }

    /// What happens here, and what `return` does.
    pub fn doc(&self) -> &'static str {
        self.about.doc.trim()
    }

    pub(crate) const fn key(&self) -> u64 {
        self.about.key
    }
}

#[cfg(not(feature = "points"))]
impl Site {
    /// The only site of a build without points.
    pub const ABSENT: Self = Self {};

    /// Empty: this build has no names.
    pub const fn name(&self) -> &'static str {
        ""
    }

    /// Empty: this build has no names.
    pub const fn room(&self) -> &'static str {
        ""
    }

    /// `false`: nothing waits in this build.
    pub const fn waits(&self) -> bool {
        false
    }

    /// Empty: this build has no names.
    pub fn doc(&self) -> &'static str {
        ""
    }
}

/// How often a site was reached.
#[derive(Clone, Copy, Debug)]
pub struct SiteCount {
    /// The site.
    pub site: &'static Site,
    /// How often code passed it, whatever was configured.
    pub hits: u64,
    /// How often an action other than `off` fired there.
    pub fired: u64,
}

/// A 64-bit key of a name (FNV-1a, mixed), by which switchboards find their slot without comparing strings.
#[cfg(feature = "points")]
pub(crate) const fn key(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}
