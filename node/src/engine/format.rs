//! Which formats of blob files an engine writes and reads: the release's row of the table, and what defects make of it.
//!
//! Not here: how the formats look; [`blob`](super::blob) and [`manifest`](super::manifest) know.

use failpoints::defect;

use crate::{defects, engine::error::Error, env::Env, release::Release};

/// The formats of one open engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formats {
    pub(crate) release: &'static Release,
    /// The version of the header of new blob files.
    pub(crate) header: u8,
    /// The tag under which the manifest notes them.
    pub(crate) tag: u8,
    headers_read: &'static [u8],
    tags_read: &'static [u8],
    /// A defect: the first version's header is read as if it were as long as the second's.
    pub(crate) takes_v1_for_v2: bool,
}

impl Formats {
    /// What this process writes and reads as `release`.
    pub(crate) fn of(env: &Env, release: &'static Release) -> Formats {
        let mut formats = Formats {
            release,
            header: release.blob_header_written,
            tag: release.manifest_tag_written,
            headers_read: release.blob_headers_read,
            tags_read: release.manifest_tags_read,
            takes_v1_for_v2: false,
        };
        if defect!(env.points, defects::TITAN_323, release.name == "8.1.2-pre") {
            (formats.header, formats.tag) = (3, 14);
        }
        if defect!(env.points, defects::TITAN_329, release.name == "7.5.6") {
            (formats.headers_read, formats.tags_read) = (&[1, 2], &[11, 13]);
        }
        // Whoever writes the first version itself knows nothing of a second.
        if defect!(env.points, defects::TITAN_221, release.blob_header_written > 1) {
            formats.takes_v1_for_v2 = true;
        }
        formats
    }

    /// Refuses a header's version that is not known.
    pub(crate) fn check_header(&self, path: &str, version: u32) -> Result<u8, Error> {
        let known = u8::try_from(version).ok().filter(|version| self.headers_read.contains(version));
        known.ok_or_else(|| self.refused(path, BLOB_HEADER, u64::from(version)))
    }

    /// Whether a tag of blob files in the manifest is known.
    pub(crate) fn reads_tag(&self, tag: u64) -> bool {
        u8::try_from(tag).is_ok_and(|tag| self.tags_read.contains(&tag))
    }

    /// The error for something that this release cannot read.
    pub(crate) fn refused(&self, path: &str, format: &'static str, version: u64) -> Error {
        Error::Refused { path: path.to_owned(), format, version, release: self.release.name }
    }
}

/// The name of the format of blob files' headers, in errors and facts.
pub(crate) const BLOB_HEADER: &str = "blob-header";
/// The name of the format of the manifest's notes.
pub(crate) const MANIFEST_TAG: &str = "manifest-tag";
