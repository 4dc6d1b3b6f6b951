//! Connections over the simulated fabric.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use node::env::{BoxFuture, Connection, Delivery, FrameReceiver, FrameSender, Listener, Net};
use sim::fabric;

pub(super) struct RoomNet(pub(super) fabric::Net);

fn both(connection: fabric::Connection) -> Connection {
    let (sender, receiver) = connection.split();
    Connection { sender: Box::new(RoomSender(sender)), receiver: Box::new(RoomReceiver(receiver)) }
}

impl Net for RoomNet {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(RoomListener(self.0.listen(address)?)) as Box<dyn Listener>) })
    }

    fn connect<'a>(&'a self, address: &'a str, delivery: Delivery) -> BoxFuture<'a, io::Result<Connection>> {
        let delivery = match delivery {
            Delivery::Ordered => fabric::Delivery::Ordered,
            Delivery::Lossy => fabric::Delivery::Lossy,
        };
        Box::pin(async move { Ok(both(self.0.connect(address, delivery).await?)) })
    }
}

struct RoomListener(fabric::Listener);

impl Listener for RoomListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move { Ok(both(self.0.accept().await)) })
    }
}

struct RoomSender(fabric::Sender);

impl FrameSender for RoomSender {
    fn send(&self, frame: Bytes) -> io::Result<()> {
        Ok(self.0.send(frame)?)
    }

    fn queued_bytes(&self) -> usize {
        self.0.queued_bytes()
    }

    fn ready(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { Ok(self.0.ready().await?) })
    }
}

struct RoomReceiver(fabric::Receiver);

impl FrameReceiver for RoomReceiver {
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.0.poll_recv(context).map_err(io::Error::from)
    }
}
