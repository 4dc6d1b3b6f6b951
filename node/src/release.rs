//! The table of releases: which formats each one writes and reads, and to which it may be rolled back.
//!
//! A process runs as one release. Rooms that read or write a format ask here; nothing else compares version numbers.
//! The rule that the table keeps: a release writes a format only if every release that it may roll back to reads it.
//!
//! A directory goes from one release to another by a rollback, which the table allows one by one, or by an upgrade to a
//! later release that reads what the earlier one writes. [`Release::takes_over`] says which it is, or why it is neither.
//!
//! Not here: what the defects `titan-323` and `titan-329` make of it; the rooms that write and read ask for those.

/// A release: what it writes and reads on disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// As people write it.
    pub name: &'static str,
    /// The version of the header of blob files that it writes.
    pub blob_header_written: u8,
    /// The versions of the header of blob files that it reads.
    pub blob_headers_read: &'static [u8],
    /// The tag under which it notes a new blob file in the manifest.
    pub manifest_tag_written: u8,
    /// The tags of blob files in the manifest that it reads.
    pub manifest_tags_read: &'static [u8],
    /// How its raft log lies on disk.
    pub raft_log: RaftLogLayout,
    /// The newest version of the wire between stores that it speaks; it speaks all older ones, too.
    pub wire: u8,
    /// The releases to which it may be rolled back.
    pub may_roll_back_to: &'static [&'static str],
}

/// The oldest version of the wire between stores: one message a frame.
pub const WIRE_SINGLE: u8 = 1;
/// Many messages share a frame.
pub const WIRE_BATCHED: u8 = 2;

/// How a store's directory comes from one release to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays with its release.
    Same,
    /// To a later release that reads everything.
    Upgrade,
    /// To an earlier one, which the later one allows for.
    Rollback,
}

/// A directory of one release must not be opened by the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("release {to} does not take over from release {from}: {why}")]
pub struct NotTakenOver {
    /// The release that wrote the directory.
    pub from: &'static str,
    /// The release that was to open it.
    pub to: &'static str,
    /// Why not.
    pub why: &'static str,
}

/// How a raft log lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftLogLayout {
    /// In the old directory.
    Old,
    /// In the new directory; an old one is not looked for.
    New,
    /// In the new directory; an old one is imported, and exported again for a rollback.
    NewImportingOld,
}

const V1: &[u8] = &[1];
const V2: &[u8] = &[1, 2];
const V3: &[u8] = &[1, 2, 3];
const TAG_11: &[u8] = &[11];
const TAG_13: &[u8] = &[11, 13];
const TAG_14: &[u8] = &[11, 13, 14];

