//! Files that are not ours, or no longer whole.

use std::fs;
use std::path::Path;

use pollster::block_on;
use sync_core::{
    Backend, Delete, Error, ErrorKind, Limit, Page, Result, Retry, Seq, SpaceName, SyncStore,
    SyncStoreExt, TimeRange, TombstoneReason,
};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore};

use crate::{filled, open, operation, page, position};

/// The names and contents of a directory.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// The errors of connecting and migrating, neither of which may have written anything.
fn refused(path: &Path) -> [Error; 2] {
    let config = SqliteConfig::new(path);
    let before = contents(path.parent().unwrap_or(path));
    let errors = [
        block_on(SqliteBackend::connect(config.clone())).unwrap_err(),
        block_on(SqliteBackend::migrate(&config)).unwrap_err(),
    ];
    assert!(
        contents(path.parent().unwrap_or(path)) == before,
        "something was written: {errors:?}"
    );
    for error in &errors {
        assert_eq!(error.retry(), Retry::Never, "{error}");
        assert_eq!(error.backend(), Some("sqlite"), "{error}");
    }
    errors
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    for schema in [
        "CREATE TABLE notes (id)",
        "CREATE TABLE operation (id)",
        "CREATE TABLE space (id); PRAGMA user_version = 1",
        "PRAGMA application_id = 7",
        "CREATE TABLE notes (id); PRAGMA application_id = 7; PRAGMA journal_mode = WAL",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(schema)
            .unwrap();
        for error in refused(&path) {
            assert_eq!(error.kind(), &ErrorKind::Foreign, "{schema}: {error}");
        }
    }
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    for bytes in [
        // SQLite takes a file of one byte for an empty one.
        b"xx".to_vec(),
        b"a text, and no database".repeat(100),
        vec![0; 8_192],
        vec![0xff; 100_000],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, &bytes).unwrap();
        for error in refused(&path) {
            assert_eq!(
                error.kind(),
                &ErrorKind::Foreign,
                "{} bytes: {error}",
                bytes.len()
            );
        }
    }
}

#[test]
fn an_empty_file_is_a_database_without_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    fs::write(&path, b"").unwrap();
    let config = SqliteConfig::new(&path);
    let error = block_on(SqliteBackend::connect(config.clone())).unwrap_err();
    let wanted = ErrorKind::SchemaMismatch {
        found: 0,
        supported: 1,
    };
    assert_eq!(error.kind(), &wanted, "{error}");
    assert!(error.to_string().contains("migrate first"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"");
    let _ = filled(&path, 10);
}

#[test]
fn a_directory_and_a_path_into_nowhere_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("a.db");
    fs::create_dir(&directory).unwrap();
    for error in refused(&directory) {
        assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
        assert!(error.to_string().contains("directory"), "{error}");
    }
    for error in refused(&dir.path().join("missing").join("a.db")) {
        assert_eq!(error.kind(), &ErrorKind::NotFound, "{error}");
    }
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    for error in refused(&file.join("a.db")) {
        assert_eq!(error.kind(), &ErrorKind::NotFound, "{error}");
    }
    // Only migrating creates a file.
    let new = dir.path().join("new.db");
    let error = block_on(SqliteBackend::connect(SqliteConfig::new(&new))).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound, "{error}");
    assert!(!new.exists());
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let _ = filled(&path, 10);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 2)
        .unwrap();
    let wanted = ErrorKind::SchemaMismatch {
        found: 2,
        supported: 1,
    };
    for error in refused(&path) {
        assert_eq!(error.kind(), &wanted, "{error}");
        assert!(error.to_string().contains("newer program"), "{error}");
    }
}

#[test]
fn a_migration_of_another_text_is_refused() {
    for change in [
        "UPDATE schema_migration SET checksum = 'other'",
        "DELETE FROM schema_migration",
        "DROP TABLE schema_migration",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let config = filled(&path, 10);
        Connection::open(&path)
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let before = fs::read(&path).unwrap();
        let error = block_on(SqliteBackend::migrate(&config)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Corrupt, "{change}: {error:?}");
        assert!(fs::read(&path).unwrap() == before, "{change}");
    }
}

