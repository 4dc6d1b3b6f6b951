//! Operators: changes of regions under way, at most one a region, each a few steps long.
//!
//! A step is sent with every answer to its region's heartbeat until a heartbeat shows that it was done. An operator ends
//! when all is done, when somebody else changes the region (its epoch moves otherwise than by the operator's own steps),
//! or when it takes too long. Nothing of it is durable: after a restart the next heartbeats show what is still lacking.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    env::Instant,
    fact::Text,
    region::{Epoch, Peer, PeerId, Region, RegionId, Role, StoreId},
    wire::{
        command::{ChangeKind, PeerChange},
        placement::{ChangePeers, MergeInto, Next, SplitKeys, Step},
    },
};

use super::{fact::Fact, regions::Known, repair::Wish};

/// One change of one region.
#[derive(Debug)]
struct Operator {
    kind: &'static str,
    origin: Epoch,
    steps: Vec<Stage>,
    begun: Instant,
    /// Whether its removal of a replica has been asked for.
    removes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    AddLearner(Peer),
    Promote(Peer),
    Remove(Peer),
    Lead(Peer),
    /// At these keys, or in the middle.
    Split(Vec<Bytes>),
    /// Into this neighbour.
    Merge(Arc<Region>),
    /// Nothing is to be done here while a neighbour merges into the region.
    TakeIn,
}

/// All operators under way.
#[derive(Debug, Default)]
pub(super) struct Operators(BTreeMap<RegionId, Operator>);

enum Progress {
    /// This is to be done next; none while it only has to be waited.
    Now(Option<Step>),
    Done,
    Stale,
}

