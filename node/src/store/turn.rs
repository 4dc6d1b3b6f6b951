//! One turn of the raft loop: what its peers want done, gathered, and handed to the other tasks at the end.
//!
//! Peers do no I/O and know no other task: they push into this. So everything of one turn travels together: one write
//! of the log, one batch for apply, one frame a store.

use std::{cell::Cell, sync::Arc};

use raft::eraftpb::Message;

use super::{
    apply,
    log_writer::LogTask,
    mail::Mailbox,
    options::Options,
    peer::log::Cold,
    raft_client::Outgoing,
    service::{Answer, Read},
};
use crate::{
    cache::Cache,
    env::{Env, Instant},
    region::{Peer, PeerId, Region, RegionId, StoreId},
    wire::kv,
};

/// What the peers of one turn want done.
pub struct Turn {
    /// The node's surroundings.
    pub env: Env,
    /// Settings.
    pub options: Arc<Options>,
    /// This store.
    pub store: StoreId,
    /// The way back into the loop.
    pub mailbox: Mailbox,
    /// Drains raft-rs's log.
    pub logger: slog::Logger,
    /// How many peers were made in this life of the process.
    pub instances: Cell<u64>,
    /// When the turn began.
    pub now: Instant,
    /// For the log writer.
    pub log: LogTask,
    /// For apply.
    pub apply: Vec<apply::Task>,
    /// Messages that promise nothing.
    pub out: Vec<Outgoing>,
    /// Reads that may be served, with the region's safe point.
    pub served: Vec<(Arc<Region>, u64, Vec<Read>)>,
    /// For the raft loop itself.
    pub wishes: Vec<Wish>,
    /// The region cache, if there is one.
    pub cache: Option<Cache>,
}

/// What a peer asks of the store that hosts it.
pub enum Wish {
    /// Entries that are not in memory.
    Fetch(RegionId, PeerId, Cold),
    /// A snapshot for a follower.
    Generate(RegionId, PeerId),
    /// A built snapshot is to travel with this message.
    Send(Arc<Region>, Peer, Peer, Box<Message>),
    /// A snapshot replaces this region by that one.
    Replace(Arc<Region>, Arc<Region>, PeerId, u64),
    /// The durable state is Applying: the snapshot's files may go into the engine.
    Apply(RegionId, PeerId),
    /// Ids for a split.
    AskSplit(RegionId, PeerId, Box<kv::Request>, Vec<bytes::Bytes>, Answer),
    /// A key in the middle of the region.
    Measure(RegionId, PeerId, Option<(Box<kv::Request>, Answer)>),
    /// The peer learned that it was removed.
    Destroy(RegionId, PeerId, &'static str),
    /// The region is to merge into a neighbour.
    AskMerge(RegionId, PeerId, RegionId, Answer),
    /// A prepared region looks at its target.
    CheckMerge(RegionId),
    /// The peer was told that its region was merged away, into this one.
    Merged(RegionId, PeerId, Region),
    /// The region's leader is new or its region is: the placement driver should hear of it now.
    Report(RegionId),
}

impl Turn {
    /// The number of the next peer in memory.
    pub fn next_instance(&self) -> u64 {
        self.instances.set(self.instances.get() + 1);
        self.instances.get()
    }

    /// A turn that begins now.
    pub fn begin(&mut self) {
        self.now = self.env.now();
    }
}
