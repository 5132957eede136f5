//! Which files are read, and how they are refused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sync_core::{Error, ErrorKind, Retry};
use sync_takeover::OldSqlite;
use sync_tests::mediator::{self, Row};

use crate::{Old, rows, store, take_over, writer};

fn refusal(file: &Path) -> Error {
    OldSqlite::open(file, Duration::ZERO).unwrap_err()
}

#[test]
fn a_file_without_the_tables_is_refused_by_name_and_left_alone() {
    for (schema, message) in [
        ("", "no table `operations`"),
        ("CREATE TABLE notes (id)", "no table `operations`"),
        (
            "CREATE VIEW operations AS SELECT 1 AS id, 2 AS ts, 3 AS operation_json",
            "no table `operations`",
        ),
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
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("operations.db");
        writer(&file).execute_batch(schema).unwrap();
        let before = fs::read(&file).unwrap();
        let error = refusal(&file);
        assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(fs::read(&file).unwrap() == before, "wrote: {message}");
    }
}

#[test]
fn a_file_that_is_not_there_is_not_created_and_one_of_another_kind_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("operations.db");
    let error = refusal(&file);
    assert_eq!(error.kind(), &ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("operations.db"), "{error}");
    assert!(!file.exists());
    fs::write(&file, "no database".repeat(100)).unwrap();
    assert_eq!(refusal(&file).kind(), &ErrorKind::Foreign);
}

#[test]
fn a_locked_file_is_busy_and_can_be_read_afterwards() {
    let old = Old::new(&mediator::rows(1, 10));
    let user = writer(&old.path());
    user.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = refusal(&old.path());
    assert_eq!(error.kind(), &ErrorKind::Busy, "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
    user.execute_batch("ROLLBACK").unwrap();
    assert_eq!(take_over(old.open(), &store()).unwrap().taken, 10);
}

#[test]
fn a_copy_that_was_made_in_mid_write_is_refused_in_words() {
    let old = Old::new(&mediator::rows(1, 100));
    let copy = old.path().with_file_name("copy.db");
    let writing = writer(&old.path());
    // Pages reach the file before the commit once the cache is full.
    writing.pragma_update(None, "cache_size", 1).unwrap();
    writing
        .execute_batch("BEGIN; UPDATE operations SET signed_ts = 1, inserted_at = 2")
        .unwrap();
    let journal = old.path().with_file_name("operations.db-journal");
    let length = fs::metadata(&journal).unwrap().len();
    assert!(length > 512, "there is no journal");
    fs::copy(old.path(), &copy).unwrap();
    fs::copy(&journal, copy.with_file_name("copy.db-journal")).unwrap();
    let error = refusal(&copy);
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error:?}");
    assert!(error.to_string().contains("journal"), "{error}");
    // What the mediator does when it next opens the file.
    writer(&copy)
        .execute_batch("DELETE FROM operations WHERE sync_order = 9007199254740991")
        .unwrap();
    let copy = OldSqlite::open(copy, Duration::ZERO).unwrap();
    assert_eq!(take_over(copy, &store()).unwrap().taken, 100);
}

#[test]
fn older_files_are_read_as_their_own_migration_reads_them() {
    let row = &mediator::rows(1, 1)[0];
    for (column, schema) in [
        ("ts", "id TEXT PRIMARY KEY, ts INTEGER, operation_json TEXT"),
        (
            "ts",
            "id TEXT PRIMARY KEY, sync_order INTEGER, ts INTEGER, operation_json TEXT",
        ),
        (
            "signed_ts",
            "id TEXT PRIMARY KEY, signed_ts INTEGER, operation_json TEXT",
        ),
        (
            "signed_ts",
            "id TEXT PRIMARY KEY, ts DEFAULT -3, operation_json TEXT, signed_ts INTEGER",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("operations.db");
        let connection = writer(&file);
        connection
            .execute_batch(&format!("CREATE TABLE operations ({schema})"))
            .unwrap();
        let insert =
            format!("INSERT INTO operations (id, {column}, operation_json) VALUES (?1, 17, ?2)");
        let values = [Row::text(&row.id), Row::text(&row.json)];
        connection.execute(&insert, values).unwrap();
        let store = store();
        let old = OldSqlite::open(&file, Duration::ZERO).unwrap();
        let report = take_over(old, &store).unwrap();
        assert_eq!((report.taken, report.ordered), (1, 0), "{schema}");
        assert_eq!(report.state_keys, []);
        // The time is the record's own.
        let payload = Row::text(&row.json).as_bytes();
        let expected = sync_mdip::to_operation(payload, None).unwrap();
        assert_eq!(rows(&store), [expected], "{schema}");
    }
}

#[test]
fn text_in_utf_16_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("operations.db");
    writer(&file)
        .execute_batch("PRAGMA encoding = 'UTF-16le'; CREATE TABLE other (a)")
        .unwrap();
    mediator::write_file(&file, &mediator::rows(1, 10));
    let old = OldSqlite::open(&file, Duration::ZERO).unwrap();
    assert_eq!(take_over(old, &store()).unwrap().taken, 10);
}
