//! The disk against a plain model, over random operations, syncs and crashes.
//!
//! The model keeps whole copies: of what can be seen, and per file of every state since its last sync. After a crash in mode
//! `Nothing` or `Everything` the disk has to equal the model exactly; after the others each file has to be made, sector by sector, of
//! states that it was in, and everything synced has to be there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sim::{
    End, Handle, Seed, World,
    disk::{CrashKeep, Disk, DiskControl, Open, SECTOR_BYTES},
};

#[derive(Clone, Debug)]
enum Op {
    Write { file: u8, offset: u16, len: u16, byte: u8 },
    Append { file: u8, len: u16, byte: u8 },
    Truncate { file: u8, len: u16 },
    Sync { file: u8 },
    SyncDir,
    Rename { from: u8, to: u8 },
    Remove { file: u8 },
    Crash { keep: CrashKeep },
}

fn op() -> impl Strategy<Value = Op> {
    let file = 0..4u8;
    prop_oneof![
        4 => (file.clone(), 0..3000u16, 1..1500u16, 1..=255u8).prop_map(|(file, offset, len, byte)| Op::Write { file, offset, len, byte }),
        4 => (file.clone(), 1..1500u16, 1..=255u8).prop_map(|(file, len, byte)| Op::Append { file, len, byte }),
        1 => (file.clone(), 0..3000u16).prop_map(|(file, len)| Op::Truncate { file, len }),
        3 => file.clone().prop_map(|file| Op::Sync { file }),
        2 => Just(Op::SyncDir),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => file.prop_map(|file| Op::Remove { file }),
        2 => prop_oneof![
            Just(CrashKeep::Nothing), Just(CrashKeep::Prefix), Just(CrashKeep::Sectors), Just(CrashKeep::Everything), Just(CrashKeep::Seeded)
        ].prop_map(|keep| Op::Crash { keep }),
    ]
}

/// Every state of a file since its last sync, the synced one first.
#[derive(Clone, Debug)]
struct ModelFile {
    states: Vec<Vec<u8>>,
}

impl ModelFile {
    fn now(&self) -> &Vec<u8> {
        self.states.last().expect("a file has a state")
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut next = self.now().clone();
        change(&mut next);
        self.states.push(next);
    }

    /// Whether a crash may leave these bytes: each sector as it was at some time, or zeroes in a gap.
    fn may_become(&self, bytes: &[u8]) -> bool {
        let sector_len = SECTOR_BYTES as usize;
        self.states.iter().any(|state| state == bytes)
            || bytes.iter().enumerate().all(|(at, byte)| {
                let seen = |state: &Vec<u8>| state.get(at).copied().unwrap_or(0) == *byte;
                self.states.iter().any(seen)
            }) && bytes.len() <= self.states.iter().map(Vec::len).max().unwrap_or(0).next_multiple_of(sector_len)
    }
}

/// Names to file numbers, visible and durable; files live by number, as inodes do.
#[derive(Default)]
struct Model {
    files: BTreeMap<u32, ModelFile>,
    visible: BTreeMap<String, u32>,
    durable: BTreeMap<String, u32>,
    next: u32,
}

impl Model {
    fn file(&mut self, path: &str) -> &mut ModelFile {
        if !self.visible.contains_key(path) {
            self.next += 1;
            self.visible.insert(path.into(), self.next);
            self.files.insert(self.next, ModelFile { states: vec![vec![]] });
        }
        self.files.get_mut(&self.visible[path]).expect("a visible name has a file")
    }

    /// Holds the disk against what a crash of this kind may leave, and goes on from what it did leave.
    fn crash(&mut self, keep: CrashKeep, disk: &DiskControl) -> Result<(), String> {
        let paths: Vec<String> = disk.visible_paths().iter().map(|path| path.to_string()).collect();
        let expected = match keep {
            CrashKeep::Nothing => Some(&self.durable),
            CrashKeep::Everything => Some(&self.visible),
            _ => None,
        };
        if let Some(expected) = expected
            && !paths.iter().eq(expected.keys())
        {
            return Err(format!("{keep:?} left the names {paths:?}, not {:?}", expected.keys()));
        }
        let mut after = BTreeMap::new();
        for path in paths {
            let bytes = disk.read(&path).ok_or("a visible file can be read")?;
            let fits = |number: &u32| {
                let file = &self.files[number];
                match keep {
                    CrashKeep::Nothing => file.states[0] == bytes,
                    CrashKeep::Everything => *file.now() == bytes,
                    _ => file.may_become(&bytes),
                }
            };
            let known = match expected {
                Some(expected) => vec![expected[&path]],
                None => self.files.keys().copied().collect(),
            };
            let Some(number) = known.into_iter().find(fits) else {
                return Err(format!("{keep:?} left {path} with {} bytes that no file ever had", bytes.len()));
            };
            after.insert(path, (number, bytes));
        }
        self.files.clear();
        self.visible.clear();
        for (path, (_, bytes)) in after {
            self.next += 1;
            self.files.insert(self.next, ModelFile { states: vec![bytes] });
            self.visible.insert(path, self.next);
        }
        self.durable = self.visible.clone();
        Ok(())
    }
}

