//! The fuzz targets over the committed corpus.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the targets call them from outside")]
mod targets;

use std::fs;
use std::path::Path;

/// Every input of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(folder.join(target)).unwrap();
    let inputs: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(inputs.len() >= 10, "only {} inputs", inputs.len());
    inputs
}

#[test]
fn whatever_is_decoded_has_one_spelling() {
    for input in corpus("decode").iter().chain(&corpus("respond")) {
        targets::decode(input);
    }
}

#[test]
fn sessions_survive_whatever_is_sent() {
    for input in corpus("decode").iter().chain(&corpus("respond")) {
        targets::respond(input);
    }
}
