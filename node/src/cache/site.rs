//! Where the region cache can misbehave.

failpoints::sites! {
    /// The sites of the region cache. None is passed while the cache is off.
    pub mod table in "cache" {
        /// Apply is about to look whether a region is cached, before it applies entries of it.
        BEFORE_PREPARE: Async = "cache-before-prepare";
        /// A region is to be loaded; the engine snapshot is not taken yet.
        BEFORE_SNAPSHOT: Async = "cache-before-snapshot";
        /// A load is scheduled and has not begun.
        BEFORE_LOAD: Async = "cache-before-load";
        /// Between two steps of a load.
        DURING_LOAD: Async = "cache-during-load";
        /// Everything is loaded, and the region is not active yet.
        BEFORE_ACTIVE: Async = "cache-before-active";
        /// Before a round collects old versions; `return` skips it.
        BEFORE_COLLECT: Async = "cache-before-collect";
        /// Before the data of an evicted region is deleted.
        BEFORE_DELETE: Async = "cache-before-delete";
        /// Before each step of a scan of the cache.
        DURING_SCAN: Async = "cache-during-scan";
    }
}

pub use table::*;
