//! Where moving a raft log can be held up.

failpoints::sites! {
    /// The sites of the raft log.
    pub mod table in "raft-log" {
        /// The log is about to be copied to another directory, and the marker says so.
        WHILE_MOVING: Async = "raft-log-while-moving";
        /// The copy is whole, and the marker does not say so yet.
        AFTER_COPY: Async = "raft-log-after-copy";
        /// The marker says that the copy is whole, and the source is still there.
        BEFORE_CLEAR: Async = "raft-log-before-clear";
    }
}

pub use table::*;