async fn apply(disk: &Disk, model: &mut Model, op: &Op) -> std::io::Result<()> {
    let path = |file: u8| format!("f{file}");
    match *op {
        Op::Write { file, offset, len, byte } => {
            let (offset, data) = (usize::from(offset), vec![byte; usize::from(len)]);
            disk.open(&path(file), Open::Create).await?.write_at(offset as u64, &data).await?;
            model.file(&path(file)).change(|bytes| {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[offset..offset + data.len()].copy_from_slice(&data);
            });
        }
        Op::Append { file, len, byte } => {
            let data = vec![byte; usize::from(len)];
            let offset = disk.open(&path(file), Open::Create).await?.append(&data).await?;
            assert_eq!(offset, model.file(&path(file)).now().len() as u64);
            model.file(&path(file)).change(|bytes| bytes.extend_from_slice(&data));
        }
        Op::Truncate { file, len } => {
            disk.open(&path(file), Open::Create).await?.truncate(u64::from(len)).await?;
            model.file(&path(file)).change(|bytes| bytes.resize(usize::from(len), 0));
        }
        Op::Sync { file } => {
            disk.open(&path(file), Open::Create).await?.sync().await?;
            let file = model.file(&path(file));
            file.states = vec![file.now().clone()];
        }
        Op::SyncDir => {
            disk.sync_dir("").await?;
            model.durable = model.visible.clone();
        }
        Op::Rename { from, to } => {
            let result = disk.rename(&path(from), &path(to)).await;
            assert_eq!(result.is_ok(), model.visible.contains_key(&path(from)));
            if let Some(number) = model.visible.remove(&path(from)) {
                model.visible.insert(path(to), number);
            }
        }
        Op::Remove { file } => {
            assert_eq!(disk.remove(&path(file)).await.is_ok(), model.visible.remove(&path(file)).is_some());
        }
        Op::Crash { .. } => unreachable!("a crash is the owner's"),
    }
    Ok(())
}

async fn check_visible(disk: &Disk, model: &Model) {
    let names = disk.list("").await.expect("the root can be listed");
    assert!(names.iter().eq(model.visible.keys()), "{names:?}");
    for (path, number) in &model.visible {
        let file = disk.open(path, Open::Read).await.expect("a visible file opens");
        assert_eq!(file.read_at(0, usize::MAX).await.expect("it reads"), model.files[number].now()[..], "{path}");
    }
}

fn holds(seed: u64, ops: Vec<Op>) -> Result<(), String> {
    let outcome = World::new(Seed::new(seed)).run(move |room| async move {
        let process = room.process("p");
        let model = std::sync::Arc::new(parking_lot::Mutex::new(Model::default()));
        for part in ops.split_inclusive(|op| matches!(op, Op::Crash { .. })) {
            let (calls, inside) = (part.to_vec(), model.clone());
            process.start(move |handle: Handle| {
                let (calls, inside) = (calls.clone(), inside.clone());
                async move {
                    let mut model = std::mem::take(&mut *inside.lock());
                    for op in calls.iter().filter(|op| !matches!(op, Op::Crash { .. })) {
                        apply(&handle.disk(), &mut model, op).await?;
                        check_visible(&handle.disk(), &model).await;
                    }
                    *inside.lock() = model;
                    std::io::Result::Ok(())
                }
            });
            match process.exited().await {
                Some(sim::event::Cause::Done) => {}
                other => return Err(format!("{other:?}")),
            }
            if let Some(Op::Crash { keep }) = part.last() {
                process.crash(*keep);
                model.lock().crash(*keep, &process.disk())?;
            }
        }
        let used: u64 = process
            .disk()
            .visible_paths()
            .iter()
            .filter_map(|path| process.disk().read(path))
            .map(|b| b.len() as u64)
            .sum();
        let durable_only = process.disk().used_bytes() - used;
        process.crash(CrashKeep::Everything);
        if process.disk().used_bytes() != used {
            Err(format!("{used} bytes used, accounted +{durable_only}"))
        } else {
            Ok(())
        }
    });
    match outcome.end {
        End::Finished(result) => result,
        other => Err(format!("{other:?}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_is_its_model(seed in any::<u64>(), ops in prop::collection::vec(op(), 1..60)) {
        holds(seed, ops).map_err(TestCaseError::fail)?;
    }
}
