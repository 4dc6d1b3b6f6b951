//! Worker processes: one run at a time each, so that an abort, a hang or a leak costs one run.
//!
//! A thread a worker hands it jobs and waits. Workers are spawned from `/proc/self/exe`, because a rebuild replaces the
//! file under `current_exe`; their standard error is a pipe, whose end is attached to a failure. A worker is replaced
//! after a panic, a timeout, a death, and when it holds too much memory. A failure is confirmed in a fresh process
//! before it is reported, and so is a share of the runs that do not fail: one that does not come back is Reenact's own.
//! What somebody else kills is run again, the first time and when it is confirmed; where that is in vain twice in a row,
//! what the first process gave stands, and is said to be unconfirmed.
//! Workers are a process group of their own, so that a terminal's interrupt is heard here alone.
//!
//! Not here: what a run means, and in which order results are shown. Results come in the order of finishing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    ops::ControlFlow,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use scenarios::{run::Outcome, verdict::Class};
use signal_hook::consts::SIGKILL;

use crate::{
    campaign::interrupt,
    worker::{Job, Reply},
};

/// Of a worker's standard error, this much of the end is kept.
const STDERR_KEPT: usize = 64 * 1024;

/// A worker that holds more memory than this after a run is replaced.
const MEMORY_MAX: u64 = 512 << 20;

/// Behind what the worker said, where nobody knows whether a failure comes back.
const UNCONFIRMED: &str = "\nreenact: not confirmed: the processes that ran it again were killed, twice in a row; perhaps \
                           out of memory\n";

/// How often a waiting thread looks whether the campaign has been stopped.
const STOP_TICK: Duration = Duration::from_millis(50);

/// How runs are spread over processes.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// How many workers.
    pub jobs: usize,
    /// A run that takes longer is ended, and reported.
    pub run_timeout: Duration,
    /// Whether a failure is run again in a fresh process before it is reported.
    pub confirm: bool,
    /// One of so many runs is run again in a fresh process even if it does not fail, chosen by its number; none if 0.
    pub one_twice_of: u64,
    /// Whether what workers write to standard error goes on to that of this process as it comes.
    pub hear: bool,
    /// Whether workers let randomness of the kernel's into runs, to show that traces then differ.
    pub leak_entropy: bool,
}

/// The word for a run that gave one thing in one process and another in the next.
pub const NOT_REPEATABLE: &str = "not-repeatable";

/// A job that is done.
#[derive(Debug)]
pub struct Done {
    /// The job's number.
    pub number: u64,
    /// What it gave. A lost worker is an outcome of class `harness`.
    pub outcome: Outcome,
    /// The end of what the worker wrote to standard error during the run.
    pub stderr: String,
    /// Whether it should have come back in a fresh process and nobody knows if it does: each that tried was killed.
    pub is_unconfirmed: bool,
    /// Whether somebody else ended the worker.
    is_killed: bool,
}

impl Done {
    fn new(number: u64, outcome: Outcome, stderr: String) -> Self {
        Self { number, outcome, stderr, is_unconfirmed: false, is_killed: false }
    }
}

