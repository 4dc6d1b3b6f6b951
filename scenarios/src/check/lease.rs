//! Promises of leader leases.

mod one_lease;

pub use one_lease::ONE_LEASE;
