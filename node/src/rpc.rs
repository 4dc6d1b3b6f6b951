//! Requests and answers over one ordered connection, many under way at once.
//!
//! A [`Caller`] is the asking end, [`serve`] the answering one. Each frame is an [`Envelope`]; its id pairs an answer
//! with its request, in any order. A failed call says whether the other side may have done what was asked, because
//! whoever retries has to know.
//!
//! No task and no timer per request: one task reads a connection, one watches the deadlines of all calls on it, and an
//! answer is sent by whoever has it.
//!
//! Not here: what the services say, and when to try again.

mod caller;
mod serve;

use bytes::Bytes;
use prost::{
    Message,
    encoding::{self, WireType},
};

pub use caller::{CallError, Caller};
pub use serve::{Handler, Reply, Server, serve};

use crate::{env::BoxFuture, wire::Envelope};

/// What stores serve to clients.
pub const KV: u32 = 1;
/// What the placement driver serves.
pub const PLACEMENT: u32 = 2;
/// Snapshots between stores: takes over its connection after the first frame.
pub const SNAPSHOT: u32 = 3;
/// Raft messages between stores: one way, on lossy connections.
pub const RAFT: u32 = 4;

/// What stands before the body of a frame is at most so long.
const HEAD_BYTES_MAX: usize = 32;

/// An answer's service when there is no such service: nothing was done. The body says why.
const REFUSED: u32 = u32::MAX;
/// An answer's service when the other side gave the request up: it may have been done. The body says why.
const ABANDONED: u32 = u32::MAX - 1;

/// A frame that expects no answer.
pub fn one_way(service: u32, body: Bytes) -> Bytes {
    frame(0, service, &body)
}

/// The same, of a body of so many bytes that is written into its frame at once.
pub fn one_way_of(service: u32, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(len + HEAD_BYTES_MAX);
    put_body(service, len, &mut out);
    let head = out.len();
    write(&mut out);
    debug_assert_eq!(out.len(), head + len, "the body has the length that its head says");
    out.into()
}

/// The service and body of a frame; `None` when it is not one.
pub fn parse(frame: Bytes) -> Option<Envelope> {
    Envelope::decode(frame).ok()
}

/// An [`Envelope`], written without a copy of its body on the way.
fn frame(id: u64, service: u32, body: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + HEAD_BYTES_MAX);
    if id != 0 {
        encoding::uint64::encode(1, &id, &mut out);
    }
    put_body(service, body.len(), &mut out);
    out.extend_from_slice(body);
    out.into()
}

fn put_body(service: u32, len: usize, out: &mut Vec<u8>) {
    encoding::uint32::encode(2, &service, out);
    encoding::encode_key(3, WireType::LengthDelimited, out);
    encoding::encode_varint(len as u64, out);
}

/// What a handler does with a connection that it took over; stopped when the connection's server is.
pub type Session = BoxFuture<'static, ()>;

#[cfg(test)]
mod tests;
