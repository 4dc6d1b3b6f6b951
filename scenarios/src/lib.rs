//! Plans, checks and the runner.

pub mod bare;
pub mod catalog;
pub mod check;
pub mod event;
pub mod plan;
pub mod registry;
pub mod run;
pub mod verdict;
