//! Processor time and memory of this process, and what is made of repeated measurements.
//!
//! Not here: what is measured.

use anyhow::Context;

/// The kernel counts processor time in hundredths of a second for programs, whatever its own tick is.
const TICK_SECONDS: f64 = 0.01;

/// Less than this is not told apart well enough by ticks: what takes less is done again and again.
pub const ENOUGH_SECONDS: f64 = 1.0;

/// The result, and the processor seconds of all threads that it took.
pub fn timed<T>(run: impl FnOnce() -> T) -> anyhow::Result<(T, f64)> {
    let before = cpu_seconds()?;
    let result = run();
    // A tick is the least that can be told apart.
    Ok((result, (cpu_seconds()? - before).max(TICK_SECONDS)))
}

/// The middle one, or the mean of the two in the middle; none of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The most memory that this process has held, in MB.
pub fn peak_memory() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("cannot read this process's memory")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/self/status has no VmHWM here")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmHWM is no number")?;
    Ok(kib / 1024.0)
}

/// Processor time of all threads of this process, those that have ended included.
pub fn cpu_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("cannot read this process's processor time")?;
    cpu_seconds_of(&text).context("/proc/self/stat has another form here")
}

/// Fields 14 and 15 of `/proc/self/stat`: user and system time in ticks. The second field, the name, may hold spaces.
fn cpu_seconds_of(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 * TICK_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_spaces() {
        let stat = "1 (a b) c) S 2 3 4 5 6 7 8 9 10 11 150 50 14 15";
        assert_eq!(cpu_seconds_of(stat), Some(2.0));
        assert_eq!(cpu_seconds_of("1 (a)"), None);
    }

    #[test]
    fn this_process_has_time_and_memory() {
        assert!(timed(|| ()).is_ok_and(|((), seconds)| seconds >= TICK_SECONDS));
        assert!(peak_memory().is_ok_and(|memory| memory > 0.0));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
