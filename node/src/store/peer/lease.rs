//! A leader's lease: until when it may serve reads alone.
//!
//! The lease counts from when the leader *sent* what a quorum then acknowledged: each of them heard its leader no
//! earlier, and votes for nobody else for an election timeout from then on. It is shorter than that timeout, scaled by
//! the drift that is allowed for (`Options::safe_lease`).
//!
//! A lease is suspended while a split is under way, since the child may get a leader elsewhere before this store knows
//! the split; and it ends for the rest of the term once a transfer of leadership begins, since the message that tells the
//! other peer to campaign may be delivered late, when the leader has long given the transfer up.
//!
//! Not here: how a quorum's answer is recognised; `read_index` and the commit of proposals say so.

use std::{collections::VecDeque, time::Duration};

use crate::env::Instant;

/// The lease of one peer.
#[derive(Clone, Debug)]
pub struct Lease {
    length: Duration,
    until: Option<Instant>,
    from: Instant,
    /// No lease in this term any more.
    barred: bool,
    suspended: bool,
    /// The last index proposed by a turn of the raft loop, and when that turn began.
    proposed: VecDeque<(u64, Instant)>,
}

/// A lease that was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// It counts from here.
    pub from: Instant,
    /// It ends here.
    pub until: Instant,
}

impl Lease {
    /// No lease yet; each one lasts for `length`.
    pub fn new(length: Duration) -> Lease {
        Lease { length, until: None, from: Instant(0), barred: false, suspended: false, proposed: VecDeque::new() }
    }

    /// Whether reads may be served alone now.
    pub fn is_valid(&self, now: Instant) -> bool {
        !self.barred && !self.suspended && self.until.is_some_and(|until| now < until)
    }

    /// Whether less than a third of a valid lease is left.
    pub fn is_short(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until.since(now) < self.length / 3)
    }

    /// Whether a renewal could make the lease valid.
    pub fn is_possible(&self) -> bool {
        !self.barred && !self.suspended
    }

    /// A new term or role: everything is forgotten. Says whether a valid lease ended.
    pub fn reset(&mut self, now: Instant) -> bool {
        let had = self.is_valid(now);
        *self = Lease::new(self.length);
        had
    }

    /// Entries up to `index` are proposed at `now`.
    pub fn propose(&mut self, index: u64, now: Instant) {
        match self.proposed.back_mut() {
            Some(last) if last.1 == now => last.0 = index,
            _ => self.proposed.push_back((index, now)),
        }
    }

    /// Entries up to `index` are committed: a quorum heard from this leader since the last of them was proposed.
    pub fn commit(&mut self, index: u64) -> Option<Renewed> {
        let mut from = None;
        while let Some(&(last, at)) = self.proposed.front()
            && last <= index
        {
            from = Some(at);
            self.proposed.pop_front();
        }
        self.renew(from?)
    }

    /// A quorum acknowledged something that was sent at `from`.
    pub fn renew(&mut self, from: Instant) -> Option<Renewed> {
        let until = from + self.length;
        if !self.is_possible() || self.until.is_some_and(|known| known >= until) {
            return None;
        }
        self.from = from;
        self.until = Some(until);
        Some(Renewed { from, until })
    }

    /// No lease for the rest of this term. Says whether a valid lease ended.
    pub fn bar(&mut self, now: Instant) -> bool {
        let had = self.is_valid(now);
        self.barred = true;
        self.until = None;
        had
    }

    /// No lease until [`Lease::resume`]. Says whether a valid lease ended.
    pub fn suspend(&mut self, now: Instant) -> bool {
        let had = self.is_valid(now);
        self.suspended = true;
        self.until = None;
        had
    }

    /// Leases are possible again, counted from what is sent from now on.
    pub fn resume(&mut self) {
        if self.suspended {
            self.suspended = false;
            self.proposed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    #[test]
    fn a_lease_counts_from_the_proposal_not_from_the_commit() {
        let mut lease = Lease::new(Duration::from_millis(100));
        lease.propose(6, at(10));
        lease.propose(7, at(20));
        assert_eq!(lease.commit(5), None);
        assert_eq!(lease.commit(6), Some(Renewed { from: at(10), until: at(110) }));
        assert!(lease.is_valid(at(109)) && !lease.is_valid(at(110)));
        assert_eq!(lease.commit(9), Some(Renewed { from: at(20), until: at(120) }));
        assert_eq!(lease.renew(at(15)), None, "an older round does not shorten a lease");
    }

    #[test]
    fn a_suspended_or_barred_lease_does_not_come_back_by_what_was_sent_before() {
        let mut lease = Lease::new(Duration::from_millis(100));
        lease.propose(6, at(10));
        assert!(!lease.suspend(at(11)), "there was none yet");
        assert_eq!(lease.commit(6), None);
        lease.propose(7, at(12));
        lease.resume();
        assert_eq!(lease.commit(7), None);
        lease.propose(8, at(30));
        assert!(lease.commit(8).is_some());
        assert!(lease.bar(at(40)));
        lease.resume();
        lease.propose(9, at(50));
        assert_eq!(lease.commit(9), None);
        lease.reset(at(60));
        lease.propose(10, at(60));
        assert!(lease.commit(10).is_some());
    }
}
