//! The store.

pub mod fact;
pub mod state;
