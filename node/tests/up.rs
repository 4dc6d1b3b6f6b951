//! A whole cluster for real: it survives the kill of any member.
//!
//! Its facts stay in `tmp/real-cluster.jsonl` of the target directory, for `reenact check` to judge. A build with points
//! serves nothing; the test of the cluster needs one without (`cargo check-all check --only absent`).

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_reenact-node");

/// The facts of the cluster, kept after the test.
const FACTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/real-cluster.jsonl");

/// `reenact-node up` on ports of its own.
struct Cluster {
    up: Child,
    said: BufReader<ChildStdout>,
    pd: String,
    _dir: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = tempfile::tempdir().expect("a directory for the test");
        // Ports differ from process to process, so that two runs of this test do not meet.
        let port = 21_000 + (std::process::id() % 9_000) * 4;
        let mut up = Command::new(PROGRAM)
            .args(["up", "--port", &port.to_string(), "--facts", FACTS, "--data"])
            .arg(dir.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let said = BufReader::new(up.stdout.take().expect("it is piped"));
        Cluster { up, said, pd: format!("127.0.0.1:{port}"), _dir: dir }
    }

    /// The process of the next member that is started under this name.
    fn process(&mut self, name: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).expect("it speaks text"), 0, "`up` ended");
            if let Some(id) = line.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(" is process ")) {
                return id.to_owned();
            }
        }
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let run = Command::new(PROGRAM).arg(command).args(["--pd", &self.pd]).args(arguments).output();
        run.expect("the program starts")
    }

    /// Returns once every region has so many replicas.
    #[expect(clippy::disallowed_methods, reason = "looks at real processes, in real time")]
    fn grow_to(&self, replicas: usize) {
        for _ in 0..300 {
            let status = self.ask("status", &[]);
            let peers = status.lines().filter_map(|line| line.split_once("  peers "));
            let counts: Vec<_> = peers.map(|(_, peers)| peers.split(", ").count()).collect();
            if !counts.is_empty() && counts.iter().all(|&count| count == replicas) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no {replicas} replicas after 30 s: {}", self.ask("status", &[]));
    }

    /// Asks all members to stop and waits for their end, so that their facts are whole.
    fn stop(mut self) {
        let asked = Command::new("kill").arg(self.up.id().to_string()).status();
        assert!(asked.expect("kill is there").success());
        assert!(self.up.wait().expect("it is our child").success());
    }

    fn ask(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command} {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its members end with it: they watch their input.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

fn kill_9(process: &str) {
    assert!(Command::new("kill").args(["-9", process]).status().expect("kill is there").success());
}

#[test]
fn a_build_with_points_serves_nothing() {
    let version = Command::new(PROGRAM).arg("--version").output().expect("the program starts");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.contains(if failpoints::PRESENT { "points: present" } else { "points: absent" }), "{version}");
    if failpoints::PRESENT {
        let refused = Command::new(PROGRAM).args(["up", "--data", "/nonexistent/none"]).output();
        assert_eq!(refused.expect("the program starts").status.code(), Some(2));
    }
}

#[test]
fn what_was_put_survives_the_kill_of_each_member() {
    if failpoints::PRESENT {
        // A build of the whole workspace has points; the test above says what it does instead.
        return;
    }
    remove_facts();
    let mut cluster = Cluster::start();
    let members = ["placement", "store-1", "store-2", "store-3"].map(|name| (name, cluster.process(name)));
    cluster.ask("put", &["before", "all"]);
    cluster.grow_to(3);
    for (name, process) in members {
        cluster.ask("put", &[name, "here"]);
        kill_9(&process);
        cluster.process(name);
        assert_eq!(cluster.ask("get", &[name]), "here", "after the kill of {name}");
    }
    assert_eq!(cluster.ask("get", &["before"]), "all");
    cluster.ask("del", &["before"]);
    assert_eq!(cluster.run("get", &["before"]).status.code(), Some(1), "it was deleted");
    assert_eq!(cluster.ask("scan", &["store", "storf"]), "store-1\there\nstore-2\there\nstore-3\there");
    cluster.stop();
}

/// The facts of an earlier run would be another cluster's.
#[expect(clippy::disallowed_methods, reason = "a real file, which the programs under test write")]
fn remove_facts() {
    match std::fs::remove_file(FACTS) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("cannot remove {FACTS}: {error}"),
        _ => {}
    }
}