/// Everything a program may do with a file, each with its own outcome.
fn everything(config: &SqliteConfig) -> Vec<Result<()>> {
    let store = block_on(async {
        let backend = SqliteBackend::connect(config.clone()).await?;
        backend.open(&SpaceName::new("s")?).await
    });
    let migrate = block_on(SqliteBackend::migrate(config)).map(drop);
    let store: SqliteStore = match store {
        Ok(store) => store,
        Err(error) => return vec![Err(error), migrate],
    };
    block_on(async {
        let scan = store
            .scan_time(TimeRange::ALL, None, Limit::rows(1_000_000))
            .await;
        vec![
            migrate,
            store.stats().await.map(drop),
            scan.map(drop),
            store.verify().await.map(drop),
            store.apply(page(1_000, 2_000)).await.map(drop),
            store.verify().await.map(drop),
        ]
    })
}

#[test]
fn a_file_that_was_cut_gives_typed_errors() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.db");
    let _ = filled(&whole, 1_000);
    let bytes = fs::read(&whole).unwrap();
    let mut cuts = vec![2, 15, 16, 50, 99, 100, 101, 511, 512, 1_000, 4_096, 8_191];
    cuts.extend((8_192..bytes.len()).step_by(8_192));
    cuts.extend((12_000..bytes.len()).step_by(50_000));
    for cut in cuts {
        let path = dir.path().join("cut.db");
        for end in ["db", "db-wal", "db-shm"] {
            let _ = fs::remove_file(path.with_extension(end));
        }
        fs::write(&path, &bytes[..cut]).unwrap();
        let outcomes = everything(&SqliteConfig::new(&path));
        let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        assert!(
            !errors.is_empty(),
            "nothing noticed that all after byte {cut} is gone"
        );
        for error in errors {
            let known = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Foreign);
            assert!(known, "cut at {cut}: {error:?}");
        }
    }
}

#[test]
fn verify_names_damage_inside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(&dir.path().join("a.db"), 100);
    for damage in [
        "UPDATE operation SET payload = x'00' WHERE seq = 7",
        "UPDATE operation SET ts = ts + 1 WHERE seq = 7",
        "UPDATE operation SET object = x'00' WHERE seq = 7",
        "UPDATE operation SET seq = 1000 WHERE seq = 7",
        "DELETE FROM operation WHERE seq = 7",
        "UPDATE space SET total = 99",
        "UPDATE space SET ordered = 1",
        "UPDATE space SET tombstones = 1",
    ] {
        let copy = dir.path().join("copy.db");
        fs::copy(config.path(), &copy).unwrap();
        Connection::open(&copy)
            .unwrap()
            .execute_batch(damage)
            .unwrap();
        let store = open(&SqliteConfig::new(&copy));
        let report = block_on(store.verify()).unwrap();
        assert!(!report.is_clean(), "{damage}");
    }
    let store = open(&config);
    assert!(block_on(store.verify()).unwrap().is_clean());
    assert_eq!(position(&store), 100);
}

#[test]
fn a_counter_that_is_too_low_is_reported_and_not_made_worse() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(&dir.path().join("a.db"), 3);
    let store = open(&config);
    let delete = |n| Page::new().delete(Delete::new(operation(n).id, TombstoneReason::Removed));
    let _ = block_on(store.apply(delete(0))).unwrap();
    let set = |counter: &str, value: i64| {
        let connection = Connection::open(config.path()).unwrap();
        connection
            .execute(&format!("UPDATE space SET {counter} = ?1"), [value])
            .unwrap();
    };
    set("total", 0);
    let error = block_on(store.apply(delete(1))).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Corrupt, "{error:?}");
    assert_eq!(block_on(store.stats()).unwrap().total, 0);
    set("total", 2);
    let _ = block_on(store.apply(delete(1))).unwrap();
    set("tombstones", 1);
    let error = block_on(store.prune(Seq::MAX)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Corrupt, "{error:?}");
    assert_eq!(block_on(store.stats()).unwrap().tombstones, 1);
}
