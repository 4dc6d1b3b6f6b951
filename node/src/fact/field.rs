//! What a fact may carry: numbers, names, keys, log marks, regions.
//!
//! Each type says how a plan compares it, and how it is hashed. Text is either static or shared, so that stating a fact
//! does not format.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{env::Instant, region::Region};

/// Takes bytes and numbers into a hash.
pub trait Feed {
    /// Takes bytes.
    fn bytes(&mut self, bytes: &[u8]);
    /// Takes a name.
    fn text(&mut self, text: &str);
    /// Takes a number.
    fn number(&mut self, number: u64);
}

/// Describes a fact for lists and for the plan parser.
#[derive(Debug)]
pub struct FactSpec {
    /// The name that plans write.
    pub name: &'static str,
    /// The room that states it.
    pub room: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its fields.
    pub fields: &'static [FieldSpec],
}

/// Describes one field.
#[derive(Debug)]
pub struct FieldSpec {
    /// The field's name.
    pub name: &'static str,
    /// `number`, `text`, `key`, `bool`, `instant-ns`, `region`, `marks` or `digest`.
    pub kind: &'static str,
}

/// A field's value as a plan compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, an instant in nanoseconds, a region's id, or a digest.
    Number(u64),
    /// A name or a key.
    Text(Cow<'a, str>),
    /// A truth value.
    Bool(bool),
}

/// A type that a fact may carry.
pub trait Field {
    /// The kind's name in lists.
    const KIND: &'static str;
    /// As a plan compares it.
    fn value(&self) -> Value<'_>;
    /// Into a hash.
    fn feed(&self, to: &mut impl Feed);
}

impl Field for u64 {
    const KIND: &'static str = "number";
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
    fn feed(&self, to: &mut impl Feed) {
        to.number(*self);
    }
}

impl Field for bool {
    const KIND: &'static str = "bool";
    fn value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
    fn feed(&self, to: &mut impl Feed) {
        to.number(u64::from(*self));
    }
}

impl Field for Instant {
    const KIND: &'static str = "instant-ns";
    fn value(&self) -> Value<'_> {
        Value::Number(self.0)
    }
    fn feed(&self, to: &mut impl Feed) {
        to.number(self.0);
    }
}

impl Field for Bytes {
    const KIND: &'static str = "key";
    fn value(&self) -> Value<'_> {
        Value::Text(String::from_utf8_lossy(self))
    }
    fn feed(&self, to: &mut impl Feed) {
        to.bytes(self);
    }
}

/// A name: static when it is known at compile time, shared otherwise.
#[derive(Clone)]
pub enum Text {
    /// Known at compile time.
    Static(&'static str),
    /// Made at run time.
    Shared(Arc<str>),
}

impl Text {
    /// The characters.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Text {
        Text::Static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::Shared(text.into())
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Text {
        Text::Shared(text)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}

impl Field for Text {
    const KIND: &'static str = "text";
    fn value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self.as_str()))
    }
    fn feed(&self, to: &mut impl Feed) {
        to.text(self.as_str());
    }
}

impl Field for Arc<Region> {
    const KIND: &'static str = "region";
    fn value(&self) -> Value<'_> {
        Value::Number(self.id)
    }
    fn feed(&self, to: &mut impl Feed) {
        to.number(self.id);
        self.start.feed(to);
        self.end.feed(to);
        to.number(self.epoch.conf_ver);
        to.number(self.epoch.version);
        to.number(self.peers.len() as u64);
        for peer in &self.peers {
            to.number(peer.id);
            to.number(peer.store);
            to.number(peer.role as u64);
        }
    }
}

/// One log entry as checks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Position in the region's log.
    pub index: u64,
    /// The term in which the entry was proposed.
    pub term: u64,
    /// A hash of kind and data.
    pub digest: u64,
}

/// A run of log entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(pub Arc<[Mark]>);

impl Field for Marks {
    const KIND: &'static str = "marks";
    fn value(&self) -> Value<'_> {
        Value::Number(self.0.last().map_or(0, |mark| mark.index))
    }
    fn feed(&self, to: &mut impl Feed) {
        to.number(self.0.len() as u64);
        for mark in self.0.iter() {
            to.number(mark.index);
            to.number(mark.term);
            to.number(mark.digest);
        }
    }
}

/// A hash of a region's visible content: the sum over its keys of [`Digest::of`].
///
/// Only the newest version of each key counts, and only when it is not a deletion, so that the collection of old
/// versions does not change it. Being a sum it can be kept up to date write by write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub u64);

impl Digest {
    /// The share of one key whose newest version, at `timestamp`, is a value.
    pub fn of(key: &[u8], timestamp: u64, value: &[u8]) -> Digest {
        use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
        Digest(xxh3_64_with_seed(value, xxh3_64_with_seed(key, timestamp) ^ xxh3_64(&timestamp.to_le_bytes())))
    }
}

impl std::ops::Add for Digest {
    type Output = Digest;
    fn add(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_add(other.0))
    }
}

impl std::ops::Sub for Digest {
    type Output = Digest;
    fn sub(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_sub(other.0))
    }
}

impl Field for Digest {
    const KIND: &'static str = "digest";
    fn value(&self) -> Value<'_> {
        Value::Number(self.0)
    }
    fn feed(&self, to: &mut impl Feed) {
        to.number(self.0);
    }
}
