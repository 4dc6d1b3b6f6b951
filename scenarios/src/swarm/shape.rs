//! Cluster, knobs and workload of a swarm plan; in a fifth of the plans with extreme settings.

use sim::{Seed, Stream};

use super::NAME;
use crate::plan::{
    Cluster, Knobs, Mix, Nanos, Plan, Ratio, Release, Size, Workload,
    knobs::{self, Between},
};

/// What all processes run; upgrades are steps.
const RELEASE: &str = "8.5.0";

/// A plan of this seed without steps.
pub(super) fn draw(seed: u64, root: Seed) -> Plan {
    let mut stream = root.split("shape").stream();
    let cluster = Cluster {
        stores: *stream.pick(&[3, 3, 3, 4, 4, 5]).expect("a list"),
        tiflash: 0,
        spare: *stream.pick(&[0, 0, 1]).expect("a list"),
        release: Release::new(RELEASE),
        regions: stream.range(1..=6),
    };
    let mut knobs = Knobs::default();
    usual(&mut knobs, &mut root.split("knobs").stream());
    let mut extremes = root.split("extremes").stream();
    if extremes.ratio(1, 5) {
        extreme(&mut knobs, &mut extremes);
    }
    Plan {
        scenario: NAME.to_owned(),
        history: None,
        seed,
        defects: Vec::new(),
        plant: Vec::new(),
        cluster,
        knobs,
        workload: workload(&mut root.split("workload").stream()),
        trigger: Vec::new(),
        steps: Vec::new(),
        converge_within: Nanos::secs(60),
        recorded: None,
    }
}

/// Each knob that decides how often something happens, in or out with one half.
fn usual(knobs: &mut Knobs, stream: &mut Stream) {
    let tick = Nanos::millis(*stream.pick(&[20, 50, 50, 100]).expect("a list"));
    knobs.set(knobs::RAFT_TICK, tick);
    // The lease stays safely below the election timeout of ten ticks.
    knobs.set(knobs::RAFT_LEASE, Nanos(tick.0 * 8));
    if stream.ratio(1, 2) {
        knobs.set(knobs::ENGINE_MEMTABLE, Size::kib(*stream.pick(&[4, 16, 32]).expect("a list")));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::RAFT_HIBERNATE, true);
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::SNAPSHOT_GC_TICK, Nanos::millis(stream.range(100..=2_000)));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::SNAPSHOT_GC_TIMEOUT, Nanos::millis(stream.range(100..=5_000)));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::RAFT_LOG_GC_ENTRIES, stream.range(8..=128));
        knobs.set(knobs::RAFT_LOG_GC_TICK, Nanos::millis(stream.range(100..=1_000)));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::REGION_SPLIT_SIZE, Size::kib(stream.range(16..=256)));
        knobs.set(knobs::REGION_SPLIT_TICK, Nanos::millis(stream.range(200..=2_000)));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::PD_SAFE_POINT_RETENTION, Nanos::millis(stream.range(500..=10_000)));
    }
    if stream.ratio(1, 2) {
        knobs.set(knobs::PD_STORE_DOWN, Nanos::millis(stream.range(1_500..=10_000)));
    }
    if stream.ratio(1, 4) {
        knobs.set(knobs::NET_LOSS, Ratio::ppm(stream.range(1..=20_000) as u32));
    }
}

/// One or two settings far from what anybody would choose.
fn extreme(knobs: &mut Knobs, stream: &mut Stream) {
    for _ in 0..stream.range(1..=2) {
        match stream.below(7) {
            0 => knobs.set(knobs::ENGINE_MEMTABLE, Size::kib(1)),
            1 => knobs.set(knobs::NET_DELAY, Between::new(Nanos::micros(100), Nanos::millis(stream.range(10..=40)))),
            2 => knobs.set(knobs::DISK_SYNC, Between::new(Nanos::micros(100), Nanos::millis(stream.range(10..=60)))),
            3 => knobs.set(knobs::RAFT_MESSAGE, Size(256)),
            4 => knobs.set(knobs::RAFT_INFLIGHT, 1),
            5 => knobs.set(knobs::SNAPSHOT_CHUNK, Size(256)),
            _ => knobs.set(knobs::RAFT_LOG_SEGMENT, Size::kib(2)),
        }
    }
}

/// Operations of each kind are in or out with one half, too; reads and writes of single keys always happen.
fn workload(stream: &mut Stream) -> Workload {
    let mut weight = |usual: u64| if stream.ratio(1, 2) { usual * stream.range(1..=4) } else { 0 };
    let mix = Mix {
        read: weight(20) + 5,
        read_index: weight(15),
        follower_read: weight(10),
        put: weight(30) + 10,
        cas: weight(5),
        delete: weight(5),
        scan: weight(5),
        batch: weight(5),
    };
    Workload {
        clients: stream.range(1..=6),
        rate: stream.range(20..=300),
        keys: *stream.pick(&[4, 16, 64, 128, 512]).expect("a list"),
        value_bytes: *stream.pick(&[[16, 64], [16, 1_024], [256, 4_096], [16, 16_384]]).expect("a list"),
        lasting: Nanos::secs(stream.range(5..=15)),
        mix,
        ..Workload::default()
    }
}
