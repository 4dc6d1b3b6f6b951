//! Promises to clients: what they read is what was written, in an order that time allows.

mod acknowledged_writes_survive;
mod atomic_batches;
mod linearizable;

pub use acknowledged_writes_survive::ACKNOWLEDGED_WRITES_SURVIVE;
pub use atomic_batches::ATOMIC_BATCHES;
pub use linearizable::LINEARIZABLE;
