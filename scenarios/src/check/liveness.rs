//! Promises that something comes about in the end.

mod converges;

pub use converges::CONVERGES;
