//! Which releases a store may run as: one that takes over from what its directory may hold, beside those of the others.
//!
//! The table of releases says who reads what and who may be rolled back to whom. What a store's directory may hold follows
//! from every release that it ever ran as, so that two steps back, each allowed, do not lead where the first release's
//! files cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use super::stores::{Entry, Refused, Stores};
use crate::{
    region::StoreId,
    release::Release,
    wire::placement::{Reason, StoreState},
};

/// The releases that each store ran as, by name.
#[derive(Debug, Default)]
pub(super) struct Releases(BTreeMap<StoreId, BTreeSet<String>>);

impl Releases {
    /// Takes what was read back.
    pub(super) fn restore(&mut self, id: StoreId, names: impl IntoIterator<Item = String>) {
        self.0.entry(id).or_default().extend(names);
    }

    /// Notes that a store runs as a release. Returns all that it ran as, if this one is new.
    pub(super) fn ran(&mut self, id: StoreId, release: &str) -> Option<Vec<String>> {
        let names = self.0.entry(id).or_default();
        names.insert(release.to_owned()).then(|| names.iter().cloned().collect())
    }

    /// Refuses a release that does not fit the store at this address, or the other stores.
    pub(super) fn check(&self, address: &str, release: &str, stores: &Stores) -> Result<(), Refused> {
        let row = |name: &str| Release::parse(name).map_err(|error| (Reason::Invalid, error.to_string()));
        let wanted = row(release)?;
        let is_alive = |(_, entry): &(StoreId, &Entry)| entry.state() != StoreState::Tombstone;
        for (id, entry) in stores.all().filter(is_alive) {
            let there = row(&entry.record.release)?;
            if entry.record.address != address {
                if !wanted.may_run_beside(there) {
                    return Err(refused(format!("release {wanted} does not run beside release {there} of store {id}")));
                }
                continue;
            }
            wanted.takes_over(there).map_err(|error| refused(error.to_string()))?;
            for name in self.0.get(&id).into_iter().flatten() {
                let earlier = row(name)?;
                if !wanted.reads_blobs_of(earlier) {
                    let detail = format!("store {id} has run as release {earlier}, whose files {wanted} cannot read");
                    return Err(refused(detail));
                }
            }
        }
        Ok(())
    }
}

fn refused(detail: String) -> Refused {
    (Reason::ReleaseRefused, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Instant, wire::placement::Store};

    #[test]
    fn a_store_goes_where_its_directory_can_be_read_and_the_others_can_follow() {
        let (mut stores, mut releases) = (Stores::default(), Releases::default());
        let mut run = |id: StoreId, release: &str| {
            let address = format!("store-{id}");
            releases.check(&address, release, &stores).map_err(|(reason, _)| reason)?;
            let record = Store { id, address, release: release.to_owned(), ..Store::default() };
            stores.put(record, Instant(0)).map_err(|(reason, _)| reason)?;
            releases.ran(id, release);
            Ok(())
        };
        let refused = Err(Reason::ReleaseRefused);
        assert_eq!([run(1, "8.1.0"), run(2, "8.1.0"), run(3, "7.5.5")], [Ok(()), Ok(()), refused]);
        assert_eq!([run(1, "8.1.2"), run(1, "8.5.0"), run(1, "8.1.0")], [Ok(()), Ok(()), refused]);
        assert_eq!(run(1, "8.1.2"), Ok(()), "the last release reads the new files");
        assert_eq!(run(1, "8.1.0"), refused, "they are still there");
        assert_eq!([run(2, "8.1.2"), run(2, "8.1.0")], [Ok(()), Ok(())], "this one never wrote any");
    }
}
