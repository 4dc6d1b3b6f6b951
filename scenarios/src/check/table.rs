//! The table of all checks. Lists, documentation and the dispatcher are made from it; its order is the order in which an
//! event is heard, so the check that names a defect best comes first.

use super::{Entry, cache, client, lease, liveness, placement, process, raft, region, snapshot};

/// All checks.
pub static TABLE: &[Entry] = &[
    process::NO_PANIC,
    process::NO_CRASH_LOOP,
    process::ERRORS_MATCH_FAULTS,
    snapshot::DURABLE_APPLYING_HAS_FILES,
    snapshot::FILE_IN_USE_EXISTS,
    snapshot::SNAPSHOT_EQUALS_STATE,
    snapshot::LOG_TERMS_AGREE_WITH_SNAPSHOT,
    snapshot::NOTHING_LEFT_AT_REST,
    cache::LEGAL_CACHE_TRANSITIONS,
    cache::CACHE_EPOCH_CURRENT,
    cache::CACHE_CONTENT_EQUALS_ENGINE,
    cache::CACHE_SNAPSHOT_READS_ENGINE,
    cache::PENDING_REGIONS_LOAD,
    raft::ACKNOWLEDGED_IS_DURABLE,
    raft::VOTES_DURABLE,
    lease::ONE_LEASE,
    raft::ELECTION_SAFETY,
    raft::LOG_MATCHING,
    raft::LEADER_COMPLETENESS,
    raft::STATE_MACHINE_SAFETY,
    raft::COMMIT_AND_APPLY_MONOTONE,
    raft::APPLY_ONCE,
    raft::HARD_STATE_MONOTONE,
    region::CLOSED_PEER_HANDLES_NO_MESSAGE,
    region::REGION_MAPS_AGREE,
    region::ONE_OWNER_PER_KEY,
    region::REMOVED_PEER_NEVER_RETURNS,
    region::EPOCHS_GROW,
    region::EQUAL_PEER_LIST,
    region::KEY_SPACE_COVERED,
    region::CONTENT_EQUALS_REFERENCE,
    client::LINEARIZABLE,
    client::ATOMIC_BATCHES,
    client::ACKNOWLEDGED_WRITES_SURVIVE,
    placement::TABLE_REPLICAS_BECOME_AVAILABLE,
    liveness::CONVERGES,
];
