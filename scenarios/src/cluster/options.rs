//! Knobs of a plan as settings of the room and of the processes in it. One line a knob; a knob that is read nowhere here
//! does nothing, and a test refuses that.

use std::time::Duration;

use node::{cache, client, engine, pd, raftlog, store};

use super::PD_ADDRESS;
use crate::{
    plan::{
        Knobs, Plan,
        knobs::{self, Between},
    },
    room::{DiskConfig, Latency, Link},
};

/// Within so many times the slowest hop and the slowest sync an answer comes, if it comes: a request goes through two
/// stores and back, and waits at each.
const ANSWER_DELAYS: u64 = 8;

fn latency(between: Between) -> Latency {
    Latency::between(between.least.0, between.most.0)
}

/// How disks are.
pub fn disk_config(knobs: &Knobs) -> DiskConfig {
    DiskConfig {
        names: latency(knobs.get(knobs::DISK_NAMES)),
        read: latency(knobs.get(knobs::DISK_READ)),
        write: latency(knobs.get(knobs::DISK_WRITE)),
        sync: latency(knobs.get(knobs::DISK_SYNC)),
        capacity_bytes: knobs.get(knobs::DISK_CAPACITY).0,
    }
}

/// How links are.
pub fn link(knobs: &Knobs) -> Link {
    Link {
        delay: latency(knobs.get(knobs::NET_DELAY)),
        bytes_per_second: knobs.get(knobs::NET_CAPACITY).0,
        clogged: false,
        drop_per_million: knobs.get(knobs::NET_LOSS).as_ppm(),
        duplicate_per_million: knobs.get(knobs::NET_DUPLICATE).as_ppm(),
        reorder_per_million: knobs.get(knobs::NET_REORDER).as_ppm(),
    }
}

fn engine(knobs: &Knobs) -> engine::Options {
    engine::Options {
        memtable_bytes: knobs.get(knobs::ENGINE_MEMTABLE).0 as usize,
        level_zero_files: knobs.get(knobs::ENGINE_LEVEL0_TABLES) as usize,
        level_zero_stall: 4 * knobs.get(knobs::ENGINE_LEVEL0_TABLES) as usize,
        level_base_bytes: knobs.get(knobs::ENGINE_LEVEL1).0,
        level_ratio: knobs.get(knobs::ENGINE_LEVEL_RATIO),
        table_bytes: knobs.get(knobs::ENGINE_TABLE).0,
        block_bytes: knobs.get(knobs::ENGINE_BLOCK).0 as usize,
        blob_bytes_min: knobs.get(knobs::ENGINE_BLOB_THRESHOLD).0 as usize,
        blob_file_bytes: knobs.get(knobs::ENGINE_BLOB_FILE).0,
        blob_dead_per_million: u64::from(knobs.get(knobs::ENGINE_BLOB_GC_RATIO).as_ppm()),
        ..engine::Options::default()
    }
}

/// A store's settings; `wipes` is how often its disk was replaced, and each new disk has an address of its own.
pub(super) fn store(plan: &Plan, name: &str, wipes: u64, release: &str) -> store::Options {
    let knobs = &plan.knobs;
    let host = if wipes == 0 { name.to_owned() } else { format!("{name}-{wipes}") };
    let labels =
        if name.starts_with("tiflash") { vec![("engine".to_owned(), "tiflash".to_owned())] } else { Vec::new() };
    store::Options {
        address: format!("{host}:20160"),
        pd: vec![PD_ADDRESS.to_owned()],
        release: release.to_owned(),
        labels,
        engine: engine(knobs),
        raftlog: raftlog::Options {
            segment_bytes: knobs.get(knobs::RAFT_LOG_SEGMENT).0,
            cache_bytes: knobs.get(knobs::RAFT_LOG_CACHE).0 as usize,
            rewrite_bytes: knobs.get(knobs::RAFT_LOG_SEGMENT).0 / 8,
            ..raftlog::Options::default()
        },
        snapshot: store::snapshot::Options {
            age_limit: knobs.get(knobs::SNAPSHOT_GC_TIMEOUT).duration(),
            gc_tick: knobs.get(knobs::SNAPSHOT_GC_TICK).duration(),
            size_limit_bytes: knobs.get(knobs::SNAPSHOT_MAX_TOTAL).0,
            chunk_bytes: knobs.get(knobs::SNAPSHOT_CHUNK).0 as usize,
            ..store::snapshot::Options::default()
        },
        cache: cache::Options {
            enabled: knobs.get(knobs::CACHE_ENABLED),
            manual_ranges: if knobs.get(knobs::CACHE_MANUAL) { vec![Default::default()] } else { Vec::new() },
            evict_bytes: knobs.get(knobs::CACHE_MEMORY).0 as usize,
            tick: knobs.get(knobs::CACHE_TICK).duration(),
            hot_reads: knobs.get(knobs::CACHE_HOT_READS),
            audit_every: knobs.get(knobs::CACHE_AUDIT),
        },
        raft_base_tick: knobs.get(knobs::RAFT_TICK).duration(),
        raft_election_timeout_ticks: knobs.get(knobs::RAFT_ELECTION_TICKS) as usize,
        raft_heartbeat_ticks: knobs.get(knobs::RAFT_HEARTBEAT_TICKS) as usize,
        raft_store_max_leader_lease: knobs.get(knobs::RAFT_LEASE).duration(),
        raft_max_size_per_msg: knobs.get(knobs::RAFT_MESSAGE).0,
        raft_max_inflight_msgs: knobs.get(knobs::RAFT_INFLIGHT) as usize,
        raft_log_gc_tick: knobs.get(knobs::RAFT_LOG_GC_TICK).duration(),
        raft_log_gc_count_limit: knobs.get(knobs::RAFT_LOG_GC_ENTRIES),
        // Dropping entries takes an entry: were one worth it, a leader at rest would go on for ever.
        raft_log_gc_threshold: knobs.get(knobs::RAFT_LOG_GC_ENTRIES).div_ceil(4).max(2),
        peer_stale_state_check: knobs.get(knobs::RAFT_STALE_PEER_TICK).duration(),
        max_leader_missing: knobs.get(knobs::RAFT_STALE_PEER_TICK).duration(),
        split_region_check_tick: knobs.get(knobs::REGION_SPLIT_TICK).duration(),
        region_split_size: knobs.get(knobs::REGION_SPLIT_SIZE).0,
        hibernate: knobs.get(knobs::RAFT_HIBERNATE),
        store_address_lifetime: knobs.get(knobs::STORE_ADDRESS_LIFETIME).duration(),
        pd_heartbeat_tick: knobs.get(knobs::PD_REGION_HEARTBEAT).duration(),
        pd_store_heartbeat_tick: knobs.get(knobs::PD_STORE_HEARTBEAT).duration(),
        ..store::Options::default()
    }
}

