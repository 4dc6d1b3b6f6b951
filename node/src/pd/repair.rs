//! What a region lacks: too few replicas, one on a store that is gone or leaving, one too many, or too much data.
//!
//! A pure decision from what is known. It wishes one thing at a time; an operator carries it out.
//!
//! Not here: columnar replicas (`learners`); joint configurations, which their leader leaves.

use std::cell::RefCell;

use bytes::Bytes;
use failpoints::Points;

use crate::{
    env::Instant,
    region::{Peer, Role, StoreId},
    wire::placement::StoreState,
};

use super::{Options, fact::Fact, learners, regions::Known, rules::Rules, stores::Stores};

/// What should happen to a region next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A new replica on a store, and then, if there is one, the removal of the replica that it replaces.
    Add { store: StoreId, replaces: Option<Peer> },
    /// A new columnar replica on a store, and then, if there is one, the removal of the one that it replaces.
    Learner { store: StoreId, replaces: Option<Peer> },
    /// A learner that has caught up becomes a voter.
    Promote(Peer),
    /// A replica goes.
    Remove(Peer),
    /// A voter becomes the leader.
    Lead(Peer),
    /// Nothing is lacking; this would even the load out.
    Balance(Box<Wish>),
    /// The region is split: at these keys, or in its middle.
    Split(Vec<Bytes>),
}

impl Wish {
    /// Whether a new replica has to be made.
    pub(super) fn needs_peer(&self) -> bool {
        match self {
            Wish::Add { .. } | Wish::Learner { .. } => true,
            Wish::Balance(wish) => wish.needs_peer(),
            Wish::Promote(_) | Wish::Remove(_) | Wish::Lead(_) | Wish::Split(_) => false,
        }
    }
}

/// What a decision looks at besides the region.
pub(super) struct View<'a> {
    pub stores: &'a Stores,
    pub rules: &'a Rules,
    pub options: &'a Options,
    pub now: Instant,
    /// How many replicas are being added to a store.
    pub adding: &'a dyn Fn(StoreId) -> usize,
    pub points: &'a Points,
    /// What was seen on the way and should be stated.
    pub notes: &'a RefCell<Vec<Fact>>,
}

impl Known {
    /// Whether its leader hears from it, and it needs nothing that its leader's log no longer has.
    pub(super) fn is_healthy(&self, peer: &Peer) -> bool {
        !self.pending.contains(&peer.id) && !self.down.iter().any(|down| down.peer == peer.id)
    }

    /// Whether the voters that remain without `peer` have a healthy majority, so that no healthy copy is the last one
    /// to go.
    pub(super) fn may_lose(&self, peer: &Peer) -> bool {
        let rest: Vec<_> = self.region.peers.iter().filter(|other| is_voter(other) && other.id != peer.id).collect();
        rest.iter().filter(|other| self.is_healthy(other)).count() * 2 > rest.len()
    }

    /// A healthy voter other than the leader, to which leadership may go; not the one on `except`.
    pub(super) fn heir(&self, except: StoreId) -> Option<Peer> {
        let mut voters = self.region.peers.iter().filter(|peer| is_voter(peer) && self.is_healthy(peer));
        voters.find(|peer| peer.store != except && self.leader.is_none_or(|leader| leader.id != peer.id)).copied()
    }
}

pub(super) fn is_voter(peer: &Peer) -> bool {
    peer.role() == Role::Voter
}

