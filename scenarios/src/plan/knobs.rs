//! The knobs of a plan: one table with type, default, range and meaning of each.
//!
//! A knob is a constant with the type of its value, so that a typo or a wrong type does not compile:
//! `plan.knobs.get(knobs::SNAPSHOT_GC_TICK)`. A plan holds only what it sets; the rest has its default, and a plan
//! outlives a change of default by naming what it depends on.
//!
//! Not here: what a knob does; that stands where it is read.

use std::{collections::BTreeMap, marker::PhantomData};

use super::{
    error::PlanError,
    field::{Field, Fields, Spot, write_list},
    quantity::{Nanos, Ratio, Size},
};

/// A knob whose value is a `T`.
#[derive(Clone, Copy, Debug)]
pub struct Knob<T> {
    row: usize,
    value: PhantomData<T>,
}

impl<T> Knob<T> {
    /// Its name in plans.
    pub fn name(self) -> &'static str {
        TABLE[self.row].name
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in plans.
    pub name: &'static str,
    /// What it says.
    pub doc: &'static str,
    /// Its value in a plan that does not set it.
    pub default: KnobValue,
    /// The least value that makes sense.
    pub least: KnobValue,
    /// The greatest value that makes sense.
    pub most: KnobValue,
}

impl Row {
    /// The least and the greatest value, as people read them.
    pub fn range(&self) -> String {
        let range = match (&self.least, &self.most) {
            (KnobValue::Between(least), KnobValue::Between(most)) => format!("{} to {}", least.least, most.most),
            (least, most) => format!("{least} to {most}"),
        };
        range.replace('"', "")
    }
}

/// The value of a knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnobValue {
    /// A time.
    Time(Nanos),
    /// A number of bytes.
    Size(Size),
    /// A count.
    Count(u64),
    /// A share.
    Ratio(Ratio),
    /// On or off.
    Flag(bool),
    /// Times between two bounds, drawn anew each time.
    Between(Between),
}

/// Times between two bounds, drawn anew each time: `["0.2ms", "2ms"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Between {
    /// The shortest.
    pub least: Nanos,
    /// The longest.
    pub most: Nanos,
}

impl Between {
    /// Times from `least` to `most`.
    pub const fn new(least: Nanos, most: Nanos) -> Self {
        Self { least, most }
    }
}

impl KnobValue {
    /// What may stand behind the knob.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Time(_) => Nanos::UNIT,
            Self::Size(_) => Size::UNIT,
            Self::Count(_) => u64::UNIT,
            Self::Ratio(_) => Ratio::UNIT,
            Self::Flag(_) => bool::UNIT,
            Self::Between(_) => Between::UNIT,
        }
    }

    /// Whether the value lies in the range; both ends of a `Between` must.
    fn within(&self, least: &Self, most: &Self) -> bool {
        match (self, least, most) {
            (Self::Between(value), Self::Between(least), Self::Between(most)) => {
                value.least >= least.least && value.most <= most.most
            }
            _ => self >= least && self <= most,
        }
    }

    fn read_like(&self, spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        Ok(match self {
            Self::Time(_) => Self::Time(Field::read(spot)?),
            Self::Size(_) => Self::Size(Field::read(spot)?),
            Self::Count(_) => Self::Count(Field::read(spot)?),
            Self::Ratio(_) => Self::Ratio(Field::read(spot)?),
            Self::Flag(_) => Self::Flag(Field::read(spot)?),
            Self::Between(_) => Self::Between(Field::read(spot)?),
        })
    }

    /// Appends the value as TOML.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Time(time) => time.write(out),
            Self::Size(size) => size.write(out),
            Self::Count(count) => count.write(out),
            Self::Ratio(ratio) => ratio.write(out),
            Self::Flag(flag) => flag.write(out),
            Self::Between(between) => between.write(out),
        }
    }
}

impl std::fmt::Display for KnobValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// The types that a knob can have.
pub trait KnobType: Copy {
    /// As the table holds it.
    fn into_value(self) -> KnobValue;
    /// Out of the table, if it is of this type.
    fn from_value(value: KnobValue) -> Option<Self>;
}

macro_rules! knob_types {
    ($($type:ty => $variant:ident,)*) => {$(
        impl KnobType for $type {
            fn into_value(self) -> KnobValue {
                KnobValue::$variant(self)
            }

            fn from_value(value: KnobValue) -> Option<Self> {
                match value {
                    KnobValue::$variant(value) => Some(value),
                    _ => None,
                }
            }
        }
    )*};
}

