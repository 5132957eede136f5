//! Files that are refused, and what the deployed program finds in one that was taken over.

use std::fs;
use std::time::Duration;

use pollster::block_on;
use sync_core::{
    Backend, ErrorKind, OpId, Operation, Page, Retry, SpaceName, StateKey, SyncStore, SyncStoreExt,
    Ts,
};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{SqliteBackend, SqliteConfig, Takeover};

use crate::deployed::{self, START};
use crate::{WAYS, Way, open, rows, run, space, takeover};

const NOT_POSSIBLE: ErrorKind = ErrorKind::InvalidInput { what: "takeover" };

#[test]
fn a_file_without_the_deployed_tables_is_refused_by_name_and_left_alone() {
    let table = [
        ("", "no table `operations`"),
        ("CREATE TABLE notes (id)", "no table `operations`"),
        (
            "CREATE TABLE operations (id, ts)",
            "no column `operation_json`",
        ),
        (
            "CREATE TABLE operations (operation_json, ts)",
            "no column `id`",
        ),
        (
            "CREATE TABLE operations (id, operation_json, sync_order)",
            "neither `signed_ts` nor `ts`",
        ),
        (
            "CREATE TABLE operations (id, operation_json, ts); CREATE TABLE sync_state (key)",
            "no column `value`",
        ),
    ];
    for (schema, message) in table {
        for way in WAYS {
            is_refused(way, schema, message);
        }
    }
    // From a copy, what else is in the file is nobody's business.
    for (schema, message) in [
        (
            "CREATE TABLE operations (id, operation_json, ts); CREATE TABLE notes (id)",
            "also holds notes",
        ),
        (
            "CREATE TABLE operations (id, operation_json, ts);
             CREATE TRIGGER t AFTER INSERT ON operations BEGIN SELECT 1; END",
            "also holds t",
        ),
        (
            "PRAGMA encoding = 'UTF-16le'; CREATE TABLE operations (id, operation_json, ts)",
            "UTF-16le",
        ),
    ] {
        is_refused(Way::InPlace, schema, message);
    }
}

fn is_refused(way: Way, schema: &str, message: &str) {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    Connection::open(&old)
        .unwrap()
        .execute_batch(schema)
        .unwrap();
    let before = fs::read(&old).unwrap();
    let error = run(way, &old).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Foreign, "{way:?}: {error}");
    assert!(error.to_string().contains(message), "{way:?}: {error}");
    assert!(
        fs::read(&old).unwrap() == before,
        "{way:?} wrote: {message}"
    );
}

#[test]
fn a_file_that_is_not_there_is_not_created() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.db");
        let error = run(way, &missing).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotFound, "{way:?}: {error}");
        assert!(!missing.exists(), "{way:?}");
    }
}

#[test]
fn a_space_that_is_not_empty_is_refused_and_keeps_what_it_has() {
    for page in [
        Page::new().upsert(Operation::new(OpId::new([1; 32]), Ts::ZERO, "mine")),
        Page::new().set(StateKey::new("k").unwrap(), "v"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("operations.db");
        deployed::write(&old, &deployed::generated(10));
        let (first, config) = takeover(Way::Copy, &old);
        let _ = block_on(open(&config).apply(page)).unwrap();
        let before = block_on(open(&config).stats()).unwrap();
        let error = block_on(first.run()).unwrap_err();
        assert_eq!(error.kind(), &NOT_POSSIBLE, "{error}");
        assert_eq!(block_on(open(&config).stats()).unwrap(), before);
        // Another space of the same file is free, and so is this one after a reset.
        let other = SpaceName::new("other").unwrap();
        let report = block_on(Takeover::from_copy(&old, config.clone(), other).run()).unwrap();
        assert_eq!(report.taken, 10);
        let _ = block_on(open(&config).apply(Page::new().reset())).unwrap();
        let again = Takeover::from_copy(&old, config.clone(), space());
        assert_eq!(block_on(again.run()).unwrap().taken, 10);
        assert_eq!(rows(&open(&config)).len(), 10);
    }
}

#[test]
fn a_file_is_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    deployed::write(&old, &deployed::generated(10));
    let _ = run(Way::InPlace, &old).unwrap();
    let before = fs::read(&old).unwrap();
    for way in WAYS {
        let error = run(way, &old).unwrap_err();
        assert_eq!(error.kind(), &NOT_POSSIBLE, "{error}");
    }
    assert!(fs::read(&old).unwrap() == before);
}

#[test]
fn a_file_in_use_is_busy_and_can_be_taken_over_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    deployed::write(&old, &deployed::generated(10));
    let before = fs::read(&old).unwrap();
    let config = SqliteConfig::new(&old).busy_timeout(Duration::from_millis(50));
    let user = Connection::open(&old).unwrap();
    for lock in [
        "BEGIN; SELECT count(*) FROM operations",
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE",
    ] {
        user.execute_batch(lock).unwrap();
        let error = block_on(Takeover::in_place(config.clone(), space()).run()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Busy, "{lock}: {error:?}");
        assert_eq!(error.retry(), Retry::Later);
        user.execute_batch("ROLLBACK").unwrap();
        assert!(fs::read(&old).unwrap() == before, "{lock}");
    }
    let report = block_on(Takeover::in_place(config, space()).run()).unwrap();
    assert_eq!(report.taken, 10);
}

