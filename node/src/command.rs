//! The program's commands, and what those that serve have in common: where their files and facts go, and when to stop.

pub mod client;
pub mod pd;
pub mod store;
pub mod up;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures::future::select;
use node::env::{
    BoxFuture, Env,
    real::{self, FactFile},
};
use tokio::signal::unix::{SignalKind, signal};

/// What every serving process is told.
#[derive(clap::Args)]
pub struct Serving {
    /// The directory of its files; created if it is missing.
    #[arg(long)]
    pub data: PathBuf,
    /// Appends its facts to this file, one JSON object a line; several processes may share it.
    #[arg(long)]
    pub facts: Option<PathBuf>,
    /// Its name in the file of facts.
    #[arg(long, default_value = "node")]
    pub name: String,
    /// Answers `GET /metrics` at this address, in Prometheus' text form.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// Stops when standard input ends: for whoever starts this process and must not leave it behind.
    #[arg(long, hide = true)]
    pub while_stdin: bool,
}

impl Serving {
    /// The real environment of this process.
    pub async fn env(&self, release: &str) -> anyhow::Result<Env> {
        let facts = self.facts.as_deref().map(|path| self.fact_file(path, release)).transpose()?;
        let env = real::env(&self.data, facts);
        let env = env.with_context(|| format!("cannot use the directory `{}`", self.data.display()))?;
        let Some(address) = &self.metrics else { return Ok(env) };
        real::meter(env, address).await.with_context(|| format!("cannot show metrics at `{address}`"))
    }

    fn fact_file(&self, path: &Path, release: &str) -> anyhow::Result<FactFile> {
        let opened = FactFile::begin(path, std::slice::from_ref(&self.name), release, false)
            .and_then(|()| FactFile::join(path, &self.name));
        opened.with_context(|| format!("cannot write facts to `{}`", path.display()))
    }

    /// Completes when this process should stop: on SIGINT, SIGTERM, or the end of standard input if that was asked for.
    pub fn stop(&self) -> anyhow::Result<BoxFuture<'static, ()>> {
        let asked = asked_to_stop()?;
        if !self.while_stdin {
            return Ok(asked);
        }
        let input_ended = tokio::task::spawn_blocking(|| {
            let mut input = std::io::stdin().lock();
            let mut byte = [0];
            while matches!(input.read(&mut byte), Ok(1..)) {}
        });
        Ok(Box::pin(async move {
            select(asked, input_ended).await;
        }))
    }
}

/// Completes on SIGINT or SIGTERM.
pub fn asked_to_stop() -> anyhow::Result<BoxFuture<'static, ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(Box::pin(async move {
        let terminate = std::pin::pin!(terminate.recv());
        let interrupt = std::pin::pin!(interrupt.recv());
        select(terminate, interrupt).await;
    }))
}
