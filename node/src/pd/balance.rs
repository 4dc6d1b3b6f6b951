//! What would even the load out: regions and leaders that move from the fullest store to the emptiest.
//!
//! A pure decision, one move at a time, and only of regions that lack nothing. Stores that differ by less than two are
//! even. Row stores and columnar stores are balanced each among themselves.

use crate::region::{Peer, RegionId, Role, StoreId};

use super::{
    regions::{Known, Regions},
    repair::{View, Wish, is_voter},
};

/// A region and where it should go to even out how many replicas stores have.
pub(super) fn regions(
    regions: &Regions,
    view: &View<'_>,
    is_busy: &dyn Fn(RegionId) -> bool,
) -> Option<(RegionId, Wish)> {
    [false, true].into_iter().find_map(|columnar| {
        let load = |store: StoreId| regions.count_on(store) + (view.adding)(store);
        let (most, least) = extremes(view, columnar, load)?;
        let on_most = |known: &Known| {
            let peer = known.region.peer_on(most).filter(|peer| columnar != is_voter(peer))?;
            let free = known.region.peer_on(least).is_none() && lacks_nothing(known) && !is_busy(known.region.id);
            free.then_some(*peer)
        };
        let leads = |known: &Known, peer: Peer| known.leader.is_some_and(|leader| leader.id == peer.id);
        let candidates = || regions.all().filter_map(|known| on_most(known).map(|peer| (known, peer)));
        // Rather one that need not hand leadership over first.
        let chosen = candidates().find(|(known, peer)| !leads(known, *peer)).or_else(|| candidates().next());
        chosen.map(|(known, peer)| {
            let (store, replaces) = (least, Some(peer));
            let wish = if columnar { Wish::Learner { store, replaces } } else { Wish::Add { store, replaces } };
            (known.region.id, Wish::Balance(Box::new(wish)))
        })
    })
}

/// A region and who should lead it to even out how many leaders stores have.
pub(super) fn leaders(
    regions: &Regions,
    view: &View<'_>,
    is_busy: &dyn Fn(RegionId) -> bool,
) -> Option<(RegionId, Wish)> {
    let led = |known: &Known, store: StoreId| known.leader.is_some_and(|leader| leader.store == store);
    let load = |store: StoreId| regions.all().filter(|known| led(known, store)).count();
    let (most, least) = extremes(view, false, load)?;
    let heir = |known: &Known| {
        let peer = known.region.peer_on(least).filter(|peer| is_voter(peer))?;
        (led(known, most) && lacks_nothing(known) && !is_busy(known.region.id)).then_some(*peer)
    };
    let chosen = regions.all().find_map(|known| heir(known).map(|peer| (known.region.id, peer)))?;
    Some((chosen.0, Wish::Balance(Box::new(Wish::Lead(chosen.1)))))
}

/// The fullest and the emptiest store in service, if they differ enough.
fn extremes(view: &View<'_>, columnar: bool, load: impl Fn(StoreId) -> usize) -> Option<(StoreId, StoreId)> {
    let serving = view.stores.all().map(|(id, _)| id).filter(|&id| view.serves(id) && view.is_columnar(id) == columnar);
    let loads: Vec<(usize, StoreId)> = serving.map(|id| (load(id), id)).collect();
    let (most, least) = (loads.iter().max()?, loads.iter().min()?);
    (most.0 >= least.0 + 2).then_some((most.1, least.1))
}

fn lacks_nothing(known: &Known) -> bool {
    let settled = |peer: &Peer| matches!(peer.role(), Role::Voter | Role::Learner) && known.is_healthy(peer);
    known.leader.is_some() && known.region.peers.iter().all(settled)
}

#[cfg(test)]
mod tests {
    use super::{
        super::repair::tests::{map, say, with_view},
        *,
    };

    #[test]
    fn what_is_uneven_is_evened_out() {
        for (name, stores, all, expected) in [
            ("even", "1 2 3", &["1 2 3", "2 1 3"][..], "nothing, nothing"),
            ("an empty store", "1 2 3 4", &["1 2 3", "2 1 3"], "balance 1: add 4 for 3, nothing"),
            ("one apart", "1 2 3 4", &["1 2 3"], "nothing, nothing"),
            ("leaders in one place", "1 2 3", &["1 2 3", "1 2 3", "1 3 2"], "nothing, balance 1: lead 2"),
            ("not while something is lacking", "1 2 3 4", &["1 2 3:pending", "1:down 2 3"], "nothing, nothing"),
            ("not to a silent store", "1 2 3 4:down", &["1 2 3", "2 1 3"], "nothing, nothing"),
            (
                "columnar stores among themselves",
                "1 2 3 8:tiflash 9:tiflash",
                &["1 2 3 8:learner", "2 3 1 8:learner"],
                "balance 1: learner 9 for 8, nothing",
            ),
        ] {
            let said = with_view(stores, |view| {
                let regions_known = map(all);
                let one = |wish: Option<(RegionId, Wish)>| match wish {
                    Some((region, Wish::Balance(wish))) => format!("balance {region}: {}", say(Some(*wish))),
                    other => say(other.map(|(_, wish)| wish)),
                };
                let free = |_| false;
                format!("{}, {}", one(regions(&regions_known, view, &free)), one(leaders(&regions_known, view, &free)))
            });
            assert_eq!(said, expected, "{name}");
        }
    }
}
