//! The ceiling: raft-rs alone over the room's fabric, with the shape and the proposals of a full run.
//!
//! Each store is a process, each region a raft group over some of them, its log in memory. Messages are encoded into
//! frames, travel over lossy connections, and are decoded; a proposal counts when its leader applies it. A full run is
//! measured as a share of what this loop commits in a processor second, in the same process.
//!
//! Not here: an engine, disks, clients, checks, observers, faults; nor any clock of the machine: whoever calls measures.

mod log;
mod store;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sim::Seed;

use self::store::{Store, Tally};
use crate::{
    plan::{
        Plan,
        knobs::{self, Between},
    },
    room::{End, Latency, Link, Room, World},
};

/// What the loop is given to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The seed of the run.
    pub seed: u64,
    /// Stores, each a process.
    pub stores: u64,
    /// Raft groups, spread evenly over the stores.
    pub regions: u64,
    /// Voters of each group; no more than there are stores.
    pub replicas: u64,
    /// Proposals, spread evenly over the regions and over `lasting`.
    pub proposals: u64,
    /// Bounds of the length of a proposal; eight bytes are the least.
    pub value_bytes: [u64; 2],
    /// How long proposals come.
    pub lasting: Duration,
    /// The tick of raft.
    pub tick: Duration,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader until a follower campaigns.
    pub election_ticks: usize,
    /// Bytes of entries in one append message.
    pub message_bytes: u64,
    /// Append messages under way to one follower.
    pub inflight: usize,
    /// How long a frame is under way.
    pub delay: Between,
}

impl Shape {
    /// The shape of a plan, with as many proposals as its clients begin operations.
    pub fn of(plan: &Plan) -> Self {
        let knobs = &plan.knobs;
        let lasting = plan.workload.lasting;
        let proposals = u128::from(plan.workload.rate) * u128::from(lasting.0) / 1_000_000_000;
        Shape {
            seed: plan.seed,
            stores: plan.cluster.stores,
            regions: plan.cluster.regions,
            replicas: knobs.get(knobs::PD_REPLICAS).min(plan.cluster.stores),
            proposals: u64::try_from(proposals).unwrap_or(u64::MAX),
            value_bytes: plan.workload.value_bytes,
            lasting: lasting.duration(),
            tick: knobs.get(knobs::RAFT_TICK).duration(),
            heartbeat_ticks: knobs.get(knobs::RAFT_HEARTBEAT_TICKS) as usize,
            election_ticks: knobs.get(knobs::RAFT_ELECTION_TICKS) as usize,
            message_bytes: knobs.get(knobs::RAFT_MESSAGE).0,
            inflight: knobs.get(knobs::RAFT_INFLIGHT) as usize,
            delay: knobs.get(knobs::NET_DELAY),
        }
    }

    /// The stores of a region's voters. The first is to lead.
    fn voters(&self, region: u64) -> impl Iterator<Item = u64> {
        let stores = self.stores;
        (0..self.replicas.min(stores)).map(move |replica| (region + replica) % stores + 1)
    }
}

/// What the loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Proposals that their leaders applied.
    pub committed: u64,
    /// Messages of raft that arrived.
    pub messages: u64,
    /// Frames that they arrived in.
    pub frames: u64,
    /// Simulated time from the beginning to the end, elections included.
    pub simulated: Duration,
    /// The rolling hash of the trace.
    pub trace_hash: u64,
}

/// The loop did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A shape that is no cluster.
    #[error("a bare cluster needs stores, regions, replicas, and a tick that is more than nothing")]
    Nothing,
    /// The run ended otherwise.
    #[error("the bare cluster ended with {end} after {committed} of {proposals} proposals")]
    Ended {
        /// How.
        end: String,
        /// Proposals that were applied till then.
        committed: u64,
        /// Proposals that there should have been.
        proposals: u64,
    },
}

/// Runs a bare cluster. The calling thread waits; the run has a thread of its own.
pub fn run(shape: &Shape) -> Result<Done, Error> {
    if shape.stores == 0 || shape.regions == 0 || shape.replicas == 0 || shape.tick.is_zero() {
        return Err(Error::Nothing);
    }
    let tally = Arc::new(Mutex::new(Tally::new(shape)));
    let (given, counted) = (Arc::new(shape.clone()), tally.clone());
    let outcome = World::new(Seed::new(shape.seed))
        .time_limit(2 * shape.lasting + BOOT_LIMIT)
        .run(move |room| drive(room, given, counted));
    let tally = tally.lock();
    match outcome.end {
        End::Finished(()) => Ok(Done {
            committed: tally.committed,
            messages: tally.messages,
            frames: tally.frames,
            simulated: outcome.simulated,
            trace_hash: outcome.trace.hash,
        }),
        end => Err(Error::Ended { end: format!("{end:?}"), committed: tally.committed, proposals: shape.proposals }),
    }
}

