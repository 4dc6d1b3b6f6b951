//! Named places in code that can misbehave.

/// One node's own switchboard.
#[derive(Clone, Default)]
pub struct Points {}