/// What the region needs most, if anything.
pub(super) fn wish(known: &Known, view: &View<'_>) -> Option<Wish> {
    let peers = &known.region.peers;
    if peers.iter().any(|peer| matches!(peer.role(), Role::IncomingVoter | Role::DemotingVoter)) {
        return None;
    }
    let replicas = view.options.replicas;
    // A recovery makes a voter of a columnar replica where nobody else has the data. It does not count for one.
    let (strays, voters): (Vec<&Peer>, Vec<&Peer>) =
        peers.iter().filter(|peer| is_voter(peer)).partition(|peer| view.is_columnar(peer.store));
    let learners = || peers.iter().filter(|peer| !is_voter(peer) && !view.is_columnar(peer.store));
    let lost = voters.iter().find(|peer| view.is_lost(known, peer)).copied().copied();
    let leaving = voters.iter().find(|peer| view.is_leaving(peer.store)).copied().copied();

    if voters.len() < replicas || lost.or(leaving).is_some() {
        let ready = learners().find(|peer| known.is_healthy(peer) && view.is_target(peer.store));
        if let Some(ready) = ready
            && voters.len() <= replicas
        {
            return Some(Wish::Promote(*ready));
        }
    }
    // What cannot be had now does not hold up the rest.
    if voters.len() < replicas
        && let Some(store) = view.target(known)
    {
        return Some(Wish::Add { store, replaces: None });
    }
    // One that its leader does not hear, on a store that is heard, is not there: it was gone before it was made a learner,
    // and takes the place of one that would be.
    if voters.len() < replicas
        && let Some(missing) = learners().find(|peer| view.is_missing(known, peer))
    {
        return Some(Wish::Remove(*missing));
    }
    if voters.len() > replicas
        && let Some(peer) = surplus(known, view, &voters).filter(|peer| known.may_lose(peer))
    {
        return Some(Wish::Remove(peer));
    }
    if let Some(replaced) = lost.or(leaving).filter(|_| voters.len() == replicas)
        && let Some(store) = view.target(known)
    {
        return Some(Wish::Add { store, replaces: Some(replaced) });
    }
    // Whoever lives on a buried store never comes back: without a spare store the region goes on with those it has.
    let buried = voters.iter().find(|peer| view.is_buried(peer.store)).filter(|peer| known.may_lose(peer));
    if let Some(buried) = buried {
        return Some(Wish::Remove(**buried));
    }
    if let Some(stray) = strays.into_iter().find(|peer| known.may_lose(peer)) {
        return Some(Wish::Remove(*stray));
    }
    let borders = view.rules.borders(&known.region);
    if !borders.is_empty() {
        return Some(Wish::Split(borders));
    }
    if let Some(wish) = learners::wish(known, view) {
        return Some(wish);
    }
    // A learner on a row store is somebody's half-done repair; while a voter is missing it may still be wanted, unless
    // its store is gone.
    let settled = voters.len() == replicas && lost.or(leaving).is_none() && view.options.remove_learners;
    let dead = learners().find(|peer| view.is_lost(known, peer));
    if let Some(left_over) = dead.or(learners().next().filter(|_| settled)) {
        return Some(Wish::Remove(*left_over));
    }
    let too_large = |limit: Option<u64>, is: u64| limit.is_some_and(|limit| is > limit);
    let splits = too_large(view.options.split_bytes, known.size) || too_large(view.options.split_keys, known.keys);
    splits.then(|| Wish::Split(vec![]))
}

/// The voter that is missed least.
fn surplus(known: &Known, view: &View<'_>, voters: &[&Peer]) -> Option<Peer> {
    let worth = |peer: &Peer| {
        let regions = view.stores.entry(peer.store).map_or(0, |entry| entry.stats.regions);
        (
            !view.is_lost(known, peer),
            !view.is_leaving(peer.store),
            known.is_healthy(peer),
            known.leader.is_some_and(|leader| leader.id == peer.id),
            u64::MAX - regions,
        )
    };
    voters.iter().copied().min_by_key(|peer| worth(peer)).copied()
}

