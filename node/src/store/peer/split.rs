//! Splits as values: which keys can split a region, and what the regions are afterwards.
//!
//! The last region on the right keeps the old id and the old peers; the new ones lie to its left. All of them carry the
//! old version plus the number of new regions.

use bytes::Bytes;

use crate::{
    region::{Epoch, Peer, Region},
    wire::command::Split,
};

/// Whether the keys split the region, in ascending order; otherwise why not.
pub fn check(region: &Region, keys: &[Bytes]) -> Result<(), String> {
    if keys.is_empty() {
        return Err("a split needs a key".to_owned());
    }
    let mut last = &region.start;
    for key in keys {
        if key <= last || !region.contains(key) {
            return Err(format!("split key {:?} does not lie inside what is left of the region", key));
        }
        last = key;
    }
    Ok(())
}

/// The new regions in key order, and the old region as it is afterwards. `None` when the split does not fit.
pub fn regions(region: &Region, split: &Split) -> Option<(Vec<Region>, Region)> {
    let keys: Vec<Bytes> = split.children.iter().map(|child| child.split_key.clone()).collect();
    check(region, &keys).ok()?;
    let epoch = Epoch { version: region.epoch.version + split.children.len() as u64, ..region.epoch };
    let mut start = region.start.clone();
    let mut children = Vec::with_capacity(split.children.len());
    for child in &split.children {
        if child.peers.len() != region.peers.len() {
            return None;
        }
        let peers = region.peers.iter().zip(&child.peers).map(|(peer, &id)| Peer { id, ..*peer }).collect();
        let end = child.split_key.clone();
        children.push(Region { id: child.region, start, end: end.clone(), epoch, peers });
        start = end;
    }
    Some((children, Region { start, epoch, ..region.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::SplitChild;

    fn region(start: &'static str, end: &'static str) -> Region {
        let peers = vec![Peer { id: 11, store: 1, role: 0 }, Peer { id: 12, store: 2, role: 1 }];
        Region { id: 10, start: start.into(), end: end.into(), epoch: Epoch { conf_ver: 3, version: 7 }, peers }
    }

    #[test]
    fn the_last_region_keeps_the_id() {
        let child = |key: &'static str, region, peers: &[u64]| SplitChild {
            split_key: key.into(),
            region,
            peers: peers.to_vec(),
        };
        let split = Split { children: vec![child("c", 20, &[21, 22]), child("f", 30, &[31, 32])] };
        let (children, parent) = regions(&region("a", ""), &split).expect("it fits");
        let spans: Vec<_> =
            children.iter().chain([&parent]).map(|r| (r.id, r.start.clone(), r.end.clone(), r.epoch.version)).collect();
        let (a, c, f) = (Bytes::from("a"), Bytes::from("c"), Bytes::from("f"));
        assert_eq!(spans, [(20, a, c.clone(), 9), (30, c, f.clone(), 9), (10, f, Bytes::new(), 9)]);
        assert_eq!(children[1].peers, [Peer { id: 31, store: 1, role: 0 }, Peer { id: 32, store: 2, role: 1 }]);
        let short = Split { children: vec![child("c", 20, &[21])] };
        assert_eq!(regions(&region("a", ""), &short), None);
    }

    #[test]
    fn keys_that_split() {
        for (start, end, keys, fits) in [
            ("a", "z", &["b"][..], true),
            ("a", "z", &["b", "c"], true),
            ("a", "z", &["a"], false),
            ("a", "z", &["z"], false),
            ("a", "z", &["c", "b"], false),
            ("a", "z", &["b", "b"], false),
            ("", "", &["b"], true),
            ("", "", &[], false),
        ] {
            let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
            assert_eq!(check(&region(start, end), &keys).is_ok(), fits, "{start}..{end} at {keys:?}");
        }
    }
}
