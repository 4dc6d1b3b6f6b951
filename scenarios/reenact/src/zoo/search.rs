//! One search: plans of the swarm with one defect, seed after seed, in this process.

use scenarios::{
    plan::Plan,
    run::{self, RunOptions},
    swarm,
};
use serde::{Deserialize, Serialize};

use crate::bench::meter;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Its first seed.
    pub first: u64,
    /// How many seeds it ran.
    pub runs: u64,
    /// Processor seconds that it took.
    pub cpu_seconds: f64,
    /// What accused the node.
    pub found: Option<Finding>,
    /// Seeds that fail without the defect, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fails_sound: Vec<u64>,
}

/// A run that was accused because of the defect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The plan's seed.
    pub seed: u64,
    /// Which check accused it.
    pub check: String,
    /// Of what.
    pub fingerprint: String,
}

/// Runs from `first` on until the defect is found (`by` a check, if one is named), or `seconds` or `runs` are spent.
pub fn search(defect: &str, first: u64, seconds: u64, runs: Option<u64>, by: Option<&str>) -> anyhow::Result<Search> {
    let mut search = Search { first, runs: 0, cpu_seconds: 0.0, found: None, fails_sound: Vec::new() };
    let began = meter::cpu_seconds()?;
    for seed in first.. {
        search.cpu_seconds = meter::cpu_seconds()? - began;
        if search.cpu_seconds >= seconds as f64 || runs.is_some_and(|runs| search.runs >= runs) {
            break;
        }
        search.runs += 1;
        let sound = swarm::generate(seed);
        let plan = Plan { defects: vec![defect.to_owned()], ..sound.clone() };
        let verdict = run::run(&plan, &RunOptions::default()).verdict;
        if !verdict.class.is_violation() {
            continue;
        }
        if run::run(&sound, &RunOptions::default()).verdict.class.is_violation() {
            search.fails_sound.push(seed);
            continue;
        }
        if by.is_none_or(|by| by == verdict.check) {
            search.found = Some(Finding { seed, check: verdict.check, fingerprint: verdict.fingerprint });
            search.cpu_seconds = meter::cpu_seconds()? - began;
            break;
        }
    }
    Ok(search)
}
