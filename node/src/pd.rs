//! The placement driver.

pub mod fact;
