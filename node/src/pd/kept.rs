//! What the placement driver keeps on disk, in the storage engine's family for such things.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::{
    engine::{Engine, Family, WriteBatch},
    region::{Region, RegionId, StoreId},
    wire::placement::{Rule, Store},
};

use super::{OpenError, driver::Kept};

const FOUNDED: &[u8] = b"cluster";
const IDS: &[u8] = b"ids";
const TIMESTAMPS: &[u8] = b"timestamps";
const SAFE_POINT: &[u8] = b"safe-point";
const RECOVERY_STEP: &[u8] = b"recovery-step";
const STORE: &[u8] = b"store/";
const REGION: &[u8] = b"region/";
const RULE: &[u8] = b"rule/";
const GONE: &[u8] = b"gone/";
const RAN: &[u8] = b"ran/";

/// One change of what is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Founded,
    Ids(u64),
    Timestamps(u64),
    SafePoint(u64),
    RecoveryStep(u64),
    Store(Store),
    /// The record is deleted, and the id never returns.
    NoStore(StoreId),
    /// The releases that a store ran as.
    Ran(StoreId, Vec<String>),
    Region(Arc<Region>),
    NoRegion(RegionId),
    Rule(Rule),
    NoRule(Rule),
}

/// Changes as one atomic write.
pub(super) fn batch(changes: &[Change]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        let number = |number: &u64| Bytes::copy_from_slice(&number.to_be_bytes());
        let (key, value) = match change {
            Change::Founded => (Bytes::from_static(FOUNDED), Bytes::new()),
            Change::Ids(upto) => (Bytes::from_static(IDS), number(upto)),
            Change::Timestamps(upto) => (Bytes::from_static(TIMESTAMPS), number(upto)),
            Change::SafePoint(timestamp) => (Bytes::from_static(SAFE_POINT), number(timestamp)),
            Change::RecoveryStep(step) => (Bytes::from_static(RECOVERY_STEP), number(step)),
            Change::Store(record) => (with_id(STORE, record.id), record.encode_to_vec().into()),
            Change::NoStore(id) => {
                batch.delete(Family::Raft, with_id(STORE, *id));
                (with_id(GONE, *id), Bytes::new())
            }
            Change::Ran(id, names) => (with_id(RAN, *id), names.join(" ").into()),
            Change::Region(region) => (with_id(REGION, region.id), region.encode_to_vec().into()),
            Change::NoRegion(id) => {
                batch.delete(Family::Raft, with_id(REGION, *id));
                continue;
            }
            Change::Rule(rule) => (with_rule(rule), rule.encode_to_vec().into()),
            Change::NoRule(rule) => {
                batch.delete(Family::Raft, with_rule(rule));
                continue;
            }
        };
        batch.put(Family::Raft, key, value);
    }
    batch
}

/// Reads everything back.
pub(super) async fn load(engine: &Engine) -> Result<Kept, OpenError> {
    let mut kept = Kept::default();
    let mut entries = engine.snapshot().iter(Family::Raft, Bytes::new(), Bytes::new());
    while let Some((key, value)) = entries.next().await? {
        let bad = || OpenError::Unreadable { key: String::from_utf8_lossy(&key).into_owned() };
        let number = || value[..].try_into().map(u64::from_be_bytes).map_err(|_| bad());
        match &key[..] {
            FOUNDED => kept.cluster = true,
            IDS => kept.ids = number()?,
            TIMESTAMPS => kept.timestamps = number()?,
            SAFE_POINT => kept.safe_point = number()?,
            RECOVERY_STEP => kept.recovery_step = number()?,
            store if store.starts_with(STORE) => {
                kept.stores.push(Store::decode(value.clone()).map_err(|_| bad())?);
            }
            ran if ran.starts_with(RAN) => {
                let id = ran[RAN.len()..].try_into().map(StoreId::from_be_bytes).map_err(|_| bad())?;
                let names = std::str::from_utf8(&value).map_err(|_| bad())?;
                kept.ran.push((id, names.split(' ').map(str::to_owned).collect()));
            }
            region if region.starts_with(REGION) => {
                kept.regions.push(Region::decode(value.clone()).map_err(|_| bad())?);
            }
            gone if gone.starts_with(GONE) => {
                let id = gone[GONE.len()..].try_into().map(u64::from_be_bytes).map_err(|_| bad())?;
                kept.gone.insert(id);
            }
            rule if rule.starts_with(RULE) => {
                let rule = Rule::decode(value.clone()).map_err(|_| bad())?;
                kept.rules.restore(rule).map_err(|_| bad())?;
            }
            _ => return Err(bad()),
        }
    }
    Ok(kept)
}

fn with_id(prefix: &[u8], id: u64) -> Bytes {
    let mut key = BytesMut::from(prefix);
    key.extend_from_slice(&id.to_be_bytes());
    key.freeze()
}

fn with_rule(rule: &Rule) -> Bytes {
    let mut key = BytesMut::from(RULE);
    key.extend_from_slice(rule.group.as_bytes());
    key.extend_from_slice(b"/");
    key.extend_from_slice(rule.id.as_bytes());
    key.freeze()
}
