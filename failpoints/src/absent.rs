//! The switchboard of a build without points: the same surface, of no size.
//!
//! Nothing can be configured and nothing fires. [`Arg`] has no value, so the compiler removes the code that would use one.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Actions, Catalog, Defect, DefectCount, Observer, SetError, Site, SiteCount, Timer};

/// The argument of a `return`. There is none in this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg(Infallible);

impl Arg {
    /// Never called: there is no value to call it on.
    pub fn as_str(&self) -> &str {
        match self.0 {}
    }

    /// Never called: there is no value to call it on.
    pub fn parse<T: FromStr>(&self) -> Result<T, T::Err> {
        match self.0 {}
    }
}

/// One node's switchboard, of no size: this build has no points.
#[derive(Clone, Debug, Default)]
pub struct Points {}

impl Points {
    /// A switchboard on which nothing can be switched.
    pub const fn none() -> Self {
        Self {}
    }

    /// The same; what is handed in is dropped.
    pub fn new(_: Catalog, _seed: u64, _: Arc<dyn Timer>, _: Arc<dyn Observer>) -> Self {
        Self {}
    }

    /// Refused: [`SetError::Absent`].
    pub fn set(&self, _site: &str, _actions: &str) -> Result<(), SetError> {
        Err(SetError::Absent)
    }

    /// Refused: [`SetError::Absent`].
    pub fn set_site(&self, _: &'static Site, _: Actions) -> Result<(), SetError> {
        Err(SetError::Absent)
    }

    /// Refused: [`SetError::Absent`].
    pub fn off(&self, _site: &str) -> Result<(), SetError> {
        Err(SetError::Absent)
    }

    /// Nothing is on.
    pub fn all_off(&self) {}

    /// Always: nothing can be configured.
    pub fn is_idle(&self, _: &'static Site) -> bool {
        true
    }

    /// Refused: [`SetError::Absent`].
    pub fn carry(&self, _: &'static Defect) -> Result<(), SetError> {
        Err(SetError::Absent)
    }

    /// Refused: [`SetError::Absent`].
    pub fn carry_id(&self, _id: &str) -> Result<(), SetError> {
        Err(SetError::Absent)
    }

    /// No sites, no hits.
    pub fn hits(&self) -> Vec<SiteCount> {
        Vec::new()
    }

    /// Nothing is configured.
    pub fn configured(&self) -> Vec<(&'static Site, Actions)> {
        Vec::new()
    }

    /// Nothing is carried.
    pub fn carried(&self) -> Vec<DefectCount> {
        Vec::new()
    }
}
