//! What a snapshot file's name says: `gen_` or `rev_`, region, term, index, and whether it is temporary.
//!
//! The room states paths, and only their last part matters. Source: the names that TiKV's SnapManager gives.

use super::super::known::files::file_name;

/// A snapshot's identity: region, term, index.
pub(super) type Key = (u64, u64, u64);

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) key: Key,
    /// Received from another store, rather than generated here.
    pub(super) received: bool,
    /// Not yet, or not meant, to be whole: `.tmp` or `.clone`.
    pub(super) temporary: bool,
}

/// Reads a path; none when it is not a snapshot's file.
pub(super) fn parse(path: &str) -> Option<Name> {
    let name = file_name(path);
    let received = name.starts_with("rev_");
    let rest = name.strip_prefix("rev_").or_else(|| name.strip_prefix("gen_"))?;
    let mut numbers = rest.splitn(4, ['_', '.']).take(3).map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let key = (number()?, number()?, number()?);
    Some(Name { key, received, temporary: name.ends_with(".tmp") || name.ends_with(".clone") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let whole = Name { key: (2, 6, 40), received: true, temporary: false };
        assert_eq!(parse("snap/rev_2_6_40_default.sst"), Some(whole));
        assert_eq!(parse("rev_2_6_40_write_0001.sst"), Some(whole));
        assert_eq!(parse("snap/rev_2_6_40.meta"), Some(whole));
        let temporary = Name { key: (2, 6, 40), received: false, temporary: true };
        assert_eq!(parse("snap/gen_2_6_40.meta.tmp"), Some(temporary));
        assert_eq!(parse("db/000012.sst"), None);
        assert_eq!(parse("snap/gen_x_6_40.meta"), None);
    }
}
