//! The raft log: all regions of a store in one append stream.

pub mod fact;
