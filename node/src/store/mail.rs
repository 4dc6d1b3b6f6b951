//! What reaches the raft loop: its one queue, and the kinds of mail in it.
//!
//! What the log writer and apply have done lies on a pile beside the queue, in order, and each turn takes the pile first.
//! It calls for a turn of its own only where somebody waits for it; otherwise the next mail or tick will do.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use raft::eraftpb::{ConfChangeV2, Entry, Snapshot};
use tokio::sync::mpsc;

use super::service::Answer;
use crate::{
    fact::Digest,
    region::{PeerId, Region, RegionId, StoreId},
    store::state::{ApplyState, MergeState},
    wire::{kv, peer::PeerMessage, placement, recovery},
};

/// One piece of mail.
#[derive(Debug)]
pub enum Mail {
    /// From a peer on another store. Boxed, since it is the largest.
    Peer(Box<PeerMessage>),
    /// A snapshot's message, with its region; the files are all here.
    Arrived(Box<PeerMessage>, Box<Region>),
    /// From a client.
    Ask(Box<kv::Request>, Answer),
    /// Something on the pile does not wait.
    News,
    /// Apply wrote this.
    Applied(Box<Applied>),
    /// Entries that were not in memory.
    Fetched {
        /// The region.
        region: RegionId,
        /// The peer that asked.
        peer: PeerId,
        /// The entries; none when they are gone.
        entries: Vec<Entry>,
        /// What raft-rs wants to hear.
        context: raft::GetEntriesContext,
    },
    /// What the placement driver knows newer than sleeping peers of these regions do.
    Outdated(Vec<RegionId>),
    /// A store could not be reached.
    Unreachable(StoreId),
    /// A snapshot was built, or building was given up.
    Generated {
        /// The region.
        region: RegionId,
        /// The peer that asked.
        peer: PeerId,
        /// The snapshot.
        snapshot: Option<Snapshot>,
    },
    /// A snapshot's sending ended.
    Sent {
        /// The region.
        region: RegionId,
        /// The sending peer.
        peer: PeerId,
        /// The receiving peer.
        to: PeerId,
        /// Whether all of it arrived.
        arrived: bool,
    },
    /// A snapshot's content is in the engine, or never will be: the peer is being removed.
    SnapshotApplied {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
    },
    /// The placement driver gave ids for a split.
    SplitIds {
        /// The region.
        region: RegionId,
        /// The peer that asked.
        peer: PeerId,
        /// The request to go on with.
        request: Box<kv::Request>,
        /// The keys to split at.
        keys: Vec<bytes::Bytes>,
        /// The ids, or why there are none.
        ids: Result<Vec<placement::ChildIds>, String>,
        /// Who waits.
        answer: Answer,
    },
    /// A region's size was measured; `middle` splits it in two.
    Measured {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
        /// Bytes of its newest versions.
        bytes: u64,
        /// Keys.
        keys: u64,
        /// A key in the middle, if it has more than one.
        middle: Option<bytes::Bytes>,
        /// The split that waits for a key, if one does.
        split: Option<(Box<kv::Request>, Answer)>,
    },
    /// Apply of a merge's target waits until the source has applied its log up to `commit` here.
    CatchUp {
        /// The source.
        region: RegionId,
        /// The region that waits.
        target: RegionId,
        /// Up to here.
        commit: u64,
        /// The entries up to there, as raft-rs encodes them; the first ones may be here already.
        entries: Vec<bytes::Bytes>,
    },
    /// The entries that a prepared region gives along with the commit of its merge.
    MergeEntries {
        /// The region.
        region: RegionId,
        /// The peer.
        peer: PeerId,
        /// The index of the `PrepareMerge`.
        commit: u64,
        /// In order; none when they could not be had.
        entries: Vec<Entry>,
    },
    /// What the placement driver wants done with a region.
    Next(RegionId, Box<placement::Next>),
    /// What the placement driver knows of a region whose peer asked whether it still belongs to it.
    Known(RegionId, PeerId, Option<Box<Region>>),
    /// A region was merged away into this one, which has no peer on this store any more and had none that was made.
    MergedInto(RegionId, PeerId, Box<Region>),
    /// This region should be in the cache, and why.
    LoadIntoCache(RegionId, &'static str),
    /// The region of this key is to be loaded into the cache (`true`) or evicted.
    Cache(bytes::Bytes, bool),
    /// The safe point in force.
    SafePoint(u64),
    /// This store's part of a step of an unsafe recovery.
    Recover(Box<recovery::Plan>),
    /// The range of an empty region that an unsafe recovery wants is clean.
    Cleaned(Box<Region>),
    /// An empty region is durable.
    Created(RegionId),
    /// Something that comes round.
    Round(Round),
    /// End in good order.
    Stop,
}

/// What comes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Drop what is applied from the logs.
    LogCollect,
    /// Look for peers whose region moved on without them.
    StaleCheck,
    /// Report regions to the placement driver.
    RegionHeartbeat,
    /// Consider region sizes.
    SplitCheck,
    /// Stand for election wherever there is no leader.
    Campaign,
}

/// A ready that is durable.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The region.
    pub region: RegionId,
    /// Which peer in memory: one that a split replaces has the same id, and readies of the same numbers.
    pub instance: u64,
    /// The ready's number.
    pub number: u64,
    /// Whether the peer waits for it.
    pub urgent: bool,
}

/// What apply did for one region.
#[derive(Debug)]
pub struct Applied {
    /// The region.
    pub region: RegionId,
    /// The peer.
    pub peer: PeerId,
    /// The apply state, as written.
    pub state: ApplyState,
    /// Bytes written to the region since the last one.
    pub bytes: u64,
    /// Keys written to the region since the last one.
    pub keys: u64,
    /// What else happened, in order.
    pub events: Vec<Event>,
    /// Whether this was the last: the peer is to be removed.
    pub closed: bool,
}