const fn release(
    name: &'static str,
    blob: (u8, &'static [u8]),
    tag: (u8, &'static [u8]),
    raft_log: RaftLogLayout,
    wire: u8,
    may_roll_back_to: &'static [&'static str],
) -> Release {
    Release {
        name,
        blob_header_written: blob.0,
        blob_headers_read: blob.1,
        manifest_tag_written: tag.0,
        manifest_tags_read: tag.1,
        raft_log,
        wire,
        may_roll_back_to,
    }
}

use RaftLogLayout::{New, NewImportingOld, Old};

/// All releases. 4.0.16 is there because somebody has to have written the oldest files.
pub const RELEASES: &[Release] = &[
    release("7.5.5", (3, V3), (14, TAG_14), New, WIRE_BATCHED, &[]),
    release("7.5.6", (2, V3), (13, TAG_14), New, WIRE_BATCHED, &["7.5.5"]),
    release("8.1.0", (2, V2), (13, TAG_13), New, WIRE_BATCHED, &[]),
    release("8.1.2-pre", (2, V3), (13, TAG_14), New, WIRE_BATCHED, &["8.1.0"]),
    release("8.1.2", (2, V3), (13, TAG_14), New, WIRE_BATCHED, &["8.1.0", "8.1.2-pre"]),
    release("8.5.0", (3, V3), (14, TAG_14), New, WIRE_BATCHED, &["8.1.2"]),
    release("5.4.0", (2, V2), (13, TAG_13), Old, WIRE_SINGLE, &[]),
    release("4.0.16", (1, V1), (11, TAG_11), Old, WIRE_SINGLE, &[]),
    release("6.1.0", (2, V2), (13, TAG_13), NewImportingOld, WIRE_BATCHED, &["5.4.0"]),
];

/// There is no release of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no release `{name}`; there are {}", names())]
pub struct UnknownRelease {
    /// The name that was asked for.
    pub name: String,
}

fn names() -> String {
    RELEASES.iter().map(|release| release.name).collect::<Vec<_>>().join(", ")
}

impl Release {
    /// The release that a process runs as unless it is told otherwise.
    pub const DEFAULT: &'static str = "8.5.0";

    /// The release of a name.
    pub fn parse(name: &str) -> Result<&'static Release, UnknownRelease> {
        let found = RELEASES.iter().find(|release| release.name == name);
        found.ok_or_else(|| UnknownRelease { name: name.to_owned() })
    }

    /// The release that a process runs as unless it is told otherwise.
    pub fn newest() -> &'static Release {
        Release::parse(Release::DEFAULT).expect("the default release stands in the table")
    }

    /// Its place among all releases: numbers, then whether it is more than a preliminary one.
    fn order(&self) -> ([u32; 3], bool) {
        let (numbers, is_preliminary) = match self.name.strip_suffix("-pre") {
            Some(numbers) => (numbers, true),
            None => (self.name, false),
        };
        let mut order = [0; 3];
        for (place, number) in order.iter_mut().zip(numbers.split('.')) {
            *place = number.parse().expect("releases are named by three numbers");
        }
        (order, !is_preliminary)
    }

    /// Whether this release came out after the other one.
    pub fn is_later_than(&self, other: &Release) -> bool {
        self.order() > other.order()
    }

    /// Whether this release reads the blob files that the other one writes, and its notes of them.
    pub fn reads_blobs_of(&self, other: &Release) -> bool {
        self.blob_headers_read.contains(&other.blob_header_written)
            && self.manifest_tags_read.contains(&other.manifest_tag_written)
    }

    /// How a directory that `from` wrote comes to this release.
    pub fn takes_over(&self, from: &Release) -> Result<Change, NotTakenOver> {
        let refused = |why| Err(NotTakenOver { from: from.name, to: self.name, why });
        if self.name == from.name {
            Ok(Change::Same)
        } else if from.may_roll_back_to(self) {
            Ok(Change::Rollback)
        } else if !self.is_later_than(from) {
            refused("it is earlier, and not one that the later one may be rolled back to")
        } else if !self.reads_blobs_of(from) {
            refused("it cannot read the blob files that the earlier one writes")
        } else if from.raft_log == RaftLogLayout::Old && self.raft_log == RaftLogLayout::New {
            refused("it does not import the earlier one's raft log")
        } else {
            Ok(Change::Upgrade)
        }
    }

    /// Whether stores of both releases may be in one cluster: one of them may take over from the other.
    pub fn may_run_beside(&self, other: &Release) -> bool {
        self.takes_over(other).is_ok() || other.takes_over(self).is_ok()
    }

    /// Whether the raft log has to be brought back to the old directory before `to` can run where this release ran.
    pub fn exports_raft_log_to(&self, to: &Release) -> bool {
        self.raft_log == RaftLogLayout::NewImportingOld && to.raft_log == RaftLogLayout::Old
    }

    /// Whether this release may be rolled back to the other one.
    pub fn may_roll_back_to(&self, other: &Release) -> bool {
        self.may_roll_back_to.contains(&other.name)
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_readable_by_itself_and_by_every_rollback_target() {
        for from in RELEASES {
            assert_eq!(Release::parse(from.name), Ok(from));
            let targets = from.may_roll_back_to.iter().map(|name| Release::parse(name).expect("targets are releases"));
            for to in targets.chain([from]) {
                assert!(to.blob_headers_read.contains(&from.blob_header_written), "{from} to {to}");
                assert!(to.manifest_tags_read.contains(&from.manifest_tag_written), "{from} to {to}");
            }
        }
    }

    #[test]
    fn directories_go_up_where_they_are_read_and_down_where_the_table_says() {
        let change = |from: &str, to: &str| {
            let (from, to) = (Release::parse(from).expect("a release"), Release::parse(to).expect("a release"));
            to.takes_over(from).map_err(|refused| refused.why)
        };
        assert_eq!(change("8.1.0", "8.1.0"), Ok(Change::Same));
        for (from, to) in [
            ("7.5.5", "7.5.6"),
            ("8.1.0", "8.1.2-pre"),
            ("8.1.2-pre", "8.1.2"),
            ("8.1.0", "8.5.0"),
            ("4.0.16", "5.4.0"),
            ("5.4.0", "6.1.0"),
            ("6.1.0", "8.1.0"),
        ] {
            assert_eq!(change(from, to), Ok(Change::Upgrade), "{from} to {to}");
        }
        for (from, to) in [("8.1.2-pre", "8.1.0"), ("8.5.0", "8.1.2"), ("6.1.0", "5.4.0"), ("7.5.6", "7.5.5")] {
            assert_eq!(change(from, to), Ok(Change::Rollback), "{from} to {to}");
        }
        for (from, to) in [("8.5.0", "8.1.0"), ("7.5.5", "8.1.0"), ("5.4.0", "7.5.5"), ("5.4.0", "4.0.16")] {
            assert!(change(from, to).is_err(), "{from} to {to}");
        }
        let [old, new] = ["8.1.0", "8.5.0"].map(|name| Release::parse(name).expect("a release"));
        assert!(old.may_run_beside(new) && new.may_run_beside(old));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Release::parse("9.9").expect_err("there is no such release");
        assert!(error.to_string().contains("`9.9`") && error.to_string().contains("8.1.2-pre"), "{error}");
        assert!(!Release::newest().may_roll_back_to(Release::parse("8.1.0").expect("it is in the table")));
    }
}
