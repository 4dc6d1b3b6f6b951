//! The knobs of a swarm plan: each in or out by itself, and in a fifth of the plans some far from what anybody would choose.
//!
//! A knob that is in gets a value with which what it decides happens within a few simulated seconds.

use sim::{Seed, Stream};

use crate::plan::{
    Knobs, Nanos, Plan, Ratio, Size,
    knobs::{self, Between, Knob, KnobType},
};

/// Draws of knobs, each from a stream split by the knob's name.
struct Drawing {
    knobs: Knobs,
    root: Seed,
}

impl Drawing {
    /// In one plan of `one_in` this knob has a drawn value.
    fn one_in<T: KnobType>(&mut self, one_in: u64, knob: Knob<T>, value: impl FnOnce(&mut Stream) -> T) {
        let mut stream = self.root.split(knob.name()).stream();
        if stream.ratio(1, one_in) {
            let value = value(&mut stream);
            self.knobs.set(knob, value);
        }
    }
}

/// Draws all knobs of a plan.
pub(super) fn draw(plan: &Plan, root: Seed) -> Knobs {
    let mut drawing = Drawing { knobs: Knobs::default(), root: root.split("knobs") };
    clocks_and_raft(&mut drawing);
    room(&mut drawing);
    storage(&mut drawing);
    cache(&mut drawing);
    placement(&mut drawing, plan);
    let mut extremes = root.split("extremes").stream();
    if extremes.ratio(1, 5) {
        extreme(&mut drawing.knobs, &mut extremes);
    }
    drawing.knobs
}

fn ms(stream: &mut Stream, least: u64, most: u64) -> Nanos {
    Nanos::millis(stream.range(least..=most))
}

fn of<T: Copy>(stream: &mut Stream, list: &[T]) -> T {
    *stream.pick(list).expect("a list")
}

fn clocks_and_raft(drawing: &mut Drawing) {
    drawing.one_in(2, knobs::RAFT_TICK, |stream| Nanos::millis(of(stream, &[20, 50, 100, 200])));
    drawing.one_in(4, knobs::RAFT_HEARTBEAT_TICKS, |stream| stream.range(1..=4));
    drawing.one_in(4, knobs::RAFT_ELECTION_TICKS, |stream| stream.range(6..=16));
    let timeout = drawing.knobs.get(knobs::RAFT_TICK).0 * drawing.knobs.get(knobs::RAFT_ELECTION_TICKS);
    // Safely below the election timeout; now and then not, which a store mends by itself.
    drawing.knobs.set(knobs::RAFT_LEASE, Nanos(timeout * 8 / 10));
    drawing.one_in(4, knobs::RAFT_LEASE, |stream| {
        let (least, most) = of(stream, &[(20, 100), (100, 200)]);
        Nanos(timeout * stream.range(least..=most) / 100)
    });
    drawing.one_in(2, knobs::RAFT_HIBERNATE, |_| true);
    drawing.one_in(6, knobs::RAFT_MESSAGE, |stream| Size::kib(of(stream, &[1, 4, 16])));
    drawing.one_in(6, knobs::RAFT_INFLIGHT, |stream| stream.range(1..=16));
    // Early, or only when somebody says so.
    drawing.one_in(2, knobs::RAFT_LOG_GC_ENTRIES, |stream| of(stream, &[4, 8, 16, 32, 64, 1_000_000]));
    drawing.one_in(2, knobs::RAFT_LOG_GC_TICK, |stream| ms(stream, 100, 1_000));
    drawing.one_in(4, knobs::RAFT_LOG_SEGMENT, |stream| Size::kib(of(stream, &[4, 16, 64])));
    drawing.one_in(2, knobs::RAFT_STALE_PEER_TICK, |stream| ms(stream, 200, 3_000));
    drawing.one_in(4, knobs::CLIENT_TIMEOUT, |stream| ms(stream, 50, 500));
    drawing.one_in(6, knobs::CLIENT_DEADLINE, |stream| ms(stream, 500, 4_000));
}

fn room(drawing: &mut Drawing) {
    let between = |stream: &mut Stream, most_ms| Between::new(Nanos::micros(100), ms(stream, 1, most_ms));
    drawing.one_in(3, knobs::NET_DELAY, |stream| between(stream, 8));
    drawing.one_in(6, knobs::NET_LOSS, |stream| Ratio::ppm(stream.range(1..=20_000) as u32));
    drawing.one_in(6, knobs::NET_DUPLICATE, |stream| Ratio::ppm(stream.range(1..=20_000) as u32));
    drawing.one_in(6, knobs::NET_REORDER, |stream| Ratio::ppm(stream.range(1..=50_000) as u32));
    drawing.one_in(8, knobs::NET_CAPACITY, |stream| Size::kib(of(stream, &[1_024, 10_240])));
    drawing.one_in(6, knobs::DISK_READ, |stream| between(stream, 3));
    drawing
        .one_in(2, knobs::DISK_WRITE, |stream| Between::new(Nanos::micros(5), Nanos::micros(of(stream, &[50, 2_000]))));
    drawing.one_in(6, knobs::DISK_NAMES, |stream| between(stream, 2));
    drawing.one_in(3, knobs::DISK_SYNC, |stream| between(stream, 20));
}

