//! Many runs in one process leave nothing behind: no task, and no memory.
//!
//! Alone in its file, because it measures the whole process, in which tests of one file run side by side.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sim::{End, Handle, Seed, World};

const SECOND: Duration = Duration::from_secs(1);

/// Counts its living instances.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[expect(clippy::disallowed_methods, reason = "the size of the real process")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux tells a process its size");
    let pages: u64 =
        status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is resident pages");
    pages * 4096
}

#[test]
fn two_hundred_runs_leave_nothing_behind() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut after_warm_up = 0;
    for seed in 0..200 {
        let alive_inside = alive.clone();
        let outcome = World::new(Seed::new(seed)).time_limit(5 * SECOND).run(move |room| async move {
            for name in ["a", "b", "c"] {
                let alive = alive_inside.clone();
                room.process(name).start(move |handle: Handle| {
                    let alive = alive.clone();
                    async move {
                        for _ in 0..20 {
                            let (counted, clock) = (Counted::new(&alive), handle.clock());
                            handle.spawn(async move {
                                let ballast = vec![1u8; 10_000];
                                clock.sleep(Duration::from_secs(3600)).await;
                                drop((counted, ballast));
                            });
                        }
                        std::future::pending::<()>().await;
                    }
                });
            }
            room.process("b").pause();
            // Two of three runs end by themselves, one is cut short.
            room.sleep(Duration::from_secs(if seed % 3 == 0 { 10 } else { 2 })).await;
        });
        assert_eq!(matches!(outcome.end, End::TimeLimit), seed % 3 == 0, "{outcome:?}");
        assert_eq!((outcome.leaked_tasks, alive.load(Ordering::SeqCst)), (0, 0), "seed {seed}");
        if seed == 50 {
            after_warm_up = resident_bytes();
        }
    }
    let grown = resident_bytes().saturating_sub(after_warm_up);
    // A leak of the ballast alone would be 90 MB.
    assert!(grown < 4 << 20, "150 runs grew the process by {grown} bytes");
}
