//! What a step can do: one table, from which the type, the reader, the printer, `list steps` and the tests' strategy
//! are made.
//!
//! A new kind of step is one entry here and one arm in the nemesis. A field without default must be written; a field
//! that has its default is not printed. Defaults of `None` mean "until something else ends it" or "the whole of it".

use super::{
    error::PlanError,
    field::{Field, Fields},
    name::{DiskFault, End, Keep, Key, Keys, Node, Nodes, PointAction, Release, Sides, Site},
    quantity::{Nanos, Ratio, SignedNanos},
};

/// One kind of step, as `list steps` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What stands behind `do`.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// A line to copy.
    pub example: &'static str,
    /// Its fields, in the order of printing.
    pub fields: &'static [KindField],
}

/// One field of a kind of step.
#[derive(Clone, Copy, Debug)]
pub struct KindField {
    /// Its key.
    pub name: &'static str,
    /// What may stand behind it.
    pub unit: &'static str,
    /// What it says.
    pub doc: &'static str,
    /// Its default as TOML, empty for "absent"; without one the field must be written.
    pub default: Option<fn() -> String>,
}

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

macro_rules! read {
    ($fields:ident, $key:literal, $type:ty, $example:literal) => {
        $fields.required::<$type>($key, Some($example))?
    };
    ($fields:ident, $key:literal, $type:ty, $example:literal, $default:expr) => {
        $fields.optional::<$type>($key)?.unwrap_or($default)
    };
}

macro_rules! default_text {
    ($type:ty) => {
        None
    };
    ($type:ty, $default:expr) => {
        Some(|| {
            let (default, mut text): ($type, String) = ($default, String::new());
            default.write(&mut text);
            text
        })
    };
}

macro_rules! write_field {
    ($out:ident, $value:ident, $key:literal, $type:ty) => {
        write_field($key, $value, $out);
    };
    ($out:ident, $value:ident, $key:literal, $type:ty, $default:expr) => {
        let default: $type = $default;
        if *$value != default {
            write_field($key, $value, $out);
        }
    };
}

fn write_field(key: &str, value: &impl Field, out: &mut String) {
    out.push_str(", ");
    out.push_str(key);
    out.push_str(" = ");
    value.write(out);
}

macro_rules! actions {
    ($(
        #[doc = $doc:literal]
        $variant:ident $name:literal, $example:literal {
            $(#[doc = $field_doc:literal] $field:ident $key:literal: $type:ty $(= $default:expr)?,)*
        }
    )*) => {
        /// What a step does, with its fields.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Action {
            $(#[doc = $doc] $variant { $(#[doc = $field_doc] $field: $type,)* },)*
        }

        /// Every kind of step.
        pub const KINDS: &[Kind] = &[$(Kind {
            name: $name,
            doc: $doc,
            example: $example,
            fields: &[$(KindField {
                name: $key,
                unit: <$type as Field>::UNIT,
                doc: $field_doc,
                default: default_text!($type $(, $default)?),
            },)*],
        },)*];

        impl Action {
            /// What stands behind `do`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// Reads the fields of a kind that the table has.
            pub(crate) fn read(kind: &Kind, fields: &Fields<'_, '_>) -> Result<Self, PlanError> {
                match kind.name {
                    $($name => Ok(Self::$variant { $($field: read!(fields, $key, $type, $example $(, $default)?),)* }),)*
                    other => unreachable!("the table has no kind of step {other}"),
                }
            }

            /// Appends `, key = value` for each field that differs from its default.
            pub(crate) fn write(&self, #[allow(unused_variables, reason = "some kinds have no field")] out: &mut String) {
                match self { $(Self::$variant { $($field,)* } => {
                    $(write_field!(out, $field, $key, $type $(, $default)?);)*
                })* }
            }

            /// Each field that differs from its default, and the action with it at its default.
            pub fn plainer(&self) -> Vec<(&'static str, Self)> {
                #[allow(unused_mut, reason = "some kinds have no field with a default")]
                let mut plainer = Vec::new();
                match self { $(Self::$variant { .. } => {
                    $($(
                        let default: $type = $default;
                        let mut action = self.clone();
                        if let Self::$variant { $field, .. } = &mut action
                            && *$field != default
                        {
                            *$field = default;
                            plainer.push(($key, action));
                        }
                    )?)*
                })* }
                plainer
            }

            /// Shows each length of time to `change`, always in the same order.
            pub fn each_time(&mut self, #[allow(unused_variables, reason = "some kinds have no field")] change: &mut dyn FnMut(&mut Nanos)) {
                match self { $(Self::$variant { $($field,)* } => {
                    $($field.each_time(change);)*
                })* }
            }

            /// Any action of any kind.
            #[cfg(test)]
            pub(crate) fn any() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::prelude::*;
                proptest::strategy::Union::new([$(
                    (Just(()), $(<$type as Field>::any(),)*).prop_map(|((), $($field,)*)| Self::$variant { $($field,)* }).boxed(),
                )*]).boxed()
            }
        }
    };
}

