//! Callers and a server over a network in memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::env::{Connection, Env, memory};

const LONG: Duration = Duration::from_secs(20);

/// Keeps requests until it is told what to do with them.
#[derive(Default)]
struct Desk {
    kept: Mutex<Vec<(u32, Bytes, Reply)>>,
}

impl Handler for Desk {
    fn handle(&self, service: u32, body: Bytes, reply: Reply) {
        match &body[..] {
            b"keep" | b"keep 2" => self.kept.lock().push((service, body, reply)),
            b"drop" => {}
            b"refuse" => reply.refuse("no"),
            _ => reply.send(Bytes::from([b"re: ", &body[..]].concat())),
        }
    }

    fn take_over(&self, service: u32, first: &Bytes, mut connection: Connection) -> Result<Session, Connection> {
        if service != SNAPSHOT {
            return Err(connection);
        }
        let first = first.clone();
        Ok(Box::pin(async move {
            let next = connection.receiver.recv().await.expect("the test sends a second frame");
            connection.sender.send(Bytes::from([&first[..], &next[..]].concat())).expect("the test listens");
        }))
    }
}

fn env() -> (Env, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory for the test");
    (memory::env(dir.path(), &Arc::default()), dir)
}

async fn both(env: &Env) -> (Caller, Arc<Desk>, Server) {
    let desk = Arc::new(Desk::default());
    let server = serve(env, "here", Arc::clone(&desk) as Arc<dyn Handler>).await.expect("it listens");
    (Caller::connect(env, "here", LONG).await.expect("it connects"), desk, server)
}

async fn until(env: &Env, is: impl Fn() -> bool) {
    while !is() {
        env.sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let (env, _dir) = env();
    let (caller, desk, _server) = both(&env).await;
    let first = caller.call(KV, "keep".into(), LONG);
    let second = caller.call(KV, "keep 2".into(), LONG);
    let turn_round = async {
        until(&env, || desk.kept.lock().len() == 2).await;
        assert_eq!(caller.call(KV, "now".into(), LONG).await, Ok("re: now".into()));
        let mut kept = std::mem::take(&mut *desk.kept.lock());
        while let Some((service, body, reply)) = kept.pop() {
            assert!(service == KV && reply.is_wanted());
            reply.send(body);
        }
    };
    let (first, second, ()) = futures::join!(first, second, turn_round);
    assert_eq!((first, second), (Ok("keep".into()), Ok("keep 2".into())));
}

#[tokio::test]
async fn a_failure_says_whether_it_may_have_been_done() {
    let (env, _dir) = env();
    assert!(Caller::connect(&env, "here", LONG).await.is_err(), "nobody listens yet");
    let (caller, desk, server) = both(&env).await;
    assert_eq!(caller.call(KV, "refuse".into(), LONG).await, Err(CallError::Refused("no".into())));
    let dropped = caller.call(KV, "drop".into(), LONG).await.expect_err("nobody answers");
    assert!(matches!(&dropped, CallError::Broken(_)) && dropped.is_unknown(), "{dropped}");
    let short = Duration::from_millis(20);
    // A longer deadline is watched already when the shorter one comes.
    let long = caller.call(KV, "keep".into(), LONG);
    let late = async {
        assert_eq!(caller.call(KV, "keep".into(), short).await, Err(CallError::Timeout(short)));
        drop(server);
        desk.kept.lock().clear();
    };
    let (long, ()) = futures::join!(long, late);
    assert!(long.as_ref().is_err_and(CallError::is_unknown), "{long:?}");
    until(&env, || caller.is_broken()).await;
    let after = caller.call(KV, "x".into(), LONG).await.expect_err("the connection is gone");
    assert!(!after.is_unknown(), "{after}");
}

#[tokio::test]
async fn the_first_frame_can_take_a_connection_over_and_one_way_frames_want_no_answer() {
    let (env, _dir) = env();
    let (_caller, desk, _server) = both(&env).await;
    let mut raw = env.net.connect("here", crate::env::Delivery::Ordered).await.expect("it connects");
    raw.sender.send(one_way(SNAPSHOT, "first, ".into())).expect("it is open");
    raw.sender.send("second".into()).expect("it is open");
    assert_eq!(raw.receiver.recv().await.expect("the session answers"), "first, second");

    let raft = env.net.connect("here", crate::env::Delivery::Lossy).await.expect("it connects");
    raft.sender.send(one_way(RAFT, "keep".into())).expect("it is open");
    until(&env, || !desk.kept.lock().is_empty()).await;
    assert!(desk.kept.lock().iter().all(|(service, _, reply)| *service == RAFT && !reply.is_wanted()));
}
