//! A process's own stream of random numbers.

use node::env::Rng;
use parking_lot::Mutex;
use sim::Stream;

pub(super) struct RoomRng(Mutex<Stream>);

impl RoomRng {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Mutex::new(stream))
    }
}

impl Rng for RoomRng {
    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }
}
