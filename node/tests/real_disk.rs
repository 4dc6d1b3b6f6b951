//! The contract suite of the disk, on a directory of the real file system.

use node::env::{contract, real};

#[tokio::test]
async fn the_real_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let disk = real::disk(&dir.path().join("root")).expect("the root is created");
    if let Err(what) = contract::check(disk).await {
        panic!("{what}");
    }
}
