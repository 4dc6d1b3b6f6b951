//! What stores send each other: raft messages, and the few words that peers exchange beside raft.
//!
//! Messages to the same store share a frame. Frames travel one way on lossy connections: every message here may be
//! lost, doubled, delayed or overtaken, and whoever needs an answer asks again.
//!
//! A frame is a protobuf message of one field, the messages in the order in which they were sent. It is put together from
//! messages that are encoded already, and taken apart one by one ([`put_framed`], [`framed`]): most of what a store
//! does is to send and to receive these.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::{
    Message as _,
    encoding::{self, WireType},
};

use crate::region::{Epoch, Peer, Region, RegionId};

/// The field of a frame that holds its messages.
const MESSAGES: u32 = 1;
/// The field of a message that holds raft's.
const RAFT: u32 = 7;

fn put_bytes_head(field: u32, len: usize, out: &mut Vec<u8>) {
    encoding::encode_key(field, WireType::LengthDelimited, out);
    encoding::encode_varint(len as u64, out);
}

/// How long an encoded message is in a frame.
pub fn framed_len(message: &[u8]) -> usize {
    encoding::key_len(MESSAGES) + encoding::encoded_len_varint(message.len() as u64) + message.len()
}

/// Puts an encoded message into a frame.
pub fn put_framed(message: &[u8], out: &mut Vec<u8>) {
    put_bytes_head(MESSAGES, message.len(), out);
    out.put_slice(message);
}

/// The messages of a frame, up to the first that does not parse.
pub fn framed(frame: Bytes) -> impl Iterator<Item = Box<PeerMessage>> {
    parts(frame).map_while(|message| PeerMessage::decode(message).ok().map(Box::new))
}

/// The messages of a frame, encoded.
fn parts(mut frame: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        // The end of a frame is no error, and errors are boxed.
        if frame.is_empty() {
            return None;
        }
        let (field, wire_type) = encoding::decode_key(&mut frame).ok()?;
        let len = usize::try_from(encoding::decode_varint(&mut frame).ok()?).ok()?;
        if (field, wire_type) != (MESSAGES, WireType::LengthDelimited) || len > frame.remaining() {
            return None;
        }
        Some(frame.split_to(len))
    })
}

/// Reads messages, and remembers of each region how its last one began: the next one most often begins with the same
/// bytes, which are not read again then.
#[derive(Debug, Default)]
pub struct Reader(BTreeMap<RegionId, (Bytes, PeerMessage)>);

impl Reader {
    /// As [`framed`].
    pub fn framed(&mut self, frame: Bytes) -> impl Iterator<Item = Box<PeerMessage>> {
        parts(frame).map_while(|message| self.message(message))
    }

    fn message(&mut self, bytes: Bytes) -> Option<Box<PeerMessage>> {
        // A message begins with its region.
        let mut rest = &bytes[..];
        let region = match encoding::decode_key(&mut rest) {
            Ok((1, WireType::Varint)) => encoding::decode_varint(&mut rest).ok()?,
            _ => 0,
        };
        if let Some((head, known)) = self.0.get(&region)
            && let Some(words) = words_behind(head, &bytes)
        {
            let mut message = Box::new(known.clone());
            message.say = Some(Say::Raft(words));
            return Some(message);
        }
        let message = Box::new(PeerMessage::decode(bytes.clone()).ok()?);
        if let Some(Say::Raft(words)) = &message.say {
            let tail = encoding::key_len(RAFT) + encoding::encoded_len_varint(words.len() as u64) + words.len();
            let head = Bytes::copy_from_slice(&bytes[..bytes.len().saturating_sub(tail)]);
            // Only where raft's words are what comes last.
            if words_behind(&head, &bytes).as_ref() == Some(words)
                && let Ok(known) = PeerMessage::decode(head.clone())
                && known.region == region
            {
                self.0.insert(region, (head, known));
            }
        }
        Some(message)
    }
}

/// What raft says in a message that is this head and that, and nothing else.
fn words_behind(head: &[u8], message: &Bytes) -> Option<Bytes> {
    let mut rest = message.strip_prefix(head)?;
    if encoding::decode_key(&mut rest).ok()? != (RAFT, WireType::LengthDelimited) {
        return None;
    }
    let len = encoding::decode_varint(&mut rest).ok()?;
    (len == rest.len() as u64).then(|| message.slice(message.len() - rest.len()..))
}

/// All of a message but what it says, encoded: the same for everything that a peer says to another one while its region
/// does not change.
#[derive(Clone, Debug)]
pub struct Letterhead(Vec<u8>);

impl Letterhead {
    /// The head of this message.
    pub fn of(message: &PeerMessage) -> Letterhead {
        debug_assert!(message.say.is_none(), "a head says nothing");
        Letterhead(message.encode_to_vec())
    }

    /// A message that says what raft says, which has so many bytes and is written into them at once.
    pub fn raft(&self, len: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let head = encoding::key_len(RAFT) + encoding::encoded_len_varint(len as u64);
        let mut out = Vec::with_capacity(self.0.len() + head + len);
        out.put_slice(&self.0);
        put_bytes_head(RAFT, len, &mut out);
        let says = out.len();
        out.resize(says + len, 0);
        write(&mut out[says..]);
        out
    }
}

