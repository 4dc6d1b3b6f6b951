//! What a node states about itself.
//!
//! Each room owns an enum of facts, written with [`facts!`](crate::facts); [`Fact`] has one variant a room. A fact is a
//! plain value with typed fields: cheap to state, hashable the same way on every machine, and named so that a plan can
//! wait for it and a recorded history can be read back. Facts say what happened, in the past or as "about to"; they
//! carry no judgement.

pub mod field;

use serde::{Deserialize, Serialize};

pub use field::{Digest, FactSpec, Feed, Field, FieldSpec, Mark, Marks, Text, Value};

/// A fact of any room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "room", rename_all = "kebab-case")]
pub enum Fact {
    /// The storage engine.
    Engine(crate::engine::fact::Fact),
    /// The log of all regions of a store.
    RaftLog(crate::raftlog::fact::Fact),
    /// One peer's consensus.
    Raft(crate::store::fact::raft::Fact),
    /// Ranges, epochs, and the maps of a store.
    Region(crate::store::fact::region::Fact),
    /// Committed entries reaching the engine.
    Apply(crate::store::fact::apply::Fact),
    /// Snapshots and their files.
    Snapshot(crate::store::fact::snapshot::Fact),
    /// A store's part in an unsafe recovery.
    Recovery(crate::store::fact::recovery::Fact),
    /// A store as a process.
    Store(crate::store::fact::lifecycle::Fact),
    /// The region cache.
    Cache(crate::cache::fact::Fact),
    /// The placement driver.
    Placement(crate::pd::fact::Fact),
}

macro_rules! each_room {
    ($self:ident, $fact:ident => $body:expr) => {
        match $self {
            Fact::Engine($fact) => $body,
            Fact::RaftLog($fact) => $body,
            Fact::Raft($fact) => $body,
            Fact::Region($fact) => $body,
            Fact::Apply($fact) => $body,
            Fact::Snapshot($fact) => $body,
            Fact::Recovery($fact) => $body,
            Fact::Store($fact) => $body,
            Fact::Cache($fact) => $body,
            Fact::Placement($fact) => $body,
        }
    };
}

impl Fact {
    /// The specifications of all facts of all rooms.
    pub fn specs() -> impl Iterator<Item = &'static FactSpec> {
        Self::rooms().into_iter().flatten()
    }

    /// The specifications of all facts, room by room: [`Fact::place`] is a place in these.
    pub fn rooms() -> [&'static [FactSpec]; 10] {
        [
            crate::engine::fact::Fact::SPECS,
            crate::raftlog::fact::Fact::SPECS,
            crate::store::fact::raft::Fact::SPECS,
            crate::store::fact::region::Fact::SPECS,
            crate::store::fact::apply::Fact::SPECS,
            crate::store::fact::snapshot::Fact::SPECS,
            crate::store::fact::recovery::Fact::SPECS,
            crate::store::fact::lifecycle::Fact::SPECS,
            crate::cache::fact::Fact::SPECS,
            crate::pd::fact::Fact::SPECS,
        ]
    }

    /// Which fact it is: the number of its room, and its own number there.
    pub fn place(&self) -> (usize, usize) {
        let room = match self {
            Fact::Engine(_) => 0,
            Fact::RaftLog(_) => 1,
            Fact::Raft(_) => 2,
            Fact::Region(_) => 3,
            Fact::Apply(_) => 4,
            Fact::Snapshot(_) => 5,
            Fact::Recovery(_) => 6,
            Fact::Store(_) => 7,
            Fact::Cache(_) => 8,
            Fact::Placement(_) => 9,
        };
        (room, each_room!(self, fact => fact.number()))
    }

    /// The fact's name as plans and histories write it.
    pub fn name(&self) -> &'static str {
        each_room!(self, fact => fact.name())
    }

    /// A field's value by name.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        each_room!(self, fact => fact.field(name))
    }

    /// Feeds the fields to a hash, the same way on every machine. The name is not among them.
    pub fn feed(&self, to: &mut impl Feed) {
        each_room!(self, fact => fact.feed(to))
    }
}

/// Writes one room's enum of facts with its names, specifications, field access and hashing.
///
/// ```text
/// facts! { room "raft" wraps Raft;
///     /// A candidate won its election.
///     Elected "elected" { region: RegionId, peer: PeerId, term: u64 }
/// }
/// ```
#[macro_export]
macro_rules! facts {
    (room $room:literal wraps $wrap:ident; $($(#[doc = $doc:literal])+ $variant:ident $name:literal { $($field:ident : $type:ty),* $(,)? })*) => {
        #[doc = concat!("Facts of the room `", $room, "`.")]
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "fact")]
        #[allow(missing_docs, reason = "the fields are described by their variant")]
        pub enum Fact {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant { $($field: $type),* },)*
        }

        impl Fact {
            /// Every fact of this room.
            pub const SPECS: &'static [$crate::fact::FactSpec] = &[$($crate::fact::FactSpec {
                name: $name,
                room: $room,
                doc: concat!($($doc),+),
                fields: &[$($crate::fact::FieldSpec {
                    name: stringify!($field),
                    kind: <$type as $crate::fact::Field>::KIND,
                }),*],
            }),*];

            /// The fact's name as plans and histories write it.
            pub fn name(&self) -> &'static str {
                match self { $(Fact::$variant { .. } => $name),* }
            }

            /// Its place in [`Fact::SPECS`].
            pub fn number(&self) -> usize {
                enum Number { $($variant),* }
                match self { $(Fact::$variant { .. } => Number::$variant as usize),* }
            }

            /// A field's value by name.
            #[allow(unused_variables, reason = "facts without fields")]
            pub fn field(&self, name: &str) -> Option<$crate::fact::Value<'_>> {
                match self {
                    $(Fact::$variant { $($field),* } => {
                        $(if name == stringify!($field) { return Some($crate::fact::Field::value($field)); })*
                        None
                    })*
                }
            }

            /// Feeds the fields to a hash; the name is not among them.
            #[allow(unused_variables, reason = "facts without fields")]
            pub fn feed(&self, to: &mut impl $crate::fact::Feed) {
                match self {
                    $(Fact::$variant { $($field),* } => { $($crate::fact::Field::feed($field, to);)* })*
                }
            }
        }

        impl From<Fact> for $crate::fact::Fact {
            fn from(fact: Fact) -> Self {
                $crate::fact::Fact::$wrap(fact)
            }
        }
    };
}
