//! Promises of consensus, as Ongaro's thesis states them, and of the log that carries it.

mod acknowledged_is_durable;
mod apply_once;
mod commit_and_apply_monotone;
mod election_safety;
mod hard_state_monotone;
mod leader_completeness;
mod log_matching;
mod state_machine_safety;
mod votes_durable;

pub use acknowledged_is_durable::ACKNOWLEDGED_IS_DURABLE;
pub use apply_once::APPLY_ONCE;
pub use commit_and_apply_monotone::COMMIT_AND_APPLY_MONOTONE;
pub use election_safety::ELECTION_SAFETY;
pub use hard_state_monotone::HARD_STATE_MONOTONE;
pub use leader_completeness::LEADER_COMPLETENESS;
pub use log_matching::LOG_MATCHING;
pub use state_machine_safety::STATE_MACHINE_SAFETY;
pub use votes_durable::VOTES_DURABLE;
