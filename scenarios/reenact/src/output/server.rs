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
            input::out_file("--junit", path)?;
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
