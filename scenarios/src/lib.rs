//! Plans, checks and the runner.

pub mod plan;
pub mod verdict;
