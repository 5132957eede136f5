//! Files that are locked, damaged, foreign, or not there.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use pollster::block_on;
use sync_core::{Backend, OpId, Operation, Page, SpaceName, StateKey, SyncState, SyncStore, Ts};
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore};

mod bad;
#[path = "../common/child.rs"]
mod child;
mod cut;
mod locked;
#[path = "../common/mount.rs"]
mod mount;
mod read_only;

fn cursor() -> StateKey {
    StateKey::new("cursor").unwrap()
}

fn operation(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Operation::new(
        OpId::new(id),
        Ts::new(n).unwrap(),
        format!("payload of operation {n}"),
    )
}

/// The operations from `from` to below `upto`, and the cursor moved along.
fn page(from: u64, upto: u64) -> Page {
    let expected = (from > 0).then(|| from.to_string());
    Page::new()
        .expect(cursor(), expected)
        .upserts((from..upto).map(operation))
        .set(cursor(), upto.to_string())
}

fn position(store: &SqliteStore) -> u64 {
    let value = block_on(store.load(&cursor())).unwrap();
    value.map_or(0, |value| str::from_utf8(&value).unwrap().parse().unwrap())
}

fn migrated(path: &Path) -> SqliteConfig {
    let config = SqliteConfig::new(path);
    let _ = block_on(SqliteBackend::migrate(&config)).unwrap();
    config
}

/// A file with `rows` rows, closed.
fn filled(path: &Path, rows: u64) -> SqliteConfig {
    let config = migrated(path);
    let _ = block_on(open(&config).apply(page(0, rows))).unwrap();
    config
}

fn open(config: &SqliteConfig) -> SqliteStore {
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    block_on(backend.open(&SpaceName::new("s").unwrap())).unwrap()
}
