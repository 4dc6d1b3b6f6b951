//! What a store states of committed entries that reach its engine.

use bytes::Bytes;

use crate::{
    fact::{Digest, Text},
    region::{PeerId, RegionId},
};

crate::facts! { room "apply" wraps Apply;
    /// An entry was applied. `kind` is `normal`, `conf-change` or `empty`; `command` is the entry's data as committed.
    Applied "entry-applied" { region: RegionId, peer: PeerId, index: u64, term: u64, kind: Text, command: Bytes }
    /// The applied state up to `index` was written to the engine, durably if `synced`.
    Persisted "applied-persisted" { region: RegionId, peer: PeerId, index: u64, synced: bool }
    /// A region's content was hashed by scanning the engine, as of `index`: for `snapshot`, `split`, `merge`, `restart`, `compute-hash` or `converge`.
    Hashed "content-hashed" { region: RegionId, peer: PeerId, index: u64, digest: Digest, keys: u64, why: Text }
    /// The replicas' hashes of a `ComputeHash` differ.
    HashMismatch "content-hash-mismatch" { region: RegionId, peer: PeerId, index: u64, expected: Digest, found: Digest }
}
