//! `reenact-node`: the store and the placement driver for real, and a small client.
//!
//! Only this program reads arguments and ends the process; everything else is in the library, and runs simulated from
//! the same source. A build with failpoints serves nothing.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::{client, pd, store, up};

const VERSION: &str = if failpoints::PRESENT {
    concat!(env!("CARGO_PKG_VERSION"), "\npoints: present")
} else {
    concat!(env!("CARGO_PKG_VERSION"), "\npoints: absent")
};

/// A store of TiKV's architecture and its placement driver.
#[derive(Parser)]
#[command(name = "reenact-node", version = VERSION)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a store.
    Store(store::Args),
    /// Brings the raft log of a store that does not run back to where releases before 6.1 look for it.
    ExportRaftLog(store::Export),
    /// Runs the placement driver.
    Pd(pd::Args),
    /// Runs one placement driver and several stores on loopback, and restarts those that end.
    Up(up::Args),
    /// Sets a key.
    Put(client::Put),
    /// Prints the value of a key; status 1 if it has none.
    Get(client::Get),
    /// Prints the keys of a range and their values.
    Scan(client::Scan),
    /// Deletes a key.
    Del(client::Del),
    /// Prints the stores and regions of the cluster.
    Status(client::Status),
}

fn main() -> ExitCode {
    let program = Program::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let serves = matches!(program.command, Command::Store(_) | Command::Pd(_) | Command::Up(_));
    if serves && failpoints::PRESENT {
        eprintln!(
            "reenact-node: this build holds failpoints and historic defects and serves nothing.\n\
             Build it alone: cargo build --release -p node --target-dir target/production"
        );
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("reenact-node: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match program.command {
            Command::Store(args) => store::run(args).await,
            Command::ExportRaftLog(args) => store::export_raft_log(args).await,
            Command::Pd(args) => pd::run(args).await,
            Command::Up(args) => up::run(args).await,
            Command::Put(args) => client::put(args).await,
            Command::Get(args) => client::get(args).await,
            Command::Scan(args) => client::scan(args).await,
            Command::Del(args) => client::del(args).await,
            Command::Status(args) => client::status(args).await,
        }
    });
    // Whoever waits for standard input in a thread of its own would hold up an orderly end.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| {
        eprintln!("reenact-node: {error:#}");
        ExitCode::FAILURE
    })
}
