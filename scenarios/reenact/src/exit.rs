//! Exit statuses: what a script may rely on.
//!
//! clap exits with 2 by itself when a flag is wrong; 101 is cargo's own when the build fails.

/// Everything that ran passed, or a replayed plan gave what it recorded.
pub const PASSED: u8 = 0;
/// The store under test broke a promise.
pub const VIOLATION: u8 = 1;
/// Wrong usage, or an input that cannot be read.
pub const USAGE: u8 = 2;
/// Unarmed, inconclusive, or Reenact itself failed, nondeterminism included. Goes before 1: nothing was proved.
pub const VOID: u8 = 3;
/// Nothing was run.
pub const NOTHING: u8 = 4;
/// A replayed plan did not give what it recorded.
pub const NOT_AS_RECORDED: u8 = 5;
/// Somebody asked it to stop.
pub const INTERRUPTED: u8 = 130;
/// `git bisect run` should skip this build.
pub const BISECT_SKIP: u8 = 125;

/// The same for people.
pub const HELP: &str = "Exit status: 0 all passed; 1 a violation was found; 2 wrong usage or unreadable input; \
3 unarmed, inconclusive, or the harness itself failed; 4 nothing was run; 5 a replayed plan did not give what it \
recorded; 130 interrupted.";
