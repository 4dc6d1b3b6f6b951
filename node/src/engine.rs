//! The storage engine: column families over one write-ahead log.

pub mod fact;
