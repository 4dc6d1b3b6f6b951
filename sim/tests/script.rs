//! Script tests of disk, fabric, clock and process: conversations in `tests/scripts/*.txt`.
//!
//! A line is `command => answer`; lines that begin with `#` and empty ones say why. Each file is one world. `SIM_REWRITE=1 cargo test -p
//! sim --test script` writes the answers anew: only commit the change if you understand what caused it.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sim::{
    End, Exit, Handle, Room, Seed, World,
    disk::{CrashKeep, Fault, FaultGuard, FaultRule, Open},
    event::DiskOp,
    fabric::{Broken, Connection, Delivery, Link, Rule, RuleGuard, Sender, Verdict, Who},
    latency::Latency,
    process::{Process, ProcessId, Supervision},
};

type Shared<T> = Arc<Mutex<T>>;

struct Script {
    room: Room,
    handles: Shared<BTreeMap<String, Handle>>,
    inboxes: Shared<BTreeMap<String, Vec<String>>>,
    senders: Shared<BTreeMap<String, Sender>>,
    faults: BTreeMap<String, FaultGuard>,
    rules: BTreeMap<String, RuleGuard>,
    origins: BTreeMap<String, (u64, i64)>,
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().ok().unwrap_or_else(|| panic!("{word:?} is no number"))
}

fn duration(word: &str) -> Duration {
    match word.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(number(ms)),
        None => Duration::from_secs(number(word.strip_suffix('s').expect("a duration ends in s or ms"))),
    }
}

fn answer<T>(result: std::io::Result<T>, show: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| error.kind().to_string().replace("uncategorized error", "EIO"), show)
}

impl Script {
    fn process(&self, name: &str) -> Process {
        self.room.process(name)
    }

    fn ids(&self, names: &str) -> Vec<ProcessId> {
        names.split(',').map(|name| self.process(name).id()).collect()
    }

    fn handle(&self, name: &str) -> Handle {
        self.handles.lock().get(name).cloned().unwrap_or_else(|| panic!("{name} was never started"))
    }

    /// Notes what a connection brings under `inbox`, and keeps its sender under `name`.
    fn hold(&self, handle: &Handle, connection: Connection, name: &str, inbox: &str) {
        let (sender, mut receiver) = connection.split();
        self.senders.lock().insert(name.into(), sender);
        let (inboxes, inbox) = (self.inboxes.clone(), inbox.to_owned());
        handle.spawn(async move {
            loop {
                let received = receiver.recv().await;
                let text = match &received {
                    Ok(frame) => String::from_utf8_lossy(frame).into_owned(),
                    Err(broken) => format!("<{broken}>"),
                };
                inboxes.lock().entry(inbox.clone()).or_default().push(text);
                if received.is_err() {
                    return;
                }
            }
        });
    }

    fn this(&self) -> Script {
        Script {
            room: self.room.clone(),
            handles: self.handles.clone(),
            inboxes: self.inboxes.clone(),
            senders: self.senders.clone(),
            faults: BTreeMap::new(),
            rules: BTreeMap::new(),
            origins: BTreeMap::new(),
        }
    }

    async fn run(&mut self, words: &[&str]) -> String {
        match *words {
            ["advance", time] => {
                self.room.sleep(duration(time)).await;
                "ok".into()
            }
            [verb, name, ref rest @ ..] => {
                if let Some(answer) = self.of_process(verb, name, rest).await {
                    return answer;
                }
                if let Some(answer) = self.of_clock(verb, name, rest).or_else(|| self.of_fabric(verb, name, rest)) {
                    return answer;
                }
                self.of_disk(verb, name, rest).await.unwrap_or_else(|| format!("unknown command {verb}"))
            }
            _ => "unknown command".into(),
        }
    }

