//! What people hand in: plan files, and names of registries. What is wrong with it is said with its place.

use std::path::Path;

use scenarios::{
    catalog::{self, Scenario},
    plan::{Plan, Vocabulary, error::nearest},
};

/// An input that cannot be used; nothing was done. Ends the program with status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Reads a plan from a file.
pub fn plan_file(path: &Path, vocabulary: &Vocabulary) -> Result<Plan, Refused> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Refused(format!("cannot read the plan {file}: {error}")))?;
    Plan::parse_bytes(&bytes, vocabulary)
        .map_err(|error| Refused(error.render(&file, &String::from_utf8_lossy(&bytes))))
}

/// The scenario of this name.
pub fn scenario(name: &str) -> Result<&'static Scenario, Refused> {
    let known = || catalog::all().iter().map(|scenario| scenario.name);
    catalog::scenario(name).ok_or_else(|| unknown("scenario", name, known()))
}

/// The defects of these ids, each once.
pub fn defects(ids: &[String]) -> Result<Vec<String>, Refused> {
    let known = scenarios::registry::vocabulary().defects;
    let mut defects: Vec<String> = Vec::new();
    for id in ids {
        if !known.contains(&id.as_str()) {
            return Err(unknown("defect", id, known.iter().copied()));
        }
        if !defects.contains(id) {
            defects.push(id.clone());
        }
    }
    Ok(defects)
}

/// Refuses a check that does not exist.
pub fn checks(names: &[String]) -> Result<(), Refused> {
    let known = scenarios::registry::vocabulary().checks;
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(unknown("check", name, known.iter().copied())),
        None => Ok(()),
    }
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> Refused {
    let known: Vec<String> = known.map(str::to_owned).collect();
    let hint = nearest(word, &known).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    let list =
        if known.is_empty() { "this build has none".to_owned() } else { format!("there are {}", known.join(", ")) };
    Refused(format!("unknown {what} `{word}`{hint}; {list}"))
}
