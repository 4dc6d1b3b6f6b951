//! The table of releases: which formats each one writes and reads, and to which it may be rolled back.
//!
//! A process runs as one release. Rooms that read or write a format ask here; nothing else compares version numbers.
//! The rule that the table keeps: a release writes a format only if every release that it may roll back to reads it.
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
    /// The releases to which it may be rolled back.
    pub may_roll_back_to: &'static [&'static str],
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

const V2: &[u8] = &[1, 2];
const V3: &[u8] = &[1, 2, 3];
const TAG_13: &[u8] = &[11, 13];
const TAG_14: &[u8] = &[11, 13, 14];

const fn release(
    name: &'static str,
    blob: (u8, &'static [u8]),
    tag: (u8, &'static [u8]),
    raft_log: RaftLogLayout,
    may_roll_back_to: &'static [&'static str],
) -> Release {
    Release {
        name,
        blob_header_written: blob.0,
        blob_headers_read: blob.1,
        manifest_tag_written: tag.0,
        manifest_tags_read: tag.1,
        raft_log,
        may_roll_back_to,
    }
}

use RaftLogLayout::{New, NewImportingOld, Old};

/// All releases.
pub const RELEASES: &[Release] = &[
    release("7.5.5", (3, V3), (14, TAG_14), New, &[]),
    release("7.5.6", (2, V3), (13, TAG_14), New, &["7.5.5"]),
    release("8.1.0", (2, V2), (13, TAG_13), New, &[]),
    release("8.1.2-pre", (2, V3), (13, TAG_14), New, &["8.1.0"]),
    release("8.1.2", (2, V3), (13, TAG_14), New, &["8.1.0", "8.1.2-pre"]),
    release("8.5.0", (3, V3), (14, TAG_14), New, &["8.1.2"]),
    release("5.4.0", (2, V2), (13, TAG_13), Old, &[]),
    release("6.1.0", (2, V2), (13, TAG_13), NewImportingOld, &["5.4.0"]),
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
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Release::parse("9.9").expect_err("there is no such release");
        assert!(error.to_string().contains("`9.9`") && error.to_string().contains("8.1.2-pre"), "{error}");
        assert!(!Release::newest().may_roll_back_to(Release::parse("8.1.0").expect("it is in the table")));
    }
}
