//! Promises of the placement driver and of what rests on it: stores' lives, copies that stay, tables that become available.

mod table_replicas_become_available;

pub use table_replicas_become_available::{TABLE_REPLICAS_BECOME_AVAILABLE, Tables};