/// The placement driver's settings.
pub(super) fn placement(plan: &Plan, address: &str) -> pd::Options {
    let knobs = &plan.knobs;
    pd::Options {
        replicas: knobs.get(knobs::PD_REPLICAS) as usize,
        max_store_down: knobs.get(knobs::PD_STORE_DOWN).duration(),
        store_disconnected: knobs.get(knobs::PD_STORE_DISCONNECTED).duration(),
        operator_timeout: knobs.get(knobs::PD_OPERATOR_TIMEOUT).duration(),
        recovery_redispatch: knobs.get(knobs::PD_RECOVERY_REDISPATCH).duration(),
        tick: knobs.get(knobs::PD_TICK).duration(),
        safe_point_retention: knobs.get(knobs::PD_SAFE_POINT_RETENTION).duration(),
        safe_point_step: knobs.get(knobs::PD_SAFE_POINT_RETENTION).duration() / 4,
        balance_regions: knobs.get(knobs::PD_BALANCE_REGIONS),
        balance_leaders: knobs.get(knobs::PD_BALANCE_LEADERS),
        tombstone_kept: knobs.get(knobs::PD_TOMBSTONE_KEPT).duration(),
        split_bytes: Some(knobs.get(knobs::REGION_SPLIT_SIZE).0),
        ..pd::Options::new(address)
    }
}

/// A client's settings.
pub fn client_options(knobs: &Knobs) -> client::Options {
    client::Options {
        attempt: knobs.get(knobs::CLIENT_TIMEOUT).duration(),
        deadline: knobs.get(knobs::CLIENT_DEADLINE).duration(),
        ..client::Options::default()
    }
}

/// The settings of the operator's client: it is as patient as the room is slow, whatever the plan's clients are.
pub fn operator_options(knobs: &Knobs) -> client::Options {
    let options = client_options(knobs);
    let slowest = knobs.get(knobs::NET_DELAY).most.0.saturating_add(knobs.get(knobs::DISK_SYNC).most.0);
    client::Options {
        attempt: options.attempt.max(Duration::from_nanos(slowest.saturating_mul(ANSWER_DELAYS))),
        ..options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    /// A plan with one line of knobs.
    fn plan(line: &str) -> Plan {
        let text = format!(
            "reenact = 1\nscenario = \"snapshot-gc\"\nseed = \"1\"\n\
             cluster = {{ stores = 3, release = \"8.1.0\" }}\nknobs = {{ {line} }}\n"
        );
        Plan::parse(&text, &registry::vocabulary()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Everything that a plan with one line of knobs sets, as text.
    fn settings(line: &str) -> String {
        let plan = plan(line);
        let room = (disk_config(&plan.knobs), link(&plan.knobs));
        let processes =
            (store(&plan, "store-1", 0, "8.1.0"), placement(&plan, PD_ADDRESS), client_options(&plan.knobs));
        format!("{room:?} {processes:?}")
    }

    #[test]
    fn every_knob_does_something() {
        let without = settings("");
        for row in knobs::TABLE {
            let changes = |value| settings(&format!("\"{}\" = {value}", row.name)) != without;
            assert!(changes(row.least) || changes(row.most), "nothing reads the knob `{}`", row.name);
        }
    }

    #[test]
    fn the_operator_waits_as_long_as_the_room_is_slow() {
        for (line, expected_ms) in [
            (r#""client.timeout" = "57ms""#, 57),
            (r#""client.timeout" = "57ms", "net.delay" = ["1ms", "40ms"], "disk.sync" = ["1ms", "5ms"]"#, 360),
            (r#""client.timeout" = "2s", "net.delay" = ["1ms", "40ms"]"#, 2_000),
        ] {
            let knobs = plan(line).knobs;
            assert_eq!(operator_options(&knobs).attempt, Duration::from_millis(expected_ms), "{line}");
            assert_eq!(client_options(&knobs).attempt, knobs.get(knobs::CLIENT_TIMEOUT).duration(), "{line}");
        }
    }
}
