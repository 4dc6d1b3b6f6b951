//! Both halves of a connection.
//!
//! An *ordered* connection delivers frames in order and once until it is broken; what cannot get through stalls, and goes on when it
//! can. A *lossy* one may lose, double, delay or reorder each frame. Both are broken by the end of a process at either side.
//!
//! Not in here: when a frame arrives; the fabric decides that.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Delivery, link::LinkCell};
use crate::{
    process::{Life, ProcessId},
    room::Core,
};

/// Bytes that may be under way, or not yet received, before a sender is no more [`ready`](Sender::ready).
pub const WINDOW_BYTES: usize = 1 << 20;

/// Why a connection cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    /// Nobody listens at the address.
    #[error("connection refused: nobody listens at the address")]
    Refused,
    /// The other process ended, or a rule broke the connection.
    #[error("connection reset")]
    Reset,
    /// The other side closed it.
    #[error("connection closed by the other side")]
    Closed,
    /// Somebody listens at the address already.
    #[error("address in use")]
    AddressInUse,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        let kind = match broken {
            Broken::Refused => io::ErrorKind::ConnectionRefused,
            Broken::Reset => io::ErrorKind::ConnectionReset,
            Broken::Closed => io::ErrorKind::UnexpectedEof,
            Broken::AddressInUse => io::ErrorKind::AddrInUse,
        };
        io::Error::new(kind, broken)
    }
}

/// What travels.
pub(crate) enum Transit {
    Frame(Bytes),
    /// The sender was dropped: nothing comes after this.
    End,
}

/// One direction of a connection.
pub(crate) struct Pipe {
    pub(crate) connection: u64,
    pub(crate) from: Arc<Life>,
    pub(crate) to: Arc<Life>,
    pub(crate) delivery: Delivery,
    pub(crate) link: Arc<LinkCell>,
    pub(crate) state: Mutex<PipeState>,
}

#[derive(Default)]
pub(crate) struct PipeState {
    pub(crate) inbox: VecDeque<Bytes>,
    pub(crate) queued_bytes: usize,
    pub(crate) last_due_ns: u64,
    pub(crate) stalled: VecDeque<Transit>,
    pub(crate) send_end: Option<Broken>,
    pub(crate) recv_end: Option<Broken>,
    pub(crate) reader: Option<Waker>,
    pub(crate) writers: Vec<Waker>,
}

impl Pipe {
    /// The sending side learns that there is no more sending.
    pub(crate) fn end_sending(&self, broken: Broken) {
        let writers = {
            let mut state = self.state.lock();
            state.send_end.get_or_insert(broken);
            state.stalled.clear();
            std::mem::take(&mut state.writers)
        };
        writers.into_iter().for_each(Waker::wake);
    }

    /// The receiving side learns that nothing comes after what it has.
    pub(crate) fn end_receiving(&self, broken: Broken) {
        let reader = {
            let mut state = self.state.lock();
            state.recv_end.get_or_insert(broken);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A connection: a half to send with and a half to receive with.
pub struct Connection {
    /// Towards the other side.
    pub sender: Sender,
    /// From the other side.
    pub receiver: Receiver,
}

impl Connection {
    pub(crate) fn new(core: &Arc<Core>, out: &Arc<Pipe>, input: &Arc<Pipe>) -> Self {
        Connection {
            sender: Sender { core: core.clone(), out: out.clone(), input: input.clone() },
            receiver: Receiver { core: core.clone(), input: input.clone() },
        }
    }

    /// Both halves.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} {}->{})", self.number(), self.sender.out.from.process, self.sender.out.to.process)
    }
}

impl Connection {
    /// Its number, in order of connecting.
    pub fn number(&self) -> u64 {
        self.sender.out.connection
    }

    /// The process at the other side.
    pub fn peer(&self) -> ProcessId {
        self.sender.out.to.process
    }
}

/// Sends frames. Dropping it tells the other side that nothing more comes.
pub struct Sender {
    core: Arc<Core>,
    out: Arc<Pipe>,
    input: Arc<Pipe>,
}

impl Sender {
    /// Sends a frame and never waits. A frame that was sent may still be lost with the connection.
    pub fn send(&self, frame: Bytes) -> Result<(), Broken> {
        if !self.out.from.is_alive() {
            return Err(Broken::Reset);
        }
        {
            let mut state = self.out.state.lock();
            if let Some(broken) = state.send_end {
                return Err(broken);
            }
            state.queued_bytes += frame.len();
        }
        self.core.route(&self.out, &self.input, Transit::Frame(frame));
        Ok(())
    }

    /// Bytes that were sent and not yet received.
    pub fn queued_bytes(&self) -> usize {
        self.out.state.lock().queued_bytes
    }

    /// Completes when less than [`WINDOW_BYTES`] are queued, or the connection is broken.
    pub async fn ready(&self) -> Result<(), Broken> {
        std::future::poll_fn(|context| {
            if !self.out.from.is_alive() {
                return Poll::Pending;
            }
            let mut state = self.out.state.lock();
            if let Some(broken) = state.send_end {
                return Poll::Ready(Err(broken));
            }
            if state.queued_bytes < WINDOW_BYTES {
                return Poll::Ready(Ok(()));
            }
            if !state.writers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.writers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.out.from.is_alive() && self.out.state.lock().send_end.is_none() {
            self.core.route(&self.out, &self.input, Transit::End);
        }
    }
}

/// Receives frames. Dropping it tells the other side that nobody listens any more.
pub struct Receiver {
    core: Arc<Core>,
    input: Arc<Pipe>,
}

impl Receiver {
    /// The next frame, or why there is none. Frames that arrived before the end are given first.
    pub async fn recv(&mut self) -> Result<Bytes, Broken> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Receiver::recv`], for whoever polls by hand. What is pending wakes the last context that asked.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        if !self.input.to.is_alive() {
            return Poll::Pending;
        }
        let mut state = self.input.state.lock();
        if let Some(frame) = state.inbox.pop_front() {
            let was_full = state.queued_bytes >= WINDOW_BYTES;
            state.queued_bytes -= frame.len();
            if was_full && state.queued_bytes < WINDOW_BYTES {
                let writers = std::mem::take(&mut state.writers);
                drop(state);
                writers.into_iter().for_each(Waker::wake);
            }
            return Poll::Ready(Ok(frame));
        }
        if let Some(broken) = state.recv_end {
            return Poll::Ready(Err(broken));
        }
        match &mut state.reader {
            Some(reader) if reader.will_wake(context.waker()) => {}
            reader => *reader = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.input.to.is_alive() && self.input.state.lock().recv_end.is_none() {
            self.core.hang_up(&self.input);
        }
    }
}
