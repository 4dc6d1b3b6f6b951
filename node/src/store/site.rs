//! Where a store can misbehave on request.

failpoints::sites! {
    /// The store's mailboxes: each can be made to stall, so that their queues race.
    pub mod store in "store" {
        /// The log writer has taken its tasks and written nothing yet.
        BEFORE_LOG_APPEND: Async = "before-log-append";
        /// The states that begin snapshots are in the engine, and the log does not know yet.
        BETWEEN_ENGINE_AND_LOG: Async = "between-engine-and-log";
        /// The store listens and has not registered itself yet.
        BEFORE_REGISTER: Async = "before-store-register";
        /// Entries are in the file and not synced.
        BEFORE_LOG_SYNC: Async = "before-log-sync";
        /// Entries are synced; acknowledgements and votes have not gone out.
        AFTER_LOG_SYNC: Async = "after-log-sync";
        /// Apply has taken committed entries and done nothing yet.
        BEFORE_APPLY: Async = "before-apply";
        /// Apply has a batch and has not written it.
        BEFORE_APPLY_WRITE: Async = "before-apply-write";
        /// Apply has written its batch; neither clients nor the raft loop know.
        AFTER_APPLY_WRITE: Async = "after-apply-write";
        /// A committed split is about to be applied.
        BEFORE_SPLIT_APPLY: Async = "before-split-apply";
        /// A committed merge is about to be applied: its source has caught up.
        BEFORE_COMMIT_MERGE_APPLY: Async = "before-commit-merge-apply";
        /// A prepared region's entries are read, and its target has not been asked yet to take it in.
        BEFORE_MERGE_SCHEDULED: Async = "before-merge-scheduled";
        /// A committed membership change is about to be applied.
        BEFORE_CONF_CHANGE_APPLY: Async = "before-conf-change-apply";
        /// A frame of raft messages is about to be sent; `return` drops it.
        BEFORE_RAFT_SEND: Async = "before-raft-send";
        /// A turn of the raft loop begins.
        BEFORE_TURN: Async = "before-raft-turn";
        /// A peer is asked to lead without a majority; `return` refuses.
        BEFORE_FORCE_LEADER: Sync = "before-force-leader";
        /// Apply is about to hand an engine snapshot to the region worker.
        BEFORE_SNAPSHOT_HANDOVER: Async = "before-snapshot-handover";
    }
}

pub use store::*;
