//! Three nodes of unmodified raft-rs in the room: the trace is a function of the seed, whatever ran before and wherever it runs.
//!
//! raft-rs draws its election timeouts from `thread_rng`, which is how the entropy remedy is shown to be needed: with it taken out,
//! the comparison of two operating-system processes finds a difference.

use std::{process::Command, sync::Arc, time::Duration};

use parking_lot::Mutex;
use protobuf::Message as _;
use raft::{Config, RawNode, prelude::Message, storage::MemStorage};
use sim::{
    End, Exit, Handle, Seed, World,
    event::Fact,
    fabric::{Delivery, Sender},
    trace::{Trace, first_difference},
};

const NODES: u64 = 3;

fn address(id: u64) -> String {
    format!("node-{id}:20160")
}

/// One raft peer. Its parts: raft-rs's state machine, and a sender per other peer, once connected.
struct Peer {
    handle: Handle,
    raft: RawNode<MemStorage>,
    senders: Vec<Option<Sender>>,
}

impl Peer {
    fn new(handle: Handle, id: u64) -> Self {
        let voters: Vec<u64> = (1..=NODES).collect();
        let storage = MemStorage::new_with_conf_state((voters, vec![]));
        let config = Config {
            id,
            election_tick: 10,
            heartbeat_tick: 3,
            pre_vote: true,
            check_quorum: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&config, storage, &logger).expect("the configuration is sound");
        Peer { handle, raft, senders: (0..=NODES).map(|_| None).collect() }
    }

    fn send(&self, messages: Vec<Message>) {
        for message in messages {
            if let Some(Some(sender)) = self.senders.get(message.to as usize) {
                let bytes = message.write_to_bytes().expect("a message of raft-rs can be encoded");
                // A lost message is raft's to bear.
                sender.send(bytes.into()).ok();
            }
        }
    }

    fn pump(&mut self) {
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            self.send(ready.take_messages());
            let mut applied = ready.take_committed_entries().len();
            {
                let mut storage = self.raft.raft.raft_log.store.wl();
                storage.append(ready.entries()).expect("raft-rs appends without gaps");
                if let Some(hard_state) = ready.hs() {
                    storage.set_hardstate(hard_state.clone());
                }
            }
            self.send(ready.take_persisted_messages());
            let mut light = self.raft.advance(ready);
            self.send(light.take_messages());
            applied += light.take_committed_entries().len();
            self.raft.advance_apply();
            if applied > 0 {
                let digest = self.raft.raft.raft_log.applied;
                self.handle.fact(Fact { name: "applied", digest, detail: None });
            }
        }
    }
}