/// What a store says first to one that connects.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Greeting {
    /// The newest version of this wire that it speaks.
    #[prost(uint32, tag = "1")]
    pub wire: u32,
}

/// One message of a peer to a peer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerMessage {
    /// The region both belong to.
    #[prost(uint64, tag = "1")]
    pub region: RegionId,
    /// Who sends it.
    #[prost(message, required, tag = "2")]
    pub from: Peer,
    /// For whom it is.
    #[prost(message, required, tag = "3")]
    pub to: Peer,
    /// The sender's epoch.
    #[prost(message, required, tag = "4")]
    pub epoch: Epoch,
    /// The sender's range.
    #[prost(bytes = "bytes", tag = "5")]
    pub start: Bytes,
    /// The range's end, exclusive; empty means the end of the key space.
    #[prost(bytes = "bytes", tag = "6")]
    pub end: Bytes,
    /// What it says.
    #[prost(oneof = "Say", tags = "7, 8, 9, 10, 11, 12, 13, 14")]
    pub say: Option<Say>,
}

/// What a peer says to a peer.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Say {
    /// A raft message, as raft-rs encodes it.
    #[prost(bytes = "bytes", tag = "7")]
    Raft(Bytes),
    /// The peer addressed was removed from its region and is to destroy itself.
    #[prost(message, tag = "8")]
    Gone(Gone),
    /// A leader proposes to sleep: it is answered by a follower that has everything and sleeps from now on.
    #[prost(message, tag = "9")]
    Sleep(Sleep),
    /// A follower sleeps.
    #[prost(message, tag = "10")]
    Asleep(Sleep),
    /// A peer that hears nothing from its leader asks whether it still belongs to the region.
    #[prost(message, tag = "11")]
    Ask(Nothing),
    /// A leader that has the region in its cache is about to hand it over: the peer addressed is to load it.
    #[prost(message, tag = "12")]
    Preload(Nothing),
    /// A peer that is prepared for a merge tells its leader that the merge cannot happen, as far as its store can say.
    #[prost(message, tag = "13")]
    WantRollback(WantRollback),
    /// The peer addressed belongs to a region that was merged away.
    #[prost(message, tag = "14")]
    Merged(Merged),
}

/// The peer addressed is gone from its region.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Gone {}

/// No content.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

/// The state in which a region sleeps.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sleep {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The last, committed and applied index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// What a store knows of the target of a merge that was prepared.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct WantRollback {
    /// The index of the `PrepareMerge`.
    #[prost(uint64, tag = "1")]
    pub commit: u64,
    /// The target has changed here without the merge; without it, the target is merely not here any more.
    #[prost(bool, tag = "2")]
    pub sure: bool,
}

/// The region was merged away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Merged {
    /// Into this one, at the epoch that the source was prepared for.
    #[prost(message, required, tag = "1")]
    pub target: Region,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(say: Option<Say>) -> PeerMessage {
        let from = Peer { id: 7, store: 1, ..Peer::default() };
        let to = Peer { id: 300, store: 2, ..Peer::default() };
        let epoch = Epoch { conf_ver: 3, version: 200 };
        PeerMessage { region: 5, from, to, epoch, start: "k1".into(), end: Bytes::new(), say }
    }

    #[test]
    fn a_letter_is_the_message_that_it_stands_for() {
        let words = vec![9; 300];
        let letter = Letterhead::of(&message(None)).raft(words.len(), |out| out.copy_from_slice(&words));
        assert_eq!(letter, message(Some(Say::Raft(words.into()))).encode_to_vec());
    }

    #[test]
    fn a_reader_reads_what_is_there_however_the_last_message_began() {
        let raft = |epoch: u64, words: &'static str| PeerMessage {
            epoch: Epoch { conf_ver: 3, version: epoch },
            ..message(Some(Say::Raft(words.into())))
        };
        let asks = message(Some(Say::Ask(Nothing {})));
        let all = [raft(200, "one"), asks, raft(200, "two"), raft(201, ""), raft(200, "three"), raft(200, "four")];
        let mut reader = Reader::default();
        for message in &all {
            let mut frame = Vec::new();
            put_framed(&message.encode_to_vec(), &mut frame);
            let read: Vec<_> = reader.framed(frame.into()).map(|message| *message).collect();
            assert_eq!(read, std::slice::from_ref(message));
        }
        // What raft says stands in the middle here, and its last one counts.
        let odd = [raft(200, "five").encode_to_vec(), raft(202, "six").encode_to_vec()].concat();
        let mut frame = Vec::new();
        put_framed(&odd, &mut frame);
        let read: Vec<_> = reader.framed(frame.clone().into()).collect();
        assert_eq!(read, framed(frame.into()).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_is_taken_apart_into_what_was_put_in_up_to_what_is_torn() {
        let said = [message(Some(Say::Ask(Nothing {}))), message(Some(Say::Raft("raft".into())))];
        let mut frame = Vec::new();
        for message in &said {
            put_framed(&message.encode_to_vec(), &mut frame);
        }
        assert_eq!(frame.len(), said.iter().map(|message| framed_len(&message.encode_to_vec())).sum::<usize>());
        let all: Vec<_> = framed(frame.clone().into()).map(|message| *message).collect();
        assert_eq!(all, said);
        frame.pop();
        assert_eq!(framed(frame.into()).count(), 1);
    }
}