impl Operators {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, region: RegionId) -> bool {
        self.0.contains_key(&region)
    }

    /// How many replicas are being added to a store.
    pub(super) fn adding(&self, store: StoreId) -> usize {
        let adds = |operator: &Operator| {
            operator.steps.iter().any(|stage| matches!(stage, Stage::AddLearner(peer) if peer.store == store))
        };
        self.0.values().filter(|operator| adds(operator)).count()
    }

    /// Begins to carry out a wish; `new_peer` is the id for a replica that has to be made.
    pub(super) fn begin(&mut self, known: &Known, wish: Wish, new_peer: Option<PeerId>, now: Instant) -> Option<Fact> {
        let (wish, balances) = match wish {
            Wish::Balance(wish) => (*wish, true),
            wish => (wish, false),
        };
        let (kind, store, steps) = match wish {
            Wish::Add { store, replaces } => {
                let id = new_peer?;
                let learner = Peer { id, store, role: Role::Learner as i32 };
                let voter = Peer { role: Role::Voter as i32, ..learner };
                let mut steps = vec![Stage::AddLearner(learner), Stage::Promote(voter)];
                steps.extend(replaces.map(Stage::Remove));
                (if replaces.is_some() { "replace-peer" } else { "add-peer" }, store, steps)
            }
            Wish::Learner { store, replaces } => {
                let id = new_peer?;
                let mut steps = vec![Stage::AddLearner(Peer { id, store, role: Role::Learner as i32 })];
                steps.extend(replaces.map(Stage::Remove));
                (if replaces.is_some() { "replace-learner" } else { "add-learner" }, store, steps)
            }
            Wish::Promote(peer) => {
                let voter = Peer { role: Role::Voter as i32, ..peer };
                ("promote-peer", peer.store, vec![Stage::Promote(voter)])
            }
            Wish::Lead(peer) => ("move-leader", peer.store, vec![Stage::Lead(peer)]),
            Wish::Balance(_) => return None,
            Wish::Remove(peer) => ("remove-peer", peer.store, vec![Stage::Remove(peer)]),
            Wish::Split(keys) => ("split", known.leader.map_or(0, |leader| leader.store), vec![Stage::Split(keys)]),
        };
        let kind = match kind {
            "replace-peer" | "replace-learner" if balances => "balance-peer",
            "move-leader" if balances => "balance-leader",
            kind => kind,
        };
        let region = known.region.id;
        self.0.insert(region, Operator { kind, origin: known.region.epoch, steps, begun: now, removes: false });
        Some(Fact::OperatorCreated { region, kind: kind.into(), store })
    }

    /// Begins to merge a region into a neighbour: its replicas go where the neighbour's are, then it merges. Nothing else
    /// is done with the neighbour meanwhile. `new_peers` gives ids for replicas that have to be made. None when a replica
    /// would have to lose its vote.
    pub(super) fn begin_merge(
        &mut self,
        source: &Known,
        target: &Known,
        new_peers: Range<PeerId>,
        now: Instant,
    ) -> Option<Fact> {
        let (mut steps, mut new_peers) = (Vec::new(), new_peers);
        for there in &target.region.peers {
            let voter = there.role() == Role::Voter;
            match source.region.peer_on(there.store) {
                Some(here) if here.role == there.role => {}
                Some(here) if voter => steps.push(Stage::Promote(Peer { role: Role::Voter as i32, ..*here })),
                Some(_) => return None,
                None => {
                    let learner = Peer { id: new_peers.next()?, store: there.store, role: Role::Learner as i32 };
                    steps.push(Stage::AddLearner(learner));
                    if voter {
                        steps.push(Stage::Promote(Peer { role: Role::Voter as i32, ..learner }));
                    }
                }
            }
        }
        let left = source.region.peers.iter().filter(|peer| target.region.peer_on(peer.store).is_none());
        steps.extend(left.map(|peer| Stage::Remove(*peer)));
        steps.push(Stage::Merge(Arc::clone(&target.region)));
        let (region, store) = (source.region.id, source.leader.map_or(0, |leader| leader.store));
        let kind = "merge";
        self.0.insert(region, Operator { kind, origin: source.region.epoch, steps, begun: now, removes: false });
        let passive =
            Operator { kind, origin: target.region.epoch, steps: vec![Stage::TakeIn], begun: now, removes: false };
        self.0.insert(target.region.id, passive);
        Some(Fact::OperatorCreated { region, kind: kind.into(), store })
    }

    /// What the region's leader should do next, given what was just heard of it, and what is to be stated: that an
    /// operator has ended, or that a replica is to go.
    pub(super) fn next(&mut self, known: &Known) -> (Option<Next>, Option<Fact>) {
        let region = known.region.id;
        let Some(operator) = self.0.get_mut(&region) else { return (None, None) };
        match operator.progress(known) {
            Progress::Now(step) => {
                let removed = step.as_ref().and_then(removed).filter(|_| !operator.removes);
                operator.removes |= removed.is_some();
                let asked = removed.map(|peer| Fact::RemovalAsked { region, peer: peer.id, store: peer.store });
                (step.map(|step| Next { epoch: known.region.epoch, step: Some(step) }), asked)
            }
            Progress::Done => (None, self.end(region, "done")),
            Progress::Stale => (None, self.end(region, "stale")),
        }
    }

    /// Ends an operator. A merge is one operator to whoever hears of it: nothing is said of the target's part.
    pub(super) fn end(&mut self, region: RegionId, outcome: &'static str) -> Option<Fact> {
        let operator = self.0.remove(&region)?;
        if let Some(Stage::Merge(target)) = operator.steps.last()
            && outcome != "done"
        {
            self.0.remove(&target.id);
        }
        if matches!(operator.steps[..], [Stage::TakeIn]) {
            return None;
        }
        Some(Fact::OperatorEnded { region, kind: Text::from(operator.kind), outcome: outcome.into() })
    }

    /// Ends every operator that began before `before`.
    pub(super) fn expire(&mut self, before: Instant) -> Vec<Fact> {
        let late = self.0.iter().filter(|(_, operator)| operator.begun < before).map(|(&region, _)| region);
        let late: Vec<_> = late.collect();
        late.into_iter().filter_map(|region| self.end(region, "timeout")).collect()
    }
}

impl Operator {
    fn progress(&self, known: &Known) -> Progress {
        let epoch = known.region.epoch;
        let last = self.steps.last();
        let changes_range = matches!(last, Some(Stage::Split(_) | Stage::Merge(_) | Stage::TakeIn));
        if changes_range && epoch.version > self.origin.version {
            return Progress::Done;
        }
        let own_changes = self.steps.iter().filter(|stage| stage.has_changed(known)).count() as u64;
        if epoch.version != self.origin.version || epoch.conf_ver > self.origin.conf_ver + own_changes {
            return Progress::Stale;
        }
        match self.steps.iter().find(|stage| !stage.is_done(known)) {
            None => Progress::Done,
            Some(stage) => Progress::Now(stage.step(known)),
        }
    }
}

