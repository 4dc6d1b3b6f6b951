//! Membership changes as values: what is allowed, and what a region and raft's configuration become.
//!
//! One change alone is applied at once; several go through a joint configuration, which the leader leaves by an empty
//! change. A voter leaves a region by being demoted first when others change with it.
//!
//! Not here: proposing and applying.

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::{
    region::{Peer, PeerId, Region, Role},
    wire::command::{ChangeKind, PeerChange},
};

/// Raft's configuration of a region.
pub fn conf_state(region: &Region) -> ConfState {
    let mut conf = ConfState::default();
    for peer in &region.peers {
        match peer.role() {
            Role::Voter => {
                conf.voters.push(peer.id);
                conf.voters_outgoing.push(peer.id);
            }
            Role::Learner => conf.learners.push(peer.id),
            Role::IncomingVoter => conf.voters.push(peer.id),
            Role::DemotingVoter => {
                conf.voters_outgoing.push(peer.id);
                conf.learners_next.push(peer.id);
            }
        }
    }
    if !is_joint(region) {
        conf.voters_outgoing.clear();
    }
    conf
}

/// Whether a peer has a vote once its region has left a joint configuration.
pub fn votes(peer: &Peer) -> bool {
    matches!(peer.role(), Role::Voter | Role::IncomingVoter)
}

/// Whether a region is between two configurations.
pub fn is_joint(region: &Region) -> bool {
    region.peers.iter().any(|peer| matches!(peer.role(), Role::IncomingVoter | Role::DemotingVoter))
}

/// Whether `leader` may propose the changes; otherwise why not.
pub fn check(region: &Region, leader: PeerId, changes: &[PeerChange]) -> Result<(), String> {
    if changes.is_empty() {
        return if is_joint(region) { Ok(()) } else { Err("there is no joint configuration to leave".to_owned()) };
    }
    if is_joint(region) {
        return Err("the region is in a joint configuration".to_owned());
    }
    for (at, change) in changes.iter().enumerate() {
        let peer = &change.peer;
        if peer.id == 0 || peer.store == 0 {
            return Err("a peer needs an id and a store".to_owned());
        }
        if changes[..at].iter().any(|other| other.peer.id == peer.id || other.peer.store == peer.store) {
            return Err(format!("peer {} on store {} is named twice", peer.id, peer.store));
        }
        let known = region.peer(peer.id);
        if known.is_some_and(|known| known.store != peer.store) {
            return Err(format!("peer {} is not on store {}", peer.id, peer.store));
        }
        match (change.kind(), known.map(Peer::role)) {
            (ChangeKind::AddVoter, Some(Role::Voter)) | (ChangeKind::AddLearner, Some(Role::Learner)) => {
                return Err(format!("peer {} has that role already", peer.id));
            }
            (ChangeKind::AddVoter | ChangeKind::AddLearner, None) if region.peer_on(peer.store).is_some() => {
                return Err(format!("store {} has a peer of the region already", peer.store));
            }
            (ChangeKind::Remove, None) => return Err(format!("there is no peer {}", peer.id)),
            (ChangeKind::AddLearner | ChangeKind::Remove, Some(_)) if peer.id == leader => {
                return Err("the leader neither demotes nor removes itself".to_owned());
            }
            (ChangeKind::Remove, Some(Role::Voter)) if changes.len() > 1 => {
                return Err(format!("voter {} has to be demoted before others change with it", peer.id));
            }
            _ => {}
        }
    }
    let after = leave(&change(region, changes));
    if !after.peers.iter().any(|peer| peer.role() == Role::Voter) {
        return Err("no voter would be left".to_owned());
    }
    Ok(())
}

/// The region after the changes: joint if there are several.
pub fn change(region: &Region, changes: &[PeerChange]) -> Region {
    if changes.is_empty() {
        return leave(region);
    }
    let joint = changes.len() > 1;
    let mut after = region.clone();
    for change in changes {
        let at = after.peers.iter().position(|peer| peer.id == change.peer.id);
        let role = match (change.kind(), joint) {
            (ChangeKind::Remove, _) => {
                after.peers.retain(|peer| peer.id != change.peer.id);
                continue;
            }
            (ChangeKind::AddVoter, false) => Role::Voter,
            (ChangeKind::AddVoter, true) => Role::IncomingVoter,
            (ChangeKind::AddLearner, true) if at.is_some() => Role::DemotingVoter,
            (ChangeKind::AddLearner, _) => Role::Learner,
        };
        match at {
            Some(at) => after.peers[at].set_role(role),
            None => after.peers.push(Peer { id: change.peer.id, store: change.peer.store, role: role as i32 }),
        }
    }
    after.epoch.conf_ver += changes.len() as u64;
    after
}

