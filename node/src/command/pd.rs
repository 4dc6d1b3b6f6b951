//! `reenact-node pd`.

use std::process::ExitCode;

use futures::future::{Either, select};
use node::{
    pd::{Options, Pd},
    release::Release,
};

use super::Serving;

/// Arguments of `pd`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    serving: Serving,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:20160")]
    address: String,
}

/// Serves until it is asked to stop.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let env = args.serving.env(Release::DEFAULT).await?;
    let stop = args.serving.stop()?;
    let pd = Pd::open(&env, Options::new(&args.address)).await?;
    tracing::info!(address = args.address, "the placement driver serves");
    let serve = std::pin::pin!(pd.serve());
    match select(stop, serve).await {
        Either::Left(_) => Ok(ExitCode::SUCCESS),
        Either::Right((ended, _)) => ended.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}
