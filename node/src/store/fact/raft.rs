//! What one peer's consensus states.

use crate::{
    env::Instant,
    fact::Text,
    region::{PeerId, RegionId, StoreId},
};

crate::facts! { room "raft" wraps Raft;
    /// A peer exists in memory; a new one has no range until its first snapshot.
    PeerCreated "peer-created" { region: RegionId, peer: PeerId, initialized: bool }
    /// A peer was read back at start: its hard state and the span of its log.
    PeerRecovered "peer-recovered" { region: RegionId, peer: PeerId, term: u64, vote: PeerId, commit: u64, applied: u64, truncated_index: u64, truncated_term: u64, last_index: u64, last_term: u64 }
    /// A peer takes no further message; its mailbox is closed. `instance` tells peers in memory apart, since a split
    /// replaces an uninitialised peer by one of the same id: it counts them over one life of the process.
    PeerClosed "peer-closed" { region: RegionId, peer: PeerId, reason: Text, instance: u64 }
    /// A peer was closed with `count` messages still in its mailbox.
    MailLeftBehind "mail-left-behind" { region: RegionId, peer: PeerId, count: u64 }
    /// A peer and its data are gone for good.
    PeerDestroyed "peer-destroyed" { region: RegionId, peer: PeerId, reason: Text }
    /// A peer took messages from its mailbox; `instance` as in `peer-closed`.
    MessagesHandled "messages-handled" { region: RegionId, peer: PeerId, count: u64, instance: u64 }
    /// A peer changed its role: `follower`, `pre-candidate`, `candidate`, `leader`.
    RoleChanged "role-changed" { region: RegionId, peer: PeerId, term: u64, role: Text }
    /// A candidate won its election; its log ends at `last_index`.
    Elected "elected" { region: RegionId, peer: PeerId, term: u64, last_index: u64, last_term: u64 }
    /// A vote is about to be sent; it has to be durable by now. Pre-votes and rejections are not stated.
    VoteSent "vote-sent" { region: RegionId, peer: PeerId, term: u64, to: PeerId }
    /// A peer was asked for its vote or pre-vote; `embargo` when less than an election timeout has passed since its store started.
    VoteAsked "vote-asked" { region: RegionId, peer: PeerId, term: u64, from: PeerId, embargo: bool }
    /// A vote or pre-vote was withheld because the election timeout after a restart has not passed.
    VoteWithheld "vote-withheld" { region: RegionId, peer: PeerId, term: u64, to: PeerId }
    /// An append up to `index` is about to be acknowledged (by a leader: to itself); it has to be durable by now.
    Acknowledged "append-acknowledged" { region: RegionId, peer: PeerId, term: u64, index: u64 }
    /// A peer learned that entries up to `index` are committed.
    Committed "committed" { region: RegionId, peer: PeerId, term: u64, index: u64 }
    /// A leader proposed an entry: `normal`, `conf-change`, `split`, `compact-log`, `compute-hash`, …
    Proposed "proposed" { region: RegionId, peer: PeerId, term: u64, kind: Text }
    /// A leader may serve reads alone until `until`, by its own monotonic clock; `from` is where the lease counts from.
    LeaseRenewed "lease-renewed" { region: RegionId, peer: PeerId, term: u64, from: Instant, until: Instant }
    /// A leader gave its lease up early.
    LeaseRevoked "lease-revoked" { region: RegionId, peer: PeerId, term: u64, reason: Text }
    /// A read was served: `by` is `lease`, `read-index` or `replica`.
    ReadServed "read-served" { region: RegionId, peer: PeerId, term: u64, by: Text, applied: u64 }
    /// A leader answered a read-index request with its commit index, before or after it committed in its own term.
    ReadIndexAnswered "read-index-answered" { region: RegionId, peer: PeerId, term: u64, index: u64, committed_in_term: bool }
    /// Reads want to know what is committed, of a leader that has not committed in its own term yet.
    ReadIndexEarly "read-index-asked-early" { region: RegionId, peer: PeerId, term: u64 }
    /// A request was refused: `not-leader`, `epoch-not-match`, `store-not-match`, `server-is-busy`, `stale-command`, ….
    Refused "request-refused" { region: RegionId, peer: PeerId, reason: Text }
    /// An idle region went to sleep.
    Hibernated "region-hibernated" { region: RegionId, peer: PeerId }
    /// A sleeping region woke up.
    Woken "region-woken" { region: RegionId, peer: PeerId, reason: Text }
    /// A leader hands leadership over.
    TransferStarted "leader-transfer-started" { region: RegionId, peer: PeerId, to: PeerId }
    /// A peer suspects that its region has moved on without it and asks around.
    StaleSuspected "stale-peer-suspected" { region: RegionId, peer: PeerId }
    /// A message from or for a peer that was removed was dropped, and its sender told.
    StaleMessage "stale-message-dropped" { region: RegionId, from: PeerId, from_store: StoreId, to: PeerId }
    /// The leader needs a snapshot for a follower whose next entry was compacted away.
    SnapshotWanted "snapshot-wanted" { region: RegionId, peer: PeerId, to: PeerId }
}
