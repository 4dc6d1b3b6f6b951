//! What the operating system says in files: its account of disk traffic, and its random bytes.

use std::io::{self, Read};

use crate::env::{IoBytes, IoStats};

/// The kernel's account of this process's disk traffic.
///
/// Files are read and written by a pool of threads on behalf of tasks, so no account of one thread would tell what a
/// task did; that of the process is an upper bound of it.
pub(super) struct ProcIo;

const ACCOUNT: &str = "/proc/self/io";

impl IoStats for ProcIo {
    #[expect(clippy::disallowed_methods, reason = "this is the real operating system")]
    fn task_io_bytes(&self) -> io::Result<IoBytes> {
        let text = std::fs::read_to_string(ACCOUNT)?;
        parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{ACCOUNT} is odd: {text:?}")))
    }
}

fn parse(text: &str) -> Option<IoBytes> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(IoBytes { read: value("read_bytes:")?, written: value("write_bytes:")? })
}

/// A seed that no other process has.
#[expect(clippy::disallowed_methods, reason = "this is the real operating system")]
pub(super) fn random_bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_by_name() {
        let text = "rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 3\n";
        assert_eq!(parse(text), Some(IoBytes { read: 4096, written: 8192 }));
        assert_eq!(parse("read_bytes: 4096\n"), None);
        assert_ne!(random_bytes().expect("the system has random bytes"), [0; 32]);
    }
}