actions! {
    /// The process dies at once; its disk keeps what was synced and a legal choice of the rest.
    Crash "crash", r#"{ at = "1s", do = "crash", node = "store-2", keep = "prefix" }"# {
        /// Which process.
        node "node": Node,
        /// What is kept of what was not synced.
        keep "keep": Keep = Keep::Seeded,
    }

    /// All stores crash at once and come back as from snapshots of their volumes: told to elect, then started as usual.
    Restore "restore", r#"{ at = "3s", do = "restore" }"# {}

    /// A crash, and a start after a while.
    Bounce "bounce", r#"{ at = "1s", do = "bounce", node = "store-2", down = "500ms" }"# {
        /// Which process.
        node "node": Node,
        /// What is kept of what was not synced.
        keep "keep": Keep = Keep::Seeded,
        /// How long it is down.
        down "down": Nanos = Nanos::ZERO,
    }

    /// The process ends by itself, as if it had been asked to, and is not started again.
    Stop "stop", r#"{ at = "1s", do = "stop", node = "store-2" }"# {
        /// Which process.
        node "node": Node,
    }

    /// Starts a process that is down or spare; one that runs is stopped first.
    Restart "restart", r#"{ at = "2s", do = "restart", node = "store-2", release = "8.1.0" }"# {
        /// Which process.
        node "node": Node,
        /// The release that it runs as from now on; without it, the one it had.
        release "release": Option<Release> = None,
        /// With `false`, what has to be done before an older release can start, such as exporting the raft log, is forgotten.
        prepared "prepared": bool = true,
    }

    /// Takes stores to another release: each is stopped in good order and started as that release.
    Upgrade "upgrade", r#"{ at = "2s", do = "upgrade", release = "8.1.2-pre", every = "500ms" }"# {
        /// The release, which may be an earlier one.
        release "release": Release,
        /// One store after the other, this long apart; without it, all at once.
        every "every": Option<Nanos> = None,
        /// Only the first so many stores; without it, all.
        stores "stores": Option<u64> = None,
    }

    /// Kills a store, empties its disk and starts it as a new store, under new ids.
    Wipe "wipe", r#"{ at = "2s", do = "wipe", node = "store-3" }"# {
        /// Which store.
        node "node": Node,
    }

    /// A store is lost for good, disk and all: it is never started again, not at the end of chaos either.
    Lose "lose", r#"{ at = "2s", do = "lose", node = "store-3" }"# {
        /// Which store.
        node "node": Node,
    }

    /// The process stands still; its clocks run on.
    Pause "pause", r#"{ at = "1s", do = "pause", node = "store-1", for = "3s" }"# {
        /// Which process.
        node "node": Node,
        /// How long; without it, until `resume` or the end of chaos.
        lasting "for": Option<Nanos> = None,
    }

    /// A paused process goes on.
    Resume "resume", r#"{ at = "4s", do = "resume", node = "store-1" }"# {
        /// Which process.
        node "node": Node,
    }

    /// Nothing passes between the sides.
    Partition "partition", r#"{ at = "4s", do = "partition", sides = [["store-1"], ["store-2", "store-3"]], for = "2s" }"# {
        /// Who is with whom; those not named reach everyone.
        sides "sides": Sides,
        /// With `false`, only what an earlier side sends to a later one is lost.
        symmetric "symmetric": bool = true,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// A process reaches nobody, and nobody reaches it.
    Isolate "isolate", r#"{ at = "4s", do = "isolate", node = "store-1", for = "2s" }"# {
        /// Which process.
        node "node": Node,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// What is sent one way waits, and arrives in order when the link is free again.
    Clog "clog", r#"{ at = "4s", do = "clog", from = "store-1", to = "store-2", for = "1s" }"# {
        /// Who sends.
        from "from": End,
        /// Who would receive.
        to "to": End,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// What is sent one way takes longer.
    SlowLink "slow-link", r#"{ at = "4s", do = "slow-link", from = "store-1", to = "store-2", delay = "200ms" }"# {
        /// Who sends.
        from "from": End,
        /// Who receives.
        to "to": End,
        /// How much longer.
        delay "delay": Nanos,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// Raft messages one way are dropped, doubled or overtaken.
    Lossy "lossy", r#"{ at = "4s", do = "lossy", from = "store-1", to = "store-2", drop = "10%", for = "2s" }"# {
        /// Who sends.
        from "from": End,
        /// Who receives.
        to "to": End,
        /// The share that never arrives.
        drop "drop": Ratio = Ratio::ZERO,
        /// The share that arrives twice.
        duplicate "duplicate": Ratio = Ratio::ZERO,
        /// The share that later frames may overtake.
        reorder "reorder": Ratio = Ratio::ZERO,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// Breaks the connections of a process, once: both sides learn of it, and connect again.
    ResetConnections "reset-connections", r#"{ at = "4s", do = "reset-connections", node = "store-1", with = "store-2" }"# {
        /// Which process.
        node "node": Node,
        /// Only those with this one; without it, all.
        with "with": Option<End> = None,
    }

    /// Does nothing: a moment for other steps to come `after`.
    Note "note", r#"{ on = { fact = "snapshot-generating" }, within = "5s", do = "note" }"# {}

    /// Ends every fault of network, disk, clock drift and failpoints, and resumes what is paused; starts nothing.
    Heal "heal", r#"{ at = "9s", do = "heal" }"# {}

    /// Changes the clock of one process: how fast it runs, or what its wall shows.
    Clock "clock", r#"{ at = "6s", do = "clock", node = "store-3", drift-ppm = 200 }"# {
        /// Which process.
        node "node": Node,
        /// Parts per million that its monotonic clock runs too fast.
        drift_ppm "drift-ppm": i64 = 0,
        /// How far its wall clock jumps.
        wall_step "wall-step": SignedNanos = SignedNanos(0),
    }

    /// The disk of one process misbehaves.
    DiskFault "disk-fault", r#"{ at = "3s", do = "disk-fault", node = "store-1", kind = "read-eio", path = "snap/*", count = 2 }"# {
        /// Which process.
        node "node": Node,
        /// How.
        kind "kind": DiskFault,
        /// The files it concerns, `*` and `?` as in a shell.
        path "path": Option<String> = None,
        /// How many calls it concerns.
        count "count": Option<u64> = None,
        /// How long each call waits, for `stall`.
        delay "delay": Option<Nanos> = None,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// The account of a process's disk traffic, a file of the operating system's, cannot be read.
    UnreadableStats "unreadable-stats", r#"{ at = "3s", do = "unreadable-stats", node = "store-1", for = "2s" }"# {
        /// Which process.
        node "node": Node,
        /// How long; without it, until `heal`.
        lasting "for": Option<Nanos> = None,
    }

    /// Somebody removes files of a process under its feet.
    RemoveFiles "remove-files", r#"{ at = "3s", do = "remove-files", node = "store-1", path = "snap/gen_*" }"# {
        /// Which process.
        node "node": Node,
        /// The files, `*` as in a shell.
        path "path": String,
    }

    /// Sets a failpoint of one process.
    Failpoint "failpoint", r#"{ at = "1s", do = "failpoint", node = "store-1", site = "snapshot-before-build", action = "1*pause" }"# {
        /// Which process.
        node "node": Node,
        /// Where.
        site "site": Site,
        /// What happens there, in fail-rs's grammar.
        action "action": PointAction,
    }

    /// Asks the leader of the region that holds the key to split there.
    Split "split", r#"{ at = "5s", do = "split", key = "k0042" }"# {
        /// The first key of the right half.
        key "key": Key,
    }

    /// Asks the leader of the region that holds the first key to split at all of them in one command.
    BatchSplit "batch-split", r#"{ at = "5s", do = "batch-split", keys = ["k0042", "k0064"] }"# {
        /// The first keys of the new regions, in order.
        keys "keys": Keys,
    }

    /// Asks the leader of the region that holds the key to merge it into a neighbour.
    Merge "merge", r#"{ at = "5s", do = "merge", key = "k0042" }"# {
        /// A key of the region.
        key "key": Key,
        /// A key of the neighbour; without it, the one on the right, or on the left of the last region.
        into "into": Option<Key> = None,
    }

    /// Moves the leadership of a region.
    TransferLeader "transfer-leader", r#"{ at = "5s", do = "transfer-leader", key = "k0042", to = "store-2" }"# {
        /// A key of the region.
        key "key": Key,
        /// The store that should lead.
        to "to": Node,
    }

    /// Adds a replica of a region.
    AddPeer "add-peer", r#"{ at = "5s", do = "add-peer", key = "k0042", store = "store-4" }"# {
        /// A key of the region.
        key "key": Key,
        /// Where.
        store "store": Node,
        /// It has no vote.
        learner "learner": bool = false,
    }

    /// Removes a replica of a region.
    RemovePeer "remove-peer", r#"{ at = "5s", do = "remove-peer", key = "k0042", store = "store-3" }"# {
        /// A key of the region.
        key "key": Key,
        /// Where.
        store "store": Node,
    }

    /// Takes a store out of service: it is drained of regions, and then a tombstone.
    RemoveStore "remove-store", r#"{ at = "1s", do = "remove-store", node = "store-4" }"# {
        /// Which store.
        node "node": Node,
        /// Its disk is gone: it cannot be taken back.
        destroyed "destroyed": bool = false,
    }

    /// Takes a store that is being drained back into service.
    UpStore "up-store", r#"{ at = "2s", do = "up-store", node = "store-4" }"# {
        /// Which store.
        node "node": Node,
    }

    /// Makes a store a tombstone from which nothing was heard for a while, whatever is on it.
    BuryStore "bury-store", r#"{ at = "2s", do = "bury-store", node = "store-4" }"# {
        /// Which store.
        node "node": Node,
    }

    /// Deletes the records of tombstones on which there is nothing.
    RemoveTombstone "remove-tombstone", r#"{ at = "20s", do = "remove-tombstone" }"# {}

    /// Sets how many columnar replicas a table should have: a range of keys.
    SetTiflashReplica "set-tiflash-replica", r#"{ at = "1s", do = "set-tiflash-replica", start = "k0000", end = "k0064", count = 2 }"# {
        /// Which table.
        table "table": u64 = 1,
        /// The first of its keys; without it, the first of all.
        start "start": Option<Key> = None,
        /// The first key behind it; without it, the end of all.
        end "end": Option<Key> = None,
        /// How many replicas; with 0 it has no rule any more.
        count "count": u64,
    }

    /// Puts a replica on one store in the place of the one on another, by one joint change of the membership.
    ReplacePeer "replace-peer", r#"{ at = "5s", do = "replace-peer", key = "k0042", from = "store-3", to = "store-4" }"# {
        /// A key of the region.
        key "key": Key,
        /// Whose vote goes.
        from "from": Node,
        /// Where the new one is.
        to "to": Node,
    }

    /// Has the placement driver give stores up for good and recover what lost its majority with them.
    UnsafeRecover "unsafe-recover", r#"{ at = "5s", do = "unsafe-recover", stores = ["store-1", "store-2"], timeout = "30s" }"# {
        /// The stores; they are down.
        stores "stores": Nodes,
        /// How long the recovery may take.
        timeout "timeout": Nanos = Nanos::secs(30),
    }

    /// Flushes the memtables of a store.
    Flush "flush", r#"{ at = "2s", do = "flush", node = "store-1" }"# {
        /// Which store.
        node "node": Node,
    }

    /// Compacts the tables of a store.
    Compact "compact", r#"{ at = "2s", do = "compact", node = "store-1" }"# {
        /// Which store.
        node "node": Node,
    }

    /// Compacts raft logs of a store up to what is applied, whoever still needs them.
    CompactLog "compact-log", r#"{ at = "2s", do = "compact-log", node = "store-1", key = "k0042" }"# {
        /// Which store.
        node "node": Node,
        /// A key of the one region; without it, all regions that it leads.
        key "key": Option<Key> = None,
    }

    /// Runs the snapshot manager's collection of a store now.
    GcSnapshots "gc-snapshots", r#"{ at = "2s", do = "gc-snapshots", node = "store-1" }"# {
        /// Which store.
        node "node": Node,
    }

    /// Has a store load a region into its cache.
    CacheLoad "cache-load", r#"{ at = "2s", do = "cache-load", node = "store-1", key = "k0042" }"# {
        /// Which store; without it, the one that leads the region.
        node "node": Option<Node> = None,
        /// A key of the region.
        key "key": Key,
    }

    /// Has a store drop a region from its cache.
    CacheEvict "cache-evict", r#"{ at = "2s", do = "cache-evict", node = "store-1", key = "k0042" }"# {
        /// Which store; without it, the one that leads the region.
        node "node": Option<Node> = None,
        /// A key of the region.
        key "key": Key,
    }

    /// All replicas of a region hash their content at one index.
    ComputeHash "compute-hash", r#"{ at = "8s", do = "compute-hash", key = "k0042" }"# {
        /// A key of the region.
        key "key": Key,
    }
}
