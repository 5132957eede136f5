//! What a reboot may have taken, and how readers hear of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use pollster::block_on;
use sync_core::{
    Backend, ErrorKind, FeedCursor, Limit, OpId, Operation, Payloads, SpaceName, SyncStore,
    SyncStoreExt, Ts,
};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{Durability, SqliteBackend, SqliteConfig, SqliteStore};

fn open(path: &Path, durability: Durability) -> SqliteStore {
    let config = SqliteConfig::new(path).durability(durability);
    block_on(async {
        SqliteBackend::migrate(&config).await.unwrap();
        let backend = SqliteBackend::connect(config).await.unwrap();
        backend.open(&SpaceName::new("s").unwrap()).await.unwrap()
    })
}

fn operation(n: u8) -> Operation {
    Operation::new(OpId::new([n; 32]), Ts::ZERO, "payload")
}

fn head_cursor(store: &SqliteStore) -> FeedCursor {
    let feed = store.feed(FeedCursor::Beginning, Limit::rows(100), Payloads::Skip);
    block_on(feed).unwrap().next
}

/// Makes the file look as if it was last written before the machine was booted.
fn reboot(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute(
            "UPDATE space SET boot = 'earlier' WHERE boot IS NOT NULL",
            [],
        )
        .unwrap();
}

#[test]
fn the_first_page_after_a_reboot_begins_a_new_epoch_where_writes_were_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = open(&path, Durability::Process);
    let _ = block_on(store.put(operation(1))).unwrap();
    let cursor = head_cursor(&store);
    drop(store);
    reboot(&path);

    let store = open(&path, Durability::Process);
    assert_eq!(head_cursor(&store), cursor, "reading alone changes nothing");
    let _ = block_on(store.put(operation(1))).unwrap();
    assert_eq!(
        head_cursor(&store),
        cursor,
        "a page that writes nothing changes nothing"
    );
    let _ = block_on(store.put(operation(2))).unwrap();
    let error = block_on(store.feed(cursor, Limit::rows(1), Payloads::Skip)).unwrap_err();
    let epoch = block_on(store.stats()).unwrap().epoch;
    assert_eq!(error.kind(), &ErrorKind::WrongEpoch { current: epoch });

    let cursor = head_cursor(&store);
    let _ = block_on(store.put(operation(3))).unwrap();
    let page = block_on(store.feed(cursor, Limit::rows(1), Payloads::Skip)).unwrap();
    assert_eq!(page.entries.len(), 1, "one new epoch for one reboot");
}

#[test]
fn a_reboot_means_nothing_where_every_page_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = open(&path, Durability::Process);
    let _ = block_on(store.put(operation(1))).unwrap();
    drop(store);
    // A synced commit takes what came before it in the log to the disk as well.
    let store = open(&path, Durability::Machine);
    let _ = block_on(store.put(operation(2))).unwrap();
    let cursor = head_cursor(&store);
    drop(store);
    reboot(&path);

    let store = open(&path, Durability::Process);
    let _ = block_on(store.put(operation(3))).unwrap();
    let page = block_on(store.feed(cursor, Limit::rows(10), Payloads::Skip)).unwrap();
    assert_eq!(page.entries.len(), 1);
}

/// The log without its last transaction, as a crash may leave it where nothing was synced.
fn without_the_last_transaction(log: &[u8]) -> &[u8] {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 8_192;
    let frames = log[HEADER..].chunks_exact(FRAME);
    // The second number of a frame is not 0 in the last one of a transaction.
    let ends: Vec<usize> = frames
        .enumerate()
        .filter(|(_, frame)| frame[4..8] != [0; 4])
        .map(|(n, _)| HEADER + (n + 1) * FRAME)
        .collect();
    &log[..ends.iter().rev().nth(1).copied().unwrap_or(0)]
}

#[test]
fn the_first_page_without_sync_may_be_lost_but_not_that_there_was_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = open(&path, Durability::Machine);
    let _ = block_on(store.put(operation(1))).unwrap();
    drop(store);

    let store = open(&path, Durability::Process);
    let _ = block_on(store.put(operation(2))).unwrap();
    let cursor = head_cursor(&store);
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    let log = fs::read(folder.path().join("a.db-wal")).unwrap();
    let left = without_the_last_transaction(&log);
    fs::write(folder.path().join("copy.db-wal"), left).unwrap();
    reboot(&copy);

    let store = open(&copy, Durability::Process);
    assert_eq!(block_on(store.stats()).unwrap().total, 1, "nothing is lost");
    let _ = block_on(store.put(operation(3))).unwrap();
    let error = block_on(store.feed(cursor, Limit::rows(1), Payloads::Skip)).unwrap_err();
    let epoch = block_on(store.stats()).unwrap().epoch;
    assert_eq!(error.kind(), &ErrorKind::WrongEpoch { current: epoch });
}
