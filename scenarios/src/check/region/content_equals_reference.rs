//! A region's content, scanned in the engine, is what its committed entries make of it.
//!
//! Judged wherever a node hashes a region: at split, restart, convergence and on command. The reference knows the digest
//! at every recent index, so a replica that lags is judged as of its own index. A key that a compaction drops is found
//! here without any client reading it. Snapshots have a check of their own.
//!
//! Source: TiKV's consistency check.

use node::{fact::Fact, store::fact::apply};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall},
    verdict::Class,
};

/// The check's row.
pub const CONTENT_EQUALS_REFERENCE: Entry = Entry {
    name: "content-equals-reference",
    family: "region",
    class: Class::Safety,
    property: "a region's content in the engine is what its committed entries make of it",
    source: "TiKV's consistency check",
    hears: &[Hall::Apply],
    make: || Box::new(ContentEqualsReference { judged: 0 }),
};

struct ContentEqualsReference {
    judged: u64,
}

impl Check for ContentEqualsReference {
    fn on(&mut self, event: &Event, known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Apply(apply::Fact::Hashed { region, peer, index, digest, keys, why }))
                if why.as_str() != "snapshot" =>
            {
                let Some(state) = known.reference().and_then(|reference| reference.at(*region, *index)) else {
                    return Ok(());
                };
                self.judged += 1;
                if (state.digest, state.keys) == (*digest, *keys) {
                    return Ok(());
                }
                let rule = if state.keys > *keys { "keys-missing" } else { "content-differs" };
                let detail = format!(
                    "peer {peer} of region {region} hashes {keys} keys to {:016x} as of {index} ({why}); its entries make {} \
                     keys and {:016x}",
                    digest.0, state.keys, state.digest.0
                );
                Err(Violation::new(rule, detail).at(why.as_str()))
            }
            Body::Node(Fact::Apply(apply::Fact::HashMismatch { region, peer, index, .. })) => {
                let detail = format!("peer {peer} of region {region} finds other content at {index} than its leader");
                Err(Violation::new("replicas-differ", detail))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
