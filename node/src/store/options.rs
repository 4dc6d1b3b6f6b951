//! A store's settings, named as upstream names them, with defaults for a small cluster in simulated time.
//!
//! Upstream ticks once a second and elects after ten; here a tick is 100 ms, so that a simulated minute holds many
//! elections. A lease that is longer than is safe ([`Options::safe_lease`]) is cut to that before a store starts.

use std::time::Duration;

/// A store's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the store listens.
    pub address: String,
    /// Where the placement driver listens.
    pub pd: Vec<String>,
    /// The release this store runs as.
    pub release: String,
    /// Labels for placement rules.
    pub labels: Vec<(String, String)>,
    /// The engine's settings.
    pub engine: crate::engine::Options,
    /// The raft log's settings.
    pub raftlog: crate::raftlog::Options,
    /// The snapshot manager's settings.
    pub snapshot: super::snapshot::Options,
    /// The region cache's settings.
    pub cache: crate::cache::Options,

    /// The time between two ticks of raft.
    pub raft_base_tick: Duration,
    /// Ticks without a leader's message until a follower campaigns; a peer draws its own from here to twice as many.
    pub raft_election_timeout_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub raft_heartbeat_ticks: usize,
    /// How long a leader may serve reads alone after a quorum heard from it.
    pub raft_store_max_leader_lease: Duration,
    /// Up to which drift between two stores' clocks, in parts per million, leases are safe.
    pub clock_drift_ppm_max: u64,
    /// Bytes of entries in one append message.
    pub raft_max_size_per_msg: u64,
    /// Append messages under way to one follower.
    pub raft_max_inflight_msgs: usize,
    /// Bytes of entries proposed and not yet committed, above which proposals are refused.
    pub raft_max_uncommitted_bytes: u64,
    /// The largest command.
    pub raft_entry_max_bytes: usize,

    /// How often leaders consider dropping the applied part of their logs.
    pub raft_log_gc_tick: Duration,
    /// Applied entries that a leader keeps for slow followers; one that is further behind gets a snapshot.
    pub raft_log_gc_count_limit: u64,
    /// Entries worth an entry of their own to drop them.
    pub raft_log_gc_threshold: u64,
    /// How often segments that hold nothing alive are removed.
    pub raft_log_purge_tick: Duration,
    /// How often peers without a leader ask around whether they still belong to their region.
    pub peer_stale_state_check: Duration,
    /// How long a peer goes without a leader before it asks.
    pub max_leader_missing: Duration,

    /// How often region sizes are considered.
    pub split_region_check_tick: Duration,
    /// A region of so many bytes is split.
    pub region_split_size: u64,
    /// A region of so many keys is split.
    pub region_split_keys: u64,

    /// Whether idle regions sleep.
    pub hibernate: bool,
    /// Ticks without work until a leader proposes to sleep.
    pub hibernate_ticks: usize,

    /// How often leaders report their regions to the placement driver.
    pub pd_heartbeat_tick: Duration,
    /// How often a store reports itself.
    pub pd_store_heartbeat_tick: Duration,

    /// Messages that one turn of the raft loop takes.
    pub turn_messages_max: usize,
    /// Commands waiting for one region's apply above which it refuses requests.
    pub pending_proposals_max: usize,
    /// Messages queued for one peer store; more are dropped, as a network would.
    pub raft_client_queue: usize,
    /// Bytes of messages in one frame to a peer store.
    pub raft_client_frame_bytes: usize,
    /// The first pause after a peer store could not be reached.
    pub raft_client_backoff: Duration,
    /// The longest pause.
    pub raft_client_max_backoff: Duration,
    /// How long a resolved address is believed.
    pub store_address_lifetime: Duration,

    /// The disk was restored from a snapshot of its volume, and so were those of all other stores, at one time: until it is
    /// told, no peer of this store stands for election.
    pub restoring: bool,

    /// Whether the content of a split's children is hashed.
    pub hash_on_split: bool,
    /// Whether content is hashed after a restart; one region a restart, another one each time.
    pub hash_on_restart: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: String::new(),
            pd: Vec::new(),
            release: "8.5.0".to_owned(),
            labels: Vec::new(),
            engine: crate::engine::Options::default(),
            raftlog: crate::raftlog::Options::default(),
            snapshot: super::snapshot::Options::default(),
            cache: crate::cache::Options::default(),
            raft_base_tick: Duration::from_millis(100),
            raft_election_timeout_ticks: 10,
            raft_heartbeat_ticks: 2,
            raft_store_max_leader_lease: Duration::from_millis(800),
            clock_drift_ppm_max: 50_000,
            raft_max_size_per_msg: 64 << 10,
            raft_max_inflight_msgs: 64,
            raft_max_uncommitted_bytes: 8 << 20,
            raft_entry_max_bytes: 1 << 20,
            raft_log_gc_tick: Duration::from_secs(1),
            raft_log_gc_count_limit: 256,
            raft_log_gc_threshold: 50,
            raft_log_purge_tick: Duration::from_secs(5),
            peer_stale_state_check: Duration::from_secs(5),
            max_leader_missing: Duration::from_secs(10),
            split_region_check_tick: Duration::from_secs(2),
            region_split_size: 8 << 20,
            region_split_keys: 20_000,
            hibernate: true,
            hibernate_ticks: 10,
            pd_heartbeat_tick: Duration::from_secs(10),
            pd_store_heartbeat_tick: Duration::from_secs(10),
            turn_messages_max: 1024,
            pending_proposals_max: 4096,
            raft_client_queue: 8192,
            raft_client_frame_bytes: 256 << 10,
            raft_client_backoff: Duration::from_millis(100),
            raft_client_max_backoff: Duration::from_secs(5),
            store_address_lifetime: Duration::from_secs(60),
            restoring: false,
            hash_on_split: true,
            hash_on_restart: true,
        }
    }
}

