//! The contract of the disk, on the simulated one, as nodes get it in a run.
//!
//! The same suite runs on real files in `node`. What a crash leaves is no part of it: that is the disk's own test.

use node::env::contract;
use parking_lot::Mutex;
use scenarios::{
    check::Checks,
    event::Header,
    room::{self, End, Room, StatsFault, World},
    trigger::Triggers,
    witness::Witness,
};
use sim::Seed;

#[test]
fn the_simulated_disk_does_what_every_disk_has_to() {
    for seed in 1..=5 {
        let outcome = World::new(Seed::new(seed)).run(in_a_process);
        let End::Finished(result) = outcome.end else { panic!("seed {seed}: {:?}", outcome.end) };
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}

async fn in_a_process(room: Room) -> Result<(), String> {
    let header = Header::new(vec!["store-1".to_owned()], "8.5.0");
    let checks = Checks::none(header.clone());
    let witness = Witness::new(&header, checks, Triggers::new(&[]), Vec::new(), false, false);
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let process = room.process("store-1");
    process.start(move |handle| {
        let (tell, env) = (tell.lock().take(), room::env(&handle, &witness, &StatsFault::default(), &[]));
        async move {
            let result = contract::check(env.disk.clone()).await;
            if let Some(tell) = tell {
                let _ = tell.send(result);
            }
        }
    });
    told.await.map_err(|_| "the process ended before the suite did".to_owned())?
}
