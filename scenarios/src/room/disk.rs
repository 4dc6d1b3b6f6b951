//! A process's simulated disk. The room's disk has the same calls; only the objects differ.

use std::{io, sync::Arc};

use bytes::Bytes;
use node::env::{BoxFuture, Disk, File, Open, Stat};

pub(super) struct RoomDisk(sim::disk::Disk);

impl RoomDisk {
    pub(super) fn new(disk: sim::disk::Disk) -> Self {
        Self(disk)
    }
}

fn how(open: Open) -> sim::disk::Open {
    match open {
        Open::Read => sim::disk::Open::Read,
        Open::Write => sim::disk::Open::Write,
        Open::Create => sim::disk::Open::Create,
        Open::CreateNew => sim::disk::Open::CreateNew,
        Open::Truncate => sim::disk::Open::Truncate,
    }
}

impl Disk for RoomDisk {
    fn open<'a>(&'a self, path: &'a str, open: Open) -> BoxFuture<'a, io::Result<Arc<dyn File>>> {
        Box::pin(async move { Ok(Arc::new(RoomFile(self.0.open(path, how(open)).await?)) as Arc<dyn File>) })
    }

    fn create_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.create_dir(path))
    }

    fn list<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(self.0.list(path))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.rename(from, to))
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.remove(path))
    }

    fn remove_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.remove_dir(path))
    }

    fn stat<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<Option<Stat>>> {
        Box::pin(async move {
            Ok(self.0.stat(path).await?.map(|stat| match stat {
                sim::disk::Stat::File(len) => Stat::File(len),
                sim::disk::Stat::Dir => Stat::Dir,
            }))
        })
    }

    fn sync_dir<'a>(&'a self, path: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.0.sync_dir(path))
    }
}

struct RoomFile(sim::disk::File);

impl File for RoomFile {
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(self.0.read_at(offset, len))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.0.write_at(offset, data))
    }

    fn append(&self, data: Bytes) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(self.0.append(data))
    }

    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.0.truncate(len))
    }

    fn len(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(self.0.len())
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.0.sync())
    }
}
