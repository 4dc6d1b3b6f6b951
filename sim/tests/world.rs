//! Worlds: how runs end, and that a dead incarnation is fenced.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sim::{
    End, Event, Handle, Room, Seed, World,
    disk::{CrashKeep, Open},
    event::{Cause, Fact},
    fabric::{Broken, Delivery},
    process::Supervision,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_end_is_a_value() {
    let finished = World::new(Seed::new(1)).run(|room| async move {
        room.sleep(SECOND).await;
        room.true_ns()
    });
    assert!(matches!(finished.end, End::Finished(ns) if (1_000_000_000..1_001_000_000).contains(&ns)), "{finished:?}");

    let panicked = World::new(Seed::new(1)).run(|room| async move {
        room.sleep(SECOND).await;
        panic!("body {}", 7);
    });
    let End::<()>::Panicked { message, location, process: None } = panicked.end else { panic!("{panicked:?}") };
    assert_eq!(&*message, "body 7");
    assert!(location.contains("tests/world.rs"), "{location}");

    let dead_end = World::new(Seed::new(1)).run(|room| async move {
        room.process("waits").start(|handle: Handle| async move {
            let _net = handle.net();
            std::future::pending::<()>().await;
        });
        std::future::pending::<()>().await;
    });
    assert_eq!((dead_end.end, dead_end.leaked_tasks), (End::DeadEnd, 0));

    let spent = World::new(Seed::new(1)).time_limit(10 * SECOND).run(|room| async move {
        for _ in 0..100 {
            room.sleep(SECOND).await;
        }
    });
    assert_eq!((spent.end, spent.leaked_tasks), (End::TimeLimit, 0));
}

#[test]
fn a_panic_ends_its_process_and_not_the_run() {
    let outcome = World::new(Seed::new(2)).run(|room| async move {
        let process = room.process("p");
        process.start(|handle: Handle| async move {
            let clock = handle.clock();
            handle.spawn(async move {
                clock.sleep(SECOND).await;
                panic!("inside a task");
            });
            std::future::pending::<()>().await;
        });
        process.exited().await
    });
    let End::Finished(Some(Cause::Panicked { message, location })) = outcome.end else { panic!("{outcome:?}") };
    assert_eq!(&*message, "inside a task");
    assert!(location.contains("tests/world.rs"), "{location}");
}

