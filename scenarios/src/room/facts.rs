//! Facts on their way from a node to the room's trace and to the witness.

use std::sync::Arc;

use node::{env::Facts, fact::Fact};

use crate::witness::{ContentHash, Witness};

pub(super) struct RoomFacts {
    handle: sim::Handle,
    witness: Arc<Witness>,
}

impl RoomFacts {
    pub(super) fn new(handle: sim::Handle, witness: Arc<Witness>) -> Self {
        Self { handle, witness }
    }
}

impl Facts for RoomFacts {
    fn state(&self, fact: Fact) {
        let mut hash = ContentHash::default();
        fact.feed(&mut hash);
        let detail = self.witness.detailed.then(|| Arc::new(fact.clone()) as Arc<dyn std::fmt::Debug + Send + Sync>);
        let stated = sim::event::Fact { name: fact.name(), digest: hash.value(), detail };
        // A dead incarnation states nothing.
        if self.handle.fact(stated) {
            self.witness.node(self.handle.id(), self.handle.incarnation(), fact);
        }
    }
}
