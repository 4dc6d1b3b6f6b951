//! Facts in a file that several processes share: one history of all of them.
//!
//! Each line is written, under a lock of the file, before the node goes on: the order of the lines is one that can have
//! happened, and a killed process has stated everything that it did. The first line names the processes; an event's
//! number is the offset of its line, its time the machine's wall clock. The lines are those of a recorded history, so
//! `reenact check` judges them.

use std::{
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write},
    path::Path,
    time::SystemTime,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{env::Facts, fact::Fact};

/// The version of the lines.
const VERSION: u32 = 1;

/// One process's place in a shared file of facts.
pub struct FactFile {
    file: Mutex<fs::File>,
    node: usize,
    incarnation: u32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    reenact_events: u32,
    nodes: Vec<String>,
    release: String,
    witnesses: Vec<String>,
    whole: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time_ns: u64,
    node: usize,
    incarnation: u32,
    body: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    node: &'a Fact,
}

/// As much of a line as tells whose it is.
#[derive(Deserialize)]
struct Whose {
    node: usize,
    incarnation: u32,
}

impl FactFile {
    /// Begins a file for these processes, unless there is one already. `whole` says whether the cluster is new.
    #[expect(clippy::disallowed_methods, reason = "a real file, outside of the node's own directory")]
    pub fn begin(path: &Path, nodes: &[String], release: &str, whole: bool) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.lock()?;
        if file.metadata()?.len() == 0 {
            let witnesses = vec!["node".to_owned()];
            let (nodes, release) = (nodes.to_vec(), release.to_owned());
            let mut line = serde_json::to_vec(&Header { reenact_events: VERSION, nodes, release, witnesses, whole })?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        file.unlock()
    }

    /// Joins a file as the process `name`, one life later than the last that the file tells of.
    #[expect(clippy::disallowed_methods, reason = "a real file, outside of the node's own directory")]
    pub fn join(path: &Path, name: &str) -> io::Result<FactFile> {
        let odd = |what: String| io::Error::new(ErrorKind::InvalidData, format!("`{}`: {what}", path.display()));
        let file = fs::OpenOptions::new().read(true).append(true).open(path)?;
        let mut lines = BufReader::new(&file);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let header: Header = serde_json::from_str(&line).map_err(|error| odd(format!("no header: {error}")))?;
        let node = header.nodes.iter().position(|node| node == name);
        let node = node.ok_or_else(|| odd(format!("its header does not name the process `{name}`")))?;
        let mut incarnation = 0;
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                break;
            }
            let whose: Option<Whose> = serde_json::from_str(&line).ok();
            incarnation = whose.filter(|whose| whose.node == node).map_or(incarnation, |whose| whose.incarnation);
        }
        Ok(FactFile { file: Mutex::new(file), node, incarnation: incarnation + 1 })
    }

    #[expect(clippy::disallowed_methods, reason = "the true time, which the node does not know")]
    fn write(&self, fact: &Fact) -> io::Result<()> {
        let mut file = self.file.lock();
        file.lock()?;
        let seq = file.seek(SeekFrom::End(0))?;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let body = Body { node: fact };
        let mut line =
            serde_json::to_vec(&Line { seq, time_ns, node: self.node, incarnation: self.incarnation, body })?;
        line.push(b'\n');
        let written = file.write_all(&line);
        file.unlock()?;
        written
    }
}

impl Facts for FactFile {
    fn state(&self, fact: Fact) {
        if let Err(error) = self.write(&fact) {
            // A history with a hole would accuse the innocent.
            tracing::error!(%error, "a fact could not be written: the process ends");
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "reads what was written")]
    fn lives_are_counted_and_numbers_grow() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = dir.path().join("facts.jsonl");
        let names = ["placement".to_owned(), "store-1".to_owned()];
        for life in 1..=3 {
            FactFile::begin(&path, &names, "8.5.0", true).expect("begun once");
            let file = FactFile::join(&path, "store-1").expect("it is named");
            assert_eq!(file.incarnation, life);
            file.state(crate::store::fact::lifecycle::Fact::Stopped { store: 1 }.into());
        }
        let text = fs::read_to_string(&path).expect("it was written");
        let seqs = text.lines().skip(1).map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            value["seq"].as_u64().expect("a number")
        });
        let seqs: Vec<u64> = seqs.collect();
        assert!(seqs.len() == 3 && seqs.is_sorted_by(|a, b| a < b), "{text}");
        let stranger = FactFile::join(&path, "store-9").map(|_| ()).expect_err("it is not named");
        assert!(stranger.to_string().contains("store-9"), "{stranger}");
    }
}
