//! Receives a snapshot: temporary files, checksums, names, the meta file last; then the raft message in its header goes to
//! the store.
//!
//! Whatever fails removes what was written and refuses; the sender's raft tries again.

use std::sync::Arc;

use bytes::Bytes;
use failpoints::point;
use prost::Message;

use super::{Error, FAMILIES, Files, Key, Manager, Side, Use, build, fails, file, site};
use crate::{
    env::{Connection, File, FrameReceiver, Open},
    fact::Text,
    rpc,
    store::fact::snapshot::Fact,
    wire::transfer::{Ack, Chunk, Frame, Header, Part},
};

/// Hands the raft message of a complete snapshot to the raft loop. False when the store does not take it.
pub type Deliver = Arc<dyn Fn(Header) -> bool + Send + Sync>;

/// Serves one connection on which another store sends a snapshot; `first` is the body of its first frame.
pub async fn session(manager: Manager, first: Bytes, connection: Connection, deliver: Deliver) {
    let Connection { sender, mut receiver } = connection;
    let refusal = match Frame::decode(first).map(|frame| frame.part) {
        Ok(Some(Part::Header(header))) => {
            let key = Key { region: header.meta.region.id, term: header.term, index: header.index };
            let result = receive(&manager, key, header, &mut *receiver, &deliver).await;
            let Key { region, term, index } = key;
            result.err().map(|error| {
                let cause = error.to_string();
                let text = Text::from(cause.clone());
                manager.inner.env.state(Fact::ReceiveFailed { region, term, index, cause: text });
                cause
            })
        }
        _ => Some("the first frame is not a header".to_owned()),
    };
    let ack = Ack { refusal: refusal.unwrap_or_default() };
    if sender.send(ack.encode_to_vec().into()).is_ok() {
        // The connection closes with its sender: the answer has to be on its way before.
        let _ = manager.inner.env.timeout(manager.inner.options.patience, receiver.recv()).await;
    }
}

async fn receive(
    manager: &Manager,
    key: Key,
    header: Header,
    from: &mut dyn FrameReceiver,
    deliver: &Deliver,
) -> Result<(), Error> {
    let env = &manager.inner.env;
    let _place = Place::take(manager)?;
    let registration = manager.register(key, Use::Receiving)?;
    let Key { region, term, index } = key;
    env.state(Fact::Receiving { region, term, index, from_store: header.from_store });
    let files = manager.files(Side::Received, key);
    if header.meta.tables.len() != FAMILIES.len() {
        return Err(Error::Transfer("the header does not name one table a family".to_owned()));
    }
    // It may be here already: the sender did not hear of it, or another replica sent it.
    let here = manager.exists(Side::Received, key).await?
        && match manager.meta(&files).await {
            Ok(meta) => meta == header.meta && build::verify(manager, &files, &meta).await.is_ok(),
            Err(_) => false,
        };
    if !here {
        let lock_path = file::temporary(&files.meta());
        let lock = env.disk.open(&lock_path, Open::CreateNew).await;
        let lock = lock.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::BuildLocked { path: lock_path.clone() },
            _ => Error::io("create", &lock_path, error),
        })?;
        if let Err(error) = take(manager, &files, &header, from, &*lock).await {
            // What cannot be removed now is removed at the next start; the first failure is the one to tell.
            let _ = manager.discard(&files).await;
            return Err(error);
        }
    }
    env.state(Fact::Received { region, term, index });
    let _ = point!(env.points, site::BEFORE_DELIVER).await;
    if !deliver(header) {
        return Err(Error::Transfer("the store does not take the snapshot".to_owned()));
    }
    drop(registration);
    Ok(())
}

/// A table that arrives.
struct Arriving {
    path: String,
    file: Arc<dyn File>,
    bytes: u64,
    sum: u32,
}

async fn take(
    manager: &Manager,
    files: &Files,
    header: &Header,
    from: &mut dyn FrameReceiver,
    lock: &dyn File,
) -> Result<(), Error> {
    let env = &manager.inner.env;
    let mut tables = Vec::with_capacity(FAMILIES.len());
    for family in FAMILIES {
        let path = files.table(family);
        let temporary = file::temporary(&path);
        let made = env.disk.open(&temporary, Open::Truncate).await;
        let file = made.map_err(|error| Error::io("create", &temporary, error))?;
        tables.push(Arriving { path, file, bytes: 0, sum: 0 });
    }
    loop {
        let frame = env.timeout(manager.inner.options.patience, from.recv()).await;
        let frame = frame.ok_or_else(|| Error::Transfer("the other side fell silent".to_owned()))?;
        let frame = frame.map_err(|error| Error::Transfer(error.to_string()))?;
        let part = rpc::parse(frame).and_then(|envelope| Frame::decode(envelope.body).ok()?.part);
        match part {
            Some(Part::Chunk(Chunk { table, offset, data })) => {
                let table = tables.get_mut(table as usize);
                let table = table.filter(|table| table.bytes == offset);
                let table = table.ok_or_else(|| Error::Transfer("a chunk is out of place".to_owned()))?;
                table.bytes += data.len() as u64;
                table.sum = crc32c::crc32c_append(table.sum, &data);
                table.file.append(data).await.map_err(|error| Error::io("write", &table.path, error))?;
            }
            Some(Part::Finish(_)) => break,
            Some(Part::Header(_)) | None => return Err(Error::Transfer("a frame is out of place".to_owned())),
        }
    }
    for (table, meant) in tables.iter().zip(&header.meta.tables) {
        if table.bytes != meant.bytes || table.sum != meant.checksum {
            let detail = "it did not arrive as it was sent".to_owned();
            return Err(Error::Corrupt { path: table.path.clone(), detail });
        }
        table.file.sync().await.map_err(|error| Error::io("sync", &table.path, error))?;
        manager.rename(&file::temporary(&table.path), &table.path).await?;
    }
    fails(point!(env.points, site::BEFORE_RECEIVED).await)?;
    manager.commit(files, &header.meta, lock).await
}

/// One of the places for receiving.
struct Place<'a>(&'a Manager);

impl Place<'_> {
    fn take(manager: &Manager) -> Result<Place<'_>, Error> {
        let mut state = manager.inner.state.lock();
        if state.receives >= manager.inner.options.receives_max {
            return Err(Error::Busy);
        }
        state.receives += 1;
        Ok(Place(manager))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.inner.state.lock().receives -= 1;
    }
}
