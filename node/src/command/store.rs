//! `reenact-node store`, and what is done to a store's directory while it does not run.

use std::{process::ExitCode, time::Duration};

use futures::future::{Either, select};
use node::{
    cache,
    release::Release,
    store::{Options, Store},
};

use super::Serving;

/// Arguments of `store`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    serving: Serving,
    /// Where it listens, and where others find it.
    #[arg(long, default_value = "127.0.0.1:20161")]
    address: String,
    /// Where the placement driver listens.
    #[arg(long, default_value = "127.0.0.1:20160", value_delimiter = ',')]
    pd: Vec<String>,
    /// The release that it runs as.
    #[arg(long, default_value = Release::DEFAULT)]
    release: String,
    /// A label for placement rules, such as `zone=a`.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How often it reports itself and the regions that it leads to the placement driver.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pd_heartbeat_ms: u64,
    /// Holds every region that it leads in memory, beside the engine.
    #[arg(long)]
    cache: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty());
    parts.map(|(key, value)| (key.into(), value.into())).ok_or_else(|| "a label is like `zone=a`".into())
}

/// Serves until it is asked to stop.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let env = args.serving.env(&args.release).await?;
    let mut stop = args.serving.stop()?;
    let heartbeat = Duration::from_millis(args.pd_heartbeat_ms);
    let options = Options {
        pd_heartbeat_tick: heartbeat,
        pd_store_heartbeat_tick: heartbeat,
        address: args.address.clone(),
        pd: args.pd,
        release: args.release,
        labels: args.labels,
        cache: cache::Options {
            enabled: args.cache,
            manual_ranges: vec![Default::default()],
            ..cache::Options::default()
        },
        ..Options::default()
    };
    let start = std::pin::pin!(Store::start(env, options));
    let store = match select(&mut stop, start).await {
        Either::Left(_) => return Ok(ExitCode::SUCCESS),
        Either::Right((Err(error), _)) if error.is_retired() => {
            tracing::warn!("{error}");
            return Ok(ExitCode::SUCCESS);
        }
        Either::Right((started, _)) => started?,
    };
    tracing::info!(address = args.address, store = store.id(), "the store serves");
    let chores = store.chores();
    let run = std::pin::pin!(store.run());
    match select(stop, run).await {
        Either::Left((_, run)) => {
            chores.stop();
            run.await;
            Ok(ExitCode::SUCCESS)
        }
        Either::Right(_) if chores.is_retired() => Ok(ExitCode::SUCCESS),
        Either::Right(_) => Ok(ExitCode::FAILURE),
    }
}

/// Arguments of `export-raft-log`.
#[derive(clap::Args)]
pub struct Export {
    #[command(flatten)]
    serving: Serving,
    /// The release that the store has run as so far.
    #[arg(long, default_value = "6.1.0")]
    release: String,
}

/// Brings the raft log back to where releases before 6.1 look for it.
pub async fn export_raft_log(args: Export) -> anyhow::Result<ExitCode> {
    let env = args.serving.env(&args.release).await?;
    Store::export_raft_log(&env, &Options { release: args.release, ..Options::default() }).await?;
    Ok(ExitCode::SUCCESS)
}
