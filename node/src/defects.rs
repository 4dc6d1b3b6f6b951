//! The historic defects that a node can be told to have: id, upstream issue, mechanism.
//!
//! A defect is a switch at the spot where the sound node does the right thing. Which scenario re-enacts it and which
//! check accuses it is registered by whoever judges nodes.

failpoints::defects! {
    /// The table.
    pub mod table {
        /// Telemetry kills: reading the task's I/O statistics is taken to succeed always.
        TIKV_18030: "tikv-18030" from "tikv#18030"
            = "a missing statistics file kills the store during snapshot generation";
        /// Building lists an earlier snapshot's files before it registers, so that the collector may take them away.
        TIKV_2923: "tikv-2923" from "tikv#2923"
            = "a snapshot file vanishes between listing and building, and the store panics";
        /// The collector believes the state in memory (cancelled, or applied), which may not be durable yet.
        TIKV_11746: "tikv-11746" from "tikv#11746"
            = "snapshot files are collected while the durable state is still Applying";
        /// The snapshot claims an index whose entries have not reached the engine yet.
        TIKV_4716: "tikv-4716" from "tikv#4716"
            = "the engine snapshot is taken before the apply batch is flushed";
        /// Recovery believes the raft log although the engine says that a snapshot replaced it.
        TIKV_12618: "tikv-12618" from "tikv#12618"
            = "the engine and the raft log are not atomic; a crash between them leaves stale log beyond the snapshot";
    }
}

pub use table::*;
