//! How far a campaign has come: a bar on a terminal, nothing when piped.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for so many runs.
pub fn bar(runs: u64) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {per_sec}, {eta} left  {msg}")
        .expect("the template is fixed and sound");
    ProgressBar::with_draw_target(Some(runs), target).with_style(style)
}

/// A bar for nobody knows how many runs.
pub fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} runs in {elapsed}, {per_sec}  {msg}")
        .expect("the template is fixed and sound");
    let bar = bar(0).with_style(style);
    bar.unset_length();
    bar
}
