//! The supervisor of a process: restarts what exits or panics, with back-off, and gives up on a crash loop.
//!
//! What the owner killed or stopped stays down. The back-off doubles with each exit and starts anew once an incarnation has lived
//! for a whole window.
//!
//! Not in here: restarting with another program; the owner does that by a start of its own.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Life, Process};
use crate::{
    agenda::Due,
    event::{Cause, Event, ProcessEvent},
};

/// How a process is restarted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supervision {
    /// Back-off after the first exit.
    pub backoff_min: Duration,
    /// Back-off is never longer than this.
    pub backoff_max: Duration,
    /// So many exits within the window are a crash loop.
    pub loop_exits: u32,
    /// The window.
    pub loop_window: Duration,
}

impl Default for Supervision {
    fn default() -> Self {
        Supervision {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            loop_exits: 5,
            loop_window: Duration::from_secs(60),
        }
    }
}

pub(super) struct Watch {
    supervision: Supervision,
    /// True times of the exits within the window.
    exits_ns: VecDeque<u64>,
}

impl Process {
    /// From now on the supervisor restarts the process when it exits or panics.
    pub fn set_supervised(&self, supervision: Supervision) {
        self.cell.state.lock().supervised = Some(Watch { supervision, exits_ns: VecDeque::new() });
    }

    /// From now on it stays down.
    pub fn supervise_no_more(&self) {
        let mut state = self.cell.state.lock();
        state.supervised = None;
        state.touched += 1;
    }

    pub(super) fn supervise(&self, life: &Arc<Life>, cause: &Cause) {
        if matches!(cause, Cause::Killed | Cause::StopOverdue) || life.stop.lock().0 {
            return;
        }
        let now_ns = self.core.agenda.now_ns();
        let mut state = self.cell.state.lock();
        let Some(watch) = &mut state.supervised else { return };
        let Supervision { backoff_min, backoff_max, loop_exits, loop_window } = watch.supervision;
        watch.exits_ns.push_back(now_ns);
        let window_ns = loop_window.as_nanos() as u64;
        while watch.exits_ns.front().is_some_and(|&exit_ns| now_ns - exit_ns > window_ns) {
            watch.exits_ns.pop_front();
        }
        let exits = watch.exits_ns.len() as u32;
        if exits >= loop_exits {
            state.supervised = None;
            drop(state);
            self.core.step(life.process, life.incarnation, Event::Process(ProcessEvent::CrashLoop { exits }));
            return;
        }
        let backoff_ns = (backoff_min.as_nanos() << (exits - 1).min(32)).min(backoff_max.as_nanos()) as u64;
        state.touched += 1;
        let token = state.touched;
        drop(state);
        self.core.agenda.enter(now_ns + backoff_ns, Due::Restart(life.process, token));
    }

    pub(crate) fn restart_after_backoff(&self, token: u64) {
        let fresh = {
            let state = self.cell.state.lock();
            state.touched == token && state.life.is_none()
        };
        if fresh {
            self.begin();
        }
    }
}
