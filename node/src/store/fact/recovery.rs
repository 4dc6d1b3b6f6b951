//! What a store states of its part in an unsafe recovery.

use std::sync::Arc;

use crate::{
    fact::Text,
    region::{PeerId, Region, RegionId, StoreId},
};

crate::facts! { room "recovery" wraps Recovery;
    /// A store got its part of a step and begins.
    PlanReceived "recovery-plan-received" { store: StoreId, step: u64 }
    /// A store does not begin: it is at an earlier step that does not end.
    PlanRefused "recovery-plan-refused" { store: StoreId, step: u64, busy: u64 }
    /// A store has done its part of a step, and reports.
    Reported "recovery-reported" { store: StoreId, step: u64, peers: u64 }
    /// A peer is to lead without a majority and waits until the old leader is forgotten.
    ForceLeaderWaits "force-leader-waits" { region: RegionId, peer: PeerId, ticks: u64 }
    /// A peer asks those that are left for their votes, all of which it needs.
    ForceLeaderAsks "force-leader-asks" { region: RegionId, peer: PeerId, term: u64 }
    /// A peer leads without a majority from now on: the lost voters are taken to agree. Its log ends at `last_index`.
    ForceLeaderEntered "force-leader-entered" { region: RegionId, peer: PeerId, term: u64, last_index: u64, last_term: u64 }
    /// A peer does not become a force leader: `leads`, `has-majority`, `vote-rejected`, `timeout`, `failpoint`, ….
    ForceLeaderRefused "force-leader-refused" { region: RegionId, peer: PeerId, reason: Text }
    /// A force leader steps down: `plan`, or `deposed` by a newer term.
    ForceLeaderExited "force-leader-exited" { region: RegionId, peer: PeerId, term: u64, reason: Text }
    /// A force leader committed what the voters that are left have.
    CommitForwarded "commit-forwarded" { region: RegionId, peer: PeerId, term: u64, index: u64 }
    /// A force leader that may not count on lost voters found a learner far behind among those that are left.
    LearnerLeftBehind "recovery-learner-left-behind" { region: RegionId, peer: PeerId, learner: PeerId }
    /// A force leader begins to demote: `voters` become learners, `learners` go.
    DemotionStarted "demotion-started" { region: RegionId, peer: PeerId, voters: u64, learners: u64 }
    /// A demotion took effect: no lost peer votes any more.
    Demoted "voters-demoted" { region: Arc<Region>, peer: PeerId }
    /// A demotion could not be proposed and is given up; the next step tries again.
    DemotionRefused "demotion-refused" { region: RegionId, peer: PeerId }
    /// The same, behind a joint configuration that had to be left first.
    DemotionGivenUp "demotion-given-up" { region: RegionId, peer: PeerId }
    /// A peer is destroyed because a plan says so.
    PeerTombstoned "recovery-peer-tombstoned" { region: RegionId, peer: PeerId }
    /// An empty region was created where none was left.
    EmptyRegionCreated "empty-region-created" { region: Arc<Region>, peer: PeerId }
    /// An empty region was not created: another one has come into its range, or is on its way.
    EmptyRegionRefused "empty-region-refused" { region: RegionId, peer: PeerId }
}