impl Options {
    /// The shortest time, by a follower's own clock, from hearing its leader to voting for another one.
    ///
    /// The first of its ticks may come at once, so one tick is not counted.
    pub fn election_timeout_min(&self) -> Duration {
        self.raft_base_tick * (self.raft_election_timeout_ticks.saturating_sub(1) as u32)
    }

    /// How long a restarted store withholds votes, by its own clock: what it promised to a leader before the restart
    /// has run out by then.
    pub fn vote_embargo(&self) -> Duration {
        self.raft_base_tick * self.raft_election_timeout_ticks as u32
    }

    /// Whether the store is a columnar one, which has learners only.
    pub fn is_columnar(&self) -> bool {
        self.labels.iter().any(|(key, value)| key == "engine" && value == "tiflash")
    }

    /// Refuses settings under which a store would be unsafe or could not work.
    pub fn check(&self) -> Result<(), String> {
        if self.raft_heartbeat_ticks == 0 || self.raft_election_timeout_ticks <= self.raft_heartbeat_ticks {
            return Err(format!(
                "raft_election_timeout_ticks ({}) has to be above raft_heartbeat_ticks ({}), which has to be above 0",
                self.raft_election_timeout_ticks, self.raft_heartbeat_ticks
            ));
        }
        if self.raft_base_tick.is_zero() {
            return Err("raft_base_tick has to be above 0".to_owned());
        }
        if self.clock_drift_ppm_max >= 1_000_000 {
            return Err(format!("no lease is safe with clocks that drift by {} ppm", self.clock_drift_ppm_max));
        }
        Ok(())
    }

    /// The longest lease that is safe: a leader's clock may be slow, and a follower's fast, each by the drift that is
    /// allowed for, and the follower votes for somebody else an election timeout after it heard its leader.
    pub fn safe_lease(&self) -> Duration {
        // lease * (1 + d) <= timeout * (1 - d)
        let (timeout, drift) = (self.election_timeout_min().as_nanos(), u128::from(self.clock_drift_ppm_max));
        let lease = timeout * 1_000_000_u128.saturating_sub(drift) / (1_000_000 + drift);
        Duration::from_nanos(u64::try_from(lease).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_shorter_than_the_drifting_election_timeout_are_safe() {
        let at = |lease_ms, drift| {
            let options = Options { clock_drift_ppm_max: drift, ..Options::default() };
            Duration::from_millis(lease_ms) <= options.safe_lease()
        };
        // The shortest election timeout is 900 ms.
        for (lease_ms, drift, sound) in [
            (800, 50_000, true),
            (900, 0, true),
            (901, 0, false),
            (900, 1, false),
            (814, 50_000, true),
            (815, 50_000, false),
            (1, 1_000_000, false),
        ] {
            assert_eq!(at(lease_ms, drift), sound, "{lease_ms} ms at {drift} ppm");
        }
        assert!(Options { raft_heartbeat_ticks: 10, ..Options::default() }.check().is_err());
    }
}
