//! What an application uses: keys and values of a cluster, wherever their regions are.
//!
//! A write has a timestamp from the placement driver, and every attempt of one operation carries the same one, so that
//! a write which was applied without the client hearing of it is recognised and not done again. Once an attempt ended
//! in doubt, only success is certain: a conflict after it may be with the client's own write.
//!
//! An operation ends in success, in an error that says that it had no effect, or in [`Error::Unknown`].
//!
//! Not here: transactions over regions. A scan over several regions is as many reads.

mod admin;
mod cache;
mod lines;
mod read;
mod route;
mod write;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{env::Env, pd};
use cache::Cache;
use lines::Lines;

pub use read::RegionScan;
pub use write::Change;

/// How patient a client is.
#[derive(Clone, Debug)]
pub struct Options {
    /// One attempt's limit.
    pub attempt: Duration,
    /// An operation's limit.
    pub deadline: Duration,
    /// The first pause between attempts; it doubles from attempt to attempt.
    pub pause_min: Duration,
    /// The longest pause between attempts.
    pub pause_max: Duration,
    /// The limit for making a connection.
    pub connect: Duration,
    /// The least time from one connection to a store to the next.
    pub reconnect_min: Duration,
    /// Towards the placement driver.
    pub pd: pd::ClientOptions,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            attempt: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            pause_min: Duration::from_millis(10),
            pause_max: Duration::from_millis(500),
            connect: Duration::from_secs(1),
            reconnect_min: Duration::from_millis(100),
            pd: pd::ClientOptions::default(),
        }
    }
}

/// Why an operation did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The expectation did not hold: the newest version has the timestamp `found`. No effect.
    #[error("the newest version is at {found}, not the expected one")]
    Unexpected {
        /// The newest version's timestamp.
        found: u64,
    },
    /// It had no effect and will have none.
    #[error("no effect: {0}")]
    Failed(String),
    /// It may have had an effect, or have one later.
    #[error("it is unknown whether it took effect, at timestamp {timestamp}: {cause}")]
    Unknown {
        /// The timestamp of the version that may be written; 0 for what is no write.
        timestamp: u64,
        /// What went wrong last.
        cause: String,
    },
}

/// A client of one cluster. Cheap to clone; clones share connections and what they learnt.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    env: Env,
    options: Options,
    pd: pd::Client,
    cache: Mutex<Cache>,
    lines: Lines,
}

impl Client {
    /// A client of the cluster whose placement driver is at `pd_address`. Connects when it is first asked something.
    pub fn new(env: &Env, pd_address: &str, options: Options) -> Client {
        let pd = pd::Client::new(env, pd_address, options.pd.clone());
        let lines = Lines::new(env, pd.clone(), options.connect, options.reconnect_min);
        Client(Arc::new(Inner { env: env.clone(), options, pd, cache: Mutex::default(), lines }))
    }

    /// The cluster's placement driver.
    pub fn pd(&self) -> &pd::Client {
        &self.0.pd
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

#[cfg(test)]
mod tests;
