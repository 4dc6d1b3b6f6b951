//! The snapshot at an index holds exactly the state at that index.
//!
//! Judged when it is generated, by the digest of what goes into it, and when it has been applied, by the digest of what
//! came out, against the reference as of its index. A snapshot that was taken before the batch of that index was flushed
//! lacks the batch's writes.
//!
//! Source: tikv#4716; Ongaro's thesis, section 5.1.

use node::{fact::Fact, store::fact::apply};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const SNAPSHOT_EQUALS_STATE: Entry = Entry {
    name: "snapshot-equals-state",
    family: "snapshot",
    class: Class::Safety,
    property: "the snapshot at an index holds exactly the state at that index",
    source: "tikv#4716; Ongaro's thesis, section 5.1",
    hears: &[Hall::Apply],
    make: || Box::new(SnapshotEqualsState { judged: 0 }),
};

struct SnapshotEqualsState {
    judged: u64,
}

impl Check for SnapshotEqualsState {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        let Body::Node(Fact::Apply(apply::Fact::Hashed { region, peer, index, digest, keys, why })) = &event.body
        else {
            return Ok(());
        };
        if why.as_str() != "snapshot" {
            return Ok(());
        }
        let Some(state) = known.reference().and_then(|reference| reference.at(*region, *index)) else { return Ok(()) };
        self.judged += 1;
        if (state.digest, state.keys) == (*digest, *keys) {
            return Ok(());
        }
        let detail = format!(
            "the snapshot of region {region} at {index} holds {keys} keys with digest {:016x} (peer {peer}); the state there \
             has {} keys and {:016x}",
            digest.0, state.keys, state.digest.0
        );
        Err(Violation::new("not-the-state", detail))
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