    async fn of_process(&mut self, verb: &str, name: &str, rest: &[&str]) -> Option<String> {
        let process = self.process(name);
        match (verb, rest) {
            ("start", []) => {
                let (handles, key) = (self.handles.clone(), name.to_owned());
                process.start(move |handle: Handle| {
                    handles.lock().insert(key.clone(), handle.clone());
                    async move { handle.stop_requested().await }
                });
                self.room.sleep(Duration::from_millis(1)).await;
            }
            ("start-failing", []) => process.start(|_: Handle| async { Exit::Failed("as told".into()) }),
            ("supervise", []) => process.set_supervised(Supervision { loop_exits: 3, ..Supervision::default() }),
            ("panic", []) => {
                self.handle(name).spawn(async { panic!("as told") });
                self.room.sleep(Duration::from_millis(1)).await;
            }
            ("kill", []) => process.kill(),
            ("restart", []) => {
                process.restart();
                self.room.sleep(Duration::from_millis(1)).await;
            }
            ("pause", []) => process.pause(),
            ("resume", []) => process.resume(),
            ("stop", []) => drop(process.stop(Duration::from_secs(1)).await),
            ("status", []) => {
                let state = match (process.is_running(), process.is_paused()) {
                    (true, true) => "paused".to_owned(),
                    (true, false) => format!("running {}", process.incarnation()),
                    _ => process.last_exit().map_or("never ran".into(), |cause| match cause {
                        sim::event::Cause::Panicked { message, .. } => format!("panicked: {message}"),
                        other => format!("{other:?}"),
                    }),
                };
                return Some(state);
            }
            ("crash", [keep]) => process.crash(match *keep {
                "nothing" => CrashKeep::Nothing,
                "prefix" => CrashKeep::Prefix,
                "sectors" => CrashKeep::Sectors,
                "everything" => CrashKeep::Everything,
                other => panic!("unknown mode {other}"),
            }),
            _ => return None,
        }
        Some("ok".into())
    }

    fn of_clock(&mut self, verb: &str, name: &str, rest: &[&str]) -> Option<String> {
        match (verb, rest) {
            ("drift", [ppm]) => self.process(name).clock().set_drift_ppm(number(ppm)),
            ("step-wall", [ms]) => self.process(name).clock().step_wall_ns(number::<i64>(ms) * 1_000_000),
            // Since the first time that it was asked.
            ("clock", []) => {
                let map = self.process(name).clock().map();
                let now_ns = self.room.true_ns();
                let (mono_ns, wall_ns) = (map.mono_ns_at(now_ns), map.wall_ns_at(now_ns));
                let origin = *self.origins.entry(name.into()).or_insert((mono_ns, wall_ns));
                return Some(format!(
                    "mono {} ms, wall {} ms",
                    (mono_ns - origin.0) / 1_000_000,
                    (wall_ns - origin.1) / 1_000_000
                ));
            }
            ("sleep", [time]) => {
                let (clock, inboxes, name) = (self.handle(name).clock(), self.inboxes.clone(), name.to_owned());
                let (time, room) = (duration(time), self.room.clone());
                let began_ns = room.true_ns();
                self.handle(&name).spawn(async move {
                    clock.sleep(time).await;
                    let took_ms = (room.true_ns() - began_ns) / 1_000_000;
                    inboxes.lock().entry(name).or_default().push(format!("slept {took_ms} ms"));
                });
            }
            ("tick", [period]) => {
                let (clock, inboxes, name) = (self.handle(name).clock(), self.inboxes.clone(), name.to_owned());
                let mut interval = clock.interval(duration(period));
                self.handle(&name).spawn(async move {
                    loop {
                        interval.tick().await;
                        inboxes.lock().entry(name.clone()).or_default().push("tick".into());
                    }
                });
            }
            _ => return None,
        }
        Some("ok".into())
    }

