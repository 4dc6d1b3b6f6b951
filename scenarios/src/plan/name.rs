//! Names in a plan that must name something: nodes, ends of links, releases, failpoint sites; and closed lists of words.
//!
//! A name is a type of its own because reading it is what checks it, against the plan's cluster or the vocabulary.

use std::fmt;

use super::{
    error::PlanError,
    field::{Field, Spot, quote, write_list},
};

/// Defines a checked name: what it is called, what reads it, and a name that the tests' vocabulary has.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $unit:literal, $sample:literal, |$spot:ident| $read:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// A name made by a generator; the parser checks it when the plan is read again.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Field for $name {
            const UNIT: &'static str = $unit;

            fn read($spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
                let word: &str = $read;
                Ok(Self(word.to_owned()))
            }

            fn write(&self, out: &mut String) {
                quote(&self.0, out);
            }

            #[cfg(test)]
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                proptest::strategy::Strategy::boxed(proptest::strategy::Just(Self::new($sample)))
            }
        }
    )*};
}

names! {
    /// A process of the cluster: `store-1`, `tiflash-1`, `pd`.
    Node, "node", "store-1", |spot| spot.word("node", &spot.context.nodes)?;
    /// One end of a link: a process of the cluster, or `client-1`.
    End, "node or client", "client-1", |spot| spot.word("node or client", &spot.context.ends)?;
    /// A release that a process runs as.
    Release, "release", "8.1.0", |spot| spot.word("release", &spot.context.vocabulary.releases)?;
    /// A site where the product can be made to misbehave.
    Site, "failpoint site", "site-a", |spot| spot.word("failpoint site", &spot.context.vocabulary.sites)?;
    /// What a failpoint does, in fail-rs's grammar.
    PointAction, "failpoint action", "off", |spot| {
        let text = spot.text("the action of a failpoint")?;
        if let Some(check) = spot.context.vocabulary.failpoint_action {
            check(text).map_err(|why| spot.wrong_value(why))?;
        }
        text
    };
    /// A key of the store's key space.
    Key, "key", "k0042", |spot| {
        let key = spot.text("a key such as \"k0042\"")?;
        if key.is_empty() {
            return Err(spot.wrong_value("a key is not empty"));
        }
        key
    };
}

/// Defines a closed list of words.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $unit:literal { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$word_doc])* $variant,)* }

        impl $name {
            /// Every word, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Field for $name {
            const UNIT: &'static str = $unit;

            fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
                let word = spot.word($what, &[$($word),*])?;
                let found = Self::ALL.iter().find(|candidate| candidate.as_str() == word);
                Ok(*found.expect("the word was just found in the same list"))
            }

            fn write(&self, out: &mut String) {
                quote(self.as_str(), out);
            }

            #[cfg(test)]
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                proptest::strategy::Strategy::boxed(proptest::sample::select(Self::ALL))
            }
        }
    )*};
}

words! {
    /// What a crash leaves of the bytes and names that were not synced.
    Keep, "choice", "nothing|prefix|sectors|everything|seeded" {
        /// Only what was synced.
        Nothing = "nothing",
        /// The oldest writes, up to a seeded point, torn inside a write.
        Prefix = "prefix",
        /// Any seeded subset of sectors.
        Sectors = "sectors",
        /// All of it: the process dies, the machine does not.
        Everything = "everything",
        /// One of these, as the run's seed says.
        Seeded = "seeded",
    }

    /// How a disk misbehaves.
    DiskFault, "kind of disk fault",
        "read-eio|short-read|stall|write-eio|sync-eio|enospc|rot|misdirected-write|lost-write|false-sync" {
        /// A read fails with EIO.
        ReadEio = "read-eio",
        /// A read returns fewer bytes than asked for.
        ShortRead = "short-read",
        /// Calls wait.
        Stall = "stall",
        /// A write fails with EIO.
        WriteEio = "write-eio",
        /// A sync fails with EIO.
        SyncEio = "sync-eio",
        /// A write fails with ENOSPC.
        NoSpace = "enospc",
        /// Bytes read differ from those written.
        Rot = "rot",
        /// A write lands elsewhere in its file.
        MisdirectedWrite = "misdirected-write",
        /// A write is confirmed and never happens.
        LostWrite = "lost-write",
        /// A sync is confirmed and nothing is durable.
        FalseSync = "false-sync",
    }
}

/// Two or more groups of ends: `[["store-1"], ["store-2", "store-3"]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides(pub Vec<Vec<End>>);

impl Field for Sides {
    const UNIT: &'static str = "lists of nodes or clients";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        let expected = "two or more lists, such as [[\"store-1\"], [\"store-2\", \"store-3\"]]";
        let (mut sides, mut seen) = (Vec::new(), Vec::new());
        for side in spot.items(expected)? {
            let mut ends = Vec::new();
            for item in side.items(expected)? {
                let end = End::read(&item)?;
                if seen.contains(&end) {
                    return Err(item.wrong_value("it stands in two places"));
                }
                seen.push(end.clone());
                ends.push(end);
            }
            if ends.is_empty() {
                return Err(side.wrong_value("a side names someone"));
            }
            sides.push(ends);
        }
        if sides.len() < 2 {
            return Err(spot.wrong_value("a partition has two sides or more"));
        }
        Ok(Self(sides))
    }

    fn write(&self, out: &mut String) {
        write_list(&self.0, out, |side, out| write_list(side, out, |end, out| end.write(out)));
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        let ends = vec!["store-1", "store-2", "store-3", "tiflash-1", "pd", "client-1"];
        Just(ends)
            .prop_shuffle()
            .prop_map(|ends| {
                let (left, right) = ends.split_at(2);
                Self([left, right].map(|side| side.iter().copied().map(End::new).collect()).into())
            })
            .boxed()
    }
}

/// Processes in a list: `["store-1", "store-2"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(pub Vec<Node>);

impl Field for Nodes {
    const UNIT: &'static str = "list of nodes";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        let nodes = spot.items("a list of nodes")?.map(|item| Node::read(&item)).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(spot.wrong_value("the list is empty"));
        }
        Ok(Self(nodes))
    }

    fn write(&self, out: &mut String) {
        write_list(&self.0, out, |node, out| node.write(out));
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        proptest::collection::vec(Node::any(), 1..3).prop_map(Self).boxed()
    }
}

/// Keys in a list: `["k0042", "k0099"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(pub Vec<Key>);

impl Field for Keys {
    const UNIT: &'static str = "list of keys";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        let keys = spot.items("a list of keys")?.map(|item| Key::read(&item)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(spot.wrong_value("the list is empty"));
        }
        Ok(Self(keys))
    }

    fn write(&self, out: &mut String) {
        write_list(&self.0, out, |key, out| key.write(out));
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        proptest::collection::vec("[ -~é\t\n]{1,8}".prop_map(Key::new), 1..4).prop_map(Self).boxed()
    }
}
