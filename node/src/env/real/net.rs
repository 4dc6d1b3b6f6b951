//! Connections over TCP: length-delimited frames of bounded size.
//!
//! Frames that wait to be sent lie in a queue; one task a connection writes them, several with one flush. TCP loses
//! nothing while a connection lives, so a lossy connection differs only in that a frame is dropped rather than queued
//! once too much waits.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    io::{AsyncWriteExt, BufWriter},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc},
};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::env::{BoxFuture, Connection, Delivery, FrameReceiver, FrameSender, Listener, Net};

/// The largest frame.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Above so many queued bytes, senders should wait.
const QUEUED_BYTES_HIGH: usize = 4 << 20;
/// Above so many queued bytes, a lossy connection drops frames.
const LOSSY_BYTES_MAX: usize = 64 << 20;

/// So many frames at most are written with one flush.
const BATCH_MAX: usize = 64;

/// TCP.
pub(super) struct RealNet;

struct RealListener(TcpListener);

struct RealSender {
    frames: mpsc::UnboundedSender<Bytes>,
    queue: Arc<Queue>,
    delivery: Delivery,
}

#[derive(Default)]
struct Queue {
    bytes: AtomicUsize,
    is_broken: AtomicBool,
    /// Told whenever the queue has become shorter, or the connection broke.
    shorter: Notify,
}

struct RealReceiver {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    queue: Arc<Queue>,
}

impl Net for RealNet {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(RealListener(listener)) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str, delivery: Delivery) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move { connection(TcpStream::connect(address).await?, delivery) })
    }
}

impl Listener for RealListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move { connection(self.0.accept().await?.0, Delivery::Ordered) })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the real runtime")]
fn connection(stream: TcpStream, delivery: Delivery) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let queue = Arc::new(Queue::default());
    let (frames, waiting) = mpsc::unbounded_channel();
    tokio::spawn(send(write, waiting, Arc::clone(&queue)));
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    let receiver = RealReceiver { frames: FramedRead::new(read, codec), queue: Arc::clone(&queue) };
    let sender = RealSender { frames, queue, delivery };
    Ok(Connection { sender: Box::new(sender), receiver: Box::new(receiver) })
}

/// Writes what is queued, until the sender is dropped or the connection breaks.
async fn send(write: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<Bytes>, queue: Arc<Queue>) {
    let mut write = BufWriter::new(write);
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let bytes: usize = batch.iter().map(Bytes::len).sum();
        let written = async {
            for frame in batch.drain(..) {
                write.write_u32(u32::try_from(frame.len()).expect("a frame was measured before it was queued")).await?;
                write.write_all(&frame).await?;
            }
            write.flush().await
        };
        let result: io::Result<()> = written.await;
        queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if result.is_err() {
            queue.give_up();
            return;
        }
        queue.shorter.notify_waiters();
    }
    // The other side learns of the end; whether it hears is its own affair.
    let _ = write.shutdown().await;
}

impl Queue {
    fn give_up(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.shorter.notify_waiters();
    }

    fn check(&self) -> io::Result<()> {
        if self.is_broken.load(Ordering::Acquire) { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl FrameSender for RealSender {
    fn send(&self, frame: Bytes) -> io::Result<()> {
        self.queue.check()?;
        if frame.len() > FRAME_BYTES_MAX {
            let detail = format!("a frame of {} bytes, at most {FRAME_BYTES_MAX} are allowed", frame.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, detail));
        }
        if self.delivery == Delivery::Lossy && self.queued_bytes() > LOSSY_BYTES_MAX {
            return Ok(());
        }
        self.queue.bytes.fetch_add(frame.len(), Ordering::Relaxed);
        self.frames.send(frame).map_err(|_| ErrorKind::ConnectionReset.into())
    }

    fn queued_bytes(&self) -> usize {
        self.queue.bytes.load(Ordering::Relaxed)
    }

    fn ready(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            loop {
                let shorter = self.queue.shorter.notified();
                let mut shorter = std::pin::pin!(shorter);
                shorter.as_mut().enable();
                self.queue.check()?;
                if self.queued_bytes() <= QUEUED_BYTES_HIGH {
                    return Ok(());
                }
                shorter.await;
            }
        })
    }
}

impl FrameReceiver for RealReceiver {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let error = match ready!(self.frames.poll_next_unpin(context)) {
            Some(Ok(frame)) => return Poll::Ready(Ok(frame.freeze())),
            Some(Err(error)) => error,
            None => ErrorKind::UnexpectedEof.into(),
        };
        self.queue.give_up();
        Poll::Ready(Err(error))
    }
}
