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

/// Refuses a file, asked for by `flag`, that could not be written in the end.
pub fn out_file(flag: &str, path: &Path) -> Result<(), Refused> {
    if path.is_dir() {
        return Err(Refused(format!("{flag}: {} is a folder: name a file in it", path.display())));
    }
    if path.exists() {
        return writable(flag, path);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Refused(format!("{flag}: there is no folder {}: make it first", folder.display())));
    }
    writable(flag, folder)
}

/// Refuses a folder, asked for by `flag`, in which nothing could be written, or which could not be made.
pub fn out_folder(flag: &str, path: &Path) -> Result<(), Refused> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(Refused(format!("{flag}: {} is no folder: name another one", there.display())));
    }
    writable(flag, there)
}

fn writable(flag: &str, path: &Path) -> Result<(), Refused> {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
        .map_err(|error| Refused(format!("{flag}: cannot write to {}: {error}: name another place", path.display())))
}

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
