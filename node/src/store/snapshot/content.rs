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

/// Older versions of a key that are stepped over before the next key is sought: seeking costs as much as some steps.
const STEPS_MAX: u64 = 8;

/// Scans a region.
pub async fn hash(snapshot: &Snapshot, region: &Region) -> Result<Content, Error> {
    let mut hasher = Hasher::default();
    let end = key::range_end(&region.end);
    let mut entries = snapshot.iter(Family::Write, key::range_start(&region.start), end.clone());
    let mut older = 0;
    while let Some((version, stored)) = entries.next().await? {
        if !key::is_same_key(&hasher.newest, &version) {
            older = 0;
            hasher.take(snapshot, &version, &stored).await?;
            continue;
        }
        older += 1;
        if older == STEPS_MAX
            && let Some(behind) = key::behind_versions(&version)
        {
            entries = snapshot.iter(Family::Write, behind, end.clone());
        }
    }
    Ok(hasher.content())
}
