//! Holds building to a rate of real disk traffic.
//!
//! What counts is what the operating system says the task read and wrote, not what the builder thinks it did. The
//! account may be unreadable; then building goes on by its own count, for telemetry must never stop a store.

use std::time::Duration;

use failpoints::defect;

use crate::{defects, env::Env, fact::Text, region::RegionId, store::fact::snapshot::Fact};

/// The traffic of one build.
pub(super) struct Pace {
    env: Env,
    region: RegionId,
    /// Bytes a second; 0 for no limit.
    rate: u64,
    last: Option<u64>,
    complained: bool,
}

impl Pace {
    /// Begins to count.
    pub(super) fn new(env: &Env, region: RegionId, rate: u64) -> Pace {
        let mut pace = Pace { env: env.clone(), region, rate, last: None, complained: false };
        pace.last = pace.read();
        pace
    }

    fn read(&mut self) -> Option<u64> {
        match self.env.io_stats.task_io_bytes() {
            Ok(bytes) => Some(bytes.read + bytes.written),
            Err(error) => {
                if !self.complained {
                    self.complained = true;
                    let cause = Text::from(error.to_string());
                    self.env.state(Fact::StatisticsUnreadable { region: self.region, cause });
                }
                if defect!(self.env.points, defects::TIKV_18030) {
                    panic!("called `Result::unwrap()` on an `Err` value: \"open: {error}\"");
                }
                None
            }
        }
    }

    /// Waits as long as the traffic since the last call takes at the allowed rate; `estimate` stands in for it.
    pub(super) async fn wait(&mut self, estimate: u64) {
        let now = self.read();
        let bytes = match (self.last, now) {
            (Some(last), Some(now)) => now.saturating_sub(last),
            _ => estimate,
        };
        self.last = now;
        if self.rate > 0 && bytes > 0 {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
            self.env.sleep(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))).await;
        }
    }
}
