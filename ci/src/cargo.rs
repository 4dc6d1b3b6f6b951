//! Runs cargo as a child.
//!
//! The child gets no `RUSTFLAGS`, which would silently replace the flags of `.cargo/config.toml`, and no standard input. Its
//! output passes through; what it says on standard output can be listened to.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

/// Runs `cargo` with `arguments` in `root`; `listen` gets each line of its standard output. Whether it succeeded.
pub fn cargo(root: &Path, arguments: &[&str], mut listen: impl FnMut(&str)) -> anyhow::Result<bool> {
    let line = format!("cargo {}", arguments.join(" "));
    println!("$ {line}");
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .current_dir(root)
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTDOCFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{line}`"))?;
    let output = child.stdout.take().expect("standard output is piped");
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while output.read_until(b'\n', &mut bytes).with_context(|| format!("read what `{line}` prints"))? > 0 {
        std::io::stdout().write_all(&bytes).context("print")?;
        listen(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok(child.wait().with_context(|| format!("wait for `{line}`"))?.success())
}
