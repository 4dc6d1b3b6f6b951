//! A whole cluster for real: it survives the kill of any member.
//!
//! Its facts stay in `tmp/real-cluster.jsonl` of the target directory, for `reenact check` to judge. A build with points
//! serves nothing; the test of the cluster needs one without (`cargo check-all check --only absent`).

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use node::{
    client::{Client, Options},
    env::real,
    wire::kv::ReadBy,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_reenact-node");

/// The facts of the first cluster, kept after its test.
const FACTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/real-cluster.jsonl");

/// The facts of the cluster that is killed over and over.
const STORM_FACTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/real-storm.jsonl");

/// How often each member is killed in the storm.
const KILLS: usize = 20;

const MEMBERS: [&str; 4] = ["placement", "store-1", "store-2", "store-3"];

/// `reenact-node up` on ports of its own.
struct Cluster {
    up: Child,
    said: BufReader<ChildStdout>,
    pd: String,
    metrics_port: u16,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// The number parts the clusters of one process of tests.
    fn start(number: u16, facts: &str) -> Cluster {
        remove_facts(facts);
        let dir = tempfile::tempdir().expect("a directory for the test");
        // Ports differ from process to process, so that two runs of these tests do not meet.
        let port = 21_000 + (std::process::id() % 2_000) as u16 * 16 + number * 8;
        let metrics_port = port + 4;
        let mut up = Command::new(PROGRAM)
            .args(["up", "--port", &port.to_string(), "--metrics-port", &metrics_port.to_string()])
            .args(["--restart-pause-ms", "100", "--facts", facts, "--data"])
            .arg(dir.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let said = BufReader::new(up.stdout.take().expect("it is piped"));
        Cluster { up, said, pd: format!("127.0.0.1:{port}"), metrics_port, _dir: dir }
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

    /// What a member tells Prometheus; the placement driver is member 0.
    fn metrics(&self, member: u16) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics_port + member)).expect("it listens");
        let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        asked.expect("it takes the request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    /// Returns once a member, which may have been started just now, tells Prometheus a metric of this name.
    #[expect(clippy::disallowed_methods, reason = "looks at real processes, in real time")]
    fn tells(&self, member: u16, name: &str) {
        for _ in 0..300 {
            if self.metrics(member).lines().any(|line| line.starts_with(name)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no `{name}` after 30 s: {}", self.metrics(member));
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
    let mut cluster = Cluster::start(0, FACTS);
    let members = MEMBERS.map(|name| (name, cluster.process(name)));
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
    cluster.tells(1, "reenact_raft_role_changes_total{role=");
    cluster.stop();
}

/// Puts one key after the other, each once, until it is told to stop.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Writer {
    #[expect(clippy::disallowed_methods, reason = "a real client beside real processes")]
    fn start(pd: String) -> Writer {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let client = client(&pd);
                let mut kept = Vec::new();
                let mut number = 0;
                while !stopped.load(Ordering::Relaxed) {
                    number += 1;
                    // What fails may have happened or not: nothing is said of it.
                    if client.put(storm_key(number).into(), number.to_string().into()).await.is_ok() {
                        kept.push(number);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                kept
            })
        });
        Writer { acknowledged, stop, thread }
    }

    /// Returns once more writes were acknowledged than when this was called.
    #[expect(clippy::disallowed_methods, reason = "looks at real processes, in real time")]
    fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        for _ in 0..6_000 {
            if self.acknowledged.load(Ordering::Relaxed) > before {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no write was acknowledged for a minute");
    }

    fn end(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer does not panic")
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn client(pd: &str) -> Client {
    // A client keeps no files; its directory is never written to.
    let env = real::env(&std::env::temp_dir(), None).expect("a client's environment");
    Client::new(&env, pd, Options::default())
}

fn storm_key(number: u64) -> String {
    format!("storm-{number:08}")
}

#[test]
fn writes_go_on_and_survive_while_each_member_is_killed_over_and_over() {
    if failpoints::PRESENT {
        return;
    }
    let mut cluster = Cluster::start(1, STORM_FACTS);
    let mut members = MEMBERS.map(|name| (name, cluster.process(name)));
    cluster.ask("put", &["before", "all"]);
    cluster.grow_to(3);
    let writer = Writer::start(cluster.pd.clone());
    for _ in 0..KILLS {
        for (name, process) in &mut members {
            writer.goes_on();
            kill_9(process);
            *process = cluster.process(name);
        }
    }
    writer.goes_on();
    let kept = writer.end();
    let lost = runtime().block_on(async {
        let client = client(&cluster.pd);
        let mut lost = Vec::new();
        for &number in &kept {
            let found = client.get(storm_key(number).into(), ReadBy::Lease).await.expect("the cluster serves");
            if found.value.as_deref() != Some(number.to_string().as_bytes()) {
                lost.push(number);
            }
        }
        lost
    });
    assert!(kept.len() > KILLS * MEMBERS.len(), "{}", kept.len());
    assert_eq!(lost, [0; 0], "of {} acknowledged writes", kept.len());
    cluster.stop();
}

/// The facts of an earlier run would be another cluster's.
#[expect(clippy::disallowed_methods, reason = "a real file, which the programs under test write")]
fn remove_facts(path: &str) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("cannot remove {path}: {error}"),
        _ => {}
    }
}
