//! What resets and drops leave behind goes, and no faster than was asked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

use pollster::block_on;
use sync_core::{Backend, OpId, Operation, Page, SpaceName, Swept, SyncStore, Ts};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{SqliteBackend, SqliteConfig};

fn space() -> SpaceName {
    SpaceName::new("s").unwrap()
}

fn with_one_row(path: &Path) -> SqliteBackend {
    let config = SqliteConfig::new(path);
    let _ = block_on(SqliteBackend::migrate(&config)).unwrap();
    let backend = block_on(SqliteBackend::connect(config)).unwrap();
    let store = block_on(backend.open(&space())).unwrap();
    let operation = Operation::new(OpId::new([1; 32]), Ts::ZERO, "payload");
    let _ = block_on(store.apply(Page::new().upsert(operation))).unwrap();
    backend
}

#[test]
fn a_sweep_of_no_rows_removes_none_and_tells_whether_there_are_some() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let backend = with_one_row(&path);
    let nothing = Swept {
        removed: 0,
        more: false,
    };
    assert_eq!(block_on(backend.sweep(0)).unwrap(), nothing);
    // Behind the backend's back, so that it does not sweep by itself.
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("INSERT INTO garbage SELECT incarnation FROM space; DELETE FROM space")
        .unwrap();
    let left = Swept {
        removed: 0,
        more: true,
    };
    assert_eq!(block_on(backend.sweep(0)).unwrap(), left);
    let swept = block_on(backend.sweep(usize::MAX)).unwrap();
    assert_eq!((swept.removed, swept.more), (1, false));
}

#[test]
fn a_drop_that_nobody_waits_for_is_swept_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let backend = with_one_row(&dir.path().join("a.db"));
    {
        let space = space();
        let drop = pin!(backend.drop_space(&space));
        let _ = drop.poll(&mut Context::from_waker(Waker::noop()));
    }
    // The first answer comes after the drop, the second after what the drop has queued.
    let _ = block_on(backend.sweep(0)).unwrap();
    let swept = block_on(backend.sweep(0)).unwrap();
    assert!(!swept.more, "{swept:?}");
    assert!(block_on(backend.spaces(None, 1)).unwrap().is_empty());
}
