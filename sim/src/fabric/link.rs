//! One directed link between two processes: delay, capacity, clog, and what it does to lossy channels.
//!
//! Not in here: partitions; a rule cuts, a link is only slow.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    latency::Latency,
    seed::{Seed, Stream},
};

/// How a directed link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// How long a frame is under way, once sent off.
    pub delay: Latency,
    /// How fast frames are sent off, one after the other; 0 for at once.
    pub bytes_per_second: u64,
    /// Holds every frame until it is clogged no more.
    pub clogged: bool,
    /// Of a million frames of lossy channels, so many are lost,
    pub drop_per_million: u32,
    /// so many are doubled,
    pub duplicate_per_million: u32,
    /// and so many may be overtaken.
    pub reorder_per_million: u32,
}

impl Default for Link {
    /// A link within a data centre, which loses nothing.
    fn default() -> Self {
        Link {
            delay: Latency::between(100_000, 500_000),
            bytes_per_second: 0,
            clogged: false,
            drop_per_million: 0,
            duplicate_per_million: 0,
            reorder_per_million: 0,
        }
    }
}

/// A link and its state.
pub(crate) struct LinkCell {
    state: Mutex<State>,
}

struct State {
    link: Link,
    stream: Stream,
    busy_until_ns: u64,
}

/// When a frame arrives, and what else befalls it.
pub(crate) struct Passage {
    pub(crate) due_ns: u64,
    pub(crate) dropped: bool,
    pub(crate) duplicate_ns: Option<u64>,
    pub(crate) reordered: bool,
}

impl LinkCell {
    pub(crate) fn new(seed: Seed, link: Link) -> Arc<Self> {
        Arc::new(LinkCell { state: Mutex::new(State { link, stream: seed.stream(), busy_until_ns: 0 }) })
    }

    pub(crate) fn set(&self, link: Link) {
        self.state.lock().link = link;
    }

    pub(crate) fn get(&self) -> Link {
        self.state.lock().link
    }

    pub(crate) fn is_clogged(&self) -> bool {
        self.state.lock().link.clogged
    }

    pub(crate) fn pass(&self, now_ns: u64, len: usize, lossy: bool) -> Passage {
        let mut state = self.state.lock();
        let State { link, stream, busy_until_ns } = &mut *state;
        let mut off_ns = now_ns;
        if link.bytes_per_second > 0 {
            let takes_ns = u128::from(len as u64) * 1_000_000_000 / u128::from(link.bytes_per_second);
            off_ns = now_ns.max(*busy_until_ns) + takes_ns as u64;
            *busy_until_ns = off_ns;
        }
        let mut passage =
            Passage { due_ns: off_ns + link.delay.draw(stream), dropped: false, duplicate_ns: None, reordered: false };
        if lossy {
            let mut happens = |per_million: u32| per_million > 0 && stream.ratio(u64::from(per_million), 1_000_000);
            passage.dropped = happens(link.drop_per_million);
            passage.reordered = happens(link.reorder_per_million);
            if happens(link.duplicate_per_million) {
                passage.duplicate_ns = Some(off_ns + link.delay.draw(stream));
            }
            if passage.reordered {
                // Far enough that those behind do overtake.
                passage.due_ns += link.delay.draw(stream) + link.delay.max_ns;
            }
        }
        passage
    }
}
