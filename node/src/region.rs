//! Region, epoch, peer: the values that name a shard of the key space, and their rules. No I/O.

use std::fmt;

use bytes::Bytes;

/// Names a region for ever.
pub type RegionId = u64;
/// Names one replica of one region for ever; a removed peer's id never returns.
pub type PeerId = u64;
/// Names a store for ever.
pub type StoreId = u64;

/// Which generation of a region a request or a peer knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message, serde::Serialize, serde::Deserialize)]
pub struct Epoch {
    /// Grows with every membership change.
    #[prost(uint64, tag = "1")]
    pub conf_ver: u64,
    /// Grows with every change of the range: split, merge.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

/// What a peer is in its region's configuration.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration, serde::Serialize, serde::Deserialize,
)]
#[repr(i32)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Votes and counts.
    Voter = 0,
    /// Receives the log, does not vote.
    Learner = 1,
    /// A voter only of the incoming half of a joint configuration.
    IncomingVoter = 2,
    /// A voter only of the outgoing half, to become a learner.
    DemotingVoter = 3,
}

/// One replica of a region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message, serde::Serialize, serde::Deserialize)]
pub struct Peer {
    /// The replica's id.
    #[prost(uint64, tag = "1")]
    pub id: PeerId,
    /// The store it lives on.
    #[prost(uint64, tag = "2")]
    pub store: StoreId,
    /// Its role, a [`Role`] as a number.
    #[prost(enumeration = "Role", tag = "3")]
    pub role: i32,
}

/// A contiguous range of keys and its replicas.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message, serde::Serialize, serde::Deserialize)]
pub struct Region {
    /// The region's id.
    #[prost(uint64, tag = "1")]
    pub id: RegionId,
    /// The first key, inclusive.
    #[prost(bytes = "bytes", tag = "2")]
    pub start: Bytes,
    /// The end, exclusive; empty means the end of the key space.
    #[prost(bytes = "bytes", tag = "3")]
    pub end: Bytes,
    /// The generation.
    #[prost(message, required, tag = "4")]
    pub epoch: Epoch,
    /// The replicas. Empty for a peer that has not been initialised yet.
    #[prost(message, repeated, tag = "5")]
    pub peers: Vec<Peer>,
}

impl Region {
    /// Whether `key` lies in the region's range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }

    /// Whether two regions share a key.
    pub fn overlaps(&self, other: &Region) -> bool {
        (self.end.is_empty() || other.start < self.end) && (other.end.is_empty() || self.start < other.end)
    }

    /// Whether the peer has its range and configuration: a new one gets them with its first snapshot.
    pub fn is_initialized(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Whether the region ends where the other begins, or begins where it ends.
    pub fn adjoins(&self, other: &Region) -> bool {
        let touch = |left: &Region, right: &Region| !left.end.is_empty() && left.end == right.start;
        self.id != other.id && (touch(self, other) || touch(other, self))
    }

    /// Whether the replicas of both live on the same stores, in the same roles.
    pub fn lives_with(&self, other: &Region) -> bool {
        let places = |region: &Region| {
            let mut places: Vec<_> = region.peers.iter().map(|peer| (peer.store, peer.role)).collect();
            places.sort_unstable();
            places
        };
        places(self) == places(other)
    }

    /// The replica on a store.
    pub fn peer_on(&self, store: StoreId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.store == store)
    }

    /// The replica with an id.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }
}

/// `region 5 [k1, k2) at 3.4: voter 7 on store 2, learner 8 on store 3`; the epoch is version and configuration.
impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start.escape_ascii(), self.end.escape_ascii());
        write!(out, "region {} [{start}, {end}) at {}.{}", self.id, self.epoch.version, self.epoch.conf_ver)?;
        for (number, peer) in self.peers.iter().enumerate() {
            let role = match peer.role() {
                Role::Voter => "voter",
                Role::Learner => "learner",
                Role::IncomingVoter => "incoming voter",
                Role::DemotingVoter => "demoting voter",
            };
            write!(out, "{} {role} {} on store {}", if number == 0 { ":" } else { "," }, peer.id, peer.store)?;
        }
        Ok(())
    }
}

/// A range's end as a map key: the end of all keys is behind every key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Before this key.
    Key(Bytes),
    /// Behind all keys.
    Last,
}

impl End {
    /// Of a range whose end is empty when it is the end of all keys.
    pub fn of(end: &Bytes) -> End {
        if end.is_empty() { End::Last } else { End::Key(end.clone()) }
    }
}

/// Whether a region can elect a leader without its lost peers: by its incoming voters alone, or by both halves of a
/// joint configuration.
pub fn has_majority(region: &Region, is_lost: impl Fn(&Peer) -> bool, only_incoming: bool) -> bool {
    let quorum = |roles: [Role; 2]| {
        let voters = region.peers.iter().filter(|peer| roles.contains(&peer.role()));
        let (lost, left): (Vec<&Peer>, Vec<&Peer>) = voters.partition(|peer| is_lost(peer));
        lost.len() < left.len()
    };
    quorum([Role::Voter, Role::IncomingVoter]) && (only_incoming || quorum([Role::Voter, Role::DemotingVoter]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_written_for_people() {
        let peer = |id, store, role: Role| Peer { id, store, role: role as i32 };
        let region = Region {
            id: 5,
            start: b"k1"[..].into(),
            end: Bytes::new(),
            epoch: Epoch { conf_ver: 4, version: 3 },
            peers: vec![peer(7, 2, Role::Voter), peer(8, 3, Role::Learner)],
        };
        assert_eq!(region.to_string(), "region 5 [k1, ) at 3.4: voter 7 on store 2, learner 8 on store 3");
    }
}
