//! The wire between two stores: which version of it a connection speaks, and what arrives on it.
//!
//! Frames go one way, from the store that connected. The one that accepts greets with the newest version that it speaks, and from
//! then on the sender uses the newest that both do. Until the greeting comes, and where it is lost, frames are of the
//! oldest version, which everybody understands: so releases mix, and nobody has to know the other's release.
//!
//! Not here: what the messages say, and connecting.

use bytes::Bytes;
use prost::Message as _;

use super::fact::lifecycle::Fact;
use crate::{
    env::{Connection, Env},
    release::WIRE_BATCHED,
    rpc,
    wire::peer::{Greeting, PeerMessage, Reader, framed},
};

/// Takes in what comes over a connection from a peer store, until it ends.
pub(super) async fn session(
    env: Env,
    own: u8,
    first: Bytes,
    mut connection: Connection,
    deliver: impl Fn(Box<PeerMessage>) + Send,
) {
    // A connection that breaks at once is seen by the next frame.
    let _ = connection.sender.send(rpc::one_way(rpc::RAFT, Greeting { wire: u32::from(own) }.encode_to_vec().into()));
    let mut reader = Reader::default();
    let mut next = Some(first);
    while let Some(body) = next {
        // What does not parse is lost.
        if own >= WIRE_BATCHED || framed(body.clone()).nth(1).is_none() {
            reader.framed(body).for_each(&deliver);
        } else {
            env.state(Fact::FrameNotUnderstood { messages: framed(body).count() as u64 });
        }
        let frame = connection.receiver.recv().await.ok().and_then(rpc::parse);
        next = frame.filter(|frame| frame.service == rpc::RAFT).map(|frame| frame.body);
    }
}

/// The version that a greeting offers; `None` when the frame is none.
pub(super) fn greeted(frame: Bytes) -> Option<u8> {
    let frame = rpc::parse(frame).filter(|frame| frame.service == rpc::RAFT)?;
    let greeting = Greeting::decode(frame.body).ok()?;
    u8::try_from(greeting.wire).ok().filter(|version| *version > 0)
}
