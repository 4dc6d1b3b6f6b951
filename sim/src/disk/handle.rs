//! An open file, as its process sees it.
//!
//! Not in here: what the bytes of a file are made of; that is `file.rs`.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Call, Disk, Errno, Inode, fault::Fault, file::Content, names::Standing};
use crate::{event::DiskOp, trace};

/// An open file. Removing or renaming its name does not disturb it.
#[derive(Clone)]
pub struct File {
    pub(super) disk: Disk,
    pub(super) inode: Arc<Inode>,
    pub(super) path: Arc<str>,
    pub(super) writable: bool,
    /// How the name stood at a version of the names; 0 is before there was any file.
    pub(super) standing: Arc<Mutex<(u64, Standing)>>,
}

impl File {
    /// The path that it was opened by.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Reads up to `len` bytes at `offset`; fewer at the end of the file, or by a fault.
    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut call = self.begin(DiskOp::Read, offset, len as u64).await;
        let result = self.disk.refuse(&call).map(|()| self.read_now(&mut call, offset, len as u64));
        self.finish(call, result)
    }

    fn read_now(&self, call: &mut Call, offset: u64, len: u64) -> Bytes {
        let cell = &self.disk.cell;
        let mut bytes = self.inode.content.lock().range(offset, len);
        if cell.faulty.load(Ordering::Relaxed) > 0 {
            call.event.faulted |= self.inode.patches.lock().apply(offset, &mut bytes);
            call.event.faulted |= cell.faults.rot(&self.path, self.inode.number, offset, &mut bytes);
            if matches!(call.hit.fault, Some((_, Fault::ShortRead))) && bytes.len() > 1 {
                bytes.truncate(1 + cell.faults.short(bytes.len() as u64 - 1) as usize);
                call.event.faulted = true;
            }
        }
        call.event.done = bytes.len() as u64;
        cell.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes.into()
    }

    /// Writes all of `data` at `offset`; a gap before it reads as zeroes.
    pub async fn write_at(&self, offset: u64, data: impl AsRef<[u8]>) -> io::Result<()> {
        let data = data.as_ref();
        let mut call = self.begin(DiskOp::Write, offset, data.len() as u64).await;
        let result = self.may_write(&call).and_then(|()| self.write_now(&mut call, Some(offset), data));
        self.finish(call, result.map(drop))
    }

    /// Writes all of `data` at the end, and returns where that was.
    pub async fn append(&self, data: impl AsRef<[u8]>) -> io::Result<u64> {
        let data = data.as_ref();
        let mut call = self.begin(DiskOp::Append, 0, data.len() as u64).await;
        let result = self.may_write(&call).and_then(|()| self.write_now(&mut call, None, data));
        self.finish(call, result)
    }

    fn write_now(&self, call: &mut Call, at: Option<u64>, data: &[u8]) -> Result<u64, Errno> {
        let cell = &self.disk.cell;
        let len = data.len() as u64;
        let mut content = self.inode.content.lock();
        let offset = at.unwrap_or(content.len());
        let end = offset.checked_add(len).ok_or(Errno(libc::EFBIG))?;
        cell.reserve(content.len(), content.len().max(end))?;
        if cell.faulty.load(Ordering::Relaxed) > 0 {
            let mut patches = self.inode.patches.lock();
            let cover = |content: &Content| {
                let mut old = content.range(offset, len);
                old.resize(data.len(), 0);
                old
            };
            match call.hit.fault {
                Some((rule, Fault::LostWrite)) => {
                    patches.cover(rule, offset, cover(&content));
                    call.event.faulted = true;
                }
                Some((rule, Fault::MisdirectedWrite)) => {
                    patches.cover(rule, offset, cover(&content));
                    patches.cover(rule, cell.faults.misdirect(len, content.len()), data.to_vec());
                    call.event.faulted = true;
                }
                _ => patches.uncover(offset, len),
            }
        }
        content.write(cell.next_sequence(), offset, data);
        cell.written_bytes.fetch_add(len, Ordering::Relaxed);
        call.event.offset = offset;
        call.event.done = len;
        call.event.digest = trace::digest(data);
        Ok(offset)
    }

    /// Cuts the file, or extends it by zeroes.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        let call = self.begin(DiskOp::Truncate, len, 0).await;
        let result = self.may_write(&call).and_then(|()| {
            let mut content = self.inode.content.lock();
            self.disk.cell.reserve(content.len(), len)?;
            if self.disk.cell.faulty.load(Ordering::Relaxed) > 0 {
                self.inode.patches.lock().uncover(len, u64::MAX - len);
            }
            content.truncate(self.disk.cell.next_sequence(), len);
            Ok(())
        });
        self.finish(call, result)
    }

    /// The file's length in bytes.
    pub async fn len(&self) -> io::Result<u64> {
        let mut call = self.begin(DiskOp::Metadata, 0, 0).await;
        let result = self.disk.refuse(&call).map(|()| self.inode.content.lock().len());
        call.event.done = *result.as_ref().unwrap_or(&0);
        self.finish(call, result)
    }

    /// Makes durable the bytes and the length that the file had when this was called.
    pub async fn sync(&self) -> io::Result<()> {
        let mark = self.disk.cell.next_sequence();
        let mut call = self.begin(DiskOp::Sync, 0, 0).await;
        let result = self.disk.refuse(&call);
        match call.hit.fault {
            Some((_, Fault::Error(_))) => self.inode.content.lock().doom(mark),
            Some((_, Fault::FalseSync)) => call.event.faulted = true,
            _ => self.inode.content.lock().sync(mark),
        }
        self.finish(call, result)
    }

    fn may_write(&self, call: &Call) -> Result<(), Errno> {
        if self.writable { self.disk.refuse(call) } else { Err(Errno(libc::EBADF)) }
    }

    async fn begin(&self, op: DiskOp, offset: u64, len: u64) -> Call {
        let mut call = self.disk.begin(op, &self.path, None, offset, len).await;
        call.event.inode = self.inode.number;
        call
    }

    fn finish<T>(&self, mut call: Call, result: Result<T, Errno>) -> io::Result<T> {
        call.event.durable_len = self.inode.content.lock().durable_len();
        if matches!(call.event.op, DiskOp::Sync | DiskOp::Metadata) {
            let Standing { visible, durable } = self.standing();
            (call.event.visible, call.event.durable) = (visible, durable);
        }
        self.disk.witness(call, result)
    }

    /// How the name stands that the file was opened by. Names change seldom, and files are synced all the time.
    fn standing(&self) -> Standing {
        let names = self.disk.cell.names.lock();
        let mut known = self.standing.lock();
        if known.0 != names.version() {
            *known = (names.version(), names.standing(&self.path));
        }
        known.1
    }
}