impl Stage {
    /// Whether this stage has changed the configuration; each that has raises `conf_ver` by one.
    fn has_changed(&self, known: &Known) -> bool {
        match self {
            Stage::AddLearner(peer) => known.region.peer(peer.id).is_some(),
            Stage::Promote(peer) => known.region.peer(peer.id).is_some_and(|is| is.role() == Role::Voter),
            Stage::Remove(peer) => known.region.peer(peer.id).is_none(),
            Stage::Lead(_) | Stage::Split(_) | Stage::Merge(_) | Stage::TakeIn => false,
        }
    }

    fn is_done(&self, known: &Known) -> bool {
        match self {
            Stage::AddLearner(peer) => known.region.peer(peer.id).is_some_and(|peer| known.is_healthy(peer)),
            Stage::Lead(peer) => known.leader.is_some_and(|leader| leader.id == peer.id),
            _ => self.has_changed(known),
        }
    }

    /// The step to send; none when it only has to be waited.
    fn step(&self, known: &Known) -> Option<Step> {
        let change = |kind: ChangeKind, peer: &Peer| {
            Step::ChangePeers(ChangePeers { changes: vec![PeerChange { kind: kind as i32, peer: *peer }] })
        };
        match self {
            Stage::AddLearner(peer) if known.region.peer(peer.id).is_some() => None,
            Stage::AddLearner(peer) => Some(change(ChangeKind::AddLearner, peer)),
            Stage::Promote(peer) => Some(change(ChangeKind::AddVoter, peer)),
            Stage::Remove(peer) if known.leader.is_some_and(|leader| leader.id == peer.id) => {
                known.heir(peer.store).map(Step::TransferLeader)
            }
            Stage::Remove(peer) => known.may_lose(peer).then(|| change(ChangeKind::Remove, peer)),
            Stage::Lead(peer) => known.region.peer(peer.id).is_some().then_some(Step::TransferLeader(*peer)),
            Stage::Merge(target) => Some(Step::Merge(MergeInto { target: Region::clone(target) })),
            Stage::TakeIn => None,
            Stage::Split(keys) => Some(Step::Split(SplitKeys { keys: keys.clone() })),
        }
    }
}