#[test]
fn a_copy_goes_only_into_a_file_that_was_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    deployed::write(&old, &deployed::generated(10));
    let new = dir.path().join("new.db");
    fs::write(&new, b"").unwrap();
    let config = SqliteConfig::new(&new);
    let error = block_on(Takeover::from_copy(&old, config, space()).run()).unwrap_err();
    assert!(error.to_string().contains("migrate first"), "{error}");
    let config = SqliteConfig::new(&old);
    let error = block_on(Takeover::from_copy(&old, config, space()).run()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
}

#[test]
fn connecting_and_migrating_refuse_a_deployed_file_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    deployed::write(&old, &deployed::generated(10));
    let before = fs::read(&old).unwrap();
    let config = SqliteConfig::new(&old);
    for error in [
        block_on(SqliteBackend::migrate(&config)).unwrap_err(),
        block_on(SqliteBackend::connect(config.clone())).unwrap_err(),
    ] {
        assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
        assert!(error.to_string().contains("takeover"), "{error}");
    }
    assert!(fs::read(&old).unwrap() == before);
}

#[test]
fn the_deployed_program_fails_on_a_file_that_was_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    deployed::write(&old, &deployed::generated(10));
    let count = |connection: &Connection, sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    // A process of it that has run all along must not go on either.
    let running = Connection::open(&old).unwrap();
    let read = "SELECT count(signed_ts) FROM operations";
    assert_eq!(count(&running, read).unwrap(), 10);
    let _ = run(Way::InPlace, &old).unwrap();

    let started = Connection::open(&old).unwrap();
    let failed: Vec<_> = START
        .iter()
        .filter_map(|statement| started.execute_batch(statement).err())
        .map(|error| error.to_string())
        .collect();
    assert!(failed[0].contains("views may not be indexed"), "{failed:?}");
    // Only its two CREATE TABLE do nothing without complaint.
    assert_eq!(failed.len(), START.len() - 2, "{failed:?}");
    for connection in [&running, &started] {
        for statement in [
            read,
            "SELECT id, sync_order, operation_json FROM operations ORDER BY signed_ts, id",
            "SELECT value FROM sync_state WHERE key = 'index.changes.cursor'",
            "INSERT INTO operations (id, sync_order, signed_ts, operation_json, inserted_at)
             VALUES ('a', NULL, 1, '{}', 1)",
            "UPDATE operations SET sync_order = 1 WHERE id = 'a'",
            "DELETE FROM operations",
            "ALTER TABLE operations ADD COLUMN sync_order INTEGER",
            "INSERT INTO sync_state (key, value) VALUES ('index.changes.cursor', '1')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            "DELETE FROM sync_state WHERE key = 'index.changes.cursor'",
        ] {
            assert!(connection.execute_batch(statement).is_err(), "{statement}");
        }
    }
    let kept = "SELECT count(*) FROM taken_over_operations";
    assert_eq!(count(&started, kept).unwrap(), 10);
    let kept = "SELECT count(*) FROM taken_over_sync_state";
    assert_eq!(count(&started, kept).unwrap(), 6);
    drop((running, started));
    let store = open(&SqliteConfig::new(&old));
    assert_eq!(rows(&store).len(), 10);
    assert!(block_on(store.verify()).unwrap().is_clean());
}

#[test]
fn a_copy_that_was_made_in_mid_write_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (old, copy) = (dir.path().join("operations.db"), dir.path().join("copy.db"));
    deployed::write(&old, &deployed::generated(100));
    let writing = Connection::open(&old).unwrap();
    // Pages reach the file before the commit once the cache is full.
    writing.pragma_update(None, "cache_size", 1).unwrap();
    writing
        .execute_batch("BEGIN; UPDATE operations SET signed_ts = 1, inserted_at = 2")
        .unwrap();
    let journal = dir.path().join("operations.db-journal");
    assert!(
        fs::metadata(&journal).unwrap().len() > 512,
        "there is no journal"
    );
    fs::copy(&old, &copy).unwrap();
    fs::copy(&journal, dir.path().join("copy.db-journal")).unwrap();
    let error = run(Way::Copy, &copy).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error:?}");
    assert!(error.to_string().contains("journal"), "{error}");
    // In place the journal is rolled back first, as the deployed program would do it.
    assert_eq!(run(Way::InPlace, &copy).unwrap().taken, 100);
    let rows = rows(&open(&SqliteConfig::new(&copy)));
    assert!(rows.iter().all(|row| row.ts.value() > 1));
}
