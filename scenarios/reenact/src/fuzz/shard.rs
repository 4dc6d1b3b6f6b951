//! Which part of a campaign this process runs: every so many seeds one.
//!
//! Shards of one count share no seed and leave none out, however far a campaign goes. Which engine spreads them over
//! machines does not matter: each says which part this is in variables of its own, and nothing here schedules anything.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Part `index` of `count`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part, from 1.
    pub index: u64,
    /// How many parts there are.
    pub count: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 1, count: 1 }
    }
}

impl Shard {
    /// Whether a seed belongs to it.
    pub fn has(self, seed: u64) -> bool {
        seed % self.count == self.index - 1
    }

    /// The place of a seed among the shard's.
    pub fn rank(self, seed: u64) -> u64 {
        seed / self.count
    }

    /// The seed in this place; `None` past the last there is.
    pub fn seed(self, rank: u64) -> Option<u64> {
        rank.checked_mul(self.count)?.checked_add(self.index - 1)
    }

    /// The shard's seeds of an interval, both ends included.
    pub fn seeds(self, first: u64, last: u64) -> impl Iterator<Item = u64> {
        // No range: that would count past the greatest number before anybody sees that there is no seed.
        let ranks = std::iter::successors(Some(first / self.count), |rank| rank.checked_add(1));
        let from = ranks.map_while(move |rank| self.seed(rank));
        from.skip_while(move |seed| *seed < first).take_while(move |seed| *seed <= last)
    }