/// The replica that a step removes, if it does.
fn removed(step: &Step) -> Option<Peer> {
    let Step::ChangePeers(change) = step else { return None };
    change.changes.iter().find(|change| change.kind() == ChangeKind::Remove).map(|change| change.peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: PeerId, role: Role) -> Peer {
        Peer { id, store: id / 10, role: role as i32 }
    }

    /// A region at an epoch, with voters and learners; the first voter leads.
    fn known(version: u64, conf_ver: u64, voters: &[PeerId], learners: &[PeerId], pending: &[PeerId]) -> Known {
        let voters = voters.iter().map(|&id| peer(id, Role::Voter));
        let peers: Vec<_> = voters.chain(learners.iter().map(|&id| peer(id, Role::Learner))).collect();
        let leader = peers.first().copied();
        let region = Region { id: 1, start: "".into(), end: "".into(), epoch: Epoch { conf_ver, version }, peers };
        Known { leader, pending: pending.to_vec(), ..Known::described(Arc::new(region)) }
    }

    fn say((next, ended): (Option<Next>, Option<Fact>)) -> String {
        let ended = match ended {
            Some(Fact::OperatorEnded { kind, outcome, .. }) => format!("{kind} {outcome}"),
            _ => String::new(),
        };
        let step = match next.and_then(|next| next.step) {
            Some(Step::ChangePeers(change)) => {
                let [change] = &change.changes[..] else { panic!("one change at a time: {change:?}") };
                format!("{:?} {}", change.kind(), change.peer.id)
            }
            Some(Step::TransferLeader(to)) => format!("Transfer {}", to.id),
            Some(Step::Split(_)) => "Split".into(),
            Some(Step::Merge(into)) => format!("Merge {}", into.target.id),
            None => String::new(),
        };
        format!("{step}{ended}")
    }

    #[test]
    fn a_replacement_goes_step_by_step() {
        let mut operators = Operators::default();
        let wish = Wish::Add { store: 4, replaces: Some(peer(10, Role::Voter)) };
        let begun = operators.begin(&known(1, 5, &[10, 20, 30], &[], &[]), wish, Some(40), Instant(0));
        let expected = Fact::OperatorCreated { region: 1, kind: "replace-peer".into(), store: 4 };
        assert_eq!(begun, Some(expected));
        assert_eq!((operators.adding(4), operators.adding(1)), (1, 0));
        let story = [
            (known(1, 5, &[10, 20, 30], &[], &[]), "AddLearner 40"),
            (known(1, 6, &[10, 20, 30], &[40], &[40]), ""),
            (known(1, 6, &[10, 20, 30], &[40], &[]), "AddVoter 40"),
            (known(1, 7, &[10, 20, 30, 40], &[], &[]), "Transfer 20"),
            (known(1, 7, &[20, 10, 30, 40], &[], &[30, 40]), ""),
            (known(1, 7, &[20, 10, 30, 40], &[], &[]), "Remove 10"),
            (known(1, 8, &[20, 30, 40], &[], &[]), "replace-peer done"),
            (known(1, 8, &[20, 30, 40], &[], &[]), ""),
        ];
        for (number, (heard, expected)) in story.into_iter().enumerate() {
            assert_eq!(say(operators.next(&heard)), expected, "heartbeat {number}");
        }
    }

    #[test]
    fn a_merge_moves_the_replicas_first() {
        let mut operators = Operators::default();
        let source = known(1, 5, &[10, 20, 30], &[], &[]);
        let mut target = known(3, 7, &[13, 23], &[44], &[]);
        Arc::make_mut(&mut target.region).id = 2;
        let begun = operators.begin_merge(&source, &target, 70..73, Instant(0));
        assert!(begun.is_some() && operators.has(1) && operators.has(2));
        let story = [
            (known(1, 5, &[10, 20, 30], &[], &[]), "AddLearner 70"),
            (known(1, 6, &[10, 20, 30], &[70], &[]), "Remove 30"),
            (known(1, 7, &[10, 20], &[70], &[]), "Merge 2"),
            (known(2, 8, &[10, 20], &[70], &[]), "merge done"),
        ];
        for (number, (heard, expected)) in story.into_iter().enumerate() {
            assert_eq!(say(operators.next(&heard)), expected, "heartbeat {number}");
        }
        assert_eq!(say(operators.next(&target)), "", "the target waits");
        let mut grown = target.clone();
        Arc::make_mut(&mut grown.region).epoch.version = 4;
        assert_eq!(say(operators.next(&grown)), "", "the merge has ended already");
        assert!(!operators.has(2));
        let lost_vote = known(1, 5, &[10, 20, 40], &[], &[]);
        assert_eq!(operators.begin_merge(&lost_vote, &target, 70..73, Instant(0)), None);
    }

    #[test]
    fn what_somebody_else_changed_makes_it_stale() {
        let start = known(1, 5, &[10, 20], &[], &[]);
        let wish = Wish::Add { store: 4, replaces: None };
        for (name, heard) in [
            ("another change", known(1, 6, &[10, 20, 30], &[], &[])),
            ("the learner came and went", known(1, 7, &[10, 20], &[], &[])),
            ("a split", known(2, 5, &[10, 20], &[], &[])),
        ] {
            let mut operators = Operators::default();
            operators.begin(&start, wish.clone(), Some(40), Instant(0));
            assert_eq!(say(operators.next(&heard)), "add-peer stale", "{name}");
            assert_eq!(operators.len(), 0, "{name}");
        }
    }

    #[test]
    fn a_split_is_done_when_the_version_grows_and_slow_ones_expire() {
        let mut operators = Operators::default();
        let region = known(1, 5, &[10], &[], &[]);
        operators.begin(&region, Wish::Split(vec![]), None, Instant(0));
        assert_eq!(say(operators.next(&region)), "Split");
        assert_eq!(say(operators.next(&known(2, 5, &[10], &[], &[]))), "split done");
        operators.begin(&region, Wish::Split(vec![]), None, Instant(7));
        assert_eq!(operators.expire(Instant(7)), []);
        assert!(operators.has(1));
        assert_eq!(say((None, operators.expire(Instant(8)).pop())), "split timeout");
    }
}
