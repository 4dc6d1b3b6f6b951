//! Tasks of a simulated process. A panic in one ends the incarnation; a dead incarnation spawns nothing.

use node::env::{BoxFuture, Spawn, Task};
use tracing::{Instrument as _, Span};

/// The span of everything that an incarnation logs: who it is. Disabled where nobody listens.
pub fn span(handle: &sim::Handle) -> Span {
    tracing::info_span!("node", name = %handle.name(), life = handle.incarnation())
}

pub(super) struct RoomSpawn(pub(super) sim::Handle);

impl Spawn for RoomSpawn {
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) -> Task {
        let span = span(&self.0);
        let future =
            if span.is_disabled() { future } else { Box::pin(future.instrument(span)) as BoxFuture<'static, ()> };
        let task = self.0.spawn_boxed(future);
        Task::new(move || task.abort())
    }

    fn exit(&self, cause: &str) {
        self.0.exit(sim::Exit::Failed(cause.into()));
    }
}