/// Elections take a few round trips; a cluster that has not elected by then never will.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// How often it is asked whether something has come about that is waited for.
const PATIENCE: Duration = Duration::from_millis(1);

/// The stores by number, once they run.
type Stores = Mutex<Vec<Option<Arc<Mutex<Store>>>>>;

/// Boots the stores, proposes in time, and returns when all is applied.
async fn drive(room: Room, shape: Arc<Shape>, tally: Arc<Mutex<Tally>>) {
    let delay = Latency::between(shape.delay.least.0, shape.delay.most.0);
    room.fabric().set_default_link(Link { delay, ..Link::default() });
    let stores: Arc<Stores> = Arc::new(Mutex::new((0..=shape.stores).map(|_| None).collect()));
    for number in 1..=shape.stores {
        let (shape, tally, stores) = (shape.clone(), tally.clone(), stores.clone());
        room.process(&format!("store-{number}")).start(move |handle| {
            let store = Arc::new(Mutex::new(Store::new(&handle, number, &shape, &tally)));
            stores.lock()[number as usize] = Some(store.clone());
            store::work(handle, store, shape.clone())
        });
    }
    while tally.lock().connected < shape.stores {
        room.sleep(PATIENCE).await;
    }
    let connected: Vec<_> = stores.lock().iter().flatten().cloned().collect();
    connected.iter().for_each(|store| store.lock().campaign(&shape));
    while !tally.lock().is_led_everywhere() {
        room.sleep(PATIENCE).await;
    }
    let began_ns = room.true_ns();
    let mut stream = room.stream("proposals");
    // Proposals that came while nobody led their region.
    let mut waiting: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    let [least, most] = shape.value_bytes.map(|len| len.max(8));
    for number in 0..shape.proposals {
        let due = u128::from(shape.lasting.as_nanos() as u64) * u128::from(number) / u128::from(shape.proposals);
        let wait_ns = (began_ns + due as u64).saturating_sub(room.true_ns());
        if wait_ns > 0 {
            room.sleep(Duration::from_nanos(wait_ns)).await;
        }
        let mut data = vec![b'.'; stream.range(least..=most.max(least)) as usize];
        data[..8].copy_from_slice(&number.to_le_bytes());
        waiting.push_back((stream.below(shape.regions), data));
        propose(&stores, &tally, &mut waiting);
    }
    let end_ns = began_ns + shape.lasting.as_nanos() as u64;
    room.sleep(Duration::from_nanos(end_ns.saturating_sub(room.true_ns()))).await;
    while tally.lock().committed < shape.proposals {
        room.sleep(PATIENCE).await;
        propose(&stores, &tally, &mut waiting);
    }
}

/// Hands what waits to the leaders, as far as there are any.
fn propose(stores: &Stores, tally: &Mutex<Tally>, waiting: &mut VecDeque<(u64, Vec<u8>)>) {
    for _ in 0..waiting.len() {
        let Some((region, data)) = waiting.pop_front() else { return };
        let leader = tally.lock().leader_of(region);
        match leader.and_then(|leader| stores.lock()[leader as usize].clone()) {
            Some(store) => store.lock().propose(region, data),
            None => waiting.push_back((region, data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Nanos;

    fn shape() -> Shape {
        Shape {
            seed: 7,
            stores: 4,
            regions: 6,
            replicas: 3,
            proposals: 500,
            value_bytes: [16, 64],
            lasting: Duration::from_secs(2),
            tick: Duration::from_millis(50),
            heartbeat_ticks: 2,
            election_ticks: 10,
            message_bytes: 64 << 10,
            inflight: 64,
            delay: Between::new(Nanos::micros(200), Nanos::millis(2)),
        }
    }

    #[test]
    fn commits_what_was_proposed_and_again_the_same_way() {
        let [one, other] = [(); 2].map(|()| run(&shape()).expect("nothing fails here"));
        assert_eq!(one.committed, 500);
        // A proposal is two appends and two answers at the least, and so is the news that it is committed.
        assert!(one.messages >= 500 * 4 && one.frames <= one.messages, "{one:?}");
        assert_eq!(one, other);
        let unlike = run(&Shape { seed: 8, ..shape() }).expect("nothing fails here");
        assert_ne!(one.trace_hash, unlike.trace_hash);
    }

    #[test]
    fn long_logs_are_cut_and_one_store_is_a_cluster() {
        let done = run(&Shape { regions: 1, proposals: 9_000, ..shape() }).expect("nothing fails here");
        assert_eq!(done.committed, 9_000);
        let alone = run(&Shape { stores: 1, ..shape() }).expect("nothing fails here");
        assert_eq!((alone.committed, alone.messages), (500, 0));
    }

    #[test]
    fn no_cluster_is_refused() {
        for nothing in
            [Shape { stores: 0, ..shape() }, Shape { regions: 0, ..shape() }, Shape { tick: Duration::ZERO, ..shape() }]
        {
            assert!(matches!(run(&nothing), Err(Error::Nothing)));
        }
    }
}
