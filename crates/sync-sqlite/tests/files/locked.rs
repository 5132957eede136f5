//! Another process holds the write lock.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{Backend, ErrorKind, Retry, SyncStore, SyncStoreExt};
use sync_sqlite::SqliteBackend;
use sync_sqlite::rusqlite::Connection;

use crate::{child, filled, open, page, position};

/// The entry of the child. Does nothing when the tests are run.
#[test]
fn child_that_locks() {
    let Some((_, file, _)) = child::called_as() else {
        return;
    };
    let connection = Connection::open(file).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    eprintln!("locked");
    // Until it is killed.
    loop {
        thread::park();
    }
}

#[test]
fn a_lock_held_beyond_the_timeout_is_busy_and_the_handle_goes_on_afterwards() {
    let timeout = Duration::from_millis(300);
    let dir = tempfile::tempdir().unwrap();
    let config = filled(&dir.path().join("a.db"), 10).busy_timeout(timeout);
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    let store = open(&config);
    let mut holder = child::child("locked::child_that_locks", "lock", config.path(), "")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(holder.stderr.as_mut().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said, "locked\n");

    let began = Instant::now();
    let errors = [
        block_on(store.apply(page(10, 20))).unwrap_err(),
        block_on(store.prune(sync_core::Seq::MAX)).unwrap_err(),
        block_on(store.new_epoch()).unwrap_err(),
        block_on(backend.drop_space(store.space())).unwrap_err(),
    ];
    let waited = began.elapsed();
    for error in errors {
        assert_eq!(error.kind(), &ErrorKind::Busy, "{error}");
        assert_eq!(error.retry(), Retry::Later, "{error}");
    }
    assert!(waited >= 4 * timeout, "gave up after {waited:?}");
    assert!(
        waited < 4 * timeout + Duration::from_secs(5),
        "gave up after {waited:?}"
    );
    // Readers do not wait for writers, and a handle opened meanwhile reads as well.
    assert_eq!((position(&store), position(&open(&config))), (10, 10));

    holder.kill().unwrap();
    let _ = holder.wait().unwrap();
    let _ = block_on(store.apply(page(10, 20))).unwrap();
    assert_eq!(position(&store), 20);
    assert!(block_on(store.verify()).unwrap().is_clean());
}

#[test]
fn a_page_waits_for_a_lock_that_is_given_back_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(&dir.path().join("a.db"), 10).busy_timeout(Duration::from_mins(1));
    let store = open(&config);
    let holder = Connection::open(config.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let applied = scope.spawn(|| block_on(store.apply(page(10, 20))));
        thread::sleep(Duration::from_millis(100));
        assert!(!applied.is_finished(), "the page did not wait");
        holder.execute_batch("COMMIT").unwrap();
        let _ = applied.join().unwrap().unwrap();
    });
    assert_eq!(position(&store), 20);
}