async fn node(handle: Handle, id: u64, writes_per_second: u64) -> Exit {
    let peer = Arc::new(Mutex::new(Peer::new(handle.clone(), id)));
    let mut listener = handle.net().listen(&address(id)).expect("the address is free");
    let (accepting, accepted) = (peer.clone(), handle.clone());
    handle.spawn(async move {
        loop {
            let mut connection = listener.accept().await;
            let peer = accepting.clone();
            accepted.spawn(async move {
                while let Ok(frame) = connection.receiver.recv().await {
                    let message = Message::parse_from_bytes(&frame).expect("frames arrive as they were sent");
                    let mut peer = peer.lock();
                    peer.raft.step(message).ok();
                    peer.pump();
                }
            });
        }
    });
    for other in (1..=NODES).filter(|&other| other != id) {
        let (peer, handle_inside) = (peer.clone(), handle.clone());
        handle.spawn(async move {
            loop {
                if let Ok(connection) = handle_inside.net().connect(&address(other), Delivery::Lossy).await {
                    peer.lock().senders[other as usize] = Some(connection.sender);
                    return;
                }
                handle_inside.clock().sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let (ticking, clock) = (peer.clone(), handle.clock());
    handle.spawn(async move {
        let mut interval = clock.interval(Duration::from_millis(100));
        loop {
            interval.tick().await;
            let mut peer = ticking.lock();
            peer.raft.tick();
            peer.pump();
        }
    });
    let mut interval = handle.clock().interval(Duration::from_nanos(1_000_000_000 / writes_per_second));
    loop {
        interval.tick().await;
        let mut peer = peer.lock();
        if peer.raft.raft.state == raft::StateRole::Leader {
            peer.raft.propose(vec![], vec![7; 64]).ok();
            peer.pump();
        }
    }
}

fn run(seed: u64, seconds: u64, recording: bool) -> Trace {
    let world = World::new(Seed::new(seed));
    let world = if recording { world.record() } else { world };
    let outcome = world.run(move |room| async move {
        for id in 1..=NODES {
            room.process(&format!("node-{id}")).start(move |handle| node(handle, id, 100));
        }
        room.sleep(Duration::from_secs(seconds)).await;
        assert!(room.processes().iter().all(sim::Process::is_running));
    });
    assert_eq!(outcome.end, End::Finished(()), "{:?}", outcome.trace.last);
    outcome.trace
}

/// What the tests below run in an operating-system process of its own, with arguments in its environment; without them, one run.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "its arguments and its speed are of the real process, outside of the world"
)]
fn a_run_of_its_own() {
    let argument = |name: &str| std::env::var(name).unwrap_or_default();
    sim::entropy::set_remedy(argument("SIM_TEST_LEAKY").is_empty());
    let recording = !argument("SIM_TEST_RECORD").is_empty();
    let seconds = argument("SIM_TEST_SECONDS").parse().unwrap_or(20);
    let seeds = std::env::var("SIM_TEST_SEEDS").unwrap_or_else(|_| "1".into());
    for seed in seeds.split(',').map(|seed| seed.parse().expect("a seed is a number")) {
        let began = std::time::Instant::now();
        let trace = run(seed, seconds, recording);
        assert!(trace.steps > 1000, "the cluster did nothing: {:?}", trace.last);
        let rate = trace.steps as u128 * 1_000_000 / began.elapsed().as_micros();
        println!("\nHASH {seed} {:016x}\nRATE {} steps, {rate} steps a second", trace.hash, trace.steps);
        for line in trace.lines().unwrap_or_default() {
            println!("LINE {line}");
        }
    }
}

fn spawn_child(seeds: &str, settings: &[(&str, &str)]) -> Vec<String> {
    let this = std::env::current_exe().expect("a test knows its program");
    let output = Command::new(this)
        .args(["a_run_of_its_own", "--exact", "--nocapture"])
        .env_clear()
        .env("SIM_TEST_SEEDS", seeds)
        .envs(settings.iter().copied())
        .output()
        .expect("the test program runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

fn tagged(lines: &[String], tag: &str) -> Vec<String> {
    let mut found: Vec<String> = lines.iter().filter_map(|line| line.strip_prefix(tag)).map(String::from).collect();
    if tag == "HASH " {
        found.sort();
        found.dedup();
    }
    found
}

#[test]
fn equal_across_runs_orders_and_processes() {
    let here: Vec<String> = [1, 2].iter().map(|&seed| format!("{seed} {:016x}", run(seed, 20, false).hash)).collect();
    assert_eq!(
        here,
        [2, 1].map(|seed| format!("{seed} {:016x}", run(seed, 20, false).hash)).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(here, tagged(&spawn_child("1,2,1", &[]), "HASH "));
    assert_eq!(here, tagged(&spawn_child("2,1", &[]), "HASH "));
    assert_ne!(here[0][2..], here[1][2..]);
}

#[test]
fn without_the_remedy_the_first_difference_is_named() {
    let leaky = [("SIM_TEST_LEAKY", "1"), ("SIM_TEST_RECORD", "1")];
    let leaking = || tagged(&spawn_child("1", &leaky), "LINE ");
    // Three election timeouts of ten ticks each are drawn: now and then two runs draw alike, eight do not.
    let left = leaking();
    let found = (1..8).find_map(|_| first_difference(&left, &leaking(), 3)).expect("the leak shows");
    assert!(!found.before.is_empty() && found.to_string().contains("the traces part at line"), "{found}");
    let sound = [("SIM_TEST_RECORD", "1")];
    let [left, right] = [(); 2].map(|()| tagged(&spawn_child("1", &sound), "LINE "));
    assert!(left.len() > 1000);
    assert_eq!(first_difference(&left, &right, 3), None);
}
