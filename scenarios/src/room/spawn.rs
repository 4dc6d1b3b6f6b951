//! Tasks of a simulated process. A panic in one ends the incarnation; a dead incarnation spawns nothing.

use node::env::{BoxFuture, Spawn, Task};

pub(super) struct RoomSpawn(pub(super) sim::Handle);

impl Spawn for RoomSpawn {
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let task = self.0.spawn_boxed(future);
        Task::new(move || task.abort())
    }

    fn exit(&self, cause: &str) {
        self.0.exit(sim::Exit::Failed(cause.into()));
    }
}