/// Tries everything when dropped, as a destructor of a real program may.
struct Writer {
    handle: Handle,
    file: sim::disk::File,
    sender: sim::fabric::Sender,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let write = std::pin::pin!(self.file.append(b"from the grave"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(write.poll(&mut context).is_pending(), "a dead incarnation's disk call completed");
        assert_eq!(self.sender.send("from the grave".into()), Err(Broken::Reset));
        assert!(!self.handle.fact(Fact { name: "grave", digest: 1, detail: None }));
        assert_eq!(self.handle.net().listen("grave").err(), Some(Broken::Reset));
        let handle = self.handle.clone();
        self.handle.spawn(async move {
            handle.fact(Fact { name: "grave", digest: 2, detail: None });
        });
    }
}

async fn listens(handle: Handle) {
    let mut listener = handle.net().listen("peer").expect("the address is free");
    let mut connection = listener.accept().await;
    while connection.receiver.recv().await.is_ok() {}
}

async fn destructor_run(room: Room, how: fn(&sim::Process)) -> (Vec<u8>, Vec<Event>) {
    let peer = room.process("peer");
    peer.start(listens);
    room.sleep(SECOND).await;
    let process = room.process("writer");
    process.start(|handle: Handle| async move {
        let file = handle.disk().open("log", Open::Create).await?;
        file.append(b"alive").await?;
        let connection = handle.net().connect("peer", Delivery::Ordered).await?;
        let _writer = Writer { handle: handle.clone(), file, sender: connection.sender };
        handle.clock().sleep(3600 * SECOND).await;
        std::io::Result::Ok(())
    });
    room.sleep(SECOND).await;
    how(&process);
    // The peer is told.
    peer.exited().await;
    let bytes = process.disk().read("log").expect("the file is there");
    (bytes, room.trace().last.iter().map(|step| step.event.clone()).collect())
}

#[test]
fn destructors_of_the_dead_change_nothing() {
    let ways: [fn(&sim::Process); 3] = [
        |process| process.kill(),
        |process| process.crash(CrashKeep::Everything),
        |process| {
            process.pause();
            process.kill();
        },
    ];
    for how in ways {
        let outcome = World::new(Seed::new(3)).run(move |room| destructor_run(room, how));
        let End::Finished((bytes, events)) = outcome.end else { panic!("{outcome:?}") };
        assert_eq!(bytes, b"alive");
        assert!(!events.iter().any(|event| matches!(event, Event::Fact(_))), "{events:?}");
        assert_eq!(outcome.leaked_tasks, 0);
    }
}

/// A lease that was taken before a pause is over after it, if the pause was longer than the lease; and nothing was made up for.
#[test]
fn a_paused_process_sees_at_resume_how_late_it_is() {
    let outcome = World::new(Seed::new(6)).record().run(|room| async move {
        let seen: Arc<Mutex<Vec<(&str, bool)>>> = Arc::default();
        let process = room.process("holder");
        let notes = seen.clone();
        process.start(move |handle: Handle| {
            let seen = notes.clone();
            async move {
                let clock = handle.clock();
                let lease_until_ns = clock.now_ns() + 9 * SECOND.as_nanos() as u64;
                let mut interval = clock.interval(SECOND);
                let ticker = (clock.clone(), seen.clone());
                handle.spawn(async move {
                    loop {
                        interval.tick().await;
                        ticker.1.lock().push(("tick", ticker.0.now_ns() < lease_until_ns));
                    }
                });
                clock.sleep(4 * SECOND).await;
                seen.lock().push(("slept", clock.now_ns() < lease_until_ns));
                std::future::pending::<()>().await;
            }
        });
        room.sleep(Duration::from_millis(1_500)).await;
        process.pause();
        room.sleep(10 * SECOND).await;
        let during = seen.lock().len();
        process.resume();
        room.sleep(Duration::from_millis(1)).await;
        let notes = seen.lock().clone();
        (during, notes)
    });
    let End::Finished((during, mut notes)) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(during, 1, "a paused process does nothing");
    notes.sort_unstable();
    assert_eq!(notes, [("slept", false), ("tick", false), ("tick", true)]);
}

#[test]
fn the_supervisor_backs_off_and_reports_a_crash_loop() {
    let outcome = World::new(Seed::new(4)).record().run(|room| async move {
        let process = room.process("flaky");
        process.set_supervised(Supervision { loop_exits: 4, ..Supervision::default() });
        process.start(|handle: Handle| async move {
            handle.clock().sleep(Duration::from_millis(10)).await;
            Err::<(), _>("no luck")
        });
        room.sleep(100 * SECOND).await;
        (process.is_running(), process.last_exit())
    });
    assert_eq!(outcome.end, End::Finished((false, Some(Cause::Failed("no luck".into())))));
    let steps = outcome.trace.record.expect("it was recorded");
    let starts: Vec<u64> = steps
        .iter()
        .filter(|step| matches!(step.event, Event::Process(sim::event::ProcessEvent::Started { .. })))
        .map(|step| step.true_ns / 10_000_000)
        .collect();
    // 10 ms of life each, then 100, 200, 400 ms of back-off.
    assert_eq!(starts, [0, 11, 32, 73]);
    let loops = |event: &Event| matches!(event, Event::Process(sim::event::ProcessEvent::CrashLoop { exits: 4 }));
    assert!(steps.iter().any(|step| loops(&step.event)));
}

#[test]
fn stopping_is_asked_for_first() {
    let outcome = World::new(Seed::new(5)).run(|room| async move {
        let process = room.process("p");
        process.start(|handle: Handle| async move { handle.stop_requested().await });
        room.sleep(SECOND).await;
        let good = process.stop(SECOND).await;
        process.start(|_: Handle| std::future::pending::<()>());
        room.sleep(SECOND).await;
        (good, process.stop(SECOND).await, process.incarnation())
    });
    assert_eq!(outcome.end, End::Finished((Some(Cause::Done), Some(Cause::StopOverdue), 0)));
}
