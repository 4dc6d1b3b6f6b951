//! Promises of the placement driver and of what rests on it: stores' lives, copies that stay, tables that become available.

mod finished_means_covered;
mod force_leaders_stay;
mod last_copy_stays;
mod legal_store_states;
mod recovery_ends;
mod registered_stores_are_reachable;
mod retries_are_bounded;
mod table_replicas_become_available;

pub use finished_means_covered::FINISHED_MEANS_COVERED;
pub use force_leaders_stay::{FORCE_LEADER_COMMITS, FORCE_LEADERS_STAY};
pub use last_copy_stays::LAST_COPY_STAYS;
pub use legal_store_states::LEGAL_STORE_STATES;
pub use recovery_ends::RECOVERY_ENDS;
pub use registered_stores_are_reachable::REGISTERED_STORES_ARE_REACHABLE;
pub use retries_are_bounded::RETRIES_ARE_BOUNDED;
pub use table_replicas_become_available::{TABLE_REPLICAS_BECOME_AVAILABLE, Tables};