impl View<'_> {
    /// Whether a replica is gone: its leader and the placement driver have both heard nothing for long.
    pub(super) fn is_lost(&self, known: &Known, peer: &Peer) -> bool {
        let limit = self.options.max_store_down;
        let Some(entry) = self.stores.entry(peer.store) else { return false };
        match entry.state() {
            StoreState::Tombstone => true,
            _ => {
                let down = known.down.iter().find(|down| down.peer == peer.id);
                down.is_some_and(|down| u128::from(down.down_ms) >= limit.as_millis())
                    && entry.silent(self.now) >= limit
            }
        }
    }

    /// Whether a replica's leader has heard nothing of it for a while, and the placement driver hears its store.
    fn is_missing(&self, known: &Known, peer: &Peer) -> bool {
        let limit = self.options.store_disconnected.as_millis();
        let down = known.down.iter().find(|down| down.peer == peer.id);
        down.is_some_and(|down| u128::from(down.down_ms) >= limit) && self.serves(peer.store)
    }

    pub(super) fn is_buried(&self, store: StoreId) -> bool {
        self.stores.entry(store).is_some_and(|entry| entry.state() == StoreState::Tombstone)
    }

    pub(super) fn is_leaving(&self, store: StoreId) -> bool {
        self.stores.entry(store).is_some_and(|entry| entry.state() == StoreState::Offline)
    }

    pub(super) fn is_columnar(&self, store: StoreId) -> bool {
        self.stores.entry(store).is_some_and(|entry| entry.is_columnar())
    }

    /// Whether a store is in service, as far as is known.
    pub(super) fn serves(&self, store: StoreId) -> bool {
        self.stores.entry(store).is_some_and(|entry| {
            entry.state() == StoreState::Up && entry.silent(self.now) < self.options.store_disconnected
        })
    }

    /// Whether a voter may go there. A columnar store never gets one.
    fn is_target(&self, store: StoreId) -> bool {
        self.serves(store) && !self.is_columnar(store)
    }

    /// The store that should get a new voter of a region: the emptiest that may take it.
    fn target(&self, known: &Known) -> Option<StoreId> {
        self.emptiest(known, |store| self.is_target(store))
    }

    /// The emptiest of some stores that has no replica of a region and may take one.
    pub(super) fn emptiest(&self, known: &Known, may: impl Fn(StoreId) -> bool) -> Option<StoreId> {
        let free = self.stores.all().filter(|(id, entry)| {
            may(*id)
                && known.region.peer_on(*id).is_none()
                && !entry.stats.is_busy
                && (self.adding)(*id) < self.options.adds_per_store_max
        });
        free.min_by_key(|(id, entry)| (entry.stats.regions + (self.adding)(*id) as u64, *id)).map(|(id, _)| id)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{super::regions::Regions, *};
    use crate::{
        region::{Epoch, Region},
        release::Release,
        wire::placement::{DownPeer, Label, Store, StoreHeartbeat, TiflashReplica},
    };

    const NOW: Instant = Instant(3_600_000_000_000);

    /// Stores in words: `1 2:down 3:offline 4:busy 5:tiflash 6:tombstone`.
    fn stores(words: &str) -> Stores {
        let mut stores = Stores::default();
        for word in words.split_whitespace() {
            let (id, what) = word.split_once(':').unwrap_or((word, ""));
            let id: StoreId = id.parse().expect("a store's id");
            let mut record =
                Store { id, address: word.into(), state: 0, release: Release::DEFAULT.into(), ..Store::default() };
            if what.contains("offline") {
                record.set_state(StoreState::Offline);
            }
            if what.contains("tombstone") {
                record.set_state(StoreState::Tombstone);
            }
            if what.contains("tiflash") {
                record.labels.push(Label { key: "engine".into(), value: "tiflash".into() });
            }
            let heard = if what.contains("down") { Instant(0) } else { NOW };
            stores.restore(record, heard);
            let stats = StoreHeartbeat { store: id, regions: 10 - id, is_busy: what == "busy", ..Default::default() };
            if !what.contains("tombstone") {
                stores.heard(stats, heard).expect("it is registered and no tombstone");
            }
        }
        stores
    }

    /// Peers in words, by store: `1 2:down 3:pending 4:learner 5:incoming`; the first one leads.
    fn region(words: &str, size: u64) -> Known {
        let mut known = Known::described(Arc::new(Region {
            id: 1,
            start: "".into(),
            end: "".into(),
            epoch: Epoch { conf_ver: 1, version: 1 },
            peers: vec![],
        }));
        let mut peers = vec![];
        for word in words.split_whitespace() {
            let (store, what) = word.split_once(':').unwrap_or((word, ""));
            let store: StoreId = store.parse().expect("a store's id");
            let role = if what.contains("learner") {
                Role::Learner
            } else if what.contains("incoming") {
                Role::IncomingVoter
            } else {
                Role::Voter
            };
            let peer = Peer { id: store * 10, store, role: role as i32 };
            if what.contains("down") {
                known.down.push(DownPeer { peer: peer.id, down_ms: 3_000_000 });
            }
            if what.contains("pending") {
                known.pending.push(peer.id);
            }
            peers.push(peer);
        }
        known.leader = peers.first().copied();
        Arc::make_mut(&mut known.region).peers = peers;
        known.size = size;
        known
    }

    pub(crate) fn say(wish: Option<Wish>) -> String {
        match wish {
            None => "nothing".into(),
            Some(Wish::Add { store, replaces: None }) => format!("add {store}"),
            Some(Wish::Add { store, replaces: Some(peer) }) => format!("add {store} for {}", peer.store),
            Some(Wish::Learner { store, replaces: None }) => format!("learner {store}"),
            Some(Wish::Learner { store, replaces: Some(peer) }) => format!("learner {store} for {}", peer.store),
            Some(Wish::Promote(peer)) => format!("promote {}", peer.store),
            Some(Wish::Remove(peer)) => format!("remove {}", peer.store),
            Some(Wish::Lead(peer)) => format!("lead {}", peer.store),
            Some(Wish::Balance(wish)) => format!("balance: {}", say(Some(*wish))),
            Some(Wish::Split(keys)) if keys.is_empty() => "split".into(),
            Some(Wish::Split(keys)) => format!("split at {keys:?}"),
        }
    }

    /// What a region of these peers needs among these stores, when a table of all keys has `columnar` replicas.
    pub(crate) fn look(stores_words: &str, peers: &str, size: u64, columnar: u64) -> Option<Wish> {
        let known = region(peers, size);
        let mut rules = Rules::default();
        rules.set(TiflashReplica { table: 1, count: columnar, ..Default::default() }).expect("one table");
        with_view(stores_words, |view| wish(&known, &View { rules: &rules, ..*view }))
    }

    /// Lets somebody look at these stores, without rules.
    pub(crate) fn with_view<T>(stores_words: &str, look: impl FnOnce(&View<'_>) -> T) -> T {
        let options =
            Options { max_store_down: Duration::from_secs(1800), split_bytes: Some(1000), ..Options::new("pd:1") };
        let (stores, rules, points, notes) =
            (stores(stores_words), Rules::default(), Points::default(), RefCell::default());
        let (stores, rules, options) = (&stores, &rules, &options);
        look(&View { stores, rules, options, now: NOW, adding: &|_| 0, points: &points, notes: &notes })
    }

    /// Regions of such peers, one behind the other.
    pub(crate) fn map(all: &[&str]) -> Regions {
        let mut regions = Regions::default();
        for (number, words) in all.iter().enumerate() {
            let mut known = region(words, 0);
            let range = Arc::make_mut(&mut known.region);
            range.id = number as u64 + 1;
            range.start = if number == 0 { Bytes::new() } else { number.to_string().into() };
            range.end = if number + 1 == all.len() { Bytes::new() } else { (number + 1).to_string().into() };
            regions.heard(known);
        }
        regions
    }

    #[test]
    fn a_table_of_regions_and_what_they_need() {
        let cases = [
            ("all is well", "1 2 3 4", "1 2 3", 0, "nothing"),
            ("young cluster: one replica", "1 2 3", "1", 0, "add 3"),
            ("nowhere to go", "1", "1", 0, "nothing"),
            (
                "not to a busy, columnar, dead, leaving or buried store",
                "1 2:busy 3:tiflash 4:down 5:offline 6:tombstone",
                "1",
                0,
                "nothing",
            ),
            ("a learner of an interrupted repair", "1 2 3 4", "1 2 3:learner", 0, "promote 3"),
            ("it has not caught up yet", "1 2 3 4", "1 2 3:learner-pending", 0, "add 4"),
            ("a learner that is not there", "1 2 3", "1 2 3:learner-down", 0, "remove 3"),
            ("a learner that its leader hears", "1 2 3", "1 2 3:learner-pending", 0, "nothing"),
            ("a learner on a dead store", "1 2 3:down", "1 2 3:learner-down", 0, "remove 3"),
            ("a dead store", "1 2 3:down 4", "1 2 3:down", 0, "add 4 for 3"),
            ("its leader hears nothing, the driver does", "1 2 3 4", "1 2 3:down", 0, "nothing"),
            ("the driver hears nothing, its leader does", "1 2 3:down 4", "1 2 3", 0, "nothing"),
            ("a dead store and no spare", "1 2 3:down", "1 2 3:down", 0, "nothing"),
            ("a buried store and no spare", "1 2 3:tombstone", "1 2 3:down", 0, "remove 3"),
            ("replaced, now remove", "1 2 3:down 4", "1 2 3:down 4", 0, "remove 3"),
            ("a leaving store", "1 2 3:offline 4", "1 2 3", 0, "add 4 for 3"),
            ("a leaving leader", "1:offline 2 3 4", "1 2 3", 0, "add 4 for 1"),
            ("replaced, the leaving one goes", "1:offline 2 3 4", "1 2 3 4", 0, "remove 1"),
            ("one too many: the fullest store's", "1 2 3 4", "1 2 3 4", 0, "remove 2"),
            ("one too many: the one behind", "1 2 3 4", "1 2 3 4:pending", 0, "remove 4"),
            ("too many, yet too few are healthy", "1 2 3 4", "1 2:pending 3:pending 4:pending", 0, "nothing"),
            ("a learner left over", "1 2 3 4", "1 2 3 4:learner", 0, "remove 4"),
            ("a dead learner, and a voter that cannot be had", "1 2 3:tombstone", "1 2 3:learner-down", 0, "remove 3"),
            ("a columnar learner that no table wants", "1 2 3 4:tiflash", "1 2 3 4:learner", 0, "remove 4"),
            ("a voter on a columnar store", "1 2 3 8:tiflash", "8 1 2 3", 0, "remove 8"),
            ("a voter on a columnar store is none", "1 2 3 8:tiflash", "8 1 2", 0, "add 3"),
            ("there is no other store", "1 2 8:tiflash", "8 1 2", 0, "remove 8"),
            ("nobody else has the data", "1 2 8:tiflash", "8 1:pending 2:pending", 0, "nothing"),
            ("a learner may still be wanted", "1 2 3:down", "1 2 3:down 4:learner-pending", 0, "nothing"),
            ("a joint configuration is left alone", "1 2 3 4", "1 2 4:incoming", 0, "nothing"),
            ("too large", "1 2 3", "1 2 3", 1001, "split"),
            ("just right", "1 2 3", "1 2 3", 1000, "nothing"),
            ("repair goes before split", "1 2 3:down 4", "1 2 3:down", 1001, "add 4 for 3"),
        ];
        for (name, stores, peers, size, expected) in cases {
            assert_eq!(say(look(stores, peers, size, 0)), expected, "{name}");
        }
    }

    #[test]
    fn a_store_takes_only_so_many_at_a_time() {
        let (stores, known) = (stores("1 2 3"), region("1", 0));
        let options = Options { adds_per_store_max: 2, ..Options::new("pd:1") };
        let adding = |store| if store == 3 { 2 } else { 0 };
        let rules = Rules::default();
        let (points, notes) = (Points::default(), RefCell::default());
        let (stores, rules, options) = (&stores, &rules, &options);
        let view = View { stores, rules, options, now: NOW, adding: &adding, points: &points, notes: &notes };
        assert_eq!(say(wish(&known, &view)), "add 2");
    }
}