    fn of_fabric(&mut self, verb: &str, name: &str, rest: &[&str]) -> Option<String> {
        let fabric = self.room.fabric();
        match (verb, rest) {
            ("listen", [address]) => {
                let (handle, script, address) = (self.handle(name), self.this(), address.to_string());
                let mut listener = match handle.net().listen(&address) {
                    Ok(listener) => listener,
                    Err(broken) => return Some(broken.to_string()),
                };
                handle.clone().spawn(async move {
                    loop {
                        let connection = listener.accept().await;
                        script.hold(&handle, connection, &format!("{address}/reply"), &address);
                    }
                });
            }
            ("connect", [address, delivery, as_name]) => {
                let delivery = if *delivery == "lossy" { Delivery::Lossy } else { Delivery::Ordered };
                let (handle, script) = (self.handle(name), self.this());
                let (address, as_name) = (address.to_string(), as_name.to_string());
                handle.clone().spawn(async move {
                    match handle.net().connect(&address, delivery).await {
                        Ok(connection) => script.hold(&handle, connection, &as_name, &as_name),
                        Err(broken) => script.inboxes.lock().entry(as_name).or_default().push(format!("<{broken}>")),
                    }
                });
            }
            ("send", texts) => {
                let senders = self.senders.lock();
                let Some(sender) = senders.get(name) else { return Some("not connected".into()) };
                let sent: Result<Vec<()>, Broken> =
                    texts.iter().map(|text| sender.send(text.to_string().into())).collect();
                return Some(sent.map_or_else(|broken| broken.to_string(), |_| "ok".into()));
            }
            ("close", []) => drop(self.senders.lock().remove(name)),
            ("inbox", []) => return Some(self.inboxes.lock().remove(name).unwrap_or_default().join(" ")),
            ("partition", [one, other]) => {
                drop(self.rules.insert(name.into(), fabric.partition(&self.ids(one), &self.ids(other))));
            }
            ("cut", [from, to]) => drop(self.rules.insert(name.into(), fabric.cut(&self.ids(from), &self.ids(to)))),
            ("rule", [from, to, verdict, times]) => {
                let verdict = match *verdict {
                    "drop" => Verdict::Drop,
                    "stall" => Verdict::Stall,
                    "delay" => Verdict::Delay(Duration::from_millis(100)),
                    "duplicate" => Verdict::Duplicate,
                    "reset" => Verdict::Reset,
                    other => panic!("unknown verdict {other}"),
                };
                let rule = Rule::new(&self.ids(from)[..], &self.ids(to)[..], verdict).at_most(number(times));
                drop(self.rules.insert(name.into(), fabric.add(rule)));
            }
            ("reset", [others]) => {
                let others = if *others == "any" { Who::Any } else { Who::These(self.ids(others)) };
                return Some(fabric.reset(self.process(name).id(), others).to_string());
            }
            ("unrule", []) => drop(self.rules.remove(name)),
            ("link", [to, settings @ ..]) => {
                let mut link = Link { delay: Latency::between(1_000_000, 1_000_000), ..Link::default() };
                for setting in settings {
                    match setting.split_once('=') {
                        Some(("clogged", _)) => link.clogged = true,
                        Some(("bytes-per-second", n)) => link.bytes_per_second = number(n),
                        Some(("drop", n)) => link.drop_per_million = number(n),
                        Some(("duplicate", n)) => link.duplicate_per_million = number(n),
                        _ => panic!("unknown setting {setting}"),
                    }
                }
                fabric.set_link(self.process(name).id(), self.process(to).id(), link);
            }
            _ => return None,
        }
        Some("ok".into())
    }

