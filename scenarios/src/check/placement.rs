//! Promises of the placement driver and of what rests on it: stores' lives, copies that stay, tables that become available.

mod last_copy_stays;
mod legal_store_states;
mod registered_stores_are_reachable;
mod retries_are_bounded;
mod table_replicas_become_available;

pub use last_copy_stays::LAST_COPY_STAYS;
pub use legal_store_states::LEGAL_STORE_STATES;
pub use registered_stores_are_reachable::REGISTERED_STORES_ARE_REACHABLE;
pub use retries_are_bounded::RETRIES_ARE_BOUNDED;
pub use table_replicas_become_available::{TABLE_REPLICAS_BECOME_AVAILABLE, Tables};
