//! Cluster and workload of a swarm plan.

use node::release::{RELEASES, Release as Row};
use sim::{Seed, Stream};

use super::NAME;
use crate::plan::{Cluster, Knobs, Mix, Nanos, Plan, Release, Workload};

/// A plan of this seed without knobs and steps.
pub(super) fn draw(seed: u64, root: Seed) -> Plan {
    let mut stream = root.split("shape").stream();
    let stores = *stream.pick(&[2, 3, 3, 3, 3, 4, 4, 5, 6]).expect("a list");
    let regions = *stream.pick(&[1, 1, 1, 2, 3, 4, 6]).expect("a list");
    let mut columnar = root.split("tiflash").stream();
    let tiflash = if columnar.ratio(1, 2) { 0 } else { columnar.range(1..=2) };
    let mut release = root.split("release").stream();
    let any = release.pick(RELEASES).expect("a table").name;
    let release = if release.ratio(1, 2) { Row::DEFAULT } else { any };
    let workload = workload(&mut root.split("workload").stream());
    // A region begins at a key of its own.
    let regions = regions.min(workload.keys);
    Plan {
        scenario: NAME.to_owned(),
        history: None,
        seed,
        defects: Vec::new(),
        plant: Vec::new(),
        cluster: Cluster { stores, tiflash, spare: 0, release: Release::new(release), regions },
        knobs: Knobs::default(),
        workload,
        trigger: Vec::new(),
        steps: Vec::new(),
        converge_within: Nanos::secs(90),
        recorded: None,
    }
}

/// Operations of each kind are in or out with one half, too; reads and writes of single keys always happen.
fn workload(stream: &mut Stream) -> Workload {
    let mut weight = |usual: u64| if stream.ratio(1, 2) { usual * stream.range(1..=4) } else { 0 };
    let mix = Mix {
        read: weight(20) + 5,
        read_index: weight(15),
        follower_read: weight(10),
        put: weight(30) + 10,
        cas: weight(5),
        delete: weight(5),
        scan: weight(5),
        batch: weight(5),
    };
    let (least, most) = *stream.pick(&[(2, 20), (20, 100), (20, 100), (100, 300), (300, 700)]).expect("a list");
    let rate = stream.range(least..=most);
    Workload {
        clients: if rate > 200 { stream.range(4..=16) } else { stream.range(1..=6) },
        rate,
        keys: *stream.pick(&[4, 16, 64, 128, 512]).expect("a list"),
        value_bytes: *stream.pick(&[[16, 64], [16, 1_024], [256, 4_096], [16, 16_384]]).expect("a list"),
        lasting: Nanos::secs(stream.range(4..=12)),
        mix,
        ..Workload::default()
    }
}
