//! Reads that wait: for a quorum to confirm the leader, and for apply to reach what was committed by then.
//!
//! All reads that arrive in one turn share a round: the leader sends a heartbeat with the round's number, and a quorum's
//! answer confirms that it led when the round began. That also renews its lease. A replica's round goes to the leader.
//!
//! A leader that has not committed in its own term does not know yet what is committed: rounds wait until it does.

use std::collections::VecDeque;

use crate::{env::Instant, store::service::Read};

/// Reads that a peer has not served yet.
#[derive(Debug, Default)]
pub struct Reads {
    last: u64,
    gathering: Vec<Read>,
    /// Whether a round is wanted although no read waits: to renew the lease.
    renew: bool,
    rounds: VecDeque<Round>,
}

/// Reads that wait for the same confirmation.
#[derive(Debug)]
pub struct Round {
    /// Its number, which travels with it.
    pub id: u64,
    /// When it began.
    pub at: Instant,
    /// Up to where apply has to be, once confirmed.
    pub index: Option<u64>,
    /// Who waits.
    pub reads: Vec<Read>,
}

impl Reads {
    /// No reads; numbers begin behind `base`, which no earlier incarnation of the peer used.
    pub fn new(base: u64) -> Reads {
        Reads { last: base, ..Reads::default() }
    }

    /// A read waits for the next round.
    pub fn push(&mut self, read: Read) {
        self.gathering.push(read);
    }

    /// A read that needs no confirmation waits until apply has reached `index`.
    pub fn wait(&mut self, read: Read, index: u64, now: Instant) {
        // No round has this number.
        self.rounds.push_back(Round { id: 0, at: now, index: Some(index), reads: vec![read] });
    }

    /// The lease wants a round.
    pub fn want_renewal(&mut self, now: Instant, patience: std::time::Duration) {
        // One under way is enough, unless it seems lost.
        self.renew = !self.rounds.back().is_some_and(|round| round.index.is_none() && now.since(round.at) < patience);
    }

    /// Whether a round should begin.
    pub fn wants_round(&self) -> bool {
        self.renew || !self.gathering.is_empty()
    }

    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        self.gathering.is_empty() && self.rounds.is_empty()
    }

    /// Begins a round at `now`; its number.
    pub fn begin(&mut self, now: Instant) -> u64 {
        self.last += 1;
        self.renew = false;
        let reads = std::mem::take(&mut self.gathering);
        self.rounds.push_back(Round { id: self.last, at: now, index: None, reads });
        self.last
    }

    /// A round was confirmed with what was committed when it arrived. When it began; `None` when it was given up.
    pub fn confirm(&mut self, id: u64, index: u64) -> Option<Instant> {
        let round = self.rounds.iter_mut().find(|round| round.id == id)?;
        round.index = Some(index);
        Some(round.at)
    }

    /// The reads whose round is confirmed and whose index is applied.
    pub fn take_ready(&mut self, applied: u64) -> Vec<Read> {
        let mut ready = Vec::new();
        self.rounds.retain_mut(|round| {
            let done = round.index.is_some_and(|index| index <= applied);
            if done {
                ready.append(&mut round.reads);
            }
            !done
        });
        ready
    }

    /// The reads of unconfirmed rounds that began before `before`: their messages are lost.
    pub fn take_lost(&mut self, before: Instant) -> Vec<Read> {
        let mut lost = Vec::new();
        self.rounds.retain_mut(|round| {
            let late = round.index.is_none() && round.at < before;
            if late {
                lost.append(&mut round.reads);
            }
            !late
        });
        lost
    }

    /// All reads: the peer's role changed, or it ends.
    pub fn take_all(&mut self) -> Vec<Read> {
        self.renew = false;
        let mut all = std::mem::take(&mut self.gathering);
        for mut round in self.rounds.drain(..) {
            all.append(&mut round.reads);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_round_renews_from_its_beginning_and_is_lost_after_a_while() {
        let mut reads = Reads::new(7);
        reads.want_renewal(Instant(5), Duration::from_nanos(10));
        assert!(reads.wants_round());
        let round = reads.begin(Instant(5));
        reads.want_renewal(Instant(6), Duration::from_nanos(10));
        assert!(!reads.wants_round(), "one is under way");
        reads.want_renewal(Instant(15), Duration::from_nanos(10));
        assert!(reads.wants_round(), "the one under way seems lost");
        assert_eq!(reads.confirm(round + 1, 9), None);
        assert_eq!(reads.confirm(round, 9), Some(Instant(5)));
        assert!(reads.take_ready(8).is_empty() && !reads.is_idle());
        assert!(reads.take_ready(9).is_empty() && reads.is_idle());
        reads.begin(Instant(20));
        reads.take_lost(Instant(20));
        assert!(!reads.is_idle());
        reads.take_lost(Instant(21));
        assert!(reads.is_idle());
    }
}
