//! Where the plans of a campaign come from: the swarm, or plans that somebody wrote, each with every seed.
//!
//! A seed of a campaign means one plan. What it means is a line of text, by which a corpus knows whether a campaign may
//! go on.

use std::path::PathBuf;

use scenarios::{
    plan::{Plan, Vocabulary},
    swarm,
};

use crate::input::{self, Refused};

/// From a seed to a plan.
#[derive(Clone, Debug)]
pub enum Source {
    /// Everything that exists, drawn anew.
    Swarm {
        /// What the nodes carry.
        defects: Vec<String>,
    },
    /// These plans in turn, with the seed for their own.
    Plans {
        /// The plans.
        plans: Vec<Plan>,
        /// What the nodes carry beside what the plans say.
        defects: Vec<String>,
    },
}

impl Source {
    /// The swarm, or the plans of these files.
    pub fn new(files: &[PathBuf], defects: Vec<String>, vocabulary: &Vocabulary) -> Result<Self, Refused> {
        if files.is_empty() {
            return Ok(Self::Swarm { defects });
        }
        let plans = files.iter().map(|file| input::plan_file(file, vocabulary)).collect::<Result<_, _>>()?;
        Ok(Self::Plans { plans, defects })
    }

    /// The plan of a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        let (mut plan, defects) = match self {
            Self::Swarm { defects } => (swarm::generate(seed), defects),
            Self::Plans { plans, defects } => {
                let plan = &plans[(seed % plans.len() as u64) as usize];
                (Plan { seed, recorded: None, ..plan.clone() }, defects)
            }
        };
        for defect in defects {
            if !plan.defects.contains(defect) {
                plan.defects.push(defect.clone());
            }
        }
        plan
    }

    /// What its seeds mean, beside the defects.
    pub fn name(&self) -> String {
        match self {
            Self::Swarm { .. } => swarm::NAME.to_owned(),
            Self::Plans { plans, .. } => {
                let text: String = plans.iter().map(|plan| format!("{plan}\n")).collect();
                let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
                });
                format!("{} plans {hash:016x}", plans.len())
            }
        }
    }

    /// What the nodes carry.
    pub fn defects(&self) -> &[String] {
        match self {
            Self::Swarm { defects } | Self::Plans { defects, .. } => defects,
        }
    }

    /// Whether a campaign of it should reach everything that there is.
    pub fn is_swarm(&self) -> bool {
        matches!(self, Self::Swarm { .. })
    }
}