    /// The part that the engine says which started this process. `lookup` reads a variable of the environment.
    pub fn detect(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let asked = |name: &str| lookup(name).filter(|text| !text.trim().is_empty());
        let mut half = Vec::new();
        for engine in ENGINES {
            let Some(index) = asked(engine.index) else { continue };
            let Some(count) = engine.count.iter().find_map(|name| asked(name)) else {
                half.push(format!("{} is set, and {} is not{}", engine.index, engine.count[0], engine.remedy));
                continue;
            };
            let number = |name: &str, text: &str| {
                text.trim().parse::<u64>().map_err(|_| format!("{name} is `{text}`, which is no whole number"))
            };
            let least = match engine.least {
                Least::Number(least) => least,
                Least::Variable(name) => asked(name).map_or(Ok(0), |text| number(name, &text))?,
            };
            let step = engine.step.and_then(|name| Some((name, asked(name)?)));
            let step = step.map_or(Ok(1), |(name, text)| number(name, &text))?.max(1);
            let (index, count) = (number(engine.index, &index)?, number(engine.count[0], &count)?);
            let name = engine.name;
            let rank = index.checked_sub(least).filter(|past| past.is_multiple_of(step)).map(|past| past / step);
            let Some(rank) = rank.filter(|rank| *rank < count) else {
                return Err(format!("{name} says part {index} of {count}, counted from {least}: there is none"));
            };
            return Ok(Self { index: rank + 1, count });
        }
        match half.is_empty() {
            false => Err(half.join("; ")),
            true => Err(format!(
                "--shard auto found no engine's variables; it knows {}. Elsewhere write --shard I/N",
                ENGINES
                    .iter()
                    .map(|engine| format!("{} ({})", engine.name, engine.index))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let parts = text.split_once('/').and_then(|(index, count)| Some((number(index)?, number(count)?)));
        match parts {
            None => Err(format!("`{text}` is no shard; write `1/3`, the first of three, or `auto`")),
            Some((_, 0)) => Err("there are no parts in 0".to_owned()),
            Some((index, count)) if index == 0 || index > count => Err(format!(
                "there is no part {index} of {count}; the first is `1/{count}`, the last `{count}/{count}`"
            )),
            Some((index, count)) => Ok(Self { index, count }),
        }
    }
}

/// How an engine tells a process which part it is.
struct Engine {
    name: &'static str,
    /// The variable with the number of this part.
    index: &'static str,
    /// Variables with the number of parts; the first that is set.
    count: &'static [&'static str],
    /// What the first part is called.
    least: Least,
    /// The variable with what lies between the numbers of two parts, where it can be more than 1.
    step: Option<&'static str>,
    /// What to do where the count is missing.
    remedy: &'static str,
}

/// What the first part is called.
enum Least {
    Number(u64),
    /// Another variable says it.
    Variable(&'static str),
}

/// Cloud Run and AWS Batch may run under names of their own inside a Kubernetes pod, so the general one goes last.
const ENGINES: &[Engine] = &[
    Engine {
        name: "Slurm arrays",
        index: "SLURM_ARRAY_TASK_ID",
        count: &["SLURM_ARRAY_TASK_COUNT"],
        least: Least::Variable("SLURM_ARRAY_TASK_MIN"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        remedy: "",
    },
    Engine {
        name: "GitLab",
        index: "CI_NODE_INDEX",
        count: &["CI_NODE_TOTAL"],
        least: Least::Number(1),
        step: None,
        remedy: ": the job needs `parallel`",
    },
    Engine {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        count: &["BUILDKITE_PARALLEL_JOB_COUNT"],
        least: Least::Number(0),
        step: None,
        remedy: ": the step needs `parallelism`",
    },
    Engine {
        name: "Cloud Run",
        index: "CLOUD_RUN_TASK_INDEX",
        count: &["CLOUD_RUN_TASK_COUNT"],
        least: Least::Number(0),
        step: None,
        remedy: "",
    },
    Engine {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        count: &["AWS_BATCH_JOB_ARRAY_SIZE"],
        least: Least::Number(0),
        step: None,
        remedy: ": pass it on, it is the array's size",
    },
    Engine {
        name: "Kubernetes Indexed Jobs",
        index: "JOB_COMPLETION_INDEX",
        count: &["REENACT_SHARDS", "JOB_COMPLETION_COUNT"],
        least: Least::Number(0),
        step: None,
        remedy: ": Kubernetes does not say how many there are, so set it to the job's `completions`",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Result<Shard, String> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Shard::detect(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn shards_run_the_seeds_of_the_whole_each_once() {
        for (first, last) in [(1, 100), (7, 7), (0, 2), (u64::MAX - 5, u64::MAX)] {
            for count in [1, 2, 3, 7] {
                let mut all = Vec::new();
                for index in 1..=count {
                    let shard = Shard { index, count };
                    let seeds: Vec<u64> = shard.seeds(first, last).collect();
                    assert!(seeds.iter().all(|seed| shard.has(*seed) && shard.seed(shard.rank(*seed)) == Some(*seed)));
                    all.extend(seeds);
                }
                let set: BTreeSet<u64> = all.iter().copied().collect();
                assert_eq!(set.len(), all.len(), "none twice");
                assert_eq!(set, (first..=last).collect(), "none left out");
            }
        }
    }

    #[test]
    fn every_engine_says_which_part_this_is() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("JOB_COMPLETION_INDEX", "0"), ("REENACT_SHARDS", "4")], "1/4"),
            (&[("SLURM_ARRAY_TASK_ID", "12"), ("SLURM_ARRAY_TASK_COUNT", "3"), ("SLURM_ARRAY_TASK_MIN", "10")], "3/3"),
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "4"),
                    ("SLURM_ARRAY_TASK_COUNT", "5"),
                    ("SLURM_ARRAY_TASK_MIN", "0"),
                    ("SLURM_ARRAY_TASK_STEP", "2"),
                ],
                "3/5",
            ),
            (&[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "5")], "2/5"),
            (&[("BUILDKITE_PARALLEL_JOB", "4"), ("BUILDKITE_PARALLEL_JOB_COUNT", "5")], "5/5"),
            (&[("CLOUD_RUN_TASK_INDEX", "1"), ("CLOUD_RUN_TASK_COUNT", "2")], "2/2"),
            (&[("AWS_BATCH_JOB_ARRAY_INDEX", "7"), ("AWS_BATCH_JOB_ARRAY_SIZE", "8")], "8/8"),
        ];
        for (variables, expected) in cases {
            assert_eq!(detect(variables).map(|shard| shard.to_string()).as_deref(), Ok(*expected));
        }
    }

    #[test]
    fn what_an_engine_leaves_out_or_gets_wrong_is_said() {
        assert!(detect(&[]).unwrap_err().contains("SLURM_ARRAY_TASK_ID"));
        let missing = detect(&[("JOB_COMPLETION_INDEX", "0")]).unwrap_err();
        assert!(missing.contains("REENACT_SHARDS is not") && missing.contains("`completions`"), "{missing}");
        assert!(detect(&[("CI_NODE_INDEX", "6"), ("CI_NODE_TOTAL", "5")]).unwrap_err().contains("part 6 of 5"));
        assert!(detect(&[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "5")]).unwrap_err().contains("`x`"));
    }

    #[test]
    fn what_is_no_shard_says_why() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["", "1", "0/3", "4/3", "1/0", "a/b", "1/3/5", "-1/3", "+1/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
