//! A process's simulated clock.

use std::time::Duration;

use node::env::{BoxFuture, Clock, Instant};

pub(super) struct RoomClock(pub(super) sim::clock::Clock);

impl Clock for RoomClock {
    fn now(&self) -> Instant {
        Instant(self.0.now_ns())
    }

    fn wall_ns(&self) -> u64 {
        u64::try_from(self.0.wall_ns()).unwrap_or(0)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.0.sleep(duration))
    }
}
