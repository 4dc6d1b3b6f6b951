//! `reenact-node put`, `get`, `scan`, `del` and `status`: one operation each.

use std::process::ExitCode;

use bytes::Bytes;
use node::{
    client::{Client, Options},
    env::real,
    wire::{
        kv::ReadBy,
        placement::{Located, Progress},
    },
};

/// How to reach the cluster.
#[derive(clap::Args)]
pub struct Cluster {
    /// Where the placement driver listens.
    #[arg(long, default_value = "127.0.0.1:20160")]
    pd: String,
}

/// Arguments of `put`.
#[derive(clap::Args)]
pub struct Put {
    #[command(flatten)]
    cluster: Cluster,
    key: String,
    value: String,
}

/// Arguments of `get`.
#[derive(clap::Args)]
pub struct Get {
    #[command(flatten)]
    cluster: Cluster,
    key: String,
}

/// Arguments of `scan`.
#[derive(clap::Args)]
pub struct Scan {
    #[command(flatten)]
    cluster: Cluster,
    /// The first key, inclusive.
    #[arg(default_value = "")]
    start: String,
    /// The end, exclusive; empty for the end of all keys.
    #[arg(default_value = "")]
    end: String,
    /// At most so many keys.
    #[arg(long, default_value_t = 100)]
    limit: u64,
}

/// Arguments of `del`.
#[derive(clap::Args)]
pub struct Del {
    #[command(flatten)]
    cluster: Cluster,
    key: String,
}

/// Arguments of `status`.
#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    cluster: Cluster,
}

impl Cluster {
    fn client(&self) -> anyhow::Result<Client> {
        // A client keeps no files; its directory is never written to.
        let env = real::env(&std::env::temp_dir(), None)?;
        Ok(Client::new(&env, &self.pd, Options::default()))
    }
}

/// Sets a key and prints the version's timestamp.
pub async fn put(args: Put) -> anyhow::Result<ExitCode> {
    println!("{}", args.cluster.client()?.put(args.key.into(), args.value.into()).await?);
    Ok(ExitCode::SUCCESS)
}

/// Prints a key's value.
pub async fn get(args: Get) -> anyhow::Result<ExitCode> {
    match args.cluster.client()?.get(args.key.into(), ReadBy::Lease).await?.value {
        Some(value) => println!("{}", String::from_utf8_lossy(&value)),
        None => return Ok(ExitCode::FAILURE),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints keys and values, parted by a tabulator.
pub async fn scan(args: Scan) -> anyhow::Result<ExitCode> {
    let client = args.cluster.client()?;
    for pair in client.scan(args.start.into(), args.end.into(), args.limit, ReadBy::Lease).await? {
        let value = pair.got.value.unwrap_or_default();
        println!("{}\t{}", String::from_utf8_lossy(&pair.key), String::from_utf8_lossy(&value));
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes a key and prints the tombstone's timestamp.
pub async fn del(args: Del) -> anyhow::Result<ExitCode> {
    println!("{}", args.cluster.client()?.delete(args.key.into()).await?);
    Ok(ExitCode::SUCCESS)
}

/// Prints stores, regions, and tables with their columnar replicas.
pub async fn status(args: Status) -> anyhow::Result<ExitCode> {
    let client = args.cluster.client()?;
    let pd = client.pd();
    for store in pd.all_stores().await? {
        let labels: String = store.labels.iter().map(|label| format!("  {}={}", label.key, label.value)).collect();
        let (id, state) = (store.id, store.state().name());
        println!("store {id}  {}  {state}  release {}{labels}", store.address, store.release);
    }
    let mut next = Some(Bytes::new());
    while let Some(key) = next {
        let Located { region, leader } = pd.region(key).await?;
        let show = |key: &Bytes| String::from_utf8_lossy(key).escape_debug().to_string();
        let peers = region.peers.iter().map(|peer| format!("{} on store {}", peer.id, peer.store));
        println!(
            "region {}  [\"{}\", \"{}\")  epoch {}.{}  leader {}  peers {}",
            region.id,
            show(&region.start),
            if region.end.is_empty() { "end".into() } else { show(&region.end) },
            region.epoch.version,
            region.epoch.conf_ver,
            leader.map_or("unknown".into(), |leader| leader.id.to_string()),
            peers.collect::<Vec<_>>().join(", "),
        );
        next = Some(region.end).filter(|end| !end.is_empty());
    }
    for rule in pd.rules().await? {
        let Some(table) = rule.table() else { continue };
        let Progress { count, regions, peers, available, .. } = pd.table_progress(table).await?;
        println!(
            "table {table}  {count} columnar replicas  {available} of {regions} regions available  {peers} of {} peers",
            regions * count
        );
    }
    Ok(ExitCode::SUCCESS)
}
