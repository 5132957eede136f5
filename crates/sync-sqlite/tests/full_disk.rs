//! A disk that is full: nothing half-written, and the handle goes on when there is room again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pollster::block_on;
use sync_core::{
    Backend, Error, ErrorKind, OpId, Operation, Page, Retry, SpaceName, StateKey, SyncState,
    SyncStore, SyncStoreExt, Ts,
};
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore};

#[path = "common/child.rs"]
mod child;
#[path = "common/mount.rs"]
mod mount;

/// Operations of a page.
const ROWS: u64 = 50;

fn cursor() -> StateKey {
    StateKey::new("cursor").unwrap()
}

fn operation(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Operation::new(OpId::new(id), Ts::new(n).unwrap(), vec![7; 1_000])
}

/// The page that follows position `from`.
fn page_after(from: u64) -> Page {
    Page::new()
        .expect(cursor(), (from > 0).then(|| from.to_string()))
        .upserts((from..from + ROWS).map(operation))
        .set(cursor(), (from + ROWS).to_string())
}

fn position(store: &SqliteStore) -> u64 {
    let value = block_on(store.load(&cursor())).unwrap();
    value.map_or(0, |value| str::from_utf8(&value).unwrap().parse().unwrap())
}

fn open(config: &SqliteConfig) -> SqliteStore {
    let _ = block_on(SqliteBackend::migrate(config)).unwrap();
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    block_on(backend.open(&SpaceName::new("s").unwrap())).unwrap()
}

/// The space is sound and holds the first `rows` operations.
fn holds(store: &SqliteStore, rows: u64) {
    let report = block_on(store.verify()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.rows, position(store)), (rows, rows));
}

/// The entry of the child, which has a small file system of its own. Does nothing when the tests
/// are run.
#[test]
fn child_on_a_small_disk() {
    let Some((_, dir, _)) = child::called_as() else {
        return;
    };
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 512 << 10]).unwrap();
    let config = SqliteConfig::new(dir.join("a.db"));
    let store = open(&config);
    let mut at = 0;
    let full = loop {
        match block_on(store.apply(page_after(at))) {
            Ok(_) => at += ROWS,
            Err(error) => break error,
        }
        assert!(at < 1_000_000, "the disk is never full");
    };
    assert_eq!(full.kind(), &ErrorKind::Full, "{full:?}");
    assert_eq!(full.retry(), Retry::Later);
    assert!(at > 0);
    // Reading goes on, here and for who comes new; writing fails in the same way.
    holds(&store, at);
    holds(&reopened(&config), at);
    let again = block_on(store.apply(page_after(at))).unwrap_err();
    assert_eq!(again.kind(), &ErrorKind::Full, "{again:?}");

    fs::remove_file(&ballast).unwrap();
    let _ = block_on(store.apply(page_after(at))).unwrap();
    holds(&store, at + ROWS);
    holds(&reopened(&config), at + ROWS);
    println!("full after {at} rows");
}

fn reopened(config: &SqliteConfig) -> SqliteStore {
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    block_on(backend.open(&SpaceName::new("s").unwrap())).unwrap()
}

#[test]
fn a_full_disk_is_reported_as_such_and_nothing_is_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let child = child::child("child_on_a_small_disk", "fill", dir.path(), "");
    let Some(status) = mount::on_a_file_system(&child, dir.path(), "3m") else {
        println!("not run: this machine lets nobody mount a file system of their own");
        return;
    };
    assert!(status.success(), "the child failed; its messages are above");
}

/// The same without a disk that is really full: SQLite's error at every point of a page.
#[test]
fn no_room_at_any_statement_leaves_nothing_of_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let fail_at = Arc::new(AtomicU64::new(u64::MAX));
    let reached = Arc::new(AtomicU64::new(0));
    let hook = {
        let (fail_at, reached) = (Arc::clone(&fail_at), Arc::clone(&reached));
        move |boundary: &'static str| {
            let at = reached.fetch_add(1, Ordering::SeqCst);
            if boundary != "committed" && at == fail_at.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Full));
            }
            Ok(())
        }
    };
    let config = SqliteConfig::new(dir.path().join("a.db")).on_boundary(Arc::new(hook));
    let store = open(&config);
    let mut boundaries = 0_u64;
    loop {
        reached.store(0, Ordering::SeqCst);
        fail_at.store(boundaries, Ordering::SeqCst);
        match block_on(store.apply(page_after(0))) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), &ErrorKind::Full, "{error:?}"),
        }
        assert_eq!(
            block_on(store.stats()).unwrap().epoch,
            None,
            "at boundary {boundaries}"
        );
        assert_eq!(position(&store), 0);
        boundaries += 1;
    }
    println!("{boundaries} boundaries");
    assert!(boundaries > ROWS, "only {boundaries} boundaries");
    holds(&store, ROWS);
}
