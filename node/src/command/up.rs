//! `reenact-node up`: a whole cluster on loopback, one process a member.
//!
//! The members are this same program. One that ends is started again after a pause; all end with this process, however
//! it ends, because they watch their standard input.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use futures::{
    future::{BoxFuture, Either, select},
    stream::{FuturesUnordered, StreamExt},
};
use node::{
    env::real::{self, FactFile},
    release::Release,
};

use super::asked_to_stop;

/// A small cluster reports often: its regions get their replicas in seconds.
const PD_HEARTBEAT_MS: &str = "1000";

/// Arguments of `up`.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of all members' files.
    #[arg(long, default_value = "reenact-data")]
    data: PathBuf,
    /// The placement driver's port; the stores have the ones after it.
    #[arg(long, default_value_t = 20160)]
    port: u16,
    /// How many stores.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    stores: u16,
    /// The release that the stores run as.
    #[arg(long, default_value = Release::DEFAULT)]
    release: String,
    /// Appends the facts of all members to this file.
    #[arg(long)]
    facts: Option<PathBuf>,
    /// The port of the placement driver's metrics; those of the stores follow. Without it, there are none.
    #[arg(long)]
    metrics_port: Option<u16>,
    /// How long to wait before a member that ended is started again.
    #[arg(long, default_value_t = 1000)]
    restart_pause_ms: u64,
}

struct Member {
    name: String,
    arguments: Vec<String>,
}

/// Runs the members until it is asked to stop.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    Release::parse(&args.release)?;
    let last_port = args.port.checked_add(args.stores);
    last_port.with_context(|| format!("no {} ports follow {}", args.stores, args.port))?;
    let last_port = args.metrics_port.map_or(Some(0), |port| port.checked_add(args.stores));
    last_port.with_context(|| format!("no {} ports follow those of the metrics", args.stores))?;
    let members = members(&args);
    let pause = Duration::from_millis(args.restart_pause_ms);
    let is_new = !args.data.exists();
    let env = real::env(&args.data, None).with_context(|| format!("cannot use `{}`", args.data.display()))?;
    if let Some(path) = &args.facts {
        let names: Vec<_> = members.iter().map(|member| member.name.clone()).collect();
        FactFile::begin(path, &names, &args.release, is_new)
            .with_context(|| format!("cannot write facts to `{}`", path.display()))?;
    }
    let mut stop = asked_to_stop()?;
    let mut ends = FuturesUnordered::new();
    let mut inputs = Vec::new();
    for (number, member) in members.iter().enumerate() {
        let (input, end) = start(member, number)?;
        inputs.push(input);
        ends.push(end);
    }
    println!("The placement driver is at 127.0.0.1:{}. Try: reenact-node put hello world", args.port);
    loop {
        match select(&mut stop, ends.next()).await {
            Either::Left(_) => break,
            Either::Right((Some((number, status)), _)) => {
                let member = &members[number];
                println!("{} ended ({}); it is started again", member.name, say(status));
                if let Either::Left(_) = select(&mut stop, env.sleep(pause)).await {
                    break;
                }
                let (input, end) = start(member, number)?;
                inputs[number] = input;
                ends.push(end);
            }
            Either::Right((None, _)) => break,
        }
    }
    // The members see their input end, and stop in good order.
    drop(inputs);
    while ends.next().await.is_some() {}
    Ok(ExitCode::SUCCESS)
}

fn members(args: &Args) -> Vec<Member> {
    let address = |number: u16| format!("127.0.0.1:{}", args.port + number);
    let member = |kind: &str, name: String, number: u16, more: &[&str]| {
        let data = args.data.join(&name);
        let mut arguments = vec![kind.to_owned(), "--while-stdin".into(), "--name".into(), name.clone()];
        arguments.extend(["--data".into(), text(&data), "--address".into(), address(number)]);
        arguments.extend(more.iter().map(|&more| more.to_owned()));
        if let Some(port) = args.metrics_port {
            arguments.extend(["--metrics".into(), format!("127.0.0.1:{}", port + number)]);
        }
        if let Some(facts) = &args.facts {
            arguments.extend(["--facts".into(), text(facts)]);
        }
        Member { name, arguments }
    };
    let pd = member("pd", "placement".into(), 0, &[]);
    let more = ["--pd", &address(0), "--release", &args.release, "--pd-heartbeat-ms", PD_HEARTBEAT_MS];
    let stores = (1..=args.stores).map(|number| member("store", format!("store-{number}"), number, &more));
    [pd].into_iter().chain(stores).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

type End = BoxFuture<'static, (usize, std::io::Result<ExitStatus>)>;

/// Starts a member: the input that keeps it alive, and its end.
fn start(member: &Member, number: usize) -> anyhow::Result<(Option<std::process::ChildStdin>, End)> {
    // The file under this path may be replaced by a build; what the kernel runs is not.
    let mut child: Child = Command::new("/proc/self/exe")
        .args(&member.arguments)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", member.name))?;
    println!("{} is process {}", member.name, child.id());
    let input = child.stdin.take();
    let end = tokio::task::spawn_blocking(move || child.wait());
    let end = async move { (number, end.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))) };
    Ok((input, Box::pin(end)))
}

fn say(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("its end is unknown: {error}"),
    }
}
