//! Promises of a process: it does not panic, it does not crash for ever, and it fails only for a cause.

mod errors_match_faults;
mod no_crash_loop;
mod no_panic;

pub use errors_match_faults::ERRORS_MATCH_FAULTS;
pub use no_crash_loop::NO_CRASH_LOOP;
pub use no_panic::NO_PANIC;

/// A location without line and column, which move with every change of the file; of a library without its version and where
/// its sources are on this machine.
fn file_of(location: &str) -> String {
    let file = location.split(".rs:").next().unwrap_or(location);
    let Some((_, library)) = file.split_once("registry/src/") else { return file.to_owned() };
    let path = library.split_once('/').map_or(library, |(_, path)| path);
    match path.split_once('/') {
        Some((name, path)) => {
            let name = name.rsplit_once('-').filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()));
            format!("{}/{path}", name.map_or("library", |(name, _)| name))
        }
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_known_by_its_file_on_every_machine() {
        assert_eq!(file_of("node/src/store/apply.rs:12:3"), "node/src/store/apply");
        let library = "/home/x/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/raft-0.7.0/src/raft_log.rs:300:13";
        assert_eq!(file_of(library), "raft/src/raft_log");
    }
}
