//! A node's switchboard: its tables from `node`, its waiting on the process's clock, its firings to the witness.

use std::{sync::Arc, time::Duration};

use failpoints::{Action, BoxFuture, Catalog, Observer, Points, Site, Timer};

use crate::witness::Witness;

/// All sites and defects that a node has.
pub fn catalog() -> Catalog {
    node::CATALOG
}

/// All sites of a node, in the order of its tables.
pub fn sites() -> impl Iterator<Item = &'static Site> {
    node::CATALOG.sites.iter().flat_map(|table| table.iter().copied())
}

struct RoomTimer(sim::clock::Clock);

impl Timer for RoomTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.0.sleep(duration))
    }
}

struct Firings {
    process: sim::ProcessId,
    witness: Arc<Witness>,
}

impl Observer for Firings {
    fn fired(&self, site: &'static Site, _action: &Action, _hit: u64) {
        self.witness.point_fired(self.process, site);
    }
}

/// The switchboard of one incarnation, carrying what the plan says. Unknown ids were refused when the plan was read.
pub(super) fn switchboard(handle: &sim::Handle, witness: &Arc<Witness>, defects: &[String]) -> Points {
    let timer = Arc::new(RoomTimer(handle.clock()));
    let observer = Arc::new(Firings { process: handle.id(), witness: witness.clone() });
    let points = Points::new(catalog(), handle.stream("points").next_u64(), timer, observer);
    for id in defects {
        points.carry_id(id).expect("the plan's defects were checked against the same table");
    }
    witness.watch_points(points.clone());
    points
}
