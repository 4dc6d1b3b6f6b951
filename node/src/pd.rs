//! The placement driver.

mod client;
pub mod fact;

pub use client::{Client, ClientOptions, Error};
