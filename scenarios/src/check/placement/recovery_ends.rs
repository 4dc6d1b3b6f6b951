//! An unsafe recovery that has begun finishes.
//!
//! It may not fail, and not outlast its own time limit or the end of the run. A recovery that a restart of the placement
//! driver interrupts is not judged: it has to be asked for again.
//!
//! Source: pd#5085, tikv#12644.

use node::{fact::Fact, pd::fact};

use super::super::{Check, Entry, Judged, Known, Violation};
use crate::{
    event::{Body, Event, Hall, RoomEvent},
    verdict::Class,
};

/// The check's row.
pub const RECOVERY_ENDS: Entry = Entry {
    name: "recovery-ends",
    family: "placement",
    class: Class::Liveness,
    property: "an unsafe recovery that has begun finishes within its limit",
    source: "pd#5085, tikv#12644",
    hears: &[Hall::Placement, Hall::Plan],
    make: || Box::new(RecoveryEnds::default()),
};

#[derive(Default)]
struct RecoveryEnds {
    /// The stage that a recovery under way is in.
    stage: Option<String>,
    judged: u64,
}

impl Check for RecoveryEnds {
    fn on(&mut self, event: &Event, _known: &Known) -> Judged {
        match &event.body {
            Body::Node(Fact::Placement(fact::Fact::RecoveryBegun { .. })) => self.stage = Some(String::new()),
            Body::Node(Fact::Placement(fact::Fact::Started { .. })) => self.stage = None,
            Body::Node(Fact::Placement(fact::Fact::RecoveryStage { stage, step, cause })) => {
                if !cause.as_str().is_empty() && stage.as_str() == "exit-force-leader" {
                    self.judged += 1;
                    let before = self.stage.take().unwrap_or_default();
                    let detail = format!("the recovery gives up at step {step}, in stage {before}: {}", cause.as_str());
                    return Err(Violation::new("gave-up", detail).at(&before));
                }
                self.stage = Some(stage.as_str().to_owned());
            }
            Body::Node(Fact::Placement(fact::Fact::RecoveryEnded { outcome, step, cause })) => {
                self.judged += 1;
                let before = self.stage.take().unwrap_or_default();
                if outcome.as_str() != "finished" {
                    let detail = format!("the recovery ends {outcome} at step {step}: {cause}");
                    return Err(Violation::new("gave-up", detail).at(&before));
                }
            }
            Body::Room(RoomEvent::ConvergeEnded { .. }) => {
                if let Some(stage) = self.stage.take() {
                    return Err(
                        Violation::new("not-ended", format!("the recovery is still in stage {stage}")).at(&stage)
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.judged
    }
}
