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
        /// A split that leaves a child alone has put its range into the map already.
        TIKV_8783: "tikv-8783" from "tikv#8783"
            = "a split inserts the range before its check and then skips the region";
        /// The peer that a split replaces goes on with the mail it has.
        TIKV_17469: "tikv-17469" from "tikv#17469"
            = "a peer replaced by a split still drains its mailbox";
        /// A new leader answers with the commit index that it had as a follower.
        TIKV_9208: "tikv-9208" from "tikv#9208"
            = "a read index is served before the leader has committed in its own term";
        /// A restart forgets that the old leader may still count on this vote.
        TIKV_15035: "tikv-15035" from "tikv#15035"
            = "a restarted follower votes inside the old leader's lease";
        /// A snapshot begins, and the sources of the merges that it contains are destroyed afterwards.
        TIKV_7002: "tikv-7002" from "tikv#7002"
            = "destroying an overlapped peer and applying the snapshot are two writes, not one";
        /// The tombstone of a peer without a range names nobody.
        TIKV_10533: "tikv-10533" from "tikv#10533"
            = "destroying an uninitialized peer forgets its id: the old peer returns and votes";
        /// The observer of applied snapshots takes a follower to be cached never.
        TIKV_17405: "tikv-17405" from "tikv#17405"
            = "an applied snapshot bumps the epoch unseen by the region cache";
        /// The observer of admin commands does not know this one.
        TIKV_18008: "tikv-18008" from "tikv#18008"
            = "RollbackMerge bumps the epoch unseen by the region cache";
        /// A load makes its region Loading when it begins, and looks for that region's id only.
        TIKV_17403: "tikv-17403" from "tikv#17403"
            = "a child of a split Pending region never starts loading";
        /// The engine snapshot of a load is taken while apply still has writes that it kept from the cache.
        TIKV_17645: "tikv-17645" from "tikv#17645"
            = "data applied but not flushed is missed when a load is scheduled";
        /// Collection looks at the snapshots of the region, and not at those of what it was split from.
        TIKV_17282: "tikv-17282" from "tikv#17282"
            = "cache collection removes versions that a live snapshot needs";
        /// Nothing of a peer that has no range yet is written: neither that it exists nor how it voted.
        TIKV_9579: "tikv-9579" from "tikv#9579"
            = "the hard state of an uninitialized peer is not saved: its vote is lost on restart";
        /// A leader that applies its own removal goes at once.
        TIKV_10595: "tikv-10595" from "tikv#10595"
            = "in a two-replica region the leader removes itself before telling the other";
        /// The embargo on votes is counted in election timeouts, which never end while a cluster is being restored.
        TIKV_15296: "tikv-15296" from "tikv#15296"
            = "the vote embargo after a restart drops every vote while a snapshot is restored";
        /// The lease is taken as the settings have it.
        TIKV_9728: "tikv-9728" from "tikv#9728"
            = "the lease may be as long as the election timeout";
        /// The acknowledgement overtakes the sync.
        TIKV_994: "tikv-994" from "tikv#994"
            = "an append is acknowledged before it is durable";
        /// A force leader's demotion makes lost voters learners, and leaves lost learners alone.
        TIKV_18458: "tikv-18458" from "tikv#18458"
            = "demotion of failed voters skips learners: the dead learner stays in the region";
        /// What a force leader counts on and its store does not have is not looked for.
        PD_9624: "pd-9624" from "pd#9624"
            = "the newest learner on a live store is tombstoned and no one notices the orphan";
        /// A force leader commits what every peer has that is not on a failed store, learners included.
        TIKV_18197: "tikv-18197" from "tikv#18197"
            = "a tombstoned learner holds back commit forwarding under a force leader";
        /// Once empty regions were created, nothing is looked at again.
        PD_6859: "pd-6859" from "pd#6859"
            = "a snapshot is in flight while the placement driver fills the hole: the hole remains, state Finished";
        /// Whoever has nothing to do in a retry gets an empty plan.
        PD_5085: "pd-5085" from "pd#5085"
            = "an empty plan on retry makes other force leaders step down, for ever";
        /// A demotion that ends early leaves its state behind, and the next plan finds the peer busy.
        TIKV_12644: "tikv-12644" from "tikv#12644"
            = "an early return leaves the recovery state set: the next run hangs";
        /// Whatever the placement driver refuses is taken for a failure of the connection, and tried again, loudly.
        TIKV_17875: "tikv-17875" from "tikv#17875"
            = "\"store not found\" is a generic error: the connection is retried for ever, loudly";
        /// The remedy for the former: a store that is not found is given up.
        TIKV_19980: "tikv-19980" from "tikv#19980"
            = "\"store not found\" is taken as a tombstone: a store that registers late is blocked for ever";
        /// Which replica is one too many is decided by where it is, not by what it has.
        PD_4045: "pd-4045" from "pd#4045"
            = "the wrong pending peer is removed, and with it the last healthy copy";
        /// Records of tombstones are deleted without a look at what is on them; whoever is there can never be given up.
        PD_3664: "pd-3664" from "pd#3664"
            = "a store record is deleted while peers remain on it";
        /// Blob files get the newest header, and the manifest the newest tag, whether or not the release is to be rolled back.
        TITAN_323: "titan-323" from "tikv#18003"
            = "release 8.1.2-pre writes blob header v3 and manifest tag 14 with the feature off; 8.1.0 cannot read them";
        /// The newest header and tag are unknown again, although a shipped release wrote them.
        TITAN_329: "titan-329" from "tikv#18263"
            = "the revert cannot read v3 files that a shipped release wrote";
        /// The oldest header is taken to be as long as its successor.
        TITAN_221: "titan-221" from "titan#221"
            = "a v1 blob header is read with the v2 length";
        /// The old release makes room for a log of its own, and the new one imports whatever it finds there.
        TIKV_12045: "tikv-12045" from "tikv#12045"
            = "rollback creates an empty raft log beside the real one; the next upgrade imports it and clears the real one";
    }
}

pub use table::*;