/// What an applied entry changed beside data.
#[derive(Debug)]
pub enum Event {
    /// An admin command at this index ended, with or without effect.
    AdminEnded(u64),
    /// The membership changed.
    ConfChanged {
        /// The entry.
        index: u64,
        /// For raft-rs.
        change: ConfChangeV2,
        /// The region afterwards.
        region: Region,
    },
    /// The region was split.
    Split {
        /// The entry.
        index: u64,
        /// The region afterwards.
        parent: Region,
        /// The new regions, in key order, and whether their peer here was created.
        children: Vec<(Region, bool)>,
        /// The children's safe point, newest version.
        state: ApplyState,
    },
    /// The region is prepared for a merge.
    PrepareMerge {
        /// The entry.
        index: u64,
        /// The region afterwards.
        region: Region,
        /// What it is prepared for.
        merge: MergeState,
    },
    /// The region has taken in a neighbour.
    CommitMerge {
        /// The entry.
        index: u64,
        /// The region afterwards.
        region: Region,
        /// The neighbour as it was last.
        source: Region,
        /// The neighbour's peer here, whose tombstone was written with the same batch.
        peer: PeerId,
    },
    /// The region goes on alone.
    RollbackMerge {
        /// The entry.
        index: u64,
        /// The region afterwards.
        region: Region,
    },
    /// The log may be dropped up to an index.
    CompactLog(u64, u64),
    /// A hash was computed.
    Hashed {
        /// As of this entry.
        index: u64,
        /// The hash.
        digest: Digest,
    },
}

impl Applied {
    /// Whether it says no more than how far apply is.
    pub fn is_plain(&self) -> bool {
        self.events.is_empty() && !self.closed
    }
}

/// What was done for the loop, and for whom it does not wait.
#[derive(Debug, Default)]
struct Pile {
    written: Vec<Written>,
    applied: Vec<Applied>,
    /// Regions whose peer waits for what comes.
    urgent: BTreeSet<RegionId>,
    /// A turn comes before long, since the loop has a tick.
    ticking: bool,
    /// The loop was called already.
    called: bool,
}

/// The way into the raft loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailbox {
    queue: mpsc::UnboundedSender<Mail>,
    pile: Arc<Mutex<Pile>>,
}

impl Mailbox {
    /// A mailbox and its end.
    pub fn new() -> (Mailbox, mpsc::UnboundedReceiver<Mail>) {
        let (queue, receiver) = mpsc::unbounded_channel();
        (Mailbox { queue, pile: Arc::default() }, receiver)
    }

    /// Sends; what arrives after the loop ended is dropped, and answers in it say so.
    pub fn send(&self, mail: Mail) {
        let _ = self.queue.send(mail);
    }

    /// The log writer made these durable.
    pub fn written(&self, all: &mut Vec<Written>) {
        let mut pile = self.pile.lock();
        let urgent = all.iter().any(|written| written.urgent || pile.urgent.contains(&written.region));
        pile.written.append(all);
        self.call(&mut pile, urgent);
    }

    /// Apply wrote these.
    pub fn applied(&self, all: &mut Vec<Applied>) {
        let mut pile = self.pile.lock();
        let urgent = all.iter().any(|applied| !applied.is_plain() || pile.urgent.contains(&applied.region));
        pile.applied.append(all);
        self.call(&mut pile, urgent);
    }

    fn call(&self, pile: &mut Pile, urgent: bool) {
        if (urgent || !pile.ticking) && !std::mem::replace(&mut pile.called, true) {
            self.send(Mail::News);
        }
    }

    /// Whether a region's peer waits for what the log writer and apply do.
    pub fn set_urgent(&self, region: RegionId, urgent: bool) {
        let pile = &mut self.pile.lock().urgent;
        if urgent {
            pile.insert(region)
        } else {
            pile.remove(&region)
        };
    }

    /// Whether the loop has a tick. Without one it is called for whatever lies on the pile, and comes.
    pub fn set_ticking(&self, ticking: bool) {
        let mut pile = self.pile.lock();
        pile.ticking = ticking;
        if !(pile.written.is_empty() && pile.applied.is_empty()) {
            self.call(&mut pile, false);
        }
    }

    /// Takes the pile into these, which are empty.
    pub fn take(&self, written: &mut Vec<Written>, applied: &mut Vec<Applied>) {
        let mut pile = self.pile.lock();
        std::mem::swap(&mut pile.written, written);
        std::mem::swap(&mut pile.applied, applied);
        pile.called = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(region: RegionId, urgent: bool) -> Vec<Written> {
        vec![Written { region, instance: 1, number: 1, urgent }]
    }

    #[test]
    fn the_loop_is_called_once_and_only_where_somebody_waits() {
        let (mailbox, mut queue) = Mailbox::new();
        let mut called = || std::iter::from_fn(|| queue.try_recv().ok()).count();
        mailbox.set_ticking(true);
        mailbox.written(&mut written(1, false));
        assert_eq!(called(), 0);
        mailbox.set_urgent(2, true);
        mailbox.written(&mut written(2, false));
        mailbox.written(&mut written(1, true));
        assert_eq!(called(), 1);
        let (mut all, mut applied) = (Vec::new(), Vec::new());
        mailbox.take(&mut all, &mut applied);
        assert_eq!(all.iter().map(|written| written.region).collect::<Vec<_>>(), [1, 2, 1]);
        mailbox.set_urgent(2, false);
        mailbox.written(&mut written(2, false));
        assert_eq!(called(), 0);
        mailbox.set_ticking(false);
        assert_eq!(called(), 1, "nothing else would come");
    }
}
