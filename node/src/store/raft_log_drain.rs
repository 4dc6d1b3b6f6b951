//! raft-rs's log, drained into `tracing` under the target `raft`.
//!
//! raft-rs logs through slog. Where nobody listens a line costs one look at a static: its text and its pairs are only
//! put together for a subscriber.
//!
//! Not here: the log of the regions, which is `raftlog`; and raft-rs's own default logger, which reads the environment.

use std::fmt::{self, Write as _};

use slog::{Drain, KV as _, Key, OwnedKVList, Record};

/// The drain.
pub struct RaftLogDrain;

macro_rules! pass_on {
    ($level:ident, $record:expr, $values:expr) => {
        if tracing::enabled!(target: "raft", tracing::Level::$level) {
            let pairs = Pairs::of($record, $values);
            tracing::event!(target: "raft", tracing::Level::$level, "{}{pairs}", $record.msg());
        }
    };
}

impl Drain for RaftLogDrain {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        match record.level() {
            slog::Level::Critical | slog::Level::Error => pass_on!(ERROR, record, values),
            slog::Level::Warning => pass_on!(WARN, record, values),
            slog::Level::Info => pass_on!(INFO, record, values),
            slog::Level::Debug => pass_on!(DEBUG, record, values),
            slog::Level::Trace => pass_on!(TRACE, record, values),
        }
        Ok(())
    }
}

/// The pairs of a line as text, each behind a comma.
#[derive(Default)]
struct Pairs(String);

impl Pairs {
    fn of(record: &Record<'_>, values: &OwnedKVList) -> Self {
        let mut pairs = Self::default();
        // A pair that cannot be written is left out: the line itself is worth more.
        let _ = record.kv().serialize(record, &mut pairs);
        let _ = values.serialize(record, &mut pairs);
        pairs
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl slog::Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, ", {key}: {value}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_arrives_with_its_pairs_and_only_if_somebody_listens() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        let logger = slog::Logger::root(RaftLogDrain, slog::o!("peer" => 7));
        tracing::subscriber::with_default(subscriber, || {
            slog::info!(logger, "became leader"; "term" => 3);
            slog::debug!(logger, "a heartbeat");
        });
        slog::info!(logger, "nobody listens");
        let text = String::from_utf8(kept.0.lock().clone()).expect("it is text");
        assert_eq!(text, " INFO raft: became leader, term: 3, peer: 7\n");
    }
}
