//! What the placement driver states.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    fact::Text,
    region::{PeerId, Region, RegionId, StoreId},
};

crate::facts! { room "placement" wraps Placement;
    /// The cluster exists from now on.
    Bootstrapped "cluster-bootstrapped" { store: StoreId, region: RegionId }
    /// The placement driver is up, with what it read back.
    Started "placement-started" { stores: u64, regions: u64 }
    /// A store's record was written: `up`, `offline`, `tombstone`; whether it has columnar replicas only.
    StorePut "placement-store-put" { store: StoreId, address: Text, state: Text, release: Text, columnar: bool }
    /// A tombstone's record was deleted: to stores, it looks as if it had never been.
    StoreDeleted "placement-store-deleted" { store: StoreId }
    /// A tombstone's record was to be deleted while regions have peers there.
    TombstoneHasPeers "placement-tombstone-has-peers" { store: StoreId, regions: u64 }
    /// A region has a peer on a store of which there is no record.
    LostTheStore "placement-lost-the-store" { region: RegionId, store: StoreId }
    /// A store is not to run as this release.
    ReleaseRefused "placement-release-refused" { address: Text, release: Text, cause: Text }
    /// A region heartbeat was newer than what was known.
    RegionKnown "placement-region-known" { region: Arc<Region>, leader: PeerId, term: u64 }
    /// A region is no longer known: a newer one has taken its range.
    RegionDisplaced "placement-region-displaced" { region: RegionId, by: RegionId }
    /// Ids up to `upto` may be given out.
    IdsReserved "placement-ids-reserved" { upto: u64 }
    /// Timestamps up to `upto` may be given out.
    TimestampsReserved "placement-timestamps-reserved" { upto: u64 }
    /// An operator was made: `add-peer`, `replace-peer`, `add-learner`, `replace-learner`, `promote-peer`, `remove-peer`, `move-leader`,
    /// `balance-peer`, `balance-leader`, `split`, `merge`.
    OperatorCreated "operator-created" { region: RegionId, kind: Text, store: StoreId }
    /// An operator ended: `done`, `stale`, `timeout`.
    OperatorEnded "operator-ended" { region: RegionId, kind: Text, outcome: Text }
    /// Versions below this that are not the newest may be collected.
    SafePointRaised "placement-safe-point-raised" { timestamp: u64 }
    /// A region's leader is asked to remove a replica, for the first time.
    RemovalAsked "placement-removal-asked" { region: RegionId, peer: PeerId, store: StoreId }
    /// A columnar replica is one too many, and one of those that would stay has not caught up.
    SurplusOfUnhealthy "placement-surplus-of-unhealthy" { region: RegionId, peer: PeerId }
    /// A table's rule is this from now on: `count` columnar replicas of every region from `start` to `end`.
    RulePut "placement-rule-put" { table: u64, start: Bytes, end: Bytes, count: u64 }
    /// A table has no rule any more.
    RuleRemoved "placement-rule-removed" { table: u64 }
    /// How far a table's columnar replicas have come, whenever that changes: `peers` have caught up in its `regions`, of which
    /// `available` have one at least; `stores` columnar ones could hold a replica.
    TableProgress "placement-table-progress" { table: u64, count: u64, regions: u64, peers: u64, available: u64, stores: u64 }
    /// Ids were given out for a split.
    SplitAsked "placement-split-asked" { region: RegionId, count: u64 }
    /// A store was given up for good at the beginning of an unsafe recovery.
    RecoveryStoreFailed "recovery-store-failed" { store: StoreId }
    /// An unsafe recovery was asked for and begins; it may take `limit_ms`.
    RecoveryBegun "recovery-begun" { step: u64, failed: u64, limit_ms: u64 }
    /// An unsafe recovery enters a stage; `step` never returns. `cause` says why it fails, once it does.
    RecoveryStage "recovery-stage" { stage: Text, step: u64, cause: Text }
    /// A store was given its part of a step, anew if it had not reported for long. With `keeps_leaders` its force leaders
    /// stay whatever the plan holds; a plan without anything has them step down.
    RecoveryPlanDispatched "recovery-plan-dispatched" { store: StoreId, step: u64, force_leaders: u64, demotes: u64, tombstones: u64, creates: u64, keeps_leaders: bool, again: bool }
    /// A store has done its part of a step.
    RecoveryReportAccepted "recovery-report-accepted" { store: StoreId, step: u64, peers: u64 }
    /// A report of another step, or of a store that is not asked, counts for nothing.
    RecoveryReportIgnored "recovery-report-ignored" { store: StoreId, step: u64, current: u64 }
    /// An unsafe recovery ended: `finished` or `failed`.
    RecoveryEnded "recovery-ended" { outcome: Text, step: u64, cause: Text }
    /// What was known of regions is forgotten: after an unsafe recovery it may be ahead of what is left of them.
    RegionsForgotten "placement-regions-forgotten" { regions: u64 }
    /// A command of the operator of the cluster was taken or refused.
    Commanded "placement-commanded" { command: Text, outcome: Text }
}
