//! The settings of the region cache, named as upstream names them where it has them.

use std::time::Duration;

use bytes::Bytes;

/// The settings of a store's region cache.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether there is a cache at all.
    pub enabled: bool,
    /// Ranges of user keys whose regions are loaded as soon as their leader is here. An empty end is the end of all keys.
    pub manual_ranges: Vec<(Bytes, Bytes)>,
    /// From so many bytes on nothing is loaded, above them regions are evicted; from a quarter more on, what is written to.
    pub evict_bytes: usize,
    /// How long after something happened the next round comes: collection, cross-check, hot regions.
    pub tick: Duration,
    /// A region that serves so many reads between two rounds is loaded.
    pub hot_reads: u64,
    /// One scan of so many is compared with the engine.
    pub audit_every: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            enabled: false,
            manual_ranges: Vec::new(),
            evict_bytes: 16 << 20,
            tick: Duration::from_secs(1),
            hot_reads: 100,
            audit_every: 4,
        }
    }
}

impl Options {
    /// From where on the cache takes nothing more.
    pub fn limit_bytes(&self) -> usize {
        self.evict_bytes + self.evict_bytes / 4
    }

    /// Whether a region with this range is loaded by the store that leads it.
    pub fn is_manual(&self, start: &[u8], end: &[u8]) -> bool {
        self.manual_ranges.iter().any(|(from, to)| {
            let begins = from[..] <= *start;
            let ends = to.is_empty() || (!end.is_empty() && *end <= to[..]);
            begins && ends
        })
    }
}
