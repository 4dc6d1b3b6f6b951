//! The digest of a region's visible content, by scanning the engine.

use bytes::Bytes;

use crate::{
    engine::{Error, Family, Snapshot, record::Record},
    fact::Digest,
    key,
    region::Region,
};

/// What a scan found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The sum over all keys whose newest version is a value.
    pub digest: Digest,
    /// How many those are.
    pub keys: u64,
}

/// Takes the versions of a region in key order and sums up the newest ones.
#[derive(Debug, Default)]
pub struct Hasher {
    content: Content,
    /// The newest version of the last key.
    newest: Bytes,
}

impl Hasher {
    /// Takes one entry of the family `write`. Large values are read from `snapshot`.
    pub async fn take(&mut self, snapshot: &Snapshot, version: &Bytes, stored: &Bytes) -> Result<(), Error> {
        if key::is_same_key(&self.newest, version) {
            return Ok(());
        }
        let Some((user_key, timestamp)) = key::parse_version(version) else { return Ok(()) };
        let value = match Record::decode(stored) {
            Some(Record::Value(value)) => Some(value),
            Some(Record::Indirect) => snapshot.get(Family::Default, version).await?,
            Some(Record::Tombstone) | None => None,
        };
        if let Some(value) = value {
            self.content.digest = self.content.digest + Digest::of(&user_key, timestamp, &value);
            self.content.keys += 1;
        }
        self.newest.clone_from(version);
        Ok(())
    }

    /// The sum so far.
    pub fn content(&self) -> Content {
        self.content
    }
}

/// Scans a region.
pub async fn hash(snapshot: &Snapshot, region: &Region) -> Result<Content, Error> {
    let mut hasher = Hasher::default();
    let mut entries = snapshot.iter(Family::Write, key::range_start(&region.start), key::range_end(&region.end));
    while let Some((version, stored)) = entries.next().await? {
        if !key::is_same_key(&hasher.newest, &version) {
            hasher.take(snapshot, &version, &stored).await?;
        }
    }
    Ok(hasher.content())
}
