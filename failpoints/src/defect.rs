//! A historic defect: a bug that a published store once had, and that a node can be told to have again.
//!
//! The switch is all that is here. The scenario that re-enacts a defect and the check that must catch it are registered
//! by whoever judges nodes, not by the node.

/// A list of historic defects.
pub type DefectTable = &'static [&'static Defect];

/// A historic defect that can be switched on. Of no size in a build without points.
#[derive(Debug)]
pub struct Defect {
    #[cfg(feature = "points")]
    about: About,
}

#[cfg(feature = "points")]
#[derive(Debug)]
struct About {
    id: &'static str,
    upstream: &'static str,
    mechanism: &'static str,
    doc: &'static str,
    key: u64,
}

#[cfg(feature = "points")]
impl Defect {
    /// A defect for a table; `defects!` calls it.
    pub const fn new(id: &'static str, upstream: &'static str, mechanism: &'static str, doc: &'static str) -> Self {
        Self { about: About { id, upstream, mechanism, doc, key: crate::site::key(id) } }
    }

    /// The id that plans use, such as `tikv-17405`.
    pub const fn id(&self) -> &'static str {
        self.about.id
    }

    /// The upstream issue, such as `tikv#17405`.
    pub const fn upstream(&self) -> &'static str {
        self.about.upstream
    }

    /// The mechanism in one line.
    pub const fn mechanism(&self) -> &'static str {
        self.about.mechanism
    }

    /// What goes wrong with it.
    pub fn doc(&self) -> &'static str {
        self.about.doc.trim()
    }

    pub(crate) const fn key(&self) -> u64 {
        self.about.key
    }
}

#[cfg(not(feature = "points"))]
impl Defect {
    /// The only defect of a build without points.
    pub const ABSENT: Self = Self {};

    /// Empty: this build has no names.
    pub const fn id(&self) -> &'static str {
        ""
    }

    /// Empty: this build has no names.
    pub const fn upstream(&self) -> &'static str {
        ""
    }

    /// Empty: this build has no names.
    pub const fn mechanism(&self) -> &'static str {
        ""
    }

    /// Empty: this build has no names.
    pub fn doc(&self) -> &'static str {
        ""
    }
}

/// How often code asked for a defect that the node carries.
#[derive(Clone, Copy, Debug)]
pub struct DefectCount {
    /// The defect.
    pub defect: &'static Defect,
    /// How often its code was reached while it was carried.
    pub consulted: u64,
    /// How often the answer was `true`, that is, how often the defect changed what the node did.
    pub acted: u64,
}
