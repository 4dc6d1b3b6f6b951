//! Defects that no release ever had: planted so that tests can show that a check would see them.
//!
//! They are switched on like historic defects, and like those are not in a production binary.

failpoints::defects! {
    /// Planted defects.
    pub mod table {
        /// A compaction loses one key that is alive.
        COMPACTION_DROPS_A_KEY: "compaction-drops-a-key" from "planted" = "the first live user key of a compaction is not written out";
    }
}

pub use table::*;
