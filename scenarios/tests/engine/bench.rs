//! A process of the room with nothing but a disk, a clock and tasks: what an engine under test needs.
//!
//! It gets what a node gets in a run, but for its facts, which go to a list, and its points, which the test brings; and it is
//! driven from outside of the process.

use std::sync::Arc;

use node::{
    env::{Env, Facts},
    fact::Fact,
};
use parking_lot::Mutex;
use scenarios::{
    check::Checks,
    event::Header,
    room::{self, StatsFault},
    trigger::Triggers,
    witness::Witness,
};

/// What an engine stated, in order.
pub type Stated = Arc<Mutex<Vec<Fact>>>;

/// A new incarnation of `process`, which runs until it is ended from outside.
pub async fn start(process: &sim::Process) -> sim::Handle {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    process.start(move |handle| {
        let tell = tell.lock().take();
        async move {
            if let Some(tell) = tell {
                let _ = tell.send(handle);
            }
            std::future::pending::<()>().await;
        }
    });
    told.await.expect("the main of the process sends first of all")
}

/// The environment of an incarnation.
pub fn env(handle: &sim::Handle, stated: &Stated, points: failpoints::Points) -> Env {
    let header = Header::new(vec![handle.name().to_string()], "8.5.0");
    let checks = Checks::none(header.clone());
    let nobody = Witness::new(&header, checks, Triggers::new(&[]), Vec::new(), false, false);
    let facts = Arc::new(List(stated.clone()));
    Env { facts, points, ..room::env(handle, &nobody, &StatsFault::default(), &[]) }
}

struct List(Stated);

impl Facts for List {
    fn state(&self, fact: Fact) {
        self.0.lock().push(fact);
    }
}
