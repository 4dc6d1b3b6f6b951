//! What a region lacks in columnar replicas: learners on stores labelled so, as many as the rules say.
//!
//! Missing ones are added; one on a store that is gone or leaving is replaced when there is a spare store, and stays
//! otherwise, as upstream, also where its store is buried: a recovery has to name those that it gives up by itself
//! (tikv#18458). Those beyond the number go, the worst first, and only once those that stay have caught up: until then the
//! worst may hold the best copy.

use failpoints::defect;

use crate::{
    defects,
    region::{Peer, StoreId},
};

use super::{
    fact::Fact,
    regions::Known,
    repair::{View, Wish, is_voter},
};

/// What the region needs most in columnar replicas, if anything.
pub(super) fn wish(known: &Known, view: &View<'_>) -> Option<Wish> {
    let wanted = view.rules.learners(&known.region);
    let mut here: Vec<Peer> =
        known.region.peers.iter().filter(|peer| !is_voter(peer) && view.is_columnar(peer.store)).copied().collect();
    if here.is_empty() && wanted == 0 {
        return None;
    }
    here.sort_by_key(|peer| std::cmp::Reverse(worth(peer, known, view)));
    let (kept, surplus) = here.split_at(wanted.min(here.len()));
    if kept.len() < wanted
        && let Some(store) = target(known, view)
    {
        return Some(Wish::Learner { store, replaces: None });
    }
    if let Some(worst) = surplus.last() {
        if kept.iter().all(|peer| known.is_healthy(peer)) {
            return Some(Wish::Remove(*worst));
        }
        view.notes.borrow_mut().push(Fact::SurplusOfUnhealthy { region: known.region.id, peer: worst.id });
        // The defect looks at where replicas are, not at what they have.
        return defect!(view.points, defects::PD_4045).then_some(Wish::Remove(*worst));
    }
    let bad = kept.iter().find(|peer| view.is_lost(known, peer) || view.is_leaving(peer.store)).copied();
    bad.and_then(|bad| target(known, view).map(|store| Wish::Learner { store, replaces: Some(bad) }))
}

/// By this the replicas that stay are chosen.
fn worth(peer: &Peer, known: &Known, view: &View<'_>) -> (bool, bool, bool, u64) {
    (!view.is_lost(known, peer), !view.is_leaving(peer.store), known.is_healthy(peer), u64::MAX - peer.id)
}

/// The columnar store that should get a new replica of a region: the emptiest that may take it.
fn target(known: &Known, view: &View<'_>) -> Option<StoreId> {
    view.emptiest(known, |store| view.serves(store) && view.is_columnar(store))
}

#[cfg(test)]
mod tests {
    use super::super::repair::tests::{look, say};

    #[test]
    fn a_table_of_regions_and_the_columnar_replicas_they_need() {
        for (name, stores, peers, count, expected) in [
            ("one is missing", "1 2 3 8:tiflash", "1 2 3", 1, "learner 8"),
            ("the emptiest store first", "1 2 3 7:tiflash 8:tiflash", "1 2 3", 2, "learner 8"),
            ("the second one", "1 2 3 7:tiflash 8:tiflash", "1 2 3 8:learner", 2, "learner 7"),
            ("no columnar store is free", "1 2 3 8:tiflash", "1 2 3 8:learner", 2, "nothing"),
            ("not on a row store", "1 2 3 4", "1 2 3", 1, "nothing"),
            ("it is there", "1 2 3 8:tiflash", "1 2 3 8:learner", 1, "nothing"),
            ("one too many", "1 2 3 7:tiflash 8:tiflash", "1 2 3 7:learner 8:learner", 1, "remove 8"),
            ("the one behind goes", "1 2 3 7:tiflash 8:tiflash", "1 2 3 7:learner-pending 8:learner", 1, "remove 7"),
            (
                "nobody has caught up",
                "1 2 3 7:tiflash 8:tiflash",
                "1 2 3 7:learner-pending 8:learner-pending",
                1,
                "nothing",
            ),
            ("no table is here any more", "1 2 3 8:tiflash", "1 2 3 8:learner-pending", 0, "remove 8"),
            (
                "a dead store and a spare",
                "1 2 3 7:tiflash-down 8:tiflash",
                "1 2 3 7:learner-down",
                1,
                "learner 8 for 7",
            ),
            ("a dead store and no spare", "1 2 3 8:tiflash-down", "1 2 3 8:learner-down", 1, "nothing"),
            ("a tombstone and no spare", "1 2 3 8:tiflash-tombstone", "1 2 3 8:learner-down", 1, "nothing"),
            (
                "a leaving store and a spare",
                "1 2 3 7:tiflash 8:tiflash-offline",
                "1 2 3 8:learner",
                1,
                "learner 7 for 8",
            ),
            (
                "replaced, and not caught up",
                "1 2 3 7:tiflash 8:tiflash-offline",
                "1 2 3 8:learner 7:learner-pending",
                1,
                "nothing",
            ),
            ("replaced", "1 2 3 7:tiflash 8:tiflash-offline", "1 2 3 8:learner 7:learner", 1, "remove 8"),
            ("voters go first", "1 2 3:down 4 8:tiflash", "1 2 3:down", 1, "add 4 for 3"),
            ("voters that cannot be had do not hold it up", "1 2 3:down 8:tiflash", "1 2 3:down", 1, "learner 8"),
        ] {
            assert_eq!(say(look(stores, peers, 0, count)), expected, "{name}");
        }
    }
}
