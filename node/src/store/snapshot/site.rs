//! Where snapshots can misbehave.

failpoints::sites! {
    /// The sites of snapshots and the region worker.
    pub mod table in "snapshot" {
        /// Before the region worker takes a task to build; `return` fails the build.
        BEFORE_GENERATE: Async = "snapshot-before-generate";
        /// Between looking for an earlier snapshot's files and opening them.
        AFTER_LISTING: Async = "snapshot-after-listing";
        /// Before a table of a snapshot is written; `return` fails the build.
        BEFORE_BUILD_TABLE: Async = "snapshot-before-build-table";
        /// Before the meta file makes a built snapshot complete; `return` fails the build.
        BEFORE_META: Async = "snapshot-before-meta";
        /// Before a snapshot is sent; `return` fails the sending.
        BEFORE_SEND: Async = "snapshot-before-send";
        /// Before each chunk is sent; `return` breaks the transfer off.
        BEFORE_CHUNK: Async = "snapshot-before-chunk";
        /// Before a received snapshot is made complete; `return` fails the receiving.
        BEFORE_RECEIVED: Async = "snapshot-before-received";
        /// Between a complete received snapshot and handing its message to the raft loop.
        BEFORE_DELIVER: Async = "snapshot-before-deliver";
        /// Before the region worker begins to apply; `return` fails the applying.
        BEFORE_APPLY: Async = "snapshot-before-apply";
        /// Between the clean range and the ingestion of the files.
        BEFORE_INGEST: Async = "snapshot-before-ingest";
        /// Between the ingestion and the write that makes the state Normal.
        BEFORE_NORMAL: Async = "snapshot-before-normal";
        /// Between the write that makes the state Normal and its sync.
        BEFORE_NORMAL_SYNC: Async = "snapshot-before-normal-sync";
        /// Before the collector looks at the idle snapshots; `return` skips this round.
        BEFORE_COLLECT: Async = "snapshot-before-collect";
        /// Before a range without an owner is cleaned.
        BEFORE_DESTROY: Async = "snapshot-before-destroy-range";
    }
}

pub use table::*;
