//! What a CI server is told at the end: a JUnit file where one is asked for, GitHub's annotations and summary where
//! GitHub runs the job.

use std::path::PathBuf;

use super::{case::Case, github, junit};
use crate::{campaign::keep, input};

/// What to tell, besides what people see.
#[derive(clap::Args)]
pub struct Args {
    /// Writes what the runs came to as JUnit's XML
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,
}

/// Who is told, once all is known.
pub struct Server {
    junit: Option<PathBuf>,
    job: github::Job,
}

impl Args {
    /// Refuses a file that could not be written in the end, before anything is run.
    pub fn server(&self) -> Result<Server, input::Refused> {
        if let Some(path) = &self.junit {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if path.is_dir() {
                return Err(input::Refused(format!("--junit: {} is a folder: name a file in it", path.display())));
            }
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                return Err(input::Refused(format!("--junit: there is no folder {}: make it first", folder.display())));
            }
        }
        Ok(Server { junit: self.junit.clone(), job: github::Job::of(|name| std::env::var(name).ok()) })
    }
}

impl Server {
    /// Whether runs about which nothing has to be said are wanted, too.
    pub fn wants_all(&self) -> bool {
        self.junit.is_some()
    }

    /// Tells all. `table` is what people see at the end.
    pub fn tell(&self, title: &str, table: &str, cases: &[Case]) -> anyhow::Result<()> {
        if let Some(path) = &self.junit {
            keep::write(path, &junit::text(cases)?)?;
        }
        self.job.tell(title, table, cases)
    }
}