knob_types! {
    Nanos => Time,
    Size => Size,
    u64 => Count,
    Ratio => Ratio,
    bool => Flag,
    Between => Between,
}

/// The knobs that a plan sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    set: BTreeMap<usize, KnobValue>,
}

impl Knobs {
    /// The value that the plan sets, or the default.
    pub fn get<T: KnobType>(&self, knob: Knob<T>) -> T {
        let value = self.set.get(&knob.row).copied().unwrap_or(TABLE[knob.row].default);
        T::from_value(value).expect("a knob's constant and its row are made by one macro")
    }

    /// Sets a knob, as generators do; a value outside the knob's range becomes the nearest end of it.
    pub fn set<T: KnobType>(&mut self, knob: Knob<T>, value: T) {
        let Row { least, most, .. } = TABLE[knob.row];
        let value = match (value.into_value(), least, most) {
            (KnobValue::Between(value), KnobValue::Between(least), KnobValue::Between(most)) => {
                let low = value.least.clamp(least.least, most.most);
                KnobValue::Between(Between::new(low, value.most.clamp(low, most.most)))
            }
            (value, least, most) => value.clamp(least, most),
        };
        self.set.insert(knob.row, value);
    }

    /// What the plan sets, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, KnobValue)> {
        self.set.iter().map(|(row, value)| (TABLE[*row].name, *value))
    }

    /// Takes a knob back to its default, by name.
    pub fn reset(&mut self, name: &str) {
        self.set.retain(|row, _| TABLE[*row].name != name);
    }

    pub(crate) fn read(fields: &Fields<'_, '_>) -> Result<Self, PlanError> {
        let mut set = BTreeMap::new();
        for (key, spot) in fields.spots() {
            let Some(row) = TABLE.iter().position(|row| row.name == spot.key) else {
                return Err(fields.key_error(key, "knob", TABLE.iter().map(|row| row.name.to_owned()).collect()));
            };
            let Row { default, least, most, .. } = &TABLE[row];
            let value = default.read_like(&spot)?;
            if !value.within(least, most) {
                return Err(spot.wrong_value(format!("it should be in {}", TABLE[row].range())));
            }
            set.insert(row, value);
        }
        Ok(Self { set })
    }

    /// Any set of knobs, each in its range.
    #[cfg(test)]
    pub(crate) fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        let row = (0..TABLE.len(), any::<u64>(), any::<u64>()).prop_map(|(row, a, b)| {
            let value = match (TABLE[row].least, TABLE[row].most) {
                (KnobValue::Time(x), KnobValue::Time(y)) => KnobValue::Time(Nanos(a.clamp(x.0, y.0))),
                (KnobValue::Size(x), KnobValue::Size(y)) => KnobValue::Size(Size(a.clamp(x.0, y.0))),
                (KnobValue::Count(x), KnobValue::Count(y)) => KnobValue::Count(a.clamp(x, y)),
                (KnobValue::Flag(_), KnobValue::Flag(_)) => KnobValue::Flag(a % 2 == 0),
                (KnobValue::Between(x), KnobValue::Between(y)) => {
                    let (a, b) = (a.clamp(x.least.0, y.most.0), b.clamp(x.least.0, y.most.0));
                    KnobValue::Between(Between::new(Nanos(a.min(b)), Nanos(a.max(b))))
                }
                (KnobValue::Ratio(x), KnobValue::Ratio(y)) => {
                    let span = u64::from(y.as_ppm() - x.as_ppm()) + 1;
                    KnobValue::Ratio(Ratio::ppm(x.as_ppm() + (a % span) as u32))
                }
                other => unreachable!("a row has one type: {other:?}"),
            };
            (row, value)
        });
        proptest::collection::btree_map(0..TABLE.len(), row, 0..6)
            .prop_map(|rows| Self { set: rows.into_values().collect() })
            .boxed()
    }
}

impl Field for Between {
    const UNIT: &'static str = "two times";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        let expected = "two times, such as [\"0.2ms\", \"2ms\"]";
        let times = spot.items(expected)?.map(|item| Nanos::read(&item)).collect::<Result<Vec<_>, _>>()?;
        let [least, most] = times[..] else { return Err(spot.wrong_type(expected)) };
        if least > most {
            return Err(spot.wrong_value("the first is more than the second"));
        }
        Ok(Self { least, most })
    }

    fn write(&self, out: &mut String) {
        write_list(&[self.least, self.most], out, |time, out| time.write(out));
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::prelude::*;
        any::<(u64, u64)>().prop_map(|(a, b)| Self::new(Nanos(a.min(b)), Nanos(a.max(b)))).boxed()
    }
}

