//! Stories of files that one release writes and another meets.

use node::{engine::fact as engine, store::fact::lifecycle};
use scenarios::event::RoomEvent;

use super::{Case, accuse, pass};

fn written(header: u64, release: &'static str) -> engine::Fact {
    engine::Fact::BlobWritten {
        path: "engine/000007.blob".into(),
        header,
        release: release.into(),
        entries: 3,
        bytes: 900,
    }
}

fn noted(tag: u64, release: &'static str) -> engine::Fact {
    engine::Fact::EditWritten { path: "engine/MANIFEST-000003".into(), tag, release: release.into(), files: 1 }
}

fn refused(format: &'static str, version: u64, release: &'static str) -> lifecycle::Fact {
    let path = "engine/000007.blob".into();
    lifecycle::Fact::FormatRefused { path, format: format.into(), version, release: release.into() }
}

fn misread() -> engine::Fact {
    engine::Fact::Corruption { path: "engine/000007.blob".into(), detail: "its header is too short".into() }
}

fn unknown() -> engine::Fact {
    engine::Fact::FormatUnknown { path: "engine/000007.blob".into(), what: "a blob header with flags 0x7".into() }
}

pub fn cases() -> Vec<Case> {
    vec![
        accuse("written-is-readable", "unreadable-after-rollback", "header", |s| {
            s.fact(1, written(3, "8.1.2-pre"));
        }),
        accuse("written-is-readable", "unreadable-after-rollback", "manifest", |s| {
            s.fact(1, written(2, "8.1.2")).fact(1, noted(14, "8.1.2"));
        }),
        pass("written-is-readable", "each-in-its-own-way", |s| {
            s.fact(1, written(2, "8.1.2-pre")).fact(1, noted(13, "8.1.2-pre")).fact(1, noted(12, "8.1.2-pre"));
            s.fact(2, written(3, "8.5.0")).fact(2, noted(14, "8.5.0"));
            s.fact(3, written(1, "4.0.16")).fact(3, noted(11, "4.0.16"));
        }),
        accuse("opened-is-readable", "shipped-format-refused", "reverted", |s| {
            s.fact(1, refused("blob-header", 3, "7.5.6"));
        }),
        accuse("opened-is-readable", "shipped-format-misread", "short-header", |s| {
            s.fact(1, misread());
        }),
        accuse("opened-is-readable", "shipped-format-misread", "unknown-flags", |s| {
            s.fact(1, unknown());
        }),
        pass("opened-is-readable", "not-its-business", |s| {
            s.fact(1, engine::Fact::BlobOpened { path: "engine/000007.blob".into(), header: 2 });
            s.fact(1, refused("manifest-tag", 14, "8.1.0")).fact(2, refused("raft-log", 2, "5.4.0"));
            s.room(3, RoomEvent::DiskFault { kind: "rot".into(), path: "engine/000007.blob".into() });
            s.fact(3, misread()).fact(3, unknown());
        }),
    ]
}
