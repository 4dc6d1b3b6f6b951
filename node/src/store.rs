//! The store.

pub mod fact;
pub mod region_worker;
pub mod snapshot;
pub mod state;