fn storage(drawing: &mut Drawing) {
    drawing.one_in(2, knobs::ENGINE_MEMTABLE, |stream| Size::kib(of(stream, &[4, 8, 16, 32, 64])));
    drawing.one_in(8, knobs::ENGINE_BLOCK, |stream| Size(stream.range(256..=2_048)));
    drawing.one_in(6, knobs::ENGINE_TABLE, |stream| Size::kib(of(stream, &[4, 16])));
    drawing.one_in(4, knobs::ENGINE_LEVEL0_TABLES, |stream| stream.range(1..=3));
    drawing.one_in(8, knobs::ENGINE_LEVEL_RATIO, |stream| stream.range(2..=8));
    drawing.one_in(6, knobs::ENGINE_LEVEL1, |stream| Size::kib(of(stream, &[8, 32])));
    drawing.one_in(2, knobs::ENGINE_BLOB_THRESHOLD, |stream| Size(stream.range(256..=1_024)));
    drawing.one_in(3, knobs::ENGINE_BLOB_FILE, |stream| Size::kib(of(stream, &[8, 64])));
    drawing.one_in(3, knobs::ENGINE_BLOB_GC_RATIO, |stream| Ratio::percent(of(stream, &[10, 20, 80])));
    drawing.one_in(2, knobs::SNAPSHOT_GC_TICK, |stream| ms(stream, 50, 2_000));
    drawing.one_in(2, knobs::SNAPSHOT_GC_TIMEOUT, |stream| ms(stream, 30, 3_000));
    drawing.one_in(6, knobs::SNAPSHOT_MAX_TOTAL, |stream| Size::kib(of(stream, &[16, 128])));
    drawing.one_in(4, knobs::SNAPSHOT_CHUNK, |stream| Size(of(stream, &[256, 1_024, 4_096])));
    drawing.one_in(3, knobs::REGION_SPLIT_SIZE, |stream| Size::kib(stream.range(16..=256)));
    drawing.one_in(3, knobs::REGION_SPLIT_TICK, |stream| ms(stream, 200, 1_500));
}

fn cache(drawing: &mut Drawing) {
    drawing.one_in(2, knobs::CACHE_ENABLED, |_| true);
    drawing.one_in(2, knobs::CACHE_MANUAL, |_| true);
    drawing.one_in(6, knobs::CACHE_MEMORY, |stream| Size::kib(of(stream, &[8, 32, 128])));
    drawing.one_in(2, knobs::CACHE_TICK, |stream| ms(stream, 50, 800));
    drawing.one_in(3, knobs::CACHE_HOT_READS, |stream| stream.range(1..=20));
    drawing.one_in(2, knobs::CACHE_AUDIT, |_| 1);
}

fn placement(drawing: &mut Drawing, plan: &Plan) {
    drawing.one_in(3, knobs::PD_REPLICAS, |stream| stream.range(2..=plan.cluster.stores.max(3)));
    drawing.one_in(2, knobs::PD_REGION_HEARTBEAT, |stream| ms(stream, 50, 400));
    drawing.one_in(2, knobs::PD_STORE_HEARTBEAT, |stream| ms(stream, 50, 400));
    drawing.one_in(2, knobs::PD_TICK, |stream| ms(stream, 100, 500));
    drawing.one_in(2, knobs::PD_STORE_DOWN, |stream| ms(stream, 1_500, 5_000));
    drawing.one_in(2, knobs::PD_STORE_DISCONNECTED, |stream| ms(stream, 800, 1_500));
    drawing.one_in(2, knobs::PD_OPERATOR_TIMEOUT, |stream| ms(stream, 500, 4_000));
    drawing.one_in(4, knobs::PD_RECOVERY_REDISPATCH, |stream| ms(stream, 500, 3_000));
    drawing.one_in(2, knobs::PD_SAFE_POINT_RETENTION, |stream| ms(stream, 100, 5_000));
    drawing.one_in(4, knobs::PD_BALANCE_REGIONS, |_| true);
    drawing.one_in(4, knobs::PD_BALANCE_LEADERS, |_| true);
    drawing.one_in(4, knobs::PD_TOMBSTONE_KEPT, |stream| ms(stream, 1_000, 4_000));
    drawing.one_in(3, knobs::STORE_ADDRESS_LIFETIME, |stream| ms(stream, 100, 5_000));
}

/// One or two settings far from what anybody would choose.
fn extreme(knobs: &mut Knobs, stream: &mut Stream) {
    let slow = |stream: &mut Stream, most| Between::new(Nanos::micros(100), ms(stream, 10, most));
    for _ in 0..stream.range(1..=2) {
        match stream.below(9) {
            0 => knobs.set(knobs::ENGINE_MEMTABLE, Size::kib(1)),
            1 => knobs.set(knobs::NET_DELAY, slow(stream, 40)),
            2 => knobs.set(knobs::DISK_SYNC, slow(stream, 60)),
            3 => knobs.set(knobs::RAFT_MESSAGE, Size(256)),
            4 => knobs.set(knobs::RAFT_INFLIGHT, 1),
            5 => knobs.set(knobs::SNAPSHOT_CHUNK, Size(256)),
            6 => knobs.set(knobs::RAFT_LOG_SEGMENT, Size::kib(2)),
            7 => knobs.set(knobs::RAFT_LOG_GC_ENTRIES, 1),
            _ => knobs.set(knobs::CACHE_MEMORY, Size::kib(1)),
        }
    }
}