impl Pool {
    /// Runs all jobs; `on_done` hears of each, and can stop the rest.
    pub fn run(
        &self,
        jobs: impl Iterator<Item = Job> + Send,
        mut on_done: impl FnMut(Done) -> ControlFlow<()>,
    ) -> std::io::Result<()> {
        let (jobs, stop) = (Mutex::new(jobs), AtomicBool::new(false));
        let (jobs, stop) = (&jobs, &stop);
        std::thread::scope(|scope| {
            let (sender, done) = mpsc::channel();
            for _ in 0..self.jobs.max(1) {
                let sender = sender.clone();
                scope.spawn(move || {
                    let mut worker = None;
                    while !is_over(stop) {
                        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(job) = next else { break };
                        let result = self.run_job(&mut worker, &job, stop).transpose();
                        // Without a receiver the campaign has ended, and nobody wants the result.
                        if result.is_some_and(|result| sender.send(result).is_err()) {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for result in done {
                let flow = match result {
                    Ok(done) => on_done(done),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                };
                if flow.is_break() {
                    stop.store(true, Ordering::Relaxed);
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    /// Runs one job, and again in a fresh process if it failed. `None` when the campaign was stopped meanwhile.
    fn run_job(&self, worker: &mut Option<Worker>, job: &Job, stop: &AtomicBool) -> std::io::Result<Option<Done>> {
        let Some(first) = self.patient_attempt(worker, job, stop)? else { return Ok(None) };
        let has_failed = failed(first.outcome.verdict.class);
        if first.is_killed || !(self.confirm && has_failed || self.is_run_twice(job.number)) {
            return Ok(Some(first));
        }
        *worker = None;
        let second = self.patient_attempt(worker, job, stop)?;
        *worker = None;
        Ok(second.map(|second| confirmed(first, second)))
    }

    /// One attempt, and another if the worker is killed. No run can do that: the system did, for want of memory, or some
    /// other process. It is the run's doing only if it comes back.
    fn patient_attempt(
        &self,
        worker: &mut Option<Worker>,
        job: &Job,
        stop: &AtomicBool,
    ) -> std::io::Result<Option<Done>> {
        match self.attempt(worker, job, stop)? {
            Some(done) if done.is_killed => self.attempt(worker, job, stop),
            done => Ok(done),
        }
    }

    /// Whether the job of this number is run twice even if it does not fail.
    pub fn is_run_twice(&self, number: u64) -> bool {
        // Fibonacci hashing, so that the choice has nothing to do with shards and other strides.
        self.one_twice_of > 0 && (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(self.one_twice_of)
    }

    fn attempt(&self, slot: &mut Option<Worker>, job: &Job, stop: &AtomicBool) -> std::io::Result<Option<Done>> {
        let mut worker = match slot.take() {
            Some(worker) => worker,
            None => Worker::spawn(self)?,
        };
        worker.stderr.lock().unwrap_or_else(PoisonError::into_inner).clear();
        worker.send(job);
        let deadline = Instant::now() + self.run_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match worker.lines.recv_timeout(left.min(STOP_TICK)) {
                Ok(line) => match serde_json::from_str::<Reply>(&line) {
                    Ok(reply) if reply.number == job.number => {
                        let outcome = reply.outcome;
                        let keeps = !reply.panicked && reply.resident_bytes <= MEMORY_MAX;
                        let stderr = if keeps && !failed(outcome.verdict.class) {
                            let stderr = worker.stderr_so_far();
                            *slot = Some(worker);
                            stderr
                        } else {
                            // The pipe may lag behind the reply: the end of the process is the end of its text.
                            worker.end()
                        };
                        return Ok(Some(Done::new(job.number, outcome, stderr)));
                    }
                    // A line of its own making, not a reply: kept with the rest of what it said.
                    _ => worker.note(&line),
                },
                Err(mpsc::RecvTimeoutError::Timeout) if is_over(stop) => return Ok(None),
                Err(mpsc::RecvTimeoutError::Timeout) if left.is_zero() => {
                    let detail =
                        format!("the run did not end within {:?} of real time and was ended", self.run_timeout);
                    let stderr = worker.end();
                    let outcome = Outcome::harness("run-timeout", detail);
                    return Ok(Some(Done::new(job.number, outcome, stderr)));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let (how, stderr) = worker.death();
                    let outcome = Outcome::harness("worker-lost", post_mortem(how.as_ref().ok(), &stderr));
                    let is_killed = how.is_ok_and(|how| how.signal() == Some(SIGKILL));
                    return Ok(Some(Done { is_killed, ..Done::new(job.number, outcome, stderr) }));
                }
            }
        }
    }
}

/// Whether nobody waits for further runs.
fn is_over(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed) || interrupt::happened()
}

/// What a worker died of, from how it ended and what it said last.
fn post_mortem(how: Option<&ExitStatus>, stderr: &str) -> String {
    let Some(how) = how else { return "the worker process died, nobody knows how".to_owned() };
    // Whether there is a dump is the machine's business, and not part of what happened.
    let told = how.to_string().replace(" (core dumped)", "");
    let why = if stderr.contains("memory allocation of ") {
        "out of memory; "
    } else if stderr.contains("has overflowed its stack") {
        "stack overflow; "
    } else if how.signal() == Some(SIGKILL) {
        "perhaps out of memory; "
    } else {
        ""
    };
    format!("{why}the worker process died: {told}")
}

/// Whether a run of this class is confirmed, and its worker replaced.
fn failed(class: Class) -> bool {
    class.is_violation() || class == Class::Harness
}

/// What two runs of a failing plan in two processes say together.
fn confirmed(first: Done, second: Done) -> Done {
    if second.is_killed {
        let mut stderr = first.stderr;
        stderr.push_str(UNCONFIRMED);
        return Done { stderr, is_unconfirmed: true, ..first };
    }
    let (a, b) = (&first.outcome, &second.outcome);
    let same = (a.verdict.class, &a.verdict.fingerprint, a.verdict.step, a.trace_hash)
        == (b.verdict.class, &b.verdict.fingerprint, b.verdict.step, b.trace_hash);
    if same {
        return first;
    }
    let tell = |o: &Outcome| {
        let Outcome { verdict, trace_hash, .. } = o;
        let what =
            if verdict.check.is_empty() { String::new() } else { format!(" `{}` {}", verdict.check, verdict.detail) };
        format!("{}{what} at step {}, trace {trace_hash:016x}", verdict.class, verdict.step)
    };
    let what = if failed(a.verdict.class) { "a failure did not come back" } else { "a run came to something else" };
    let detail = format!("{what} in a fresh process\nfirst: {}\nthen: {}", tell(a), tell(b));
    let mut outcome = Outcome::harness(NOT_REPEATABLE, detail);
    (outcome.last_events, outcome.chronicle) = (first.outcome.last_events, first.outcome.chronicle);
    Done::new(first.number, outcome, first.stderr)
}

/// One worker process.
struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Lines of its standard output; disconnected when it is gone.
    lines: mpsc::Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<JoinHandle<()>>,
}

impl Worker {
    fn spawn(pool: &Pool) -> std::io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg("worker")
            .args(pool.leak_entropy.then_some("--leak-entropy"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
        let mut pipe = child.stderr.take().expect("standard error was asked for as a pipe");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (kept, hear) = (stderr.clone(), pool.hear);
        let stderr_reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                keep(&kept, &buffer[..count]);
                if hear {
                    // Nobody is left to tell when standard error is closed.
                    let _ = std::io::stderr().write_all(&buffer[..count]);
                }
            }
        });
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines, stderr, stderr_reader: Some(stderr_reader) })
    }

    /// Hands over a job. A worker that is already gone shows when its reply is waited for.
    fn send(&mut self, job: &Job) {
        let line = serde_json::to_string(job).expect("a job is text and flags");
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush());
        }
    }

    fn note(&self, line: &str) {
        keep(&self.stderr, format!("{line}\n").as_bytes());
    }

    fn stderr_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Ends the process and gives all that it said.
    fn end(mut self) -> String {
        self.stop();
        self.stderr_so_far()
    }

    /// How a process died that closed its output by itself, and all that it said.
    fn death(mut self) -> (std::io::Result<ExitStatus>, String) {
        let how = self.child.wait();
        self.stop();
        (how, self.stderr_so_far())
    }

    fn stop(&mut self) {
        self.stdin = None;
        // A process that has already ended is not an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.stderr_reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Appends, and forgets what is too long ago.
fn keep(kept: &Mutex<Vec<u8>>, bytes: &[u8]) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend_from_slice(bytes);
    if kept.len() > 2 * STDERR_KEPT {
        let surplus = kept.len() - STDERR_KEPT;
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(detail: &str, trace_hash: u64) -> Done {
        let outcome = Outcome { trace_hash, ..Outcome::harness("check", detail) };
        Done::new(3, outcome, "said".to_owned())
    }

    #[test]
    fn a_failure_is_believed_when_it_comes_back() {
        let both = confirmed(done("broken", 7), done("broken", 7));
        assert_eq!((both.number, both.outcome.verdict.check.as_str()), (3, "check"));
    }

    #[test]
    fn a_failure_that_does_not_come_back_is_our_own() {
        for other in [done("broken", 8), done("whole", 7)] {
            let both = confirmed(done("broken", 7), other);
            assert_eq!(both.outcome.verdict.class, Class::Harness);
            assert_eq!(both.outcome.verdict.check, "not-repeatable");
            assert!(both.outcome.verdict.detail.contains("`check` broken"), "{}", both.outcome.verdict.detail);
        }
    }

    #[test]
    fn a_failure_whose_confirmation_is_killed_stays_what_it_was_and_says_so() {
        let killed = Done { is_killed: true, ..done("worker-lost", 0) };
        let both = confirmed(done("broken", 7), killed);
        assert_eq!((both.outcome.verdict.detail.as_str(), both.outcome.trace_hash), ("broken", 7));
        assert!(both.is_unconfirmed && both.stderr.starts_with("said\nreenact: not confirmed: "), "{}", both.stderr);
    }

    #[test]
    fn of_much_text_the_end_is_kept() {
        let kept = Mutex::new(Vec::new());
        for _ in 0..100 {
            keep(&kept, &[b'x'; 4096]);
        }
        keep(&kept, b"end");
        let kept = kept.into_inner().expect("nobody panicked with the lock");
        assert!(kept.len() <= 2 * STDERR_KEPT && kept.ends_with(b"xend"));
    }
}
