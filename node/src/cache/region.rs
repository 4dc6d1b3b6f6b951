//! One cached region: its range as of an epoch version, its state, and what holds it.
//!
//! Which state may follow which is a table here; why one follows another is the manager's.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::region::{End, Region, RegionId};

/// A region's id and range as of one version of its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The region.
    pub id: RegionId,
    /// The first user key.
    pub start: Bytes,
    /// The end, exclusive; empty means the end of the key space.
    pub end: Bytes,
    /// The version of the region's epoch.
    pub version: u64,
}

impl Span {
    /// The span of a region.
    pub fn of(region: &Region) -> Span {
        let (start, end) = (region.start.clone(), region.end.clone());
        Span { id: region.id, start, end, version: region.epoch.version }
    }

    /// Whether a user key lies inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        *key >= self.start[..] && (self.end.is_empty() || *key < self.end[..])
    }

    /// Whether both share a key.
    pub fn overlaps(&self, other: &Span) -> bool {
        let before = |one: &Span, two: &Span| !one.end.is_empty() && one.end <= two.start;
        !before(self, other) && !before(other, self)
    }

    /// Whether all of the other lies inside.
    pub fn covers(&self, other: &Span) -> bool {
        self.start <= other.start && (self.end.is_empty() || (!other.end.is_empty() && other.end <= self.end))
    }

    /// Its end as a map key.
    pub fn end_key(&self) -> End {
        End::of(&self.end)
    }
}

/// What a cached region is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is to be loaded when apply comes to it. Its epoch may lag.
    Pending,
    /// It is being loaded; what is written meanwhile is kept for afterwards.
    Loading,
    /// It serves reads.
    Active,
    /// It is to be evicted once its load has stopped.
    LoadingCanceled,
    /// It is to be evicted once nobody reads it.
    PendingEvict,
    /// Its data is being deleted.
    Evicting,
}

impl State {
    /// All states.
    pub const ALL: [State; 6] =
        [State::Pending, State::Loading, State::Active, State::LoadingCanceled, State::PendingEvict, State::Evicting];

    /// As facts and people write it.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Loading => "loading",
            State::Active => "active",
            State::LoadingCanceled => "loading-canceled",
            State::PendingEvict => "pending-evict",
            State::Evicting => "evicting",
        }
    }

    /// Whether this state may be followed by that one.
    pub fn may_become(self, next: State) -> bool {
        use State::*;
        matches!(
            (self, next),
            (Pending, Loading)
                | (Loading, Active | LoadingCanceled | Evicting)
                | (Active, PendingEvict)
                | (LoadingCanceled, PendingEvict | Evicting)
                | (PendingEvict, Evicting)
        )
    }

    /// Whether what is written to the region goes to the cache, too.
    pub fn takes_writes(self) -> bool {
        matches!(self, State::Loading | State::Active)
    }
}

/// The live snapshots of a region: how many there are of each timestamp that old versions are kept for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots(BTreeMap<u64, u64>);

impl Snapshots {
    /// One more.
    pub fn add(&mut self, read_ts: u64) {
        *self.0.entry(read_ts).or_default() += 1;
    }

    /// One less.
    pub fn remove(&mut self, read_ts: u64) {
        if let Some(count) = self.0.get_mut(&read_ts) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&read_ts);
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The oldest timestamp that versions are kept for.
    pub fn oldest(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }
}

/// Why a region is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evict {
    /// The event.
    pub cause: &'static str,
    /// The deletion of its data, shared with what is split off meanwhile; 0 before it begins.
    pub deletion: u64,
    /// Whether it is to be loaded again when it is gone.
    pub reload: bool,
}

/// A collection under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collecting {
    /// Its number, shared with what is split off meanwhile.
    pub number: u64,
    /// Up to where.
    pub until: u64,
}

/// What the cache knows of one region.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Where it lies.
    pub span: Span,
    /// What it is doing.
    pub state: State,
    /// Why it was loaded.
    pub cause: &'static str,
    /// Old versions up to here are dropped.
    pub safe_point: u64,
    /// Who reads it.
    pub snapshots: Snapshots,
    /// A collection under way.
    pub collecting: Option<Collecting>,
    /// Apply has writes of it that are not in the cache yet.
    pub is_written: bool,
    /// Which load fills it, shared with what is split off meanwhile; 0 before it is scheduled.
    pub load: u64,
    /// While it is loading: whether writes go to the cache already.
    pub direct: bool,
    /// Why it is to go.
    pub evict: Option<Evict>,
    /// Whether something was written since it was last compared with the engine.
    pub unchecked: bool,
    /// Reads since the last round.
    pub reads: u64,
    /// Rounds in a row in which it was hardly read.
    pub cold_rounds: u64,
}

impl Meta {
    /// A region that is to be loaded.
    pub fn pending(span: Span, cause: &'static str) -> Meta {
        Meta {
            span,
            state: State::Pending,
            cause,
            safe_point: 0,
            snapshots: Snapshots::default(),
            collecting: None,
            is_written: false,
            load: 0,
            direct: false,
            evict: None,
            unchecked: true,
            reads: 0,
            cold_rounds: 0,
        }
    }

    /// What a part of it is after a split: the same, without its snapshots.
    pub fn derive(&self, span: Span) -> Meta {
        Meta { span, snapshots: Snapshots::default(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: &'static str, end: &'static str) -> Span {
        Span { id: 1, start: start.into(), end: end.into(), version: 1 }
    }

    #[test]
    fn spans_that_overlap_and_cover() {
        for (one, two, overlaps, covers) in [
            (("a", "c"), ("c", "e"), false, false),
            (("a", "d"), ("c", "e"), true, false),
            (("a", ""), ("c", "e"), true, true),
            (("", "z"), ("c", ""), true, false),
            (("b", "e"), ("b", "e"), true, true),
        ] {
            let (one, two) = (span(one.0, one.1), span(two.0, two.1));
            assert_eq!((one.overlaps(&two), one.covers(&two)), (overlaps, covers), "{one:?} {two:?}");
            assert_eq!(two.overlaps(&one), overlaps);
        }
    }

    #[test]
    fn every_state_leads_out_of_the_cache() {
        for state in State::ALL {
            let mut reached = vec![state];
            for _ in State::ALL {
                reached = State::ALL
                    .into_iter()
                    .filter(|next| reached.iter().any(|state| state == next || state.may_become(*next)))
                    .collect();
            }
            assert!(reached.contains(&State::Evicting), "{state:?} is never evicted");
            assert!(!state.may_become(State::Pending), "{state:?} is loaded anew only once it is gone");
        }
    }

    #[test]
    fn snapshots_are_counted() {
        let mut snapshots = Snapshots::default();
        for read_ts in [5, 3, 5] {
            snapshots.add(read_ts);
        }
        snapshots.remove(5);
        assert_eq!(snapshots.oldest(), Some(3));
        snapshots.remove(3);
        assert_eq!(snapshots.oldest(), Some(5));
        snapshots.remove(5);
        snapshots.remove(5);
        assert!(snapshots.is_empty());
    }
}