    async fn of_disk(&mut self, verb: &str, path: &str, rest: &[&str]) -> Option<String> {
        // Disk scripts have one process, `p`.
        let (control, path) = (self.process("p").disk(), path.trim_matches('/'));
        match (verb, rest) {
            ("fault", [paths, kind, args @ ..]) => {
                let fault = match *kind {
                    "eio" => Fault::Error(libc::EIO),
                    "short-read" => Fault::ShortRead,
                    "stall" => Fault::Stall(Duration::from_secs(1)),
                    "rot" => Fault::RotAt { offset: 2, len: 1 },
                    "lost-write" => Fault::LostWrite,
                    "misdirected-write" => Fault::MisdirectedWrite,
                    "false-sync" => Fault::FalseSync,
                    other => panic!("unknown fault {other}"),
                };
                let ops = args.iter().map(|op| match *op {
                    "read" => DiskOp::Read,
                    "append" => DiskOp::Append,
                    "sync" => DiskOp::Sync,
                    other => panic!("unknown call {other}"),
                });
                let rule = FaultRule::new(paths, fault).on(&ops.collect::<Vec<_>>());
                drop(self.faults.insert(path.into(), control.inject(rule)));
                return Some("ok".into());
            }
            ("lift", []) => {
                return self.faults.remove(path).map(|guard| {
                    guard.lift();
                    "ok".into()
                });
            }
            ("capacity", []) => {
                control.set_config(sim::disk::DiskConfig { capacity_bytes: number(path), ..control.config() });
                return Some("ok".into());
            }
            ("durable", []) => {
                let (visible, durable) = control.exists(path);
                return Some(format!(
                    "visible={visible} durable={durable} durable-len={:?}",
                    control.durable_len(path)
                ));
            }
            _ => {}
        }
        let disk = self.handle("p").disk();
        let file = |how| disk.open(path, how);
        let done = |()| "ok".to_owned();
        Some(match (verb, rest) {
            ("append", [text]) => match file(Open::Create).await {
                Ok(file) => answer(file.append(text).await, |at| format!("at {at}")),
                Err(error) => answer::<()>(Err(error), done),
            },
            ("write", [at, text]) => answer(file(Open::Create).await.ok()?.write_at(number(at), text).await, done),
            ("truncate", [len]) => answer(file(Open::Write).await.ok()?.truncate(number(len)).await, done),
            ("sync", []) => answer(file(Open::Write).await.ok()?.sync().await, done),
            ("read", []) => match file(Open::Read).await {
                Ok(file) => {
                    answer(file.read_at(0, 4096).await, |bytes| format!("{:?}", String::from_utf8_lossy(&bytes)))
                }
                Err(error) => answer::<()>(Err(error), done),
            },
            ("mkdir", []) => answer(disk.create_dir(path).await, done),
            ("syncdir", []) => answer(disk.sync_dir(path).await, done),
            ("rename", [to]) => answer(disk.rename(path, to).await, done),
            ("remove", []) => answer(disk.remove(path).await, done),
            ("rmdir", []) => answer(disk.remove_dir(path).await, done),
            ("list", []) => answer(disk.list(path).await, |names| names.join(" ")),
            ("stat", []) => answer(disk.stat(path).await, |stat| format!("{stat:?}")),
            _ => return None,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the script is a real file, read and written outside of the world")]
fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
    let script = std::fs::read_to_string(&path).expect("the script is there");
    let lines: Vec<String> = script.lines().map(String::from).collect();
    let outcome = World::new(Seed::new(1)).run(move |room| async move {
        let mut script = Script {
            room,
            handles: Arc::default(),
            inboxes: Arc::default(),
            senders: Arc::default(),
            faults: BTreeMap::new(),
            rules: BTreeMap::new(),
            origins: BTreeMap::new(),
        };
        let mut spoken = String::new();
        for line in lines {
            if line.is_empty() || line.starts_with('#') {
                writeln!(spoken, "{line}").expect("a string takes all");
                continue;
            }
            let command = line.split("=>").next().unwrap_or_default().trim();
            let words: Vec<&str> = command.split_whitespace().collect();
            let answer = script.run(&words).await;
            writeln!(spoken, "{command} => {answer}").expect("a string takes all");
        }
        spoken
    });
    let End::Finished(spoken) = outcome.end else { panic!("{name}: {:?}", outcome.end) };
    if std::env::var_os("SIM_REWRITE").is_some() {
        std::fs::write(&path, &spoken).expect("the script can be rewritten");
    } else {
        for (number, (written, spoken)) in script.lines().zip(spoken.lines()).enumerate() {
            assert_eq!(written, spoken, "{name}:{}", number + 1);
        }
    }
}

#[test]
fn disk() {
    check("disk.txt");
}

#[test]
fn fabric() {
    check("fabric.txt");
}

#[test]
fn clock() {
    check("clock.txt");
}

#[test]
fn process() {
    check("process.txt");
}
