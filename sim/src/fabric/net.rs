//! The network as a process sees it: listening and connecting.
//!
//! Not in here: what happens to a request under way; the fabric decides that.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;

use super::{Arrival, Attempt, Backlog, Broken, Connection, Delivery, Listening};
use crate::{agenda::Due, process::Life, room::Core};

/// The network as a process sees it.
#[derive(Clone)]
pub struct Net {
    pub(crate) core: Arc<Core>,
    pub(crate) life: Arc<Life>,
}

impl Net {
    /// Listens at an address.
    pub fn listen(&self, address: &str) -> Result<Listener, Broken> {
        if !self.life.is_alive() {
            return Err(Broken::Reset);
        }
        let mut state = self.core.fabric.state.lock();
        if state.listening.get(address).is_some_and(|listening| listening.life.is_alive()) {
            return Err(Broken::AddressInUse);
        }
        let address: Arc<str> = address.into();
        let backlog: Arc<Mutex<Backlog>> = Arc::default();
        state.listening.insert(address.clone(), Listening { life: self.life.clone(), backlog: backlog.clone() });
        state.homes.insert(address.clone(), self.life.process);
        Ok(Listener { net: self.clone(), address, backlog })
    }

    /// Connects to whoever listens at the address. Takes a round trip, and waits while there is no way.
    pub async fn connect(&self, address: &str, delivery: Delivery) -> Result<Connection, Broken> {
        if !self.life.is_alive() {
            std::future::pending::<()>().await;
        }
        let attempt = {
            let mut state = self.core.fabric.state.lock();
            let connection = state.next_connection;
            state.next_connection += 1;
            Arc::new(Attempt {
                connection,
                from: self.life.clone(),
                to: state.homes.get(address).copied(),
                address: address.into(),
                delivery,
                answer: Mutex::default(),
            })
        };
        let delay_ns = self.core.delay_ns(Some(self.life.process), attempt.to);
        self.core.agenda.enter(self.core.agenda.now_ns() + delay_ns, Due::Arrival(Arrival::Request(attempt.clone())));
        Answered { attempt }.await
    }
}

struct Answered {
    attempt: Arc<Attempt>,
}

impl Future for Answered {
    type Output = Result<Connection, Broken>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.attempt.answer.lock();
        match slot.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Accepts connections at one address. Dropping it stops listening.
pub struct Listener {
    net: Net,
    address: Arc<str>,
    backlog: Arc<Mutex<Backlog>>,
}

impl Listener {
    /// The address.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// The next connection.
    pub async fn accept(&mut self) -> Connection {
        std::future::poll_fn(|context| {
            let mut backlog = self.backlog.lock();
            match backlog.waiting.pop_front() {
                Some(connection) if self.net.life.is_alive() => Poll::Ready(connection),
                _ => {
                    backlog.acceptor = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.net.life.is_alive() {
            let gone = {
                let mut state = self.net.core.fabric.state.lock();
                let ours =
                    state.listening.get(&self.address).is_some_and(|other| Arc::ptr_eq(&other.backlog, &self.backlog));
                if ours { state.listening.remove(&self.address) } else { None }
            };
            drop(gone);
        }
    }
}
