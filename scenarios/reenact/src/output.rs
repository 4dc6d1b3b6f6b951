//! What people see: progress on a terminal, tables, and the text of a failure; and what CI servers are told.

pub mod case;
pub mod failure;
mod github;
pub mod honesty;
mod junit;
pub mod progress;
pub mod server;
pub mod table;

use std::io::Write;

/// The status that a shell shows of a program which a closed pipe has ended.
const PIPE_CLOSED: i32 = 128 + 13;

/// Prints to standard output. A closed pipe ends the program quietly, as people expect of `| head`, and with the status
/// of the signal: nobody has heard how it would have ended. One that cannot be written for another reason, as on a full
/// disk, is no success.
pub fn print(text: &str) {
    let mut out = anstream::stdout();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(PIPE_CLOSED);
        }
        // Nobody is left to tell when standard error is gone, too.
        let _ = writeln!(anstream::stderr(), "error: cannot write to standard output: {error}");
        std::process::exit(i32::from(crate::exit::VOID));
    }
}
