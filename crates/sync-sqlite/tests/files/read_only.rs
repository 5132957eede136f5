//! Files that may not be written to.

use std::fs;
use std::path::Path;
use std::process::Command;

use pollster::block_on;
use sync_core::{Backend, Error, ErrorKind, Retry, Seq, SyncStore, SyncStoreExt};
use sync_sqlite::{SqliteBackend, SqliteConfig};

use crate::{child, filled, mount, open, page, position};

/// Every write of a handle on `config` fails as read-only; reads go on.
fn every_write_is_refused(config: &SqliteConfig) {
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    let store = open(config);
    let errors: [Error; 5] = [
        block_on(store.apply(page(10, 20))).unwrap_err(),
        block_on(store.prune(Seq::MAX)).unwrap_err(),
        block_on(store.new_epoch()).unwrap_err(),
        block_on(backend.drop_space(store.space())).unwrap_err(),
        block_on(store.apply(page(10, 20).reset())).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
    assert_eq!(position(&store), 10);
    assert!(block_on(store.verify()).unwrap().is_clean());
}

#[test]
fn a_handle_opened_for_reading_refuses_every_write() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(&dir.path().join("a.db"), 10);
    every_write_is_refused(&config.clone().read_only(true));
    // Also beside a writer, whose pages it sees.
    let writer = open(&config);
    let reader = open(&config.clone().read_only(true));
    let _ = block_on(writer.apply(page(10, 20))).unwrap();
    assert_eq!(position(&reader), 20);
    let error = block_on(reader.apply(page(20, 30))).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error}");
    let _ = block_on(writer.apply(page(20, 30))).unwrap();
}

#[test]
fn a_migration_that_may_only_read_creates_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(dir.path().join("a.db"));
    let reading = config.clone().read_only(true);
    let error = block_on(SqliteBackend::migrate(&reading)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound, "{error:?}");
    assert!(!config.path().exists());
    fs::write(config.path(), b"").unwrap();
    let error = block_on(SqliteBackend::migrate(&reading)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error:?}");
    assert_eq!(fs::metadata(config.path()).unwrap().len(), 0);
    let _ = filled(config.path(), 10);
    let migrated = block_on(SqliteBackend::migrate(&reading)).unwrap();
    assert_eq!(migrated.from, migrated.to, "there is nothing to write");
}

#[test]
fn a_file_that_the_user_may_not_write_refuses_every_write() {
    let dir = tempfile::tempdir().unwrap();
    let config = filled(&dir.path().join("a.db"), 10);
    let mut mode = fs::metadata(config.path()).unwrap().permissions();
    mode.set_readonly(true);
    fs::set_permissions(config.path(), mode).unwrap();
    if fs::OpenOptions::new()
        .write(true)
        .open(config.path())
        .is_ok()
    {
        println!("not run: this user may write to every file");
        return;
    }
    every_write_is_refused(&config);
}

/// The entry of the child, which is alone with a file system of its own. Does nothing when the
/// tests are run.
#[test]
fn child_on_a_read_only_file_system() {
    let Some((_, dir, _)) = child::called_as() else {
        return;
    };
    let config = filled(&dir.join("a.db"), 10);
    remount(&dir);
    let Err(refused) = block_on(SqliteBackend::connect(config.clone())) else {
        return every_write_is_refused(&config);
    };
    assert_eq!(refused.kind(), &ErrorKind::ReadOnly, "{refused:?}");
}

fn remount(dir: &Path) {
    let status = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(dir)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_read_only_file_system_is_reported_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let entry = "read_only::child_on_a_read_only_file_system";
    let child = child::child(entry, "read-only", dir.path(), "");
    let Some(status) = mount::on_a_file_system(&child, dir.path(), "8m") else {
        println!("not run: this machine lets nobody mount a file system of their own");
        return;
    };
    assert!(status.success(), "the child failed; its messages are above");
}