/// The region after it left its joint configuration.
pub fn leave(region: &Region) -> Region {
    let mut after = region.clone();
    for peer in &mut after.peers {
        let role = match peer.role() {
            Role::IncomingVoter => Role::Voter,
            Role::DemotingVoter => Role::Learner,
            _ => continue,
        };
        peer.set_role(role);
    }
    after.epoch.conf_ver += 1;
    after
}

/// The changes as raft takes them; `command` travels as their context.
pub fn to_raft(changes: &[PeerChange], command: Vec<u8>) -> ConfChangeV2 {
    let mut all = ConfChangeV2::default();
    for change in changes {
        let mut single = ConfChangeSingle::default();
        single.set_change_type(match change.kind() {
            ChangeKind::AddVoter => ConfChangeType::AddNode,
            ChangeKind::AddLearner => ConfChangeType::AddLearnerNode,
            ChangeKind::Remove => ConfChangeType::RemoveNode,
        });
        single.node_id = change.peer.id;
        all.mut_changes().push(single);
    }
    if changes.len() > 1 {
        all.set_transition(ConfChangeTransition::Explicit);
    }
    all.context = command.into();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(peers: &[(u64, Role)]) -> Region {
        let peer = |&(id, role): &(u64, Role)| Peer { id, store: id % 10, role: role as i32 };
        Region { id: 2, peers: peers.iter().map(peer).collect(), ..Region::default() }
    }

    fn one(kind: ChangeKind, id: u64) -> PeerChange {
        PeerChange { kind: kind as i32, peer: Peer { id, store: id % 10, role: 0 } }
    }

    #[test]
    fn allowed_changes() {
        use ChangeKind::*;
        use Role::*;
        let three = region(&[(1, Voter), (2, Voter), (3, Learner)]);
        let table: &[(&[PeerChange], Result<(), &str>)] = &[
            (&[one(AddVoter, 4)], Ok(())),
            (&[one(AddVoter, 3)], Ok(())),
            (&[one(AddVoter, 2)], Err("already")),
            (&[one(AddVoter, 12)], Err("store 2 has a peer")),
            (&[one(Remove, 2)], Ok(())),
            (&[one(Remove, 1)], Err("leader")),
            (&[one(AddLearner, 1)], Err("leader")),
            (&[one(Remove, 9)], Err("no peer 9")),
            (&[one(Remove, 2), one(AddVoter, 4)], Err("demoted")),
            (&[one(AddLearner, 2), one(AddVoter, 4)], Ok(())),
            (&[one(AddVoter, 4), one(AddVoter, 4)], Err("twice")),
            (&[], Err("no joint")),
        ];
        for (changes, expected) in table {
            match (check(&three, 1, changes), expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, _) => panic!("{changes:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn several_changes_are_joint_until_left() {
        use Role::*;
        let before = region(&[(1, Voter), (2, Voter), (3, Learner)]);
        let changes = [one(ChangeKind::AddLearner, 2), one(ChangeKind::AddVoter, 3), one(ChangeKind::AddLearner, 4)];
        let joint = change(&before, &changes);
        let roles = |region: &Region| region.peers.iter().map(|peer| (peer.id, peer.role())).collect::<Vec<_>>();
        assert_eq!(roles(&joint), [(1, Voter), (2, DemotingVoter), (3, IncomingVoter), (4, Learner)]);
        assert_eq!(joint.epoch.conf_ver, 3);
        let conf = conf_state(&joint);
        assert_eq!(
            (conf.voters, conf.voters_outgoing, conf.learners, conf.learners_next),
            (vec![1, 3], vec![1, 2], vec![4], vec![2])
        );
        let left = leave(&joint);
        assert_eq!(roles(&left), [(1, Voter), (2, Learner), (3, Voter), (4, Learner)]);
        assert_eq!(left.epoch.conf_ver, 4);
        assert!(!is_joint(&left) && check(&joint, 1, &[]).is_ok());
    }
}