/// Makes the table and one typed constant per row.
macro_rules! knobs {
    ($(#[doc = $doc:literal] $id:ident $name:literal: $type:ident = $default:expr, $least:expr => $most:expr;)*) => {
        /// Numbers the rows.
        #[allow(clippy::upper_case_acronyms, non_camel_case_types, reason = "one name for the constant and its row")]
        enum Index { $($id,)* }

        $(#[doc = $doc] pub const $id: Knob<$type> = Knob { row: Index::$id as usize, value: PhantomData };)*

        /// Every knob.
        pub const TABLE: &[Row] = &[$(Row {
            name: $name,
            doc: $doc,
            default: wrap!($type, $default),
            least: wrap!($type, $least),
            most: wrap!($type, $most),
        },)*];
    };
}

/// A constant of a knob's type as the table holds it; traits have no const functions.
macro_rules! wrap {
    (Nanos, $value:expr) => {
        KnobValue::Time($value)
    };
    (Size, $value:expr) => {
        KnobValue::Size($value)
    };
    (u64, $value:expr) => {
        KnobValue::Count($value)
    };
    (Ratio, $value:expr) => {
        KnobValue::Ratio($value)
    };
    (bool, $value:expr) => {
        KnobValue::Flag($value)
    };
    (Between, $value:expr) => {
        KnobValue::Between($value)
    };
}

/// From `least` to `most`, as a range within which a `Between` may lie.
const fn from_to(least: Nanos, most: Nanos) -> Between {
    Between::new(least, most)
}

knobs! {
    /// How long a frame travels on a healthy link.
    NET_DELAY "net.delay": Between = from_to(Nanos::micros(200), Nanos::millis(2)),
        from_to(Nanos::ZERO, Nanos::ZERO) => from_to(Nanos::secs(10), Nanos::secs(10));
    /// The share of raft messages that any link drops.
    NET_LOSS "net.loss": Ratio = Ratio::ZERO, Ratio::ZERO => Ratio::ONE;
    /// The share of raft messages that any link delivers twice.
    NET_DUPLICATE "net.duplicate": Ratio = Ratio::ZERO, Ratio::ZERO => Ratio::ONE;
    /// The share of raft messages that later ones may overtake.
    NET_REORDER "net.reorder": Ratio = Ratio::ZERO, Ratio::ZERO => Ratio::ONE;
    /// What one directed link carries a second.
    NET_CAPACITY "net.capacity": Size = Size::mib(100), Size::kib(1) => Size::mib(10_240);

    /// How long a read takes.
    DISK_READ "disk.read": Between = from_to(Nanos::micros(20), Nanos::micros(200)),
        from_to(Nanos::ZERO, Nanos::ZERO) => from_to(Nanos::secs(10), Nanos::secs(10));
    /// How long a write takes; none by default, since it ends in the page cache.
    DISK_WRITE "disk.write": Between = from_to(Nanos::ZERO, Nanos::ZERO),
        from_to(Nanos::ZERO, Nanos::ZERO) => from_to(Nanos::secs(10), Nanos::secs(10));
    /// How long it takes to open, create, rename, remove or list.
    DISK_NAMES "disk.names": Between = from_to(Nanos::micros(5), Nanos::micros(50)),
        from_to(Nanos::ZERO, Nanos::ZERO) => from_to(Nanos::secs(10), Nanos::secs(10));
    /// How long a sync takes.
    DISK_SYNC "disk.sync": Between = from_to(Nanos::micros(200), Nanos::millis(2)),
        from_to(Nanos::ZERO, Nanos::ZERO) => from_to(Nanos::secs(10), Nanos::secs(10));
    /// What a disk holds; writes past it fail with ENOSPC.
    DISK_CAPACITY "disk.capacity": Size = Size::mib(1_024), Size::mib(1) => Size::mib(1_048_576);

    /// A memtable is flushed when it holds this much.
    ENGINE_MEMTABLE "engine.memtable": Size = Size::kib(1_536), Size::kib(1) => Size::mib(64);
    /// Uncompressed size of a block of a table.
    ENGINE_BLOCK "engine.block": Size = Size::kib(4), Size(256) => Size::mib(1);
    /// Target size of a table.
    ENGINE_TABLE "engine.table": Size = Size::kib(64), Size::kib(1) => Size::mib(64);
    /// So many tables in level 0 start a compaction.
    ENGINE_LEVEL0_TABLES "engine.level0-tables": u64 = 4, 1 => 64;
    /// Each level is this many times larger than the one above.
    ENGINE_LEVEL_RATIO "engine.level-ratio": u64 = 4, 2 => 16;
    /// The size of level 1.
    ENGINE_LEVEL1 "engine.level1": Size = Size::kib(256), Size::kib(4) => Size::mib(256);
    /// Values from this size on go to blob files.
    ENGINE_BLOB_THRESHOLD "engine.blob-threshold": Size = Size::kib(32), Size(256) => Size::mib(64);
    /// A blob file takes no more values once it is this large.
    ENGINE_BLOB_FILE "engine.blob-file": Size = Size::mib(1), Size::kib(1) => Size::mib(256);
    /// A blob file is collected once this share of it is dead.
    ENGINE_BLOB_GC_RATIO "engine.blob-gc-ratio": Ratio = Ratio::percent(50), Ratio::percent(1) => Ratio::ONE;

    /// The tick of the raft loop.
    RAFT_TICK "raft.tick": Nanos = Nanos::millis(50), Nanos::millis(1) => Nanos::secs(5);
    /// Ticks between a leader's heartbeats.
    RAFT_HEARTBEAT_TICKS "raft.heartbeat-ticks": u64 = 2, 1 => 100;
    /// Ticks without a leader until a follower campaigns, and at most twice as many.
    RAFT_ELECTION_TICKS "raft.election-ticks": u64 = 10, 2 => 1_000;
    /// The lease of a leader, which must be shorter than the election timeout less the bound on drift.
    RAFT_LEASE "raft.lease": Nanos = Nanos::millis(400), Nanos::millis(1) => Nanos::secs(60);
    /// Entries of one append message are at most this large.
    RAFT_MESSAGE "raft.message": Size = Size::kib(64), Size(256) => Size::mib(16);
    /// Append messages in flight to one follower.
    RAFT_INFLIGHT "raft.inflight": u64 = 64, 1 => 4_096;
    /// The raft log is looked at for compaction this often.
    RAFT_LOG_GC_TICK "raft.log-gc-tick": Nanos = Nanos::secs(1), Nanos::millis(10) => Nanos::secs(3_600);
    /// A leader compacts its log when it has so many applied entries, also those that a follower still lacks.
    RAFT_LOG_GC_ENTRIES "raft.log-gc-entries": u64 = 128, 1 => 1_000_000;
    /// A segment of the raft log takes no more entries once it is this large.
    RAFT_LOG_SEGMENT "raft.log-segment": Size = Size::kib(256), Size::kib(1) => Size::mib(256);
    /// Entries of the raft log that a store keeps in memory.
    RAFT_LOG_CACHE "raft.log-cache": Size = Size::mib(4), Size::kib(1) => Size::mib(256);
    /// Regions without traffic stop their ticks.
    RAFT_HIBERNATE "raft.hibernate": bool = false, false => true;
    /// Peers look for signs that they were removed without knowing this often.
    RAFT_STALE_PEER_TICK "raft.stale-peer-tick": Nanos = Nanos::secs(5), Nanos::millis(100) => Nanos::secs(3_600);

    /// The snapshot manager collects idle files this often.
    SNAPSHOT_GC_TICK "snapshot.gc-tick": Nanos = Nanos::secs(10), Nanos::millis(10) => Nanos::secs(3_600);
    /// An idle snapshot older than this is collected.
    SNAPSHOT_GC_TIMEOUT "snapshot.gc-timeout": Nanos = Nanos::secs(60), Nanos::millis(10) => Nanos::secs(86_400);
    /// All snapshot files of a store together; past it the oldest idle one goes.
    SNAPSHOT_MAX_TOTAL "snapshot.max-total": Size = Size::mib(64), Size::kib(1) => Size::mib(10_240);
    /// Snapshots travel in chunks of this size.
    SNAPSHOT_CHUNK "snapshot.chunk": Size = Size::kib(16), Size(64) => Size::mib(16);

    /// Stores hold regions in memory beside the engine.
    CACHE_ENABLED "cache.enabled": bool = false, false => true;
    /// A store loads every region that it begins to lead into its cache.
    CACHE_MANUAL "cache.manual": bool = false, false => true;
    /// With more than this in its cache a store evicts.
    CACHE_MEMORY "cache.memory": Size = Size::mib(16), Size::kib(1) => Size::mib(10_240);
    /// How long after a write or a read the cache collects old versions, compares itself with the engine, and looks for hot regions.
    CACHE_TICK "cache.tick": Nanos = Nanos::secs(1), Nanos::millis(10) => Nanos::secs(3_600);
    /// A region that is read so often between two looks is loaded.
    CACHE_HOT_READS "cache.hot-reads": u64 = 100, 1 => 1_000_000;
    /// One cached scan of so many is compared with the engine.
    CACHE_AUDIT "cache.audit": u64 = 4, 1 => 1_000_000;

    /// A region this large is split by itself.
    REGION_SPLIT_SIZE "region.split-size": Size = Size::mib(64), Size::kib(1) => Size::mib(10_240);
    /// Stores look for regions to split this often.
    REGION_SPLIT_TICK "region.split-tick": Nanos = Nanos::secs(2), Nanos::millis(10) => Nanos::secs(3_600);

    /// Replicas with a vote that the placement driver wants of each region.
    PD_REPLICAS "pd.replicas": u64 = 3, 1 => 7;
    /// Leaders tell the placement driver about their regions this often.
    PD_REGION_HEARTBEAT "pd.region-heartbeat": Nanos = Nanos::millis(500), Nanos::millis(10) => Nanos::secs(600);
    /// Stores tell the placement driver about themselves this often.
    PD_STORE_HEARTBEAT "pd.store-heartbeat": Nanos = Nanos::secs(1), Nanos::millis(10) => Nanos::secs(600);
    /// A store silent for so long is down, and its replicas are repaired elsewhere.
    PD_STORE_DOWN "pd.store-down": Nanos = Nanos::secs(10), Nanos::millis(100) => Nanos::secs(3_600);

    /// A store silent for so long gets no new replicas.
    PD_STORE_DISCONNECTED "pd.store-disconnected": Nanos = Nanos::secs(5), Nanos::millis(100) => Nanos::secs(3_600);
    /// The placement driver looks at what happens by time alone this often.
    PD_TICK "pd.tick": Nanos = Nanos::secs(1), Nanos::millis(10) => Nanos::secs(600);
    /// An operator of the placement driver that is not done by then is given up.
    PD_OPERATOR_TIMEOUT "pd.operator-timeout": Nanos = Nanos::secs(20), Nanos::millis(100) => Nanos::secs(3_600);
    /// A store that does not report its part of an unsafe recovery for so long is told again.
    PD_RECOVERY_REDISPATCH "pd.recovery-redispatch": Nanos = Nanos::secs(5), Nanos::millis(100) => Nanos::secs(600);
    /// Old versions are collected once they are this much older than the newest timestamp.
    PD_SAFE_POINT_RETENTION "pd.safe-point-retention": Nanos = Nanos::secs(20), Nanos::millis(100) => Nanos::secs(86_400);

    /// Whether the placement driver moves regions from full stores to empty ones.
    PD_BALANCE_REGIONS "pd.balance-regions": bool = false, false => true;
    /// Whether the placement driver moves leaders from stores that lead many regions to those that lead few.
    PD_BALANCE_LEADERS "pd.balance-leaders": bool = false, false => true;
    /// The record of a tombstone is deleted after so long.
    PD_TOMBSTONE_KEPT "pd.tombstone-kept": Nanos = Nanos::secs(2_592_000), Nanos::secs(1) => Nanos::secs(31_536_000);
    /// How long a store believes where another one listens.
    STORE_ADDRESS_LIFETIME "store.address-lifetime": Nanos = Nanos::secs(60), Nanos::millis(10) => Nanos::secs(3_600);

    /// How long a client waits for one answer.
    CLIENT_TIMEOUT "client.timeout": Nanos = Nanos::secs(1), Nanos::millis(1) => Nanos::secs(600);
    /// How long a client tries one operation, in all its attempts.
    CLIENT_DEADLINE "client.deadline": Nanos = Nanos::secs(5), Nanos::millis(1) => Nanos::secs(600);
}
