//! What people see: progress on a terminal, tables, and the text of a failure; and what CI servers are told.

pub mod case;
pub mod failure;
mod github;
mod junit;
pub mod progress;
pub mod server;
pub mod table;

use std::io::Write;

/// Prints to standard output. A closed pipe ends the program quietly, as people expect of `| head`.
pub fn print(text: &str) {
    let mut out = anstream::stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(i32::from(crate::exit::PASSED));
    }
}
